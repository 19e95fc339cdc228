"""The access log: what programs did, off the reply path.

`record` appends 40 bytes to a buffer and returns. A task hands full or aged buffers on, to the predictor and to the
trace on disk; whoever is behind loses batches, which is counted, and nobody ever waits for them. Paths and streams go
along as dictionaries, each entry once.

Numbers are given out in order and never twice, and what they stand for is remembered for a while only: when
`PATHS_IN_USE` paths are near (predictor.events) all are forgotten, and those that are used again get new numbers. So
the names of 50,000 paths at most are in memory, about 12 MB, whatever the number of files.
"""

import os
import struct
import time
from collections.abc import Callable

import trio

from llmfs.inodes import Inode
from predictor.events import PATHS_IN_USE, ROOT, STREAMS_IN_USE, PathTable

BATCH_RECORDS = 256
FLUSH_S = 0.004
"""How old an access may get before the predictor hears of it: about two operations of a 2 ms source."""

QUIET_FLUSH_S = 0.02
"""The same while nobody has to ask the source for anything: where all is cached nothing waits for the predictor, and
each batch and the plan that answers it cost the programs time."""

_COMMAND_BELIEVED_S = 0.25
"""A process may become another program by exec: its command is read again after so long."""

_STREAM_LIMIT = 4096
_STREAMS_MAX = STREAMS_IN_USE * 3 // 4
"""Numbers in use, of paths likewise: the rest of what a reader remembers is for what is still under way."""

_LAST_ID = 2**32 - 1
_DEPTH_LIMIT = 100_000
"""No tree is so deep; directories that were moved about behind our back might seem to contain each other."""

_RECORD = struct.Struct("<QQIIIIBBHI")

Batch = tuple[list[tuple[int, int, bytes]], list[tuple[int, int, str]], bytes]
"""New paths (id, parent, name), new streams (id, tgid, command), records (predictor.events.ACCESS)."""


class Recorder:
    """Collects accesses and hands them on in batches."""

    def __init__(
        self,
        take: Callable[[Batch], None],
        on_process: Callable[[int, int], None] | None = None,
        paths_in_use: int = PATHS_IN_USE,
        is_quiet: Callable[[], bool] = lambda: False,
    ) -> None:
        """`take` gets each batch and must not block. `on_process(stream, tgid)` hears of each new stream, at once.

        `paths_in_use`: the numbers that who is told them remembers. `is_quiet()`: whether the source is not asked for
        anything just now, neither by programs nor ahead of them.
        """
        self._take = take
        self._on_process = on_process
        self._is_quiet = is_quiet
        self._records = bytearray()
        self._new_paths: list[tuple[int, int, bytes]] = []
        self._new_streams: list[tuple[int, int, str]] = []
        self._paths = PathTable()
        self._path_epoch = 0
        self._paths_max = paths_in_use * 3 // 4
        self._streams: dict[tuple[int, str], int] = {}
        self._processes: list[tuple[int, str]] = []
        self._first_stream = 1
        self._stream_of_pid: dict[int, tuple[float, int]] = {}
        self._wake = trio.Event()
        self.recorded = 0

    def record(
        self,
        op: int,
        tier: int,
        path_id: int,
        stream: int,
        started_s: float,
        offset: int = 0,
        length: int = 0,
        flags: int = 0,
    ) -> None:
        """An access was answered. `started_s`: when it arrived, by time.perf_counter()."""
        latency_us = int((time.perf_counter() - started_s) * 1e6)
        self._records += _RECORD.pack(
            time.time_ns(),
            offset,
            length & 0xFFFFFFFF,
            min(latency_us, 0xFFFFFFFF),
            path_id,
            stream,
            op,
            tier,
            flags,
            0,
        )
        self.recorded += 1
        if len(self._paths) > self._paths_max:
            self._number_anew()
        if len(self._records) >= BATCH_RECORDS * _RECORD.size:
            self.flush()
        elif not self._wake.is_set():
            self._wake.set()

    def path_of(self, inode: Inode) -> int:
        """The path id of an inode."""
        if inode.path_id >= 0 and inode.path_epoch == self._path_epoch:
            return inode.path_id
        # From the nearest directory that has one downwards: a tree may be deeper than Python's stack.
        above: list[tuple[Inode, bytes]] = []
        while inode.place is not None and (inode.path_id < 0 or inode.path_epoch != self._path_epoch):
            if len(above) >= _DEPTH_LIMIT:
                return ROOT
            above.append((inode, inode.place[1]))
            inode = inode.place[0]
        path_id = ROOT if inode.place is None else inode.path_id
        for below, name in reversed(above):
            path_id = self._child(path_id, name)
            below.path_id, below.path_epoch = path_id, self._path_epoch
        return path_id

    def child_of(self, directory: Inode, name: bytes) -> int:
        """The path id of a name in a directory, there or not."""
        return self._child(self.path_of(directory), name)

    def _child(self, parent: int, name: bytes) -> int:
        known = self._paths.find(parent, name)
        if known is not None:
            return known
        if self._paths.next > _LAST_ID:
            return ROOT
        path_id = self._paths.intern(parent, name)
        self._new_paths.append((path_id, parent, name))
        return path_id

    def _number_anew(self) -> None:
        """All paths get new numbers as they are used again. What was recorded by the old ones is handed on first."""
        self.flush()
        self._paths = PathTable(self._paths.next)
        self._path_epoch += 1

    def path(self, inode: Inode) -> bytes:
        """The inode's path relative to the source."""
        return self._paths.path(self.path_of(inode))

    def path_by_id(self, path_id: int) -> bytes | None:
        """The path, relative to the source, that a number in a batch stands for; None where it is forgotten."""
        return self._paths.path(path_id) if path_id in self._paths else None

    def dictionary(
        self, last_path: int, last_stream: int, limit: int
    ) -> tuple[list[tuple[int, int, bytes]], list[tuple[int, int, str]]]:
        """The next paths and streams for a reader who was told those up to these ids, 0: none. At most `limit` of each.

        Ids are given out in order; those that are no longer in use are passed over. Nobody is told of the root, 0.
        """
        end = self._paths.next
        first_path = max(last_path + 1, end - len(self._paths) + 1)
        first_stream = max(last_stream + 1, self._first_stream)
        at = first_stream - self._first_stream
        return (
            [
                (path, self._paths.parent(path), self._paths.name(path))
                for path in range(first_path, min(first_path + limit, end))
            ],
            [(first_stream + n, *process) for n, process in enumerate(self._processes[at : at + limit])],
        )

    def moved(self) -> None:
        """A directory got another name: every path below it is another one."""
        self._path_epoch += 1

    def stream_of(self, pid: int) -> int:
        """The stream id of the process that a thread id belongs to."""
        now = time.monotonic()
        known = self._stream_of_pid.get(pid)
        if known is not None and now - known[0] < _COMMAND_BELIEVED_S:
            return known[1]
        key = _process_of(pid)
        stream = self._streams.get(key)
        if stream is None:
            if len(self._processes) >= _STREAMS_MAX:
                self._first_stream += len(self._processes)
                self._streams, self._processes, self._stream_of_pid = {}, [], {}
            stream = self._first_stream + len(self._processes)
            self._streams[key] = stream
            self._processes.append(key)
            self._new_streams.append((stream, *key))
            if self._on_process is not None:
                self._on_process(stream, key[0])
        if len(self._stream_of_pid) > _STREAM_LIMIT:
            self._stream_of_pid.clear()
        self._stream_of_pid[pid] = (now, stream)
        return stream

    def process_of(self, stream: int) -> tuple[int, str] | None:
        """Thread-group id and command of a stream, None where its number is no longer in use."""
        place = stream - self._first_stream
        return self._processes[place] if 0 <= place < len(self._processes) else None

    def flush(self) -> None:
        """Hand on what was recorded."""
        if not self._records:
            return
        batch = (self._new_paths, self._new_streams, bytes(self._records))
        self._new_paths, self._new_streams = [], []
        self._records = bytearray()
        self._take(batch)

    async def run(self) -> None:
        """Hand on what is recorded, some milliseconds after it was. Runs until cancelled."""
        while True:
            if not self._records:
                self._wake = trio.Event()
                await self._wake.wait()
            await trio.sleep(self._age_s())
            while self._records:  # while something comes all the time nobody has to wake us
                self.flush()
                await trio.sleep(self._age_s())

    def _age_s(self) -> float:
        return QUIET_FLUSH_S if self._is_quiet() else FLUSH_S


def _process_of(pid: int) -> tuple[int, str]:
    """Thread-group id and command of a thread, as far as /proc tells."""
    if pid <= 0:
        return 0, "kernel"
    try:
        fd = os.open(f"/proc/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
        try:
            status = os.read(fd, 512)
        finally:
            os.close(fd)
        command = status[len(b"Name:\t") : status.index(b"\n")]
        tgid_at = status.index(b"\nTgid:\t") + len(b"\nTgid:\t")
        tgid = int(status[tgid_at : status.index(b"\n", tgid_at)])
        return tgid, command.decode("utf-8", "replace")
    except (OSError, ValueError):
        return pid, ""
