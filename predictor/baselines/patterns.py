"""Is a walk over numbered things sequential, random, or skewed? Decided by hypothesis tests on the last positions.

Sequential: nearly all steps are short and lead forward. Among the rest, the null hypothesis is that positions are drawn
uniformly, as shuffled epochs do. Then the distance of two in a row is distributed triangularly, which Kolmogorov and
Smirnov's test compares with the distances seen; and few positions come twice. Rejecting either means skewed: some
things are asked for far more often than others.

The test on distances is the one of IGTCache (arXiv 2506.12370). By itself it finds a skew only where the popular things
lie near each other: of windows of 100 drawn by Zipf's law (s = 1) from 300 things in a shuffled order it finds a tenth,
while it takes uniform draws for skewed in a hundredth. Hence the count of repetitions, which finds all of those.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from enum import Enum, auto
from itertools import pairwise
from math import sqrt

KS_CRITICAL = 1.628
"""Of Kolmogorov and Smirnov's distance times the root of the sample size, at a significance of 0.01."""

REPEATS_SIGMAS = 3.0
"""Standard deviations (of a Poisson variable) by which repetitions must exceed the expected ones."""

SEQUENTIAL_SHARE = 0.8
NEAR_MAX = 8
"""Readers that share a walk, as the workers of a data loader do, are this far apart in a list long enough to tell."""

OBSERVED_MIN = 64
"""Positions before random and skewed are told apart: of windows of 32 drawn as above an eighth passes for random."""


class Pattern(Enum):
    """How things are walked over."""

    UNKNOWN = auto()
    SEQUENTIAL = auto()
    RANDOM = auto()
    SKEWED = auto()


def classify(positions: Sequence[int], size: int) -> Pattern:
    """The pattern of the latest `positions`, each at least 0 and below `size`, no two in a row alike.

    `size` 0: unknown, then only the sequential pattern is recognised. O(n log n).
    """
    if len(positions) < 2:
        return Pattern.UNKNOWN
    steps = [after - before for before, after in pairwise(positions)]
    if _is_sequential(steps, size):
        return Pattern.SEQUENTIAL
    if len(positions) < OBSERVED_MIN or not size:
        return Pattern.UNKNOWN
    distance = ks_distance([abs(step) for step in steps], size)
    if distance * sqrt(len(steps)) > KS_CRITICAL or _repeats_too_much(positions, size):
        return Pattern.SKEWED
    return Pattern.RANDOM


def ks_distance(distances: Sequence[int], size: int) -> float:
    """Kolmogorov and Smirnov's distance between `distances` and those of two positions drawn uniformly below `size`."""
    ordered = sorted(distances)
    worst = 0.0
    for distance in set(ordered):
        below = bisect_left(ordered, distance) / len(ordered)
        upto = bisect_right(ordered, distance) / len(ordered)
        worst = max(worst, abs(_triangular(distance - 1, size) - below), abs(_triangular(distance, size) - upto))
    return worst


def _triangular(distance: int, size: int) -> float:
    """P(|i - j| <= distance) for i, j uniform and independent below `size`."""
    if distance < 0:
        return 0.0
    return (size + 2 * size * distance - distance * (distance + 1)) / size**2


def _is_sequential(steps: Sequence[int], size: int) -> bool:
    near = max(1, min(NEAR_MAX, size // 32))
    short = sum(-near < step <= near for step in steps)
    return short >= SEQUENTIAL_SHARE * len(steps) and sum(step for step in steps if abs(step) <= near) * 2 >= short


def _repeats_too_much(positions: Sequence[int], size: int) -> bool:
    count = len(positions)
    expected = count - size * (1 - (1 - 1 / size) ** count)
    return count - len(set(positions)) > expected + REPEATS_SIGMAS * sqrt(expected) + 1
