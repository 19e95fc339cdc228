"""What a program and those that it starts read through this mount, gathered while they run: the makings of a profile.

Whose access one is, is told when its process is seen first: by going up from it to its parents in /proc, while it waits
for our answer and cannot be gone. A process that has left its parents behind (a daemon) is not counted in. What the
kernel has in its page cache never reaches us, so when a recording starts the pages of files that are opened from then
on are dropped; files that are open already keep theirs.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from llmfs.control import FILES_AT_ONCE
from llmfs.control_server import Session
from llmfs.inodes import FOREIGN, Inode
from llmfs.profile import FILES_MAX, Profile, Used
from llmfs.recorder import Batch
from predictor.events import ACCESS, Op

RECORDINGS_MAX = 8
"""At a time: each looks at every access."""

_DEPTH_MAX = 64
"""Of a family of processes: a longer one is not followed."""

_NAMES = (Op.LOOKUP, Op.ABSENT, Op.GETATTR, Op.OPEN, Op.READLINK)


class Recordings:
    """The recordings of one mount. `record` and `recorded` are handlers for `control_server.py`."""

    def __init__(
        self, path_of: Callable[[int], bytes | None], inodes: Callable[[], Iterable[Inode]], flush: Callable[[], None]
    ) -> None:
        """`path_of` a path's number; `inodes` in memory; `flush()` hands on the accesses that are gathered."""
        self._path_of = path_of
        self._inodes = inodes
        self._flush = flush
        self._running: dict[Session, _Recording] = {}

    @property
    def is_running(self) -> bool:
        """Whether anybody is being recorded."""
        return bool(self._running)

    async def record(self, request: Mapping[str, Any], figures: dict[str, Any], session: Session) -> None:
        """Record what the processes below the one that asks do from now on. Raises ValueError."""
        if session.pid <= 0:
            raise ValueError("the mount cannot see your processes: it lives in another PID namespace")
        if session in self._running:
            raise ValueError("it is being recorded already")
        if len(self._running) >= RECORDINGS_MAX:
            raise ValueError(f"{RECORDINGS_MAX} programs are being recorded already")
        self._flush()
        for inode in self._inodes():
            inode.kernel_generation = FOREIGN
        self._running[session] = _Recording(session.pid)
        session.undo.callback(self._running.pop, session, None)

    async def recorded(self, request: Mapping[str, Any], figures: dict[str, Any], session: Session) -> None:
        """The next files of the recording, none when all were told; the first time it ends there. Raises ValueError."""
        recording = self._running.get(session)
        if recording is None:
            raise ValueError("nothing is being recorded")
        if not recording.is_over:
            self._flush()
            recording.end()
        figures["files"] = recording.told(FILES_AT_ONCE)

    def seen(self, stream: int, tgid: int) -> None:
        """A process asks for the first time."""
        for recording in self._running.values():
            recording.seen(stream, tgid)

    def take(self, batch: Batch) -> None:
        """Some accesses, in their order."""
        for recording in self._running.values():
            recording.take(batch[2], self._path_of)


class _Recording:
    """What one family of processes does."""

    def __init__(self, ancestor: int) -> None:
        self._ancestor = ancestor
        self._streams: set[int] = set()
        self._profile = Profile(1)
        self._described: list[dict[str, Any]] = []
        self.is_over = False

    def seen(self, stream: int, tgid: int) -> None:
        if not self.is_over and is_below(tgid, self._ancestor):
            self._streams.add(stream)

    def take(self, batch: bytes, path_of: Callable[[int], bytes | None]) -> None:
        if self.is_over or not self._streams:
            return
        records = np.frombuffer(batch, ACCESS)
        for record in records[np.isin(records["stream"], list(self._streams))]:
            op = int(record["op"])
            if op not in (Op.READ, Op.READDIR, *_NAMES):
                continue
            name = path_of(int(record["path"]))
            if name is None:
                continue
            note(self._profile, os.fsdecode(name), op, int(record["offset"]), int(record["length"]))

    def end(self) -> None:
        self.is_over = True
        for used in self._profile.files.values():
            used.tidy()
        self._described = self._profile.described()[::-1]
        self._profile = Profile()

    def told(self, count: int) -> list[dict[str, Any]]:
        told, self._described = self._described[: -count - 1 : -1], self._described[:-count]
        return told


def note(profile: Profile, path: str, op: int, offset: int, length: int) -> None:
    """An access to a path goes into a profile, as far as that has room for another path."""
    used = profile.files.get(path)
    if used is None:
        if len(profile.files) >= FILES_MAX:
            return
        used = profile.files[path] = Used()
    if op == Op.READ and length:
        used.add(offset, length)
    used.is_listed |= op == Op.READDIR


def is_below(pid: int, ancestor: int) -> bool:
    """Whether a process descends from another one, as far as /proc tells."""
    for _ in range(_DEPTH_MAX):
        pid = _parent(pid)
        if pid in (ancestor, 0):
            break
    return pid == ancestor


def _parent(pid: int) -> int:
    """The parent of a process, 0 where there is none: see proc_pid_stat(5)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
