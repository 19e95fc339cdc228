"""What the mount observes: accesses, and the dictionaries that give their numbers a meaning.

An access is a fixed-width record, so that a batch of them is one NumPy array, one frame to the predictor and one
slice of a trace file. Paths and streams are numbers in it; `PathTable` and `Stream` say what they stand for.
"""

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


class PathTable:
    """Path ids and the paths, relative to the source, that they stand for.

    Ids are dense and start at 0, the root. An entry names its parent's id, so that a deep tree costs a name each.
    """

    def __init__(self) -> None:
        self._parents: list[int] = [ROOT]
        self._names: list[bytes] = [b""]
        self._ids: dict[tuple[int, bytes], int] = {}

    def __len__(self) -> int:
        return len(self._names)

    def intern(self, parent: int, name: bytes) -> int:
        """The id of `name` in the directory `parent`, made if it is new."""
        key = (parent, name)
        known = self._ids.get(key)
        if known is None:
            known = len(self._names)
            self._ids[key] = known
            self._parents.append(parent)
            self._names.append(name)
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
        return self._ids.get((parent, name))

    def parent(self, path: int) -> int:
        return self._parents[path]

    def name(self, path: int) -> bytes:
        return self._names[path]

    def path(self, path: int) -> bytes:
        """The path relative to the source, without a leading slash."""
        parts = []
        while path != ROOT:
            parts.append(self._names[path])
            path = self._parents[path]
        return b"/".join(reversed(parts))
