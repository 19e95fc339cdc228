"""Whose turn it is on a line that programs crowd.

A program that reads on has as much under way as the kernel asks for, 512 KiB over a mount, and whoever reads a page
stands behind that: over 25 MB/s 19 ms. In smaller parts it gets nearly as many bytes a second (23.2 MB/s of 24.6), and
the other one waits 5.5 ms (`python -m bench.contention --sources narrow`, without a predictor).

So where programs stand behind each other's bytes, each has something under way, and at most an equal part of the window
(`line.py`) with what the others leave of theirs (max-min fairness; Bertsekas and Gallager, "Data Networks", 1992, 6.5).
Who has his part waits until something of it has come. Where nobody waits for others nothing is held back: a part costs
some of the line where it is not the line that is slow.

Pure: the time comes in with each call.
"""

from collections import OrderedDict, deque

PART_BYTES_MIN = 128 << 10
"""What a program may have under way at least."""

CROWDED_S = 0.0025
FREE_S = 0.00125
FIRSTS = 8
"""The line is crowded when half of so many requests waited longer than the first for what others had under way, until
half of them waited less than the second."""

ASKING_S = 0.1
"""For so long after a program's request the next one is expected."""

FORGETTING = 0.9
"""What is left of a program's most bytes under way with each request that it makes."""

PROGRAMS = 64
"""That asked of late."""

UNBOUNDED = 1 << 62


class Program:
    """What a program waits for, what it waits for at most of late, and when it last did."""

    __slots__ = ("bytes", "latest_s", "most_bytes")

    def __init__(self) -> None:
        self.bytes = 0
        self.most_bytes = 0
        self.latest_s = float("-inf")

    def begin(self, size_bytes: int) -> None:
        self.bytes += size_bytes
        self.most_bytes = max(self.bytes, int(self.most_bytes * FORGETTING))

    def end(self, now_s: float, size_bytes: int) -> None:
        self.bytes -= size_bytes
        self.latest_s = now_s

    def is_asking(self, now_s: float) -> bool:
        return self.bytes > 0 or now_s - self.latest_s < ASKING_S


class Turns:
    """The programs' parts of a window."""

    def __init__(self) -> None:
        self.is_crowded = False
        """Whether programs stand behind each other's bytes."""
        self._programs: OrderedDict[int, Program] = OrderedDict()  # who asked last is the last
        self._waits_s: deque[float] = deque(maxlen=FIRSTS)

    def program(self, now_s: float, number: int) -> Program:
        """A program that asks for something."""
        if self._waits_s and not self._others(now_s, number):
            self.is_crowded = False
            self._waits_s.clear()
        known = self._programs.pop(number, None) or Program()
        self._programs[number] = known
        if len(self._programs) > PROGRAMS:
            self._programs.popitem(last=False)
        return known

    def is_behind_others(self, now_s: float, number: int) -> bool:
        """Whether a program that has nothing under way now waits for what another has, who has more than he needs."""
        known = self._programs.get(number)
        if known is not None and known.bytes:
            return False
        return any(each.bytes > PART_BYTES_MIN for each in self._others(now_s, number))

    def waited(self, seconds: float) -> None:
        """So long a program, which had nothing else under way, waited for what others had."""
        self._waits_s.append(seconds)
        if len(self._waits_s) == FIRSTS:
            self.is_crowded = sorted(self._waits_s)[FIRSTS // 2] > (FREE_S if self.is_crowded else CROWDED_S)

    def part_bytes(self, now_s: float, number: int, window_bytes: int) -> int:
        """What a program may have under way of a window, where the line is crowded."""
        others = self._others(now_s, number)
        if not others:
            return UNBOUNDED
        equal_bytes = window_bytes // (len(others) + 1)
        return max(PART_BYTES_MIN, window_bytes - sum(min(each.most_bytes, equal_bytes) for each in others))

    def has_turn(self, now_s: float, number: int, size_bytes: int, window_bytes: int) -> bool:
        """Whether a program may have so much more under way then. Something it may always."""
        known = self._programs.get(number)
        if known is None or not known.bytes:
            return True
        return known.bytes + size_bytes <= self.part_bytes(now_s, number, window_bytes)

    def _others(self, now_s: float, number: int) -> list[Program]:
        return [each for other, each in self._programs.items() if other != number and each.is_asking(now_s)]
