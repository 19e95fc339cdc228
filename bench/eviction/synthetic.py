"""Epochs over a data set, of which no policy without prefetching hits more than the cache's share of it.

In order each block comes back after all others, so LRU hits nothing; shuffled anew for each epoch, blocks have no
order at all and every eviction of one not yet read in this epoch may cost a hit.
"""

from random import Random

import numpy as np

from bench.eviction.traces import Blocks

BLOCKS = 5000
EPOCHS = 20


def in_order(blocks: int = BLOCKS, epochs: int = EPOCHS) -> Blocks:
    return np.tile(np.arange(blocks, dtype=np.uint64), epochs)


def shuffled(random: Random, blocks: int = BLOCKS, epochs: int = EPOCHS) -> Blocks:
    return np.array([block for _ in range(epochs) for block in random.sample(range(blocks), blocks)], np.uint64)
