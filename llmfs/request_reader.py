"""Whose turn it is to read the next request from /dev/fuse.

pyfuse3 has several tasks read requests, in turns: one waits for the kernel, the others for a lock. As soon as the
one has a request it hands the lock on, so each request costs two changes of tasks and two of what epoll watches, even
where its answer was in memory. Here the turn is handed on only when a handler waits for the first time, whatever for
(`_handing_on`), and a request that is there already is read without asking epoll.

pyfuse3 looks up its `trio` at run time, so that it can be replaced (pyfuse3.asyncio does); `take_turns` puts this
module's stand-in there. The turns rely on how pyfuse3 3.x counts its tasks (internal.pxi, `_session_loop`, with the one
idle task that its `main` keeps by default): a task that comes back for more ends itself where two others are idle, so
while one reads one other waits at most, and who comes back to a turn that nobody has takes it. Where none is idle a new
task is made, which takes the turn when it starts, if it is free.
"""

import inspect
import select
import time
import types
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any

import pyfuse3
import trio

LONGEST_TURN_S = 0.002
"""How long requests are read one after the other before all other tasks have a turn."""


class _Turn:
    """Stands in for the trio.Lock that pyfuse3 holds while it waits for a request."""

    def __init__(self) -> None:
        self.has_request = False
        self._is_taken = False
        self._waiting: deque[trio.lowlevel.Task] = deque()

    async def __aenter__(self) -> None:
        if self._is_taken:
            task = trio.lowlevel.current_task()
            self._waiting.append(task)

            def abort(_: Any) -> trio.lowlevel.Abort:
                self._waiting.remove(task)
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        self._is_taken = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_taken = False
        if not self.has_request:
            self.hand_on()
        self.has_request = False

    def hand_on(self) -> None:
        """Let the next one read."""
        if self._waiting and not self._is_taken:
            self._is_taken = True
            trio.lowlevel.reschedule(self._waiting.popleft())


class _Trio:
    """What pyfuse3 uses of trio, with turns."""

    ClosedResourceError = trio.ClosedResourceError
    open_nursery = staticmethod(trio.open_nursery)
    current_task = staticmethod(trio.lowlevel.current_task)
    current_trio_token = staticmethod(trio.lowlevel.current_trio_token)
    notify_closing = staticmethod(trio.lowlevel.notify_closing)

    def __init__(self) -> None:
        self.lowlevel = self
        self.turn = _Turn()
        self._polls: dict[int, Any] = {}
        self._others_ran_s = 0.0

    def Lock(self) -> _Turn:  # noqa: N802  # trio's name
        return self.turn

    async def wait_readable(self, fd: int) -> None:
        events = self._events(fd)
        if not events or time.perf_counter() - self._others_ran_s > LONGEST_TURN_S:
            await trio.lowlevel.wait_readable(fd)
            self._others_ran_s = time.perf_counter()
            events = self._events(fd)
        self.turn.has_request = events == select.POLLIN  # else the connection has ended: all others are to hear of it

    def _events(self, fd: int) -> int:
        """What poll(2) says of it now; 0 where nothing is there to be read."""
        poll = self._polls.get(fd)
        if poll is None:
            poll = self._polls[fd] = select.poll()
            poll.register(fd, select.POLLIN)
        found = poll.poll(0)
        return found[0][1] if found else 0


_stand_in = _Trio()


def take_turns(operations: pyfuse3.Operations) -> None:
    """Have pyfuse3 read the requests to these operations as described above. To be called before pyfuse3.init."""
    pyfuse3.trio = _stand_in  # type: ignore[attr-defined]
    for name in dir(pyfuse3.Operations):
        handler = getattr(operations, name)
        if inspect.iscoroutinefunction(handler):
            setattr(operations, name, _handing_on(handler, _stand_in.turn))


def _handing_on(handler: Callable[..., Coroutine[Any, Any, Any]], turn: _Turn) -> Callable[..., Awaitable[Any]]:
    """The handler; where it has to wait, the next request is read meanwhile."""

    @types.coroutine
    def answer(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        coroutine = handler(*args, **kwargs)
        try:
            trap = coroutine.send(None)
            turn.hand_on()
            while True:
                try:
                    value = yield trap
                except BaseException as error:
                    trap = coroutine.throw(error)
                else:
                    trap = coroutine.send(value)
        except StopIteration as end:
            return end.value

    return answer
