"""The majority of the last steps goes on: Leap.

Al Maruf and Chowdhury, "Effectively prefetching remote memory with Leap" (USENIX ATC 2020). The steps between the last
HISTORY faults are searched for a majority (Boyer and Moore's vote), in a window that begins with a half of them and
doubles where it has none: a few stray accesses do not hide a trend. How far ahead is fetched follows from how many of
the last prefetched pages were hit; without a majority, the last one is still followed for as long as it pays.

A page is a block of 128 KiB here, a fault a read of a block that was not expected, and there is a history for each
reader of each file where the paper has one for each process. Up to O(HISTORY) for a fault, O(1) for what was expected.
"""

from collections import deque
from collections.abc import Sequence

from predictor.baselines.read_rival import ReadRival
from predictor.baselines.rival import BLOCK_BYTES, Access, Bounded, Wish
from predictor.plan import Want

HISTORY = 32
SPLITS = 2
WINDOW_MAX = 8
"""Hsize, Nsplit and PWsize_max of the paper's evaluation."""

STEPS_MIN = 4
"""A shorter history is searched as if it were as long as this. In the paper it is a process's, and soon full; here most
readers never fill theirs, and would have to read half a window before anything was expected."""

EXPECTED_MAX = 64
"""Expected blocks of a reader that are remembered until they are hit."""


class _Reader:
    __slots__ = ("block", "expected", "hits", "steps", "trend", "window")

    def __init__(self) -> None:
        self.block = -1
        self.steps: deque[int] = deque(maxlen=HISTORY)  # the newest first
        self.expected: Bounded[int, None] = Bounded(EXPECTED_MAX)
        self.hits = 0
        self.trend = 0
        self.window = 0


class Leap(ReadRival[_Reader]):
    """Expects up to eight blocks along the trend of the reader."""

    name = "Leap"

    def begin(self) -> _Reader:
        """The state of a reader that has not read yet."""
        return _Reader()

    def read(self, reader: _Reader, access: Access) -> Sequence[Wish]:
        """A read of at least a byte."""
        wishes: list[Wish] = []
        end = (access.offset + access.length - 1) // BLOCK_BYTES
        for block in range(max(access.offset // BLOCK_BYTES, end - HISTORY), end + 1):
            if block == reader.block:
                continue
            if reader.block >= 0:
                reader.steps.appendleft(block - reader.block)
            reader.block = block
            if block in reader.expected:
                del reader.expected[block]
                reader.hits += 1
            else:
                wishes += self._fault(reader, block, access)
        return wishes

    def _fault(self, reader: _Reader, block: int, access: Access) -> list[Wish]:
        found = majority(reader.steps)
        follows = bool(reader.steps) and reader.steps[0] == (found or reader.trend)
        reader.trend = found or reader.trend
        reader.window = window(reader.window, reader.hits, follows)
        reader.hits = 0
        wishes = []
        for ahead in range(block + reader.trend, block + reader.trend * (reader.window + 1), reader.trend or 1):
            if ahead < 0 or (access.size and ahead * BLOCK_BYTES >= access.size):
                break
            reader.expected[ahead] = None
            wishes.append(Wish(access.path, Want.DATA, ahead * BLOCK_BYTES, BLOCK_BYTES))
        return wishes


def majority(steps: Sequence[int]) -> int:
    """The step that more than half of the newest steps took, 0 where none did (FindTrend, algorithm 1).

    `steps`: the newest first. The window doubles from HISTORY / SPLITS until it has a majority or all are in it.
    """
    width = HISTORY // SPLITS
    while True:
        recent = list(steps)[:width] if len(steps) > width else list(steps)
        candidate, votes = 0, 0
        for step in recent:
            if not votes:
                candidate = step
            votes += 1 if step == candidate else -1
        if recent.count(candidate) > max(len(recent), STEPS_MIN) // 2:
            return candidate
        if width >= len(steps):
            return 0
        width *= 2


def window(before: int, hits: int, follows_trend: bool) -> int:
    """How many blocks to fetch ahead (GetPrefetchWindowSize, algorithm 2).

    `before`: of the last time; `hits`: blocks fetched then that were used since.
    """
    size = (1 << hits.bit_length()) if hits else int(follows_trend)  # the power of two above `hits`
    return max(min(size, WINDOW_MAX), before // 2)
