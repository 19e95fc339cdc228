"""How full the blocks' map may be kept: python -m bench.fill [--map-mb 17 200] [--fill 0.88 0.90 ...]

Files come and go, half of them in disorder, as through a cache that is smaller than what is read, by a mount's store
and cache, while programs wait for the source. *Lost* are blocks that LMDB found no place for, though room enough was
free in all; then the cache aims lower for a while. *Held* is what the cache holds in the end, as a share of the map:
less than was aimed at where blocks were lost.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.report import Progress
from llmfs.block_cache import TABLE, BlockCache
from llmfs.blocks import BLOCK_BYTES, block_key
from llmfs.store import Key, Store

MIXES = {"60 to 140 KB": (60_000, 140_000), "1 to 60 KB": (1_000, 60_000), "1 MB": (1 << 20, 1 << 20)}
TURNS = 8
"""How many times the map's size is stored."""

DISORDER = 0.5
"""Of the blocks: one of those that are there leaves for it that is not the oldest."""

BYTES_S = 100e6
BURST = 0.25
"""Of the map: comes at once, then nothing for as long as it takes at `BYTES_S`."""


def fill(map_bytes: int, share: float, sizes: tuple[int, int]) -> tuple[int, int, float]:
    """(blocks stored, blocks lost, what is held in the end as a share of the map)."""
    draw = random.Random(1)
    data = draw.randbytes(BLOCK_BYTES)
    lost: list[list[Key]] = []
    lost_count = stored = stored_bytes = burst_bytes = file = 0
    with tempfile.TemporaryDirectory(prefix="llmfs-fill-") as place:
        store = Store(
            str(Path(place) / "blocks"), (TABLE,), map_bytes, on_lost=lost.append, indexed=TABLE, is_busy=lambda: True
        )
        cache = BlockCache(
            store,
            map_bytes,
            score=lambda key: draw.random(),
            on_evict=lambda key, resident, why: None,
            on_corrupt=lambda: None,
            fill_share=share,
        )
        while stored_bytes < TURNS * map_bytes:
            file += 1
            size_bytes = draw.randint(*sizes)
            for index, start in enumerate(range(0, size_bytes, BLOCK_BYTES)):
                cache.add(block_key(file, 1, index), 0, data[: size_bytes - start], None)
                stored += 1
                if draw.random() < DISORDER:
                    cache.done_with([block_key(draw.randint(1, file), 1, index)])
            stored_bytes += size_bytes
            burst_bytes += size_bytes
            if burst_bytes > BURST * map_bytes:
                time.sleep(burst_bytes / BYTES_S)
                burst_bytes = 0
            while lost:
                keys = lost.pop()
                lost_count += len(keys)
                cache.lost(keys)
        held_bytes = cache.used_bytes
        store.close()
    return stored, lost_count, held_bytes / map_bytes


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs all combinations; returns the exit status."""
    parser = argparse.ArgumentParser(prog="bench.fill", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--map-mb", type=float, nargs="+", default=[17, 200], metavar="MB")
    parser.add_argument("--fill", type=float, nargs="+", default=[0.86, 0.88, 0.9, 0.92, 0.94], metavar="SHARE")
    options = parser.parse_args(arguments)
    progress = Progress()
    for map_mb in options.map_mb:
        rows = []
        for name, sizes in MIXES.items():
            for share in options.fill:
                with progress.step(f"{name} in {map_mb:g} MB at {share:.0%}") as said:
                    stored, lost, held = fill(int(map_mb * 1e6) // 4096 * 4096, share, sizes)
                    said.append(f"{lost} of {stored} lost")
                rows.append([f"{name} at {share:.0%}", f"{stored:,}", f"{lost:,}", f"{held:.1%}"])
        progress.table(f"a map of {map_mb:g} MB", ["files", "blocks stored", "lost", "held"], rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
