"""Belady's bound: evict what is used furthest in the future (IBM Systems Journal 5(2), 1966)."""

from heapq import heappop, heappush

import numpy as np

from bench.eviction.traces import Blocks

_NEVER = 1 << 62


def hits(blocks: Blocks, capacity: int) -> int:
    """The hits of a cache of `capacity` blocks that knows the future and takes in every block that is asked for."""
    following = next_uses(blocks)
    resident: dict[int, int] = {}  # block: its next use
    furthest: list[tuple[int, int]] = []  # (-next use, block); entries of earlier uses are passed over
    count = 0
    for block, next_use in zip(blocks.tolist(), following, strict=True):
        if block in resident:
            count += 1
        elif len(resident) >= capacity:
            while True:
                negative, victim = heappop(furthest)
                if resident.get(victim) == -negative:
                    del resident[victim]
                    break
        resident[block] = next_use
        heappush(furthest, (-next_use, block))
    return count


def next_uses(blocks: Blocks) -> list[int]:
    """For each request the number of the next one for the same block."""
    order = np.argsort(blocks, kind="stable")
    following = np.full(len(blocks), _NEVER, np.int64)
    is_same = blocks[order[1:]] == blocks[order[:-1]]
    following[order[:-1][is_same]] = order[1:][is_same]
    return following.tolist()
