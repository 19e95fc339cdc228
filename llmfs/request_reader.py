"""Whose turn it is to read the next request from /dev/fuse.

pyfuse3 has several tasks read requests, in turns: one waits for the kernel, the others for a lock. As soon as the
one has a request it hands the lock on, so each request costs two changes of tasks and two of what epoll watches, even
where its answer was in memory. Here the turn is handed on only when a handler waits for the first time, whatever for
(`_handing_on`), and a request that is there already is read without asking epoll.

What is left to do for a request when its answer is known (counting it, telling the rules and the predictor of it) is
done when the answer is on its way, while the program that waited for it goes on (`Afterwards`).

pyfuse3 looks up its `trio` at run time, so that it can be replaced (pyfuse3.asyncio does); `take_turns` puts this
module's stand-in there. The turns rely on how pyfuse3 3.x counts its tasks (internal.pxi, `_session_loop`, with the one
idle task that its `main` keeps by default): a task that comes back for more ends itself where two others are idle, so
while one reads one other waits at most, and who comes back to a turn that nobody has takes it. Where none is idle a new
task is made, which takes the turn when it starts, if it is free.
"""

import inspect
import logging
import select
import time
import types
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, TypeVarTuple

import pyfuse3
import trio

log = logging.getLogger(__name__)

Ts = TypeVarTuple("Ts")

LONGEST_TURN_S = 0.002
"""How long requests are read one after the other before all other tasks have a turn."""


class _Turn:
    """Stands in for the trio.Lock that pyfuse3 holds while it waits for a request."""

    def __init__(self) -> None:
        self.has_request = False
        self.afterwards = Afterwards(self)
        self._is_taken = False
        self._waiting: deque[trio.lowlevel.Task] = deque()

    @property
    def is_next_to_come(self) -> bool:
        """Whether the task that is answering comes back for the turn before any other task runs."""
        return not self._is_taken and len(self._waiting) < 2

    async def __aenter__(self) -> None:
        self.afterwards.run()
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


class Afterwards:
    """Calls that are made once the request is answered which is being answered, in their order."""

    def __init__(self, turn: _Turn) -> None:
        self._turn = turn
        self._calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._idle: trio.lowlevel.Task | None = None

    def __call__(self, call: Callable[[*Ts], object], *arguments: *Ts) -> None:
        """Have this called when the present handler has answered."""
        self._calls.append((call, arguments))
        if self._turn.is_next_to_come:
            return  # and does it
        if self._idle is not None:
            trio.lowlevel.reschedule(self._idle)
            self._idle = None

    def run(self) -> None:
        """Make the calls that are due. What one raises is nobody's answer any more."""
        while self._calls:
            calls, self._calls = self._calls, []
            for call, arguments in calls:
                try:
                    call(*arguments)
                except Exception:
                    log.exception("what was left to do for a request failed")

    async def tend(self) -> None:
        """See to those whose task does not come back for another request, until cancelled."""
        try:
            while True:
                self.run()
                self._idle = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._leave)
        finally:
            self.run()

    def _leave(self, _: Any) -> trio.lowlevel.Abort:
        self._idle = None
        return trio.lowlevel.Abort.SUCCEEDED


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

afterwards = _stand_in.turn.afterwards
"""Of the requests that pyfuse3 reads, which it does for one mount in a process."""


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
