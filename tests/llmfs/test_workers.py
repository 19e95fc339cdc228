"""Threads for the source: bounded, errors and results come back, calls that hang hold nobody up."""

import threading
import time

import pytest
import trio

from llmfs.workers import Workers


def test_results_and_errors_come_back_and_threads_are_bounded() -> None:
    running: list[int] = []
    most = 0
    lock = threading.Lock()

    def work(number: int) -> int:
        nonlocal most
        with lock:
            running.append(number)
            most = max(most, len(running))
        time.sleep(0.002)
        with lock:
            running.remove(number)
        if number % 5 == 0:
            raise OSError(number, "five")
        return number * number

    async def main() -> None:
        workers = Workers("test", 3)
        results: dict[int, int | OSError] = {}

        async def one(number: int) -> None:
            try:
                results[number] = await workers.run(work, number)
            except OSError as error:
                results[number] = error

        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(one, number)
        for number, result in results.items():
            if number % 5 == 0:
                assert isinstance(result, OSError) and result.errno == (number or 0)
            else:
                assert result == number * number
        assert len(results) == 40 and most <= 3 and workers.busy == 0

    trio.run(main)


def test_cancelled_call_is_left_to_itself() -> None:
    release = threading.Event()

    async def main() -> None:
        workers = Workers("test", 2)
        with trio.move_on_after(0.05) as scope:
            await workers.run(release.wait, 20)
        assert scope.cancelled_caught
        assert await workers.run(sum, [1, 2]) == 3
        release.set()
        assert workers.busy == 0

    trio.run(main)


def test_short_calls_are_made_here_only_while_the_source_is_fast() -> None:
    is_fast = True

    async def main() -> None:
        nonlocal is_fast
        workers = Workers("test", 1, lambda: is_fast)
        assert await workers.run_short(threading.get_ident) == threading.get_ident()
        is_fast = False
        assert await workers.run_short(threading.get_ident) != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await workers.run(divmod, 1, 0)

    trio.run(main)
