"""Mentions: what a file names is wanted next.

Programs are files that name other files: a module its imports, a source its headers, a page its scripts, a manifest its
parts. Whoever reads the one mostly goes on to the others, so what a small file says is held against the names that are
known around it: its own directory's, and those of the directories that it names. It is the one rule that can tell of
a first run what is read *next*, in whatever language, because it has the program's own words for it.

A word stands for a file of the same kind (`from . import beta` for `beta.py`, or `beta.cpython-311.pyc` in a
`beta.cpython-311.pyc`'s own directory), and a whole name for one of any kind (`#include "cache.h"`).

Of the 986 compiled modules that an import of PyTorch reads, 778 are named by one that was read before, as far as the
bounds below let them; of what is named so, 76% is read (what one run read, played through the rule).

Words are cheap, and many files say names by chance. So it is counted on which grounds they came true, little of a
directory is fetched before something of it was read, and files of a kind that foretells nothing are not looked into.
"""

import stat
from collections import OrderedDict
from enum import Enum

from llmfs.inodes import Listing
from llmfs.policy.namesakes import Namesakes

NAMES_MAX = 4096
"""A directory with more names is no package of a program."""

FILE_BYTES_MAX = 512 << 10
"""A larger file is no text of a program."""

PIECE_BYTES = 64 << 10
"""Looked into at a time: some two milliseconds, in which nothing else is answered."""

LEAST_LETTERS = 3
LEAST_LETTERS_BINARY = 6
"""Of a word: shorter ones stand everywhere, in text and in bytes that are none."""

GROUND_PROBE = 32
"""Files fetched on a ground, and not read so far, before it is known how many are."""

UNREAD = 2
"""Files that may have been fetched and not read, for each that was read: two thirds in vain, at worst."""

POOR_SHARE = 0.1
"""Files that may be fetched and not read, of all that are read of a kind: what did not work out is tried again."""

LIBRARY_READ = 8
"""Files of a directory that were read before it is taken for a library."""

DIRECTORY_PROBE = 16
"""Files of a directory that may have been fetched and not read before some were: a table of names is no program."""

KINDS_MAX = 256
"""Kinds and grounds that are remembered: what was met first goes."""

KIND_PROBE = 64
"""Files of a kind that are looked into before it is known what that is worth."""

WORTH_SHARE = 0.1
"""Files that came true for one that was looked into, below which others of its kind are left alone,"""

TRY_EVERY = 64
"""but for one in so many."""


def _table(kept: bytes) -> bytes:
    """For bytes.translate: letters, digits and `kept` stay, everything else becomes a space."""
    return bytes(c if c in kept or (c < 0x80 and chr(c).isalnum()) else 0x20 for c in range(256))


_WORDS, _NAMES = _table(b"_-"), _table(b"_-.")


class Text:
    """What a file says."""

    __slots__ = ("_data", "kind", "names", "words")

    def __init__(self, name: bytes, data: bytes) -> None:
        """`data`: a piece of it; some 25 us a KiB, a compiled module a quarter of that."""
        self.kind = kind_of(name)
        self.names: set[bytes] = set()
        self._data = data
        if name.endswith(b".pyc"):
            self.words = set(_dotless(_marshalled(data)).split())
        elif b"\0" in data:
            words = [word for word in data.translate(_WORDS).split() if len(word) >= LEAST_LETTERS_BINARY]
            self.words = {*words, *(word[:-1] for word in words)}  # what follows a string may be a letter
        else:
            self.names = set(data.translate(_NAMES).split())
            self.words = set(_dotless(self.names).split())

    def in_order(self, names: list[bytes]) -> list[bytes]:
        """As they are named."""
        return sorted(names, key=lambda name: (self._data.find(stem_of(name)), name))


def _dotless(names: set[bytes]) -> bytes:
    return b" ".join(names).replace(b".", b" ")


def _marshalled(data: bytes) -> set[bytes]:
    """The short interned strings of a compiled module, among them all names (Python/marshal.c: a type, a length, the
    string), and some noise."""
    return {part[1 : 1 + part[0]] for kind in (b"Z", b"\xda") for part in data.split(kind) if part}


class Scope(Enum):
    """Where a file is looked for that a text names."""

    BESIDE = 1  # in the text's own directory
    BELOW = 2  # in a directory that the text names as well
    LIBRARY = 3  # in that of which most files of the kind were read


class Directory:
    """A directory's files by what may stand for them, and what came of those that were mentioned."""

    __slots__ = ("expected", "folders", "listing", "read", "stems")

    def __init__(self) -> None:
        self.listing: Listing | None = None
        self.folders: set[bytes] = set()
        self.stems: dict[bytes, dict[bytes, bytes]] = {}  # by kind: names by stem
        self.expected: dict[bytes, Ground] = {}  # mentioned and not read yet
        self.read: set[bytes] = set()  # by programs

    def are_names(self, listing: Listing) -> bool:
        """Takes its names in; whether there are not too many."""
        if listing is not self.listing:
            self.listing = listing
            self.folders.clear()
            self.stems.clear()
            for name, kind, _ in listing.names[:NAMES_MAX]:
                if kind == stat.S_IFDIR:
                    self.folders.add(name)
                elif len(stem_of(name)) >= LEAST_LETTERS:
                    self.stems.setdefault(kind_of(name), {})[stem_of(name)] = name
        return len(listing.names) <= NAMES_MAX


Ground = tuple[bytes, bytes, Scope]
"""What a mention is judged by: the kinds of the file that names and of the one that is named, and where that lies."""


class Mentions:
    """Which files others name, and how often that came true."""

    def __init__(self, namesakes: Namesakes) -> None:
        self._namesakes = namesakes
        self._grounds: OrderedDict[Ground, list[int]] = OrderedDict()  # files fetched, files read
        self._begun: OrderedDict[bytes, int] = OrderedDict()  # by kind: files that programs read
        self._looked_into: OrderedDict[bytes, list[int]] = OrderedDict()  # by kind: files, what came true, passed over

    def began(self, directory: Directory, name: bytes) -> None:
        """A program began to read a small file of a directory."""
        kind = kind_of(name)
        self._begun[kind] = self._begun.get(kind, 0) + 1
        if len(self._begun) > KINDS_MAX:
            self._begun.popitem(last=False)
        if len(directory.read) < NAMES_MAX:
            directory.read.add(name)
        ground = directory.expected.pop(name, None)
        if ground is None:
            return
        if (files := self._grounds.get(ground)) is not None:
            files[1] += 1
        if (counts := self._looked_into.get(ground[0])) is not None:
            counts[1] += 1

    def is_worth_reading(self, name: bytes) -> bool:
        """Whether a file of this name, which a program reads now, is to be looked into; it counts as done then."""
        counts = self._looked_into.setdefault(kind_of(name), [0, 0, 0])
        if len(self._looked_into) > KINDS_MAX:
            self._looked_into.popitem(last=False)
        looked_into, came_true, _ = counts
        if looked_into >= KIND_PROBE and came_true < WORTH_SHARE * looked_into:
            counts[2] += 1
            if counts[2] % TRY_EVERY:
                return False
        counts[0] += 1
        return True

    def folders(self, directory: Directory, text: Text) -> list[bytes]:
        """The directories in a directory that a text names."""
        return [name for name in text.words & directory.folders if len(name) >= LEAST_LETTERS]

    def wanted(self, directory: Directory, text: Text, scope: Scope) -> list[bytes]:
        """The files of a directory that a text names and nobody was told to fetch yet, in its order.

        A directory that is named itself stands for its file of a name that is read all over, such as `__init__`.
        """
        if scope is Scope.LIBRARY and len(directory.read) < LIBRARY_READ:
            return []
        stems = directory.stems.get(text.kind, {})
        found = {stems[stem] for stem in text.words.intersection(stems)}
        if directory.listing is not None:
            found |= text.names.intersection(directory.listing.index)
        if scope is Scope.BELOW:
            found |= {name for name in stems.values() if self._namesakes.is_read_all_over(name)}
        new = [name for name in found - directory.folders - directory.read if name not in directory.expected]
        return [
            name for name in text.in_order(new) if self._may_expect(directory, name, (text.kind, kind_of(name), scope))
        ]

    def _may_expect(self, directory: Directory, name: bytes, ground: Ground) -> bool:
        """Whether one more may be fetched; it counts as fetched then."""
        if len(directory.expected) >= max(DIRECTORY_PROBE, len(directory.read)):
            return False
        files = self._grounds.setdefault(ground, [0, 0])
        if len(self._grounds) > KINDS_MAX:
            self._grounds.popitem(last=False)
        fetched, read = files
        if fetched - read >= max(GROUND_PROBE, UNREAD * read, POOR_SHARE * self._begun.get(ground[1], 0)):
            return False
        files[0] += 1
        directory.expected[name] = ground
        return True


def kind_of(name: bytes) -> bytes:
    """All suffixes: `.cpython-311.pyc`, `.tar.gz`."""
    position = name.find(b".", 1)
    return name[position:] if position > 0 else b""


def stem_of(name: bytes) -> bytes:
    """What is before them."""
    position = name.find(b".", 1)
    return name[:position] if position > 0 else name
