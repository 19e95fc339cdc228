"""What the guard is told: one record for each operation that says something about who takes what from whom."""

from enum import IntEnum
from typing import NamedTuple

from predictor.guard.looks import Look


class Kind(IntEnum):
    """What was done. Values are part of the weights' vocabulary: append, never renumber."""

    OPEN = 0  # a file was opened for reading
    LIST = 1  # a directory was listed
    CREATE = 2  # a file was made
    WRITE = 3  # bytes were written, `new` is how they look, `old` what was there
    TRUNCATE = 4  # a file lost its bytes, `old` is how they looked
    UNLINK = 5  # likewise
    RENAME = 6  # the file got `new_name` in `new_directory`; `victim` had it before
    MKDIR = 7


class Event(NamedTuple):
    """One operation. Numbers name groups, files (inodes) and directories; 0 is none."""

    time_s: float
    kind: Kind
    group: int  # the process group
    cgroup: int
    file: int
    directory: int
    name: bytes
    size_bytes: int = 0  # of the file: before it was lost, after it was written
    new: Look | None = None
    old: Look | None = None
    new_directory: int = 0
    new_name: bytes = b""
    victim: int = 0
    victim_size_bytes: int = 0


def extension(name: bytes) -> bytes:
    """A name's extension without its dot, in small letters; "" where there is none, or what is too long for one."""
    stem, dot, ending = name.rpartition(b".")
    return ending.lower() if dot and stem and len(ending) <= 12 else b""
