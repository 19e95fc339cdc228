"""Writes the recorder's batches to the trace on disk, from a thread, dropping what it cannot keep up with."""

import logging
import os
import threading
from collections.abc import Callable

import numpy as np

from llmfs.recorder import Batch
from predictor.events import ACCESS
from predictor.trace import TraceError, TraceWriter

log = logging.getLogger(__name__)

GATHER_S = 0.5
"""How long accesses are gathered before they are written: what a kill of the mount loses at most."""

WAITING_LIMIT_RECORDS = 1 << 18
"""10 MiB in memory. The thread is far behind then, and records are dropped."""


class TraceLog:
    """The trace of a mount: bounded in memory and on disk, and nobody ever waits for it."""

    def __init__(
        self,
        directory: "str | os.PathLike[str]",
        limit_bytes: int,
        on_dropped: Callable[[int], None],
        on_fault: Callable[[], None],
        waiting_limit_records: int = WAITING_LIMIT_RECORDS,
    ) -> None:
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._on_dropped = on_dropped
        self._on_fault = on_fault
        self._waiting_limit_records = waiting_limit_records
        self._lock = threading.Lock()
        self._waiting: list[Batch] = []
        self._waiting_records = 0
        self._wake = threading.Event()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trace-log", daemon=True)
        self._thread.start()

    def append(self, batch: Batch) -> None:
        """Keep a batch, soon. Where too many are waiting only its dictionary entries are kept."""
        paths, streams, records = batch
        count = len(records) // ACCESS.itemsize
        with self._lock:
            if self._waiting_records + count > self._waiting_limit_records:
                self._on_dropped(count)
                records, count = b"", 0
            self._waiting.append((paths, streams, records))
            self._waiting_records += count
        if not self._wake.is_set():
            self._wake.set()

    def close(self) -> None:
        """Write what is waiting."""
        self._end.set()
        self._wake.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        try:
            with TraceWriter(self._directory, self._limit_bytes) as writer:
                while not self._end.is_set():
                    self._wake.wait()
                    self._end.wait(GATHER_S)
                    self._wake.clear()
                    self._write(writer)
                self._write(writer)
        except (OSError, TraceError) as error:
            self._on_fault()
            log.warning("the trace is no longer written: %s", error)
            while not self._end.wait(GATHER_S):
                self._take()

    def _write(self, writer: TraceWriter) -> None:
        paths, streams, records = self._take()
        writer.append(paths, streams, np.frombuffer(records, ACCESS))
        writer.flush()

    def _take(self) -> Batch:
        """All that is waiting, as one batch."""
        with self._lock:
            waiting, self._waiting, self._waiting_records = self._waiting, [], 0
        return (
            [path for batch in waiting for path in batch[0]],
            [stream for batch in waiting for stream in batch[1]],
            b"".join(batch[2] for batch in waiting),
        )
