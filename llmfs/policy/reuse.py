"""When will a block be used again? Learned from the stream: a table of gaps by what a block's past looked like.

A block's past is its *cell*: the length of its last gap between two uses (a power of two) and how often it was used.
For each cell the lengths of the gaps that followed are counted, and how many blocks came into it at all; so the table
knows how many of the blocks that have waited as long as this one has were used within the next so many requests. That
is the hazard of survival analysis, and what LHD (Beckmann et al., NSDI 2018) ranks by. Counting replaces the regression
of LRB: a few hundred numbers are known after some hundred requests, where LRB waits for a million.

Counts are halved as they age, so what is no longer true is forgotten. The ranking is worked out from the counts now and
then, for all cells and ages at once: looking up one block's is an index into a list.
"""

from array import array

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

POWERS = 24
"""Of two. Eight million requests are the longest gap that is told apart."""

LENGTHS = 2 * POWERS
"""Two for each power of two: with one only, a block that waited a little longer than others ranks no lower."""

USES = 8
CELLS = POWERS * USES

HALVED_EVERY = 20_000
"""Examples at least: with fewer the rarer cells would hold nothing. A cache's twentyfold where that is more, since gaps
are as long as a block stays."""

RANKED_EVERY = 256
"""Examples; while there are fewer, each time that they are twice as many."""


def cell_of(gap: int, uses: int) -> int:
    """What a past looks like, 0 <= cell < CELLS. `gap` is 0 where no former use is known."""
    return min(gap.bit_length(), POWERS - 1) * USES + min(uses, USES - 1)


def length_of(gap: int) -> int:
    """The gap's place among `LENGTHS`: 1, 2, 3, 4-5, 6-7, 8-11, 12-15, ... are a place each."""
    power = gap.bit_length()
    if power < 2:
        return power
    return 2 * power - 2 + (gap >> power - 2 & 1) if power < POWERS else LENGTHS - 2


class ReuseTable:
    """Counts of gaps by cell, and what they say."""

    def __init__(self) -> None:
        self._gaps = array("d", bytes(8 * CELLS * LENGTHS))
        self._seen = array("d", bytes(8 * CELLS))
        self._examples = 0
        self._halved_at = 0
        self._ranking = array("d", bytes(8 * CELLS * LENGTHS))

    def learn(self, before: int, gap: int, now: int, blocks: int) -> None:
        """A block in cell `before` was used after `gap` requests (0: it was not known) and is in cell `now`.

        `blocks`: how many the cache has, which is how far ahead, in requests, it is worth to look.
        """
        if gap:
            self._gaps[before * LENGTHS + length_of(gap)] += 1
        self._seen[now] += 1
        self._examples += 1
        if self._examples % RANKED_EVERY and self._examples & self._examples - 1:
            return
        gaps, seen = np.frombuffer(self._gaps), np.frombuffer(self._seen)
        if self._examples - self._halved_at >= HALVED_EVERY + 20 * blocks:
            self._halved_at = self._examples
            gaps /= 2
            seen /= 2
        self._ranking = array("d", _hazards(gaps.reshape(CELLS, LENGTHS), seen, blocks).tobytes())

    def rank(self, cell: int, age: int) -> float:
        """How likely a block in this cell that was not used for `age` requests is used soon: a number to order by."""
        return self._ranking[cell * LENGTHS + length_of(age)]


def _hazards(gaps: Floats, seen: Floats, horizon: int) -> Floats:
    """Of the blocks in a cell that waited as long: how many are used within `horizon` more requests. (CELLS, LENGTHS)

    An age is taken as the middle of its length's range, and gaps as even within theirs.
    """
    powers = np.arange(2, POWERS + 1)
    starts = np.concatenate(([0.0, 1.0], np.stack((2.0 ** (powers - 1), 1.5 * 2.0 ** (powers - 1)), axis=1).ravel()))
    stops = np.append(starts[1:], 2.0**POWERS)
    ages = (starts + stops) / 2
    # share[a, g]: how much of gap g lies within the horizon of age a; passed[a, g]: how much lies before age a.
    ahead = np.minimum(ages[:, None] + horizon, stops) - np.maximum(ages[:, None], starts)
    share = np.clip(ahead / (stops - starts), 0, 1)
    passed = np.clip((ages[:, None] - starts) / (stops - starts), 0, 1)
    waiting = np.maximum(seen[:, None] - gaps @ passed.T, 0)
    # A tenth of a use in half a block: a cell that never was seen is ranked as moderately likely.
    hazards: Floats = (gaps @ share.T + 0.1) / (waiting + 0.5)
    return hazards
