"""The loop in the mount: what it reads off the metrics, what it tells, and what a failure leaves behind."""

import pytest
import trio
import trio.testing

from llmfs.control_loop import ControlLoop, reading_of
from llmfs.metrics import Metrics
from llmfs.policy.partition import Partition
from predictor.control.arms import ARMS, SAFE, Arm
from predictor.control.state import Observer, Row
from predictor.control.steering import DECIDE_S


class Wants:
    """Wants one arm, or fails when it is asked."""

    name = "wants"

    def __init__(self, arm: int, fails_at: int = -1) -> None:
        self._arm = arm
        self._left = fails_at

    def choose(self, row: Row, seen: Observer, arm: int) -> int:
        self._left -= 1
        if self._left == 0:
            raise ZeroDivisionError
        return self._arm


def _busy(metrics: Metrics) -> tuple[int, int, int]:
    metrics.reads[next(iter(metrics.reads))].inc()  # a mount that nobody reads is left alone
    return (3, 2, 1)


def test_the_reading_is_what_was_counted() -> None:
    metrics = Metrics()
    metrics.observe_source("read", 0.5, 0, 4096)
    metrics.observe_source("lookup", 0.25, 0)
    metrics.prefetched("data", "history", 4096)
    metrics.prefetch_used("data", "history", was_late=False, size_bytes=1024)
    metrics.evicted("capacity", 2048, "history")
    metrics.demand_fetched_bytes.inc(512)
    reading = reading_of(metrics, 7.0, (3, 2, 1))
    assert (reading.time_s, reading.queue, reading.demand_busy, reading.running) == (7.0, 3, 2, 1)
    assert (reading.ahead_bytes, reading.used_bytes, reading.wasted_bytes) == (4096, 1024, 2048)
    assert reading.demand_bytes == 512
    assert reading.calls == (1, 1) and reading.call_s == (0.25, 0.5)


def test_an_arm_is_told_once_it_is_in_force(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    metrics, told = Metrics(), list[Arm]()
    loop = ControlLoop(Wants(4), metrics, told.append, lambda: _busy(metrics), (), ())
    for second in range(6):
        loop.look(float(second))
    assert told == [ARMS[4]]
    assert caplog.messages == [f"prefetching is {ARMS[4].name} from here on"]
    assert loop.described() == {"controller": "wants", "arm": ARMS[4].name, "changes": 1, "short_of": []}


class Divided:
    """A cache that is divided anew at the second look."""

    def __init__(self) -> None:
        self.partition = Partition(1 << 30)
        self.looks = 0

    def divide(self) -> bool:
        self.looks += 1
        if self.looks == 2:
            self.partition.shares, self.partition.gain = {77: 0.25}, 0.05
        return self.looks == 2


def test_a_division_of_the_cache_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    metrics, cache = Metrics(), Divided()
    loop = ControlLoop(Wants(0), metrics, lambda arm: None, lambda: _busy(metrics), (), (), cache=cache)
    with caplog.at_level("INFO"):
        for second in range(3):
            loop.look(float(second))
    assert caplog.messages == ["the cache is divided anew: process group 77: 25%"]
    assert metrics.registry.get_sample_value("llmfs_control_sharers") == 1
    assert metrics.registry.get_sample_value("llmfs_control_share_gain_ratio") == 0.05
    assert metrics.registry.get_sample_value("llmfs_control_share_changes_total") == 1


def test_nobody_keeps_a_share_when_the_controller_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    metrics, cache = Metrics(), Divided()
    loop = ControlLoop(Wants(4, fails_at=6), metrics, lambda arm: None, lambda: _busy(metrics), (), (), cache=cache)
    trio.run(_run, loop, 20 * DECIDE_S, clock=trio.testing.MockClock(autojump_threshold=0))
    assert cache.looks > 2 and cache.partition.shares == {}


async def _run(loop: ControlLoop, seconds: float) -> None:
    with trio.move_on_after(seconds):
        await loop.run()


def test_a_controller_that_fails_leaves_the_safe_arm(caplog: pytest.LogCaptureFixture) -> None:
    metrics, told = Metrics(), list[Arm]()
    loop = ControlLoop(Wants(4, fails_at=6), metrics, told.append, lambda: _busy(metrics), (), ())
    trio.run(_run, loop, 20 * DECIDE_S, clock=trio.testing.MockClock(autojump_threshold=0))
    assert told == [ARMS[4], ARMS[SAFE]]
    assert metrics.faults["control"].value == 1
    assert loop.described()["arm"] == ARMS[SAFE].name
    assert "prefetching goes on without it" in caplog.text
