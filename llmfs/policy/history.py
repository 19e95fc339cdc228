"""What is remembered of blocks that left: when and how often they were used. Ten bytes a slot, and no more.

One slot for each value of the hash's low bits; what comes later takes the slot. A block's memory is thus lost at
random, on average after as many evictions as there are slots, which will do where a policy asks whether a gap was
short. The other half of the hash tells blocks of a slot apart, so that one in four billion is taken for another.
"""

from array import array
from typing import NamedTuple

import numpy as np

SLOTS_LEAST = 1 << 15
"""A third of a megabyte. Small caches need the longest memory for their size: at a hundredth of the footprint most
reuse is of blocks that left long ago."""

SLOTS_PER_BLOCK = 4

_CELL_BITS = 8
_USES_MAX = (1 << 16 - _CELL_BITS) - 1
_WORD = 0xFFFFFFFF


class Past(NamedTuple):
    used_at: int
    uses: int
    cell: int


class History:
    """Times must be below 2**32 requests apart."""

    def __init__(self) -> None:
        self._mask = SLOTS_LEAST - 1
        self._times = array("Q", bytes(8 * SLOTS_LEAST))  # the hash's high half, the time's low half
        self._facts = array("H", bytes(2 * SLOTS_LEAST))  # uses, cell

    @property
    def nbytes(self) -> int:
        return len(self._times) * (self._times.itemsize + self._facts.itemsize)

    def put(self, digest: int, past: Past) -> None:
        """`digest`: 64 bits of hash of the block's key."""
        slot = (digest ^ digest >> 32) & self._mask
        self._times[slot] = digest & ~_WORD | past.used_at & _WORD
        self._facts[slot] = min(past.uses, _USES_MAX) << _CELL_BITS | past.cell

    def take(self, digest: int, now: int) -> Past | None:
        slot = (digest ^ digest >> 32) & self._mask
        word = self._times[slot]
        if word & ~_WORD != digest & ~_WORD or not word:
            return None
        facts = self._facts[slot]
        age = (now - word) & _WORD
        return Past(now - age, facts >> _CELL_BITS, facts & (1 << _CELL_BITS) - 1)

    def halve_uses(self) -> None:
        facts = np.frombuffer(self._facts, np.uint16)
        facts[:] = facts >> _CELL_BITS + 1 << _CELL_BITS | facts & (1 << _CELL_BITS) - 1

    def fit(self, blocks: int) -> None:
        """Have slots enough for a cache of so many blocks. Nothing is forgotten when they become more."""
        if blocks * SLOTS_PER_BLOCK <= len(self._times):
            return
        slots = len(self._times) * 2
        self._mask = slots - 1
        # One bit more of the hash chooses between two copies of a slot: one of them is found, the other overwritten.
        self._times = self._times + self._times
        self._facts = self._facts + self._facts
