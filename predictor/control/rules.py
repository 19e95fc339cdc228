"""The rules: step back where the source does no more for being asked more, or fetches what nobody uses.

A window in steps, as TCP's (Chiu and Jain 1989), with two differences that replays taught (`python -m bench.control`).
A far source is not a busy one, and needs many prefetches at a time. Whether more at a time is more in all is told by
Little's law, as in TCP Vegas (Brakmo and Peterson 1995): of n calls under way that take k times as long as one alone,
n / k are worked on and the others stand in the way of what programs ask for. Calls for names tell it of the source,
those for data of the line to it. And prefetches that come true are the cure for a slow source: they are left out only
where they are not used.

Steps: all, four at a time, of these the likely, of these the sure. One step back at a time, two forward.
"""

from predictor.control.arms import SAFE, arm_of
from predictor.control.state import Observer, Row

STEPS = (SAFE, arm_of(1, 0), arm_of(1, 1), arm_of(1, 2))

CROWDED = 6.0
"""Times the fastest call for a name, or for as much data. Latencies vary by half where nothing waits, so that a mean is
twice the fastest; sixteen at a time over a source that works on five are six times."""

PROBE = 20
"""Looks after which it is tried whether the source is crowded still: four at a time do not show it."""

SLOW = 2.0
"""Times the best mean of calls of a kind: contended."""

CALM = 1.3
"""Times that best: not contended."""

POOR_USE = 0.6
GOOD_USE = 0.8
"""Shares of the bytes fetched ahead of late that programs used. Between the two nothing changes."""

AHEAD_LEAST = 0.2
"""Share of prefetches in what was fetched; below it they are not what the source is busy with."""


class Rules:
    """Steps between the safe arm and the most careful one."""

    name = "rules"

    def __init__(self) -> None:
        self._crowded = 0  # looks for which it is still taken to be crowded

    def choose(self, row: Row, seen: Observer, arm: int) -> int:
        step = STEPS.index(arm) if arm in STEPS else 0
        is_ours = seen.ahead_share >= AHEAD_LEAST
        self._crowded = PROBE if seen.crowding >= CROWDED and is_ours else max(0, self._crowded - 1)
        least = 1 if self._crowded else 0
        if seen.slowdown >= SLOW and seen.use < POOR_USE and is_ours:
            step += 1
        elif seen.slowdown <= CALM or seen.use > GOOD_USE:
            step -= 2
        return STEPS[min(max(step, least), len(STEPS) - 1)]
