"""What the controllers are held against: one arm for ever, AIMD, discounted UCB."""

from math import expm1, log, sqrt

from predictor.control.arms import ARMS, DEPTHS, arm_of
from predictor.control.state import FEATURES, Observer, Row

_STALL, _AHEAD_MB_S, _WASTE = FEATURES.index("stall"), FEATURES.index("ahead_mb_s"), FEATURES.index("waste")


class Fixed:
    """One arm, whatever happens."""

    def __init__(self, arm: int) -> None:
        self.name = f"fixed {ARMS[arm].name}"
        self._arm = arm

    def choose(self, row: Row, seen: Observer, arm: int) -> int:
        return self._arm


class Aimd:
    """Additive increase, multiplicative decrease of prefetches at a time, as TCP has it (Chiu and Jain 1989).

    The source's latency is the sign of congestion, whatever the prefetches are worth.
    """

    name = "aimd"

    def __init__(self, slow: float = 2.0, most: int = 16) -> None:
        self._slow = slow
        self._most = most
        self._window = float(most)

    def choose(self, row: Row, seen: Observer, arm: int) -> int:
        self._window = self._window / 2 if seen.slowdown > self._slow else self._window + 1
        self._window = min(max(self._window, 1.0), self._most)
        depth = next((each for each in range(DEPTHS) if ARMS[arm_of(each, 0)].at_once <= self._window), DEPTHS - 1)
        return arm_of(0 if self._window >= self._most else depth, 0)


class DiscountedUcb:
    """Discounted UCB (Garivier and Moulines 2011): rewards fade, so that what changes is tried again.

    The reward is what a mount can see: less stall and less waste a second, with no baseline to subtract.
    """

    name = "discounted ucb"

    def __init__(self, discount: float = 0.98, width: float = 0.3) -> None:
        self._discount = discount
        self._width = width
        self._counts = [0.0] * len(ARMS)
        self._sums = [0.0] * len(ARMS)

    def choose(self, row: Row, seen: Observer, arm: int) -> int:
        self._counts = [count * self._discount for count in self._counts]
        self._sums = [total * self._discount for total in self._sums]
        self._counts[arm] += 1
        waste_mb_s = float(row[_WASTE]) * expm1(float(row[_AHEAD_MB_S]))
        self._sums[arm] += 1 / (1 + expm1(float(row[_STALL])) + waste_mb_s / 100)
        for number, count in enumerate(self._counts):
            if count < 1e-3:
                return number
        total = max(sum(self._counts), 2.0)
        values = [
            each / count + self._width * sqrt(log(total) / count)
            for each, count in zip(self._sums, self._counts, strict=True)
        ]
        return values.index(max(values))
