"""Copies of what is about to be overwritten, cut or removed, so that it can be had back.

    CACHE_DIR/guard/undo/NUMBER    a header, msgpack, and the bytes that were there

Before the first change of a block of a file that was there, that block is copied; before a file is cut, removed or
given another's bytes by a rename, all of it. Names that change with it are noted. An entry lives for an hour, and all
of them are within a bound on disk: when it is reached the oldest go, those of groups that are suspected last. What does
not fit, or cannot be read or written, is counted and not kept: nobody's write fails for it.

Entries outlive the mount: what a killed daemon kept is found by the next.
"""

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import msgpack

log = logging.getLogger(__name__)

BLOCK_BYTES = 128 << 10
LIVES_S = 3600.0
EXPIRE_EVERY_S = 60.0
FILE_BYTES_MAX_SHARE = 4
"""One file may take a quarter of the bound: a large one would push out all others."""

ENTRIES_MAX = 100_000
_HEADER_BYTES_MAX = 64 << 10


class Kept(StrEnum):
    """What an entry has."""

    RANGE = "range"  # bytes at an offset of a file that was `size_bytes` long
    WHOLE = "whole"  # a file
    RENAME = "rename"  # a name, and the one that it got: `new_path`


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to undo. Paths are relative to the source."""

    ref: str  # the process group's
    cgroup: str
    command: str
    time_s: float
    kind: Kept
    path: bytes
    inode: int
    offset: int = 0
    size_bytes: int = 0
    mode: int = 0
    uid: int = -1
    gid: int = -1
    mtime_ns: int = 0
    new_path: bytes = b""


class Undo:
    """The entries of one mount. `keep` is called from worker threads, one at a time; the rest from the event loop."""

    def __init__(self, directory: Path, limit_bytes: int, on_dropped: Callable[[], None]) -> None:
        """Raises OSError where the directory cannot be read."""
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._on_dropped = on_dropped
        self._lock = threading.Lock()
        self._entries: OrderedDict[int, tuple[Entry, int]] = OrderedDict()  # by number, with the bytes on disk
        self._saved: dict[int, set[int]] = {}  # by inode: blocks that are kept, -1: all of it
        self._suspected: set[str] = set()
        self._expired_s = 0.0
        self.used_bytes = 0
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._find()
        self._last = max(self._entries, default=0)

    def wants(self, inode: int, offset: int, length: int, size_bytes: int) -> list[int]:
        """The blocks of a write that were there and are not kept yet."""
        saved = self._saved.get(inode, set())
        if -1 in saved:
            return []
        stop = min(offset + length, size_bytes)
        return [block for block in range(offset // BLOCK_BYTES, -(-stop // BLOCK_BYTES)) if block not in saved]

    def wants_all(self, inode: int) -> bool:
        """Whether a file that is about to be lost is not kept yet as it was at first."""
        return -1 not in self._saved.get(inode, set())

    def suspect(self, ref: str) -> None:
        """The entries of this group go last."""
        self._suspected.add(ref)

    def keep(self, entry: Entry, read: Callable[[], bytes]) -> bool:
        """Write an entry with what `read` gives. Raises OSError; False where it would not fit."""
        with self._lock:
            if time.time() - self._expired_s > EXPIRE_EVERY_S:
                self._expire()
            if entry.size_bytes > self._limit_bytes // FILE_BYTES_MAX_SHARE and entry.kind is Kept.WHOLE:
                self._on_dropped()
                return False
            data = read()
            header = msgpack.packb(asdict(entry))
            body = len(header).to_bytes(4, "little") + header + data
            size_bytes = -(-len(body) // 4096) * 4096
            self._make_room(size_bytes)
            self._last += 1
            path = self._directory / f"{self._last:010}"
            try:
                with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                    file.write(body)
            except OSError:
                path.unlink(missing_ok=True)
                raise
            self._take(self._last, entry, size_bytes)
            return True

    def forget_new(self, inode: int) -> None:
        """The inode's number may be another file's from now on."""
        self._saved.pop(inode, None)

    def of(self, is_wanted: Callable[[Entry], bool]) -> list[tuple[int, Entry]]:
        """Entries by number, the newest first: the order in which they are undone."""
        return [(number, entry) for number, (entry, _) in reversed(self._entries.items()) if is_wanted(entry)]

    def disk_bytes(self, number: int) -> int:
        """What an entry takes on disk."""
        return self._entries[number][1]

    def data(self, number: int) -> bytes:
        """What was there. Raises OSError, ValueError."""
        return _read(self._directory / f"{number:010}")[1]

    def drop(self, numbers: Iterable[int]) -> None:
        """Entries that were undone, or that nobody wants any more."""
        with self._lock:
            for number in numbers:
                self._drop(number)

    def expire(self) -> None:
        """Drop what is past its time, but what suspects, and mounts before this one, have left behind."""
        with self._lock:
            self._expire()

    def _expire(self) -> None:
        self._expired_s = now_s = time.time()
        for number, (entry, _) in list(self._entries.items()):
            if entry.time_s < now_s - LIVES_S and entry.ref not in self._suspected:
                self._drop(number)

    def _make_room(self, size_bytes: int) -> None:
        while self._entries and (self.used_bytes + size_bytes > self._limit_bytes or len(self._entries) >= ENTRIES_MAX):
            quiet = (number for number, (entry, _) in self._entries.items() if entry.ref not in self._suspected)
            self._drop(next(quiet, next(iter(self._entries))))
            self._on_dropped()

    def _take(self, number: int, entry: Entry, size_bytes: int) -> None:
        self._entries[number] = (entry, size_bytes)
        self.used_bytes += size_bytes
        if entry.kind is Kept.RANGE:
            self._saved.setdefault(entry.inode, set()).add(entry.offset // BLOCK_BYTES)
        elif entry.kind is Kept.WHOLE:
            self._saved.setdefault(entry.inode, set()).add(-1)

    def _drop(self, number: int) -> None:
        found = self._entries.pop(number, None)
        if found is None:
            return
        entry, size_bytes = found
        self.used_bytes -= size_bytes
        if entry.kind is not Kept.RENAME:
            self._saved.pop(entry.inode, None)
        try:
            os.unlink(self._directory / f"{number:010}")
        except OSError as error:
            log.debug("an undo copy cannot be removed: %s", error)

    def _find(self) -> None:
        """What a former mount kept. A file that is no whole entry is removed."""
        for path in sorted(self._directory.iterdir()):
            try:
                number = int(path.name)
                entry, _ = _read(path)
                self._take(number, entry, -(-path.stat().st_size // 4096) * 4096)
            except (OSError, ValueError, TypeError, KeyError):
                log.warning("an undo copy is damaged: %s", path.name)
                path.unlink(missing_ok=True)
        self._suspected = {entry.ref for entry, _ in self._entries.values()}


def _read(path: Path) -> tuple[Entry, bytes]:
    """An entry and its bytes. Raises OSError, ValueError, TypeError, KeyError."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(4), "little")
        if not 0 < length <= _HEADER_BYTES_MAX:
            raise ValueError("no header")
        header = msgpack.unpackb(file.read(length))
        if not isinstance(header, dict):
            raise ValueError("no header")
        return Entry(**{**header, "kind": Kept(header["kind"])}), file.read()
