"""Turns at reading requests: none is left unread because another one waits, and all tasks hear of the end."""

import inspect
import itertools
import random
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pyfuse3
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from llmfs import request_reader


class Session:
    """pyfuse3's loop (internal.pxi, `_wait_fuse_readable` and `_session_loop`, 3.5), over a socket instead of FUSE."""

    def __init__(
        self, answer: Callable[[bytes], Coroutine[Any, Any, None]], min_tasks: int = 1, max_tasks: int = 99
    ) -> None:
        self.kernel, self._ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)
        self.trio = request_reader._Trio()
        self._answer = request_reader._handing_on(answer, self.trio.turn)
        self._limits = (1, max_tasks)
        self._lock = self.trio.Lock()
        self._readers = 0
        self.tasks = 0
        self.received: list[bytes] = []
        self.readers_of: list[str] = []
        self._is_over = False

    async def _wait_readable(self) -> bool:
        self._readers += 1
        try:
            async with self._lock:
                if self._is_over:
                    return False
                await self.trio.lowlevel.wait_readable(self._ours.fileno())
        finally:
            self._readers -= 1
        return True

    async def _loop(self, nursery: trio.Nursery) -> None:
        min_tasks, max_tasks = self._limits
        while not self._is_over:
            if self._readers > min_tasks:
                break
            if not await self._wait_readable():
                break
            request = self._ours.recv(100)
            if not self._readers and self.tasks < max_tasks:
                self.tasks += 1
                nursery.start_soon(self._loop, nursery)
            if not request:
                self._is_over = True
                break
            self.received.append(request)
            self.readers_of.append(str(id(trio.lowlevel.current_task())))
            await self._answer(request)
        self.tasks -= 1

    async def run(self) -> None:
        with self.kernel, self._ours:
            async with trio.open_nursery() as nursery:
                self.tasks = 1
                nursery.start_soon(self._loop, nursery)


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(2, 20), st.integers(0, 99))
@settings(deadline=None)
def test_every_request_is_read_and_all_tasks_end(kinds: list[int], max_tasks: int, seed: int) -> None:
    """Kinds: answered at once, after a pass of the loop, after a while, or when a later one was answered."""
    dice = random.Random(seed)
    answered: list[bytes] = []
    gate = trio.Event()

    async def answer(request: bytes) -> None:
        kind = int(request.split()[1])
        if kind == 1:
            await trio.lowlevel.checkpoint()
        elif kind == 2:
            await trio.sleep(dice.random() * 0.003)
        elif kind == 3 and kinds.count(3) < max_tasks - 1:
            await gate.wait()
        answered.append(request)

    session = Session(answer, max_tasks=max_tasks)

    async def main() -> None:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.run)
                for number, kind in enumerate(kinds):
                    session.kernel.send(b"%d %d" % (number, kind))
                    if not dice.randrange(3):
                        await trio.testing.wait_all_tasks_blocked()
                while len(session.received) < len(kinds):
                    await trio.sleep(0.0005)
                gate.set()
                while len(answered) < len(kinds):
                    await trio.sleep(0.0005)
                session.kernel.close()
        assert session.tasks == 0 and len(answered) == len(kinds)

    trio.run(main)


def test_requests_that_are_answered_at_once_are_read_by_one_task(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(request_reader.time, "perf_counter", lambda: next(clock) * 1e-6)

    async def answer(request: bytes) -> None:
        pass

    session = Session(answer)

    async def main() -> None:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.run)
                await trio.testing.wait_all_tasks_blocked()
                for number in range(100):
                    session.kernel.send(b"%d" % number)
                while len(session.received) < 100:
                    await trio.sleep(0.001)
                session.kernel.close()

    trio.run(main)
    assert len(set(session.readers_of)) == 1


@pytest.mark.parametrize("waits", [False, True])
def test_what_is_left_to_do_is_done_after_the_answer_and_before_the_next(waits: bool) -> None:
    """Also where the one who answered ends, as others read already, and no request comes after the last one."""
    happened: list[tuple[str, bytes]] = []
    several = 8
    everybody_is_in = trio.Event()

    async def answer(request: bytes) -> None:
        afterwards = session.trio.turn.afterwards
        if waits:
            if len(session.received) == several:
                everybody_is_in.set()
            await everybody_is_in.wait()
        afterwards(lambda: happened.append(("first", request)))
        afterwards(lambda: happened.append(("second", request)))
        happened.append(("answered", request))

    session = Session(answer)

    async def main() -> None:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.run)
                nursery.start_soon(session.trio.turn.afterwards.tend)
                for number in range(several):
                    session.kernel.send(b"%d" % number)
                while len(happened) < 3 * several:
                    await trio.sleep(0.001)
                assert not waits or session.tasks < several  # some have ended
                session.kernel.close()
                nursery.cancel_scope.cancel()

    trio.run(main)
    for number in range(several):
        assert [what for what, request in happened if request == b"%d" % number] == ["answered", "first", "second"]
    if not waits:
        assert happened == sorted(happened, key=lambda each: each[1])


def test_what_fails_afterwards_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    afterwards = request_reader._Trio().turn.afterwards
    done: list[int] = []
    afterwards(lambda: 1 // 0)
    afterwards(done.append, 1)
    afterwards.run()
    assert done == [1] and "ZeroDivisionError" in caplog.text


def test_others_run_while_requests_keep_coming() -> None:
    passes = 0

    async def answer(request: bytes) -> None:
        session.kernel.send(b"more")  # the program always has another one

    session = Session(answer)

    async def main() -> None:
        nonlocal passes
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.run)
                session.kernel.send(b"first")
                while passes < 20:
                    await trio.lowlevel.checkpoint()
                    passes += 1
                nursery.cancel_scope.cancel()

    trio.run(main)
    assert passes == 20 and len(session.received) > 20


class Throttled(pyfuse3.Operations):
    """Waits outside of what its own decorators see, as a guard does."""

    async def statfs(self, ctx: pyfuse3.RequestContext) -> Any:
        await trio.lowlevel.checkpoint()
        return "answer"


def test_every_handler_hands_the_turn_on_where_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyfuse3, "trio", trio, raising=False)
    handed_on = []
    monkeypatch.setattr(request_reader._stand_in.turn, "hand_on", lambda: handed_on.append(True))
    operations = Throttled()
    request_reader.take_turns(operations)
    handlers = [name for name, each in vars(pyfuse3.Operations).items() if inspect.iscoroutinefunction(each)]
    assert len(handlers) > 20 and set(handlers) <= set(vars(operations))

    async def main() -> Any:
        return await operations.statfs(None)  # type: ignore[arg-type]

    assert trio.run(main) == "answer" and handed_on == [True]
