"""What a mount did in the last minutes, a sample every `EVERY_S`: rates, waits and latencies, for plots.

Made of differences between counters that are there anyway, so nothing is done for it while requests are answered.
Pure: the time and the counters come in with each call.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

EVERY_S = 2.0
SAMPLES_MAX = 300
"""Ten minutes."""

DIGITS = 6
"""Of what is told: microseconds, of latencies in seconds."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What only grows, and how many requests fell into each bucket of the latency of reads."""

    totals: Mapping[str, float]
    latencies: Sequence[int]


class History:
    """The last samples, by column: a rate a second for each total, and quantiles of the latency of reads."""

    def __init__(self, bounds_s: Sequence[float]) -> None:
        """`bounds_s`: of the buckets of latencies, ascending, without infinity."""
        self._bounds_s = bounds_s
        self._last: tuple[float, Counters] | None = None
        self._samples: deque[dict[str, float | None]] = deque(maxlen=SAMPLES_MAX)

    def add(self, now_s: float, counters: Counters) -> None:
        """The counters as they are now; the first time there is nothing to compare them with."""
        if self._last is not None and now_s > self._last[0]:
            before_s, before = self._last
            seconds = now_s - before_s
            sample: dict[str, float | None] = {
                name: round((value - before.totals.get(name, 0.0)) / seconds, DIGITS)
                for name, value in counters.totals.items()
            }
            counts = [now - then for now, then in zip(counters.latencies, before.latencies, strict=True)]
            sample["at_s"] = round(now_s, 1)
            sample["p50_s"], sample["p99_s"] = (quantile(self._bounds_s, counts, share) for share in (0.5, 0.99))
            self._samples.append(sample)
        self._last = (now_s, counters)

    def columns(self) -> dict[str, list[float | None]]:
        """By name, the oldest sample first. None: there was nothing to measure."""
        names = self._samples[-1] if self._samples else {}
        return {name: [sample.get(name) for sample in self._samples] for name in names}


def quantile(bounds_s: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """The latency that a share of the requests did not exceed, as histograms tell it: even within a bucket.

    None without requests. In the last bucket, which has no end, it is its beginning.
    """
    wanted, so_far, low = share * sum(counts), 0, 0.0
    if not wanted:
        return None
    for bound, count in zip(bounds_s, counts, strict=False):
        if count and so_far + count >= wanted:
            return round(low + (bound - low) * (wanted - so_far) / count, DIGITS)
        so_far += count
        low = bound
    return round(low, DIGITS)
