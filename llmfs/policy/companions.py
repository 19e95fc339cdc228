"""Companions: who has read a fifth of a directory's small files of a kind mostly wants the others too.

The modules of a package, the headers of a library, the samples of a class lie together, and the first time they are
read nothing but that tells that they will be. Over an import of PyTorch, at a fifth, the rule foretells 55% of the
files that are read, and 57% of what it foretells is read (at a tenth: 68% and 41%; at a half: 28% and 67%).

Somebody who reads here and there is not to pay for that (`account.py`).
"""

from collections import Counter

from llmfs.inodes import Listing
from llmfs.policy.account import Account

SMALL_BYTES = 128 << 10
"""Read of a companion; a file that is larger is no companion of anybody."""

WANTED_SHARE = 0.2
"""Of the files of a kind in a directory: who has read so many wants the others."""

NAMES_MAX = 4096
"""A directory with more names is not for one program."""

PROBE_BYTES = 4 << 20
"""Fetched before it is known how much comes true."""


class Tally:
    """Of one listing: how many files there are of each kind, and which of them were read."""

    __slots__ = ("kinds", "read")

    def __init__(self, listing: Listing) -> None:
        self.kinds = Counter(last_suffix(listed.name) for listed in listing.names)
        self.read: dict[bytes, set[bytes]] = {}


class Companions:
    """What was read of directories, and what became of what was fetched for it."""

    def __init__(self) -> None:
        self._account = Account(PROBE_BYTES)  # bytes of small files

    def wanted(self, listing: Listing, name: bytes, size_bytes: int, may_wish: bool = True) -> list[bytes]:
        """A small file of this size, named in the listing, begins to be read: which others to fetch.

        Without `may_wish` it is noted, and nothing fetched: who finds what he wants in the cache needs no more of it.
        """
        self._account.read += size_bytes
        if len(listing.names) > NAMES_MAX or name not in listing.index:
            return []
        tally = listing.tally
        if tally is None:
            tally = listing.tally = Tally(listing)
        kind = last_suffix(name)
        count = tally.kinds.get(kind, 0)
        if count < 2:
            return []  # alone, or all are fetched
        read = tally.read.setdefault(kind, set())
        read.add(name)
        if (
            not may_wish
            or len(read) < WANTED_SHARE * count
            or not self._account.allows((count - len(read)) * size_bytes)
        ):
            return []
        del tally.kinds[kind], tally.read[kind]
        return [listed.name for listed in listing.names if last_suffix(listed.name) == kind and listed.name not in read]

    def fetched(self, size_bytes: int) -> None:
        """So much was fetched of companions."""
        self._account.fetched += size_bytes

    def used(self, size_bytes: int) -> None:
        """So much of that was used."""
        self._account.used += size_bytes


def last_suffix(name: bytes) -> bytes:
    """The last suffix; names without one are of a kind."""
    return name[name.rfind(b".", 1) :] if b"." in name[1:] else b""
