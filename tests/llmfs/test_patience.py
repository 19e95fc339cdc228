"""A request that is answered at once is not watched; one that waits is, and is given up for a reason."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest
import trio
import trio.testing

from llmfs.patience import Patience, has_deadly_signal


async def _answer(value: int) -> int:
    return value


async def _answer_after(seconds: float) -> str:
    await trio.sleep(seconds)
    await trio.lowlevel.checkpoint()
    return "late"


def test_answer_without_waiting_is_passed_through() -> None:
    async def main() -> int:
        return await Patience(None).watch(_answer(7), 0)

    assert trio.run(main) == 7


def test_answer_after_several_waits_is_passed_through(autojump_clock: trio.testing.MockClock) -> None:
    async def main() -> str:
        patience = Patience(5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(patience.run)
            answer = await patience.watch(_answer_after(4), 0)
            nursery.cancel_scope.cancel()
        return answer

    assert trio.run(main, clock=autojump_clock) == "late"


def test_errors_are_passed_through() -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(errno.ENOSPC, "full")

    async def main() -> None:
        await Patience(None).watch(fail(), 0)

    with pytest.raises(OSError, match="full"):
        trio.run(main)


def test_wait_beyond_the_timeout_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async def main() -> None:
        patience = Patience(2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(patience.run)
            try:
                await patience.watch(_answer_after(100), 0)
            finally:
                nursery.cancel_scope.cancel()

    with pytest.raises(BaseException) as caught:
        trio.run(main, clock=autojump_clock)
    assert _errno_of(caught.value) == errno.ETIMEDOUT


def _errno_of(error: BaseException) -> int | None:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error.errno if isinstance(error, OSError) else None


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0)


def test_pending_signal_of_a_stopped_process_is_seen() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        os.kill(child.pid, signal.SIGSTOP)
        assert not has_deadly_signal(child.pid)
        os.kill(child.pid, signal.SIGTERM)  # stays pending while it is stopped
        deadline_s = time.monotonic() + 10
        while not has_deadly_signal(child.pid):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    finally:
        child.kill()
        child.wait()
    assert not has_deadly_signal(child.pid)
