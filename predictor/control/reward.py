"""What a choice was worth: seconds that programs did not wait, compared with the base arm on the same accesses.

The ghost is another replay of the stream with the safe arm: what it waited at each access is subtracted, so that an
easy phase of a program is not credited to whoever steered through it, which a hit rate would do.
"""

from dataclasses import dataclass

WASTED_S_PER_BYTE = 1 / 400e6
"""A byte fetched in vain costs somebody else's line this long; it is a price, not a measurement."""

FETCH_S = 1e-4
"""Processor time of a prefetch: a thread's hop and its bookkeeping (llmfs/workers.py has the parts)."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What an interval, or a whole run, cost."""

    stall_s: float
    wasted_bytes: int
    fetches: int

    @property
    def cost_s(self) -> float:
        return self.stall_s + WASTED_S_PER_BYTE * self.wasted_bytes + FETCH_S * self.fetches


def reward_s(spent: Spent, ghost: Spent) -> float:
    """Seconds gained on the ghost, costs included. Negative: lost."""
    return ghost.cost_s - spent.cost_s
