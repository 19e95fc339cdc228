"""Threads that wait for the source, so that the event loop never does.

There are two sets with limits of their own, demand and prefetch: what a program asked for never queues behind what
we only guess. A hop through `Workers.run` cost about 75 us when this was written, one through `trio.to_thread.run_sync`
115 us (5,000 `os.pread` calls each, in turn, on two cores); on the path of every miss that is worth a small file.

The threads are daemons: a call that hangs in the source must not keep the process from ending.
"""

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

import outcome
import trio

STUCK_S = 1.0
THREADS_AT_MOST = 512

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """A set of at most `limit` threads, started as they are needed."""

    def __init__(self, name: str, limit: int, is_inline: Callable[[], bool] = lambda: False) -> None:
        """`is_inline()`: whether short calls are answered from memory and a thread would cost more than they do."""
        self._name = name
        self._limit = limit
        self._is_inline = is_inline
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._threads = 0
        self._busy = 0
        self._running: dict[int, float] = {}  # by thread: since when its call runs
        self._token: trio.lowlevel.TrioToken | None = None

    @property
    def limit(self) -> int:
        return self._limit

    @property
    def is_inline(self) -> bool:
        """Whether short calls are made on the event loop at present."""
        return self._is_inline()

    @property
    def busy(self) -> int:
        """Calls queued or running."""
        return self._busy

    @property
    def stuck(self) -> int:
        """Calls that run for longer than `STUCK_S`. From any thread."""
        since = time.monotonic() - STUCK_S
        return sum(started < since for started in list(self._running.values()))

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `call(*args)` made in a thread; its exception is raised here.

        Cancelled, it is left to itself and its result is dropped: a source that hangs must not hold up an unmount.
        """
        if self._token is None:
            self._token = trio.lowlevel.current_trio_token()
        self._busy += 1
        self._grow()
        waiter: list[trio.lowlevel.Task] = [trio.lowlevel.current_task()]
        self._queue.put((call, args, kwargs, waiter))

        def abandon(_: Any) -> trio.lowlevel.Abort:
            waiter.clear()
            return trio.lowlevel.Abort.SUCCEEDED

        try:
            return await trio.lowlevel.wait_task_rescheduled(abandon)  # type: ignore[no-any-return]
        finally:
            self._busy -= 1

    async def run_short(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like `run`, but made right here while the source is local and fast."""
        if self._is_inline():
            return call(*args, **kwargs)
        return await self.run(call, *args, **kwargs)

    async def tend(self) -> None:
        """See to it that nothing waits behind calls that hang, until cancelled."""
        while True:
            await trio.sleep(STUCK_S / 4)
            while not self._queue.empty() and self._grow():
                pass

    def _grow(self) -> bool:
        """Start a thread where a call would have to wait for one, up to the limit. Calls that hang do not count."""
        if self._queue.qsize() < self._threads - len(self._running):
            return False
        # The calls that hang are counted only where they matter.
        if self._threads >= self._limit and self._threads - self.stuck >= self._limit:
            return False
        if self._threads >= THREADS_AT_MOST:
            return False
        assert self._token is not None
        self._threads += 1
        name = f"{self._name}-{self._threads}"
        threading.Thread(target=self._work, name=name, args=(self._token,), daemon=True).start()
        return True

    def _work(self, token: trio.lowlevel.TrioToken) -> None:
        take = self._queue.get
        me = threading.get_ident()
        while True:
            call, args, kwargs, waiter = take()
            self._running[me] = time.monotonic()
            result = outcome.capture(call, *args, **kwargs)
            del self._running[me]
            try:
                token.run_sync_soon(_deliver, waiter, result)
            except trio.RunFinishedError:
                return
            # Do not hold on to the last job's objects while waiting for the next.
            del call, args, kwargs, waiter, result


def _deliver(waiter: list[trio.lowlevel.Task], result: "outcome.Outcome[Any]") -> None:
    if waiter:
        trio.lowlevel.reschedule(waiter.pop(), result)
