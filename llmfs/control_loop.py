"""Steers prefetching: once in `DECIDE_S` the metrics are read, the controller is asked, the prefetcher is told.

As often it is judged anew what programs that compete are to have of the cache (`policy/partition.py`).

While memory is short (`pressure.py`) the most careful arm is on, whoever steers, and while cores are contended none
that is bolder than the contended one. The predictor is told both, for its trainings.

What decides is pure (`predictor/control`); this reads and tells. A failure leaves the safe arm on and ends the loop:
without it the mount is what it was before there was a controller.
"""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import trio

from llmfs.config import Control
from llmfs.counter import Count
from llmfs.metrics import NAMES, Metrics
from llmfs.policy.partition import Partition
from llmfs.pressure import PRESSED_PERCENT, Contention, own_files, some_percent
from predictor.control import network
from predictor.control.arms import ARMS, SAFE, Arm
from predictor.control.rules import Rules
from predictor.control.state import FEATURES, Reading
from predictor.control.steering import DECIDE_S, Controller, Steering
from predictor.events import Tier

log = logging.getLogger(__name__)


class Divisible(Protocol):
    """A cache that programs share (`block_cache.py`)."""

    def divide(self) -> bool: ...

    @property
    def partition(self) -> Partition: ...


class ControlLoop:
    """Runs a controller beside a mount."""

    def __init__(
        self,
        controller: Controller,
        metrics: Metrics,
        steer: Callable[[Arm], None],
        gauges: Callable[[], tuple[int, int, int]],
        pressure: tuple[Path, ...] | None = None,
        contention: tuple[Path, ...] | None = None,
        on_pressure: Callable[[bool, bool], None] = lambda is_pressed, is_contended: None,
        cache: Divisible | None = None,
    ) -> None:
        """`steer(arm)` puts an arm into force; `gauges()`: prefetches waiting, programs' calls, prefetches running.

        `pressure`, `contention`: the files that tell how short memory is, and cores are (default: the machine's and our
        control group's). `on_pressure(is_pressed, is_contended)` hears of each change. `cache`: what is to be divided.
        """
        self._steering = Steering(controller)
        self._metrics = metrics
        self._steer = steer
        self._gauges = gauges
        self._pressure = own_files() if pressure is None else pressure
        self._cores = own_files("cpu") if contention is None else contention
        self._contention = Contention()
        self._on_pressure = on_pressure
        self._cache = cache
        self._told = (False, False)
        metrics.control_is(ARMS[SAFE].name)

    def described(self) -> dict[str, Any]:
        """For `llmfs status`."""
        steering = self._steering
        short = [name for name, is_short in zip(("memory", "cores"), self._told, strict=True) if is_short]
        return {
            "controller": steering.controller.name,
            "arm": ARMS[steering.arm].name,
            "changes": steering.changes,
            "short_of": short,
        }

    async def run(self) -> None:
        """Look and decide until cancelled."""
        try:
            while True:
                await trio.sleep(DECIDE_S)
                self.look(time.monotonic())
        except Exception:  # a bug of ours in what only makes things better must not take the mount down
            log.exception("the controller failed: prefetching goes on without it")
            self._metrics.faults["control"].inc()
            self._steering.arm = SAFE
            self._take(SAFE)
            self._on_pressure(False, False)
            if self._cache is not None:
                self._cache.partition.end()

    def look(self, now_s: float) -> None:
        """One decision."""
        is_pressed, is_contended = self._look_at_pressure()
        decision = self._steering.look(reading_of(self._metrics, now_s, self._gauges()), is_pressed, is_contended)
        self._metrics.control_decisions.inc()
        if log.isEnabledFor(logging.DEBUG) and decision.row is not None:
            row = ", ".join(f"{name} {value:.2f}" for name, value in zip(FEATURES, decision.row, strict=True))
            log.debug("arm %s, wanted %s: %s", decision, ARMS[decision.wanted].name, row)
        if decision.was_changed:
            self._take(decision.arm)
        if self._cache is not None:
            self._divide(self._cache)

    def _divide(self, cache: Divisible) -> None:
        is_changed, partition = cache.divide(), cache.partition
        self._metrics.cache_is_divided(len(partition.shares), partition.gain, is_changed)
        if is_changed:
            shares = (f"process group {group}: {share:.0%}" for group, share in partition.shares.items())
            log.info("the cache is divided anew: %s", ", ".join(shares) or "nobody has a share")

    def _look_at_pressure(self) -> tuple[bool, bool]:
        """Whether memory is short, and cores are contended. The kernel answers from memory."""
        memory, cores = some_percent(self._pressure), some_percent(self._cores)
        found = memory >= PRESSED_PERCENT, self._contention.look(cores)
        self._metrics.pressure_is(memory, cores, *found)
        if found != self._told:
            self._told = found
            self._on_pressure(*found)
        return found

    def _take(self, arm: int) -> None:
        log.info("prefetching is %s from here on", ARMS[arm].name)
        self._steer(ARMS[arm])
        self._metrics.control_is(ARMS[arm].name)


def controller_of(control: Control, learned_dir: Path) -> Controller | None:
    """Who steers; None for nobody. What `llmfs train-controller` made for this cache goes before what is shipped.

    Without usable weights the rules do.
    """
    if control is Control.OFF:
        return None
    learned = network.first_of(learned_dir / network.NAME, network.SHIPPED) if control is Control.LEARNED else None
    if control is Control.LEARNED and learned is None:
        log.warning(
            "there are no weights for the learned controller, which llmfs train-controller makes: the rules steer"
        )
    return learned or Rules()


def reading_of(metrics: Metrics, now_s: float, gauges: tuple[int, int, int]) -> Reading:
    """The metrics as the controller sees them. `gauges` as in ControlLoop."""
    names = [metrics.source[name] for name in NAMES]
    data = metrics.source["read"]
    queue, demand_busy, running = gauges
    return Reading(
        time_s=now_s,
        stall_s=sum(metrics.stall_seconds().values()),
        reads=_sum(metrics.reads),
        hits=int(metrics.reads[Tier.CACHE].value),
        ahead_bytes=_sum(metrics.prefetch_issued_bytes),
        demand_bytes=int(metrics.demand_fetched_bytes.value),
        used_bytes=_sum(metrics.prefetch_in_time_bytes) + _sum(metrics.prefetch_late_bytes),
        wasted_bytes=_sum(metrics.prefetch_unused_bytes),
        calls=(sum(each.count for each in names), data.count),
        call_s=(sum(each.sum for each in names), data.sum),
        queue=queue,
        demand_busy=demand_busy,
        running=running,
        name_floor_s=metrics.name_floor.seconds,
        transfers_s=(metrics.transfers.took_s, metrics.transfers.alone_s),
    )


def _sum(counters: Mapping[Any, Count]) -> int:
    return sum(int(count.value) for count in counters.values())
