"""The rules: step back while the source is contended and what is fetched ahead is not used, return when either is over.

A window in steps, as TCP's (Chiu and Jain 1989), with two differences that replays taught (`python -m bench.control`).
A slow source alone is no reason to fetch less: prefetches that come true are the cure for it, so nothing is held back
that is being used. And the first step is to fewer at a time; only then is what is less sure left out.

Steps: all, four at a time, of these the likely, of these the sure. One step back at a time, two forward.
"""

from predictor.control.arms import SAFE, arm_of
from predictor.control.state import Observer, Row

STEPS = (SAFE, arm_of(1, 0), arm_of(1, 1), arm_of(1, 2))

SLOW = 2.0
"""Times the best latency: contended."""

CALM = 1.3
"""Times the best latency: not contended."""

POOR_USE = 0.6
GOOD_USE = 0.8
"""Shares of the bytes fetched ahead of late that programs used. Between the two nothing changes."""

AHEAD_LEAST = 0.2
"""Share of prefetches in what was fetched; below it they are not what the source is busy with."""


class Rules:
    """Steps between the safe arm and the most careful one."""

    name = "rules"

    def choose(self, row: Row, seen: Observer, arm: int) -> int:
        step = STEPS.index(arm) if arm in STEPS else 0
        if seen.slowdown >= SLOW and seen.use < POOR_USE and seen.ahead_share >= AHEAD_LEAST:
            return STEPS[min(step + 1, len(STEPS) - 1)]
        if seen.slowdown <= CALM or seen.use > GOOD_USE:
            return STEPS[max(step - 2, 0)]
        return arm
