"""Threads that wait for the source, so that the event loop never does.

There are two sets with limits of their own, demand and prefetch: what a program asked for never queues behind what
we only guess. A hop through `Workers.run` costs about 75 us on the reference machine, `trio.to_thread.run_sync` 115 us
(`python -m bench.hop` repeats it); on the path of every miss that is worth a small file of our own.

The threads are daemons: a call that hangs in the source must not keep the process from ending.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

import outcome
import trio

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
        self._token: trio.lowlevel.TrioToken | None = None

    @property
    def limit(self) -> int:
        return self._limit

    @property
    def busy(self) -> int:
        """Calls queued or running."""
        return self._busy

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `call(*args)` made in a thread; its exception is raised here.

        Cancelled, it is left to itself and its result is dropped: a source that hangs must not hold up an unmount.
        """
        if self._token is None:
            self._token = trio.lowlevel.current_trio_token()
        self._busy += 1
        if self._busy > self._threads and self._threads < self._limit:
            self._threads += 1
            threading.Thread(
                target=self._work, name=f"{self._name}-{self._threads}", args=(self._token,), daemon=True
            ).start()
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

    def _work(self, token: trio.lowlevel.TrioToken) -> None:
        take = self._queue.get
        while True:
            call, args, kwargs, waiter = take()
            result = outcome.capture(call, *args, **kwargs)
            try:
                token.run_sync_soon(_deliver, waiter, result)
            except trio.RunFinishedError:
                return
            # Do not hold on to the last job's objects while waiting for the next.
            del call, args, kwargs, waiter, result


def _deliver(waiter: list[trio.lowlevel.Task], result: "outcome.Outcome[Any]") -> None:
    if waiter:
        trio.lowlevel.reschedule(waiter.pop(), result)
