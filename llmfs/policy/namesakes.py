"""Namesakes: a small file of a name that was read in other directories is wanted in the next one too.

Packages have an `__init__`, modules a `package.json` or a `mod.rs`, repositories a `HEAD`, experiments a `config.yaml`.
A name that was read in two directories is fetched wherever a listing shows it, ahead of the first request that goes
there, which no rule about one directory can be. Of the 177 directories that an import of PyTorch reads modules of, 175
are begun with the same name.

A name goes on for as long as a quarter of what is fetched for it is used; all of them have one budget (`account.py`).
"""

from collections import OrderedDict

from llmfs.inodes import Listing
from llmfs.policy.account import Account

NAMES_MAX = 4096
"""Names that are remembered: the one that was read the longest time ago goes."""

KNOWN_MAX = 256
"""Of these, names that are expected: the one that became so the longest time ago goes."""

NAME_PROBE = 8
WORTH_SHARE = 0.25
"""Of the files fetched for a name, beyond the first few: how many have to be used."""

PROBE_BYTES = 1 << 20


class _Known:
    """What came of expecting a name."""

    __slots__ = ("fetched", "size_bytes", "used")

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes  # of the last one that was read
        self.fetched = 0  # files
        self.used = 0

    @property
    def is_worth_it(self) -> bool:
        return self.fetched < NAME_PROBE or self.used >= WORTH_SHARE * self.fetched


class Namesakes:
    """Names that are read wherever they are, and what became of what was fetched for them."""

    def __init__(self) -> None:
        self._account = Account(PROBE_BYTES)  # bytes of small files
        self._read: OrderedDict[bytes, int] = OrderedDict()  # the directory a name was read in
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def began(self, directory: int, name: bytes, size_bytes: int) -> None:
        """A program began to read a small file. `directory`: any number of the one it is in."""
        self._account.read += size_bytes
        known = self._known.get(name)
        if known is not None:
            known.size_bytes = size_bytes
            return
        before = self._read.setdefault(name, directory)
        if before != directory:
            del self._read[name]
            self._known[name] = _Known(size_bytes)
            if len(self._known) > KNOWN_MAX:
                self._known.popitem(last=False)
            return
        self._read.move_to_end(name)
        if len(self._read) > NAMES_MAX:
            self._read.popitem(last=False)

    def is_read_all_over(self, name: bytes) -> bool:
        """Whether files of that name were read in several directories."""
        return name in self._known

    def wanted(self, listing: Listing) -> list[bytes]:
        """Which files of a directory to fetch now that its names are known."""
        found = [name for name, known in self._known.items() if name in listing.index and known.is_worth_it]
        while found and not self._account.allows(sum(self._known[name].size_bytes for name in found)):
            found.pop()
        return found

    def fetched(self, name: bytes, size_bytes: int) -> None:
        """So much was fetched of a file of that name."""
        self._account.fetched += size_bytes
        if name in self._known:
            self._known[name].fetched += 1

    def used(self, name: bytes, size_bytes: int) -> None:
        """So much of that was used."""
        self._account.used += size_bytes
        if name in self._known:
            self._known[name].used += 1
