"""The figures that the live page shows, gathered from a mount's parts on its event loop: a few milliseconds."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import trio
from prometheus_client import Gauge

from llmfs.activity import PLANS_LOOKED_AT
from llmfs.decisions import Decision
from llmfs.metrics import TIERS, Metrics
from llmfs.web.history import EVERY_S, Counters, History
from llmfs.web.predictions import stream

ACTIVITY_S = 60.0


class Figures:
    """Keeps the history of a mount, and tells what it looks like now."""

    def __init__(
        self,
        status: Callable[[], Mapping[str, Any]],
        metrics: Metrics,
        activity: Callable[[float], Mapping[str, Any]],
        plans: Callable[[int], Sequence[tuple[bytes, Decision]]],
        decisions_of: Callable[[bytes], Sequence[Decision]],
        used_since: Callable[[float], Callable[[bytes], float]],
    ) -> None:
        """`activity` of the last seconds; `plans`, the latest first; `decisions_of` a path, and when it was used last
        since a time.
        """
        self._status = status
        self._metrics = metrics
        self._activity = activity
        self._plans = plans
        self._decisions_of = decisions_of
        self._used_since = used_since
        self._reads = [metrics.request["read"][tier] for tier in TIERS]
        self._history = History(self._reads[0].bounds)

    async def run(self) -> None:
        """Take samples until cancelled."""
        while True:
            self._history.add(time.time(), self._counters())
            await trio.sleep(EVERY_S)

    def gather(self) -> dict[str, Any]:
        """All that the page shows, as JSON can hold it."""
        now_s, status = time.time(), self._status()
        plans = self._plans(PLANS_LOOKED_AT)
        used_at_s = self._used_since(plans[-1][1].at_s if plans else now_s)
        return {
            "status": status,
            "history": self._history.columns(),
            "activity": self._activity(ACTIVITY_S),
            "predictions": stream(plans, self._decisions_of, used_at_s, now_s),
            "health": health(status, self._metrics),
        }

    def _counters(self) -> Counters:
        status = self._status()
        totals = {
            **{f"reads_{tier}": float(status["reads"][tier]) for tier in TIERS.values()},
            **{f"bytes_{tier}": float(status["read_bytes"][tier]) for tier in TIERS.values()},
            "prefetched_bytes": float(status["prefetch"]["issued_bytes"]),
            "suffered_s": status["waiting"]["suffered_s"],
            "saved_s": status["waiting"]["saved_by_prefetching_s"],
        }
        return Counters(totals, [sum(counts) for counts in zip(*(each.counts for each in self._reads), strict=True)])


def health(status: Mapping[str, Any], metrics: Metrics) -> list[dict[str, Any]]:
    """What is well, and what is not, in words."""
    state, cache = str(status["predictor_state"]), status["cache"]
    stuck = int(_value(metrics.source_stuck))
    errors = int(status["source_calls"]["errors"])
    corrupt = int(metrics.corrupt_blocks.value)
    dropped = int(metrics.accesses_dropped.value)
    faults = {part: int(count.value) for part, count in metrics.faults.items() if count.value}
    is_up = {part: bool(_value(gauge)) for part, gauge in metrics.cache_up.items()}
    told = [
        (state != "down", f"predictor: {state}"),
        (bool(_value(metrics.source_up)), "source is there" if _value(metrics.source_up) else "source is not there"),
        (not stuck, f"{stuck} calls on the source hang" if stuck else "no call on the source hangs"),
        (not errors, f"{errors:,} calls on the source failed" if errors else "no call on the source failed"),
        (all(is_up.values()), "cache in use" if all(is_up.values()) else "cache is passed by: see the log"),
        (not corrupt, f"{corrupt:,} damaged blocks" if corrupt else "no damaged blocks"),
        (not dropped, f"{dropped:,} accesses not learned from" if dropped else "every access was learned from"),
        (
            not faults,
            "passed over: " + ", ".join(f"{count} of {part}" for part, count in faults.items())
            if faults
            else "no faults passed over",
        ),
        (True, f"{cache['used_bytes'] / max(cache['limit_bytes'], 1):.0%} of the cache used"),
    ]
    return [{"is_good": is_good, "text": text} for is_good, text in told]


def _value(gauge: Gauge) -> float:
    """A gauge's value, that of its function where it has one."""
    return float(next(iter(gauge.collect())).samples[0].value)
