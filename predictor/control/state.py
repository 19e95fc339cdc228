"""From a mount's counters to what a controller sees.

A reading holds totals since the mount began and a few gauges; two readings make a row. The source's latency is told
as a multiple of the best that calls of that kind have shown: neither its absolute value nor that of a busy minute
says whether the source is contended.
"""

from dataclasses import dataclass
from math import log, log1p

import numpy as np
import numpy.typing as npt

from predictor.control.arms import ARMS

FEATURES = (
    "stall",  # ln(1 + seconds waited by programs, a second)
    "hits",  # share of reads that were cached
    "slowdown",  # ln of the latency over the best
    "ahead",  # share of prefetches in the bytes fetched
    "ahead_mb_s",  # ln(1 + MB fetched ahead, a second)
    "mb_s",  # ln(1 + MB fetched, a second)
    "use",  # bytes used of those fetched ahead, of late
    "waste",  # bytes dropped unused of those fetched ahead, of late
    "queue",  # ln(1 + prefetches that wait)
    "demand",  # ln(1 + programs' calls on the source)
    "running",  # ln(1 + prefetches that run)
    "min_score",  # of the present arm
    "depth",  # of the present arm
)

Row = npt.NDArray[np.float32]

MEMORY = 0.7
"""What is left of the bytes used and wasted after an interval: most of it is of the last three."""

CALLS_LEAST = 16
"""Calls of a kind in an interval whose mean says something."""

BEST_RISES = 1.01
"""By this an interval the best latency is forgotten: a source may become another one."""


class Floor:
    """What a call takes when nothing else is under way: the best lower quartile of `WINDOW` calls, slowly forgotten.

    A single fast call says nothing: a file system's client answers some from memory. Under a load that never ends it
    rises to that load's, doubled in 3,500 calls: who asks has to step back now and then to see.
    """

    WINDOW = 32
    RISE = 1.0002**WINDOW

    def __init__(self) -> None:
        self.seconds = 0.0
        self._calls: list[float] = []

    def add(self, seconds: float) -> None:
        """A call took so long. From any thread: a lost call is one of many."""
        calls = self._calls
        calls.append(seconds)
        if len(calls) >= self.WINDOW:
            self._calls = []
            quartile_s = sorted(calls)[self.WINDOW // 4]
            self.seconds = min(self.seconds * self.RISE, quartile_s) if self.seconds else quartile_s


class Transfers:
    """How long calls for data took, and would have taken alone, by the floor of calls of about their size.

    A line that is shared by n transfers brings each in n times the time, and no more of them in all.
    """

    def __init__(self) -> None:
        self._floors: dict[int, Floor] = {}  # by the power of two
        self.took_s = 0.0
        self.alone_s = 0.0

    def add(self, size_bytes: int, seconds: float) -> None:
        """A call for so much took so long. From any thread, as for a floor."""
        floor = self._floors.setdefault(size_bytes.bit_length(), Floor())
        floor.add(seconds)
        if floor.seconds:
            self.took_s += seconds
            self.alone_s += floor.seconds


@dataclass(frozen=True, slots=True)
class Reading:
    """What a mount counted so far. Seconds and bytes; pairs are of calls for names and for data."""

    time_s: float
    stall_s: float
    reads: int
    hits: int
    ahead_bytes: int
    demand_bytes: int
    used_bytes: int
    wasted_bytes: int
    calls: tuple[int, int]
    call_s: tuple[float, float]
    queue: int = 0  # at present
    demand_busy: int = 0
    running: int = 0
    name_floor_s: float = 0.0
    transfers_s: tuple[float, float] = (0.0, 0.0)  # what calls for data took, and what they would have alone


class Observer:
    """Makes rows of readings. Remembers the best latency and what became of prefetches of late."""

    def __init__(self) -> None:
        self._last: Reading | None = None
        self._best_s = [float("inf"), float("inf")]
        self._ahead = self._used = self._wasted = 0.0
        self._names = 0  # calls since crowding was last judged
        self._names_s = 0.0
        self.slowdown = 1.0
        self.use = 1.0
        self.ahead_share = 0.0
        self.crowding = 1.0

    def row(self, now: Reading, arm: int) -> Row | None:
        """The features (FEATURES,) of the time since the last reading; None for the first, or where no time passed."""
        last, self._last = self._last, now
        if last is None or now.time_s <= last.time_s:
            return None
        seconds = now.time_s - last.time_s
        ahead, demand = now.ahead_bytes - last.ahead_bytes, now.demand_bytes - last.demand_bytes
        self._ahead = MEMORY * self._ahead + ahead
        self._used = MEMORY * self._used + now.used_bytes - last.used_bytes
        self._wasted = MEMORY * self._wasted + now.wasted_bytes - last.wasted_bytes
        self.use = _share(self._used, self._ahead, 1.0)
        self.ahead_share = _share(ahead, ahead + demand, 0.0)
        self.slowdown = self._slowdown(last, now)
        self.crowding = max(self._crowded(last, now), _crowded_line(last, now))
        reads = now.reads - last.reads
        chosen = ARMS[arm]
        return np.array(
            [
                log1p(max(0.0, now.stall_s - last.stall_s) / seconds),
                _share(now.hits - last.hits, reads, 1.0),
                log(self.slowdown),
                self.ahead_share,
                log1p(ahead / 1e6 / seconds),
                log1p((ahead + demand) / 1e6 / seconds),
                self.use,
                _share(self._wasted, self._ahead, 0.0),
                log1p(now.queue),
                log1p(now.demand_busy),
                log1p(now.running),
                chosen.min_score,
                log1p(chosen.at_once),
            ],
            np.float32,
        )

    def _crowded(self, last: Reading, now: Reading) -> float:
        """How many times as long as the floor calls for names took; 1 until there are as many as make a floor."""
        self._names += now.calls[0] - last.calls[0]
        self._names_s += now.call_s[0] - last.call_s[0]
        if self._names < Floor.WINDOW or not now.name_floor_s:
            return 1.0
        mean_s = self._names_s / self._names
        self._names, self._names_s = 0, 0.0
        return mean_s / now.name_floor_s

    def _slowdown(self, last: Reading, now: Reading) -> float:
        """How many times as long as at their best the calls took; 1 where there were too few."""
        spent_s = best_s = 0.0
        for kind in range(2):
            calls = now.calls[kind] - last.calls[kind]
            seconds = now.call_s[kind] - last.call_s[kind]
            self._best_s[kind] *= BEST_RISES
            if calls >= CALLS_LEAST and seconds > 0:
                self._best_s[kind] = min(self._best_s[kind], seconds / calls)
                spent_s += seconds
                best_s += calls * self._best_s[kind]
        return max(1.0, spent_s / best_s) if best_s else 1.0


def _crowded_line(last: Reading, now: Reading) -> float:
    """How many times as long as alone calls for data took; 1 where there were none."""
    took_s, alone_s = (new - old for new, old in zip(now.transfers_s, last.transfers_s, strict=True))
    return took_s / alone_s if alone_s > 0 else 1.0


def _share(part: float, whole: float, otherwise: float) -> float:
    return min(1.0, max(0.0, part / whole)) if whole > 0 else otherwise
