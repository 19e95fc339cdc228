"""What the mount observes: accesses, and the dictionaries that give their numbers a meaning.

An access is a fixed-width record, so that a batch of them is one NumPy array, one frame to the predictor and one
slice of a trace file. Paths and streams are numbers in it; `PathTable` and `Stream` say what they stand for.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

ROOT = 0
"""The path id of the source's root directory."""


class Op(IntEnum):
    """The observed operation. Values are part of the trace format: append, never renumber."""

    LOOKUP = 1  # a name was resolved
    ABSENT = 2  # a name was looked up and does not exist
    GETATTR = 3
    OPEN = 4
    READ = 5
    WRITE = 6
    RELEASE = 7
    READDIR = 8  # a directory was listed from its beginning
    CREATE = 9
    UNLINK = 10
    RENAME = 11  # `path` is the old name; a LOOKUP of the new one follows
    SETATTR = 12
    READLINK = 13
    MKDIR = 14
    RMDIR = 15
    LINK = 16
    FSYNC = 17
    XATTR = 18


class Tier(IntEnum):
    """Who answered. KERNEL is never seen by us; it is estimated."""

    NONE = 0  # the question has no tier (a write, a release)
    KERNEL = 1
    CACHE = 2
    JOINED = 3  # waited for a fetch that was already in flight
    SOURCE = 4


ACCESS = np.dtype(
    [
        ("time_ns", "<u8"),  # wall clock, nanoseconds since the epoch
        ("offset", "<u8"),  # READ, WRITE: byte offset; LOOKUP, OPEN, GETATTR: the file's size; else 0
        ("length", "<u4"),  # READ, WRITE: bytes; LOOKUP: st_mode; else 0
        ("latency_us", "<u4"),  # how long the program waited, microseconds, saturating
        ("path", "<u4"),  # path id
        ("stream", "<u4"),  # stream id
        ("op", "u1"),  # Op
        ("tier", "u1"),  # Tier
        ("flags", "<u2"),  # bit 0: opened for writing
        ("reserved", "<u4"),
    ]
)
"""One access: 40 bytes, little-endian. `np.frombuffer(batch, ACCESS)` reads a batch."""

FLAG_WRITE = 1


@dataclass(frozen=True, slots=True)
class Stream:
    """The accesses of one process: thread-group id and command name (at most 15 bytes, as the kernel keeps it)."""

    id: int
    tgid: int
    command: str


PATHS_IN_USE = 1 << 16
"""A path's number is good until so many others were named after it was named or used last. Who gives numbers names a
path again before that; who is told them may forget it after. The same of streams:"""

STREAMS_IN_USE = 1 << 13


class PathTable:
    """Path ids and the paths, relative to the source, that they stand for.

    The root is 0, the others count up from `first`. An entry names its parent's id, so that a deep tree costs a name
    each: 240 bytes, a name of 19 bytes included. What is forgotten is forgotten for ever: *an id is never given twice*,
    so one that was kept somewhere can go stale, but cannot come to mean another path.
    """

    def __init__(self, first: int = 1) -> None:
        self._entries: dict[int, tuple[int, bytes]] = {ROOT: (ROOT, b"")}  # parents before their children
        self._children: dict[int, dict[bytes, int]] = {}
        self._next = first

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[int]:
        """All ids, the root first, parents before their children."""
        return iter(self._entries)

    def __contains__(self, path: int) -> bool:
        return path in self._entries

    @property
    def next(self) -> int:
        """The id that the next new path gets."""
        return self._next

    def intern(self, parent: int, name: bytes) -> int:
        """The id of `name` in the directory `parent`, made if it is new."""
        names = self._children.get(parent)
        if names is None:
            names = self._children[parent] = {}
        known = names.get(name)
        if known is None:
            known = names[name] = self._next
            self._next += 1
            self._entries[known] = (parent, name)
        return known

    def intern_path(self, path: bytes) -> int:
        """The id of a path relative to the source (`b""` is the root)."""
        current = ROOT
        for name in path.split(b"/"):
            if name:
                current = self.intern(current, name)
        return current

    def find(self, parent: int, name: bytes) -> int | None:
        """The id of `name` in `parent`, or None where it was never seen."""
        names = self._children.get(parent)
        return None if names is None else names.get(name)

    def parent(self, path: int) -> int:
        return self._entries[path][0]

    def name(self, path: int) -> bytes:
        return self._entries[path][1]

    def path(self, path: int) -> bytes:
        """The path relative to the source, without a leading slash."""
        parts = []
        while path != ROOT:
            path, name = self._entries[path]
            parts.append(name)
        return b"/".join(reversed(parts))

    def keep(self, live: Iterable[int]) -> int:
        """Forgets all but these paths and the directories that they lie in; returns how many went.

        About 0.5 us for each path of the table. Ids in `live` that stand for nothing any more are passed over.
        """
        entries = self._entries
        kept = {ROOT}
        for path in live:
            while path not in kept and path in entries:
                kept.add(path)
                path = entries[path][0]
        gone = len(entries) - len(kept)
        if gone:
            self._entries = {path: entry for path, entry in entries.items() if path in kept}
            children: dict[int, dict[bytes, int]] = {}
            for path, (parent, name) in self._entries.items():
                if path != ROOT:
                    children.setdefault(parent, {})[name] = path
            self._children = children
        return gone
