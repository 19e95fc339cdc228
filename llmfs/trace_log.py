"""Writes the recorder's batches to the trace on disk, from a thread, dropping what it cannot keep up with."""

import logging
import os
import threading
from collections.abc import Callable
from queue import Empty, Full, Queue

import numpy as np

from llmfs.recorder import Batch
from predictor.events import ACCESS
from predictor.trace import TraceError, TraceWriter

log = logging.getLogger(__name__)

QUEUE_BATCHES = 256
IDLE_FLUSH_S = 1.0


class TraceLog:
    """The trace of a mount: bounded in memory and on disk, and nobody ever waits for it."""

    def __init__(self, directory: "str | os.PathLike[str]", limit_bytes: int, on_dropped: Callable[[int], None]) -> None:
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._on_dropped = on_dropped
        self._queue: Queue[Batch | None] = Queue(QUEUE_BATCHES)
        self._owed: Batch = ([], [], b"")
        self._thread = threading.Thread(target=self._write, name="trace-log", daemon=True)
        self._thread.start()

    def append(self, batch: Batch) -> None:
        """Keep a batch, soon. One that finds the queue full is dropped, all but its dictionary entries."""
        paths, streams, records = batch
        whole = (self._owed[0] + paths, self._owed[1] + streams, records)
        self._owed = ([], [], b"")
        try:
            self._queue.put_nowait(whole)
        except Full:
            self._owed = (whole[0], whole[1], b"")
            self._on_dropped(len(records) // ACCESS.itemsize)

    def close(self) -> None:
        """Write what is waiting."""
        self._queue.put(None)
        self._thread.join(timeout=5)

    def _write(self) -> None:
        try:
            with TraceWriter(self._directory, self._limit_bytes) as writer:
                while True:
                    try:
                        batch = self._queue.get(timeout=IDLE_FLUSH_S)
                    except Empty:
                        writer.flush()
                        batch = self._queue.get()
                    if batch is None:
                        return
                    paths, streams, records = batch
                    writer.append(paths, streams, np.frombuffer(records, ACCESS))
        except (OSError, TraceError) as error:
            log.warning("the trace is no longer written: %s", error)
            while self._queue.get() is not None:
                pass
