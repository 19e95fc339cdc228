"""What it is worth to divide the cache among programs that compete: python -m bench.partition [--traces PATH...]

Two programs at a time, their requests interleaved at random, as fast as each other or the second one four times as
fast, for blocks of one size and nothing fetched ahead. The cache is left to the rules of eviction, or divided as
`llmfs/policy/partition.py` has it, judged anew every `EVERY` requests. Beside it, with --bound: a cache of its own for
each program, of the sizes that turn out best in hindsight, each with rules of its own.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean

import numpy as np

from bench.eviction import traces
from bench.eviction.traces import Blocks
from bench.report import Progress, machine, write_json
from llmfs.blocks import BLOCK_BYTES
from llmfs.policy.eviction import Eviction
from predictor.trace import TraceError

CACHE_BLOCKS = 600
EVERY = 100
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
PACES = (1, 4)

Program = Callable[[np.random.Generator, int], Blocks]
Stream = list[tuple[int, bytes]]
"""Requests: whose, and the block's key."""


def _skewed(generator: np.random.Generator, count: int) -> Blocks:
    weights = 1 / np.arange(1, 3001) ** 0.9
    found: Blocks = generator.choice(3000, count, p=weights / weights.sum()).astype(np.uint64)
    return found


def _shuffled(generator: np.random.Generator, count: int) -> Blocks:
    epochs = [generator.permutation(500) for _ in range(-(-count // 500))]
    return np.concatenate(epochs)[:count].astype(np.uint64)


def _loop(blocks: int) -> Program:
    return lambda generator, count: np.arange(count, dtype=np.uint64) % np.uint64(blocks)


def _recorded(blocks: Blocks) -> Program:
    """From its beginning, and again where it is too short."""
    return lambda generator, count: np.resize(blocks, count)


PROGRAMS: dict[str, Program] = {
    "skewed": _skewed,
    "shuffled": _shuffled,  # nearly as large as the cache
    "short loop": _loop(400),
    "long loop": _loop(1500),
    "scan": lambda generator, count: np.arange(count, dtype=np.uint64),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """Two programs, and the share of their requests that was answered."""

    programs: str
    pace: int
    undivided: float
    divided: float
    changes: int
    bound: float | None

    @property
    def misses(self) -> float:
        """Divided, relative to undivided."""
        return (1 - self.divided) / (1 - self.undivided)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it; returns the exit status."""
    options = _parse(arguments)
    progress = Progress()
    programs = dict(PROGRAMS)
    try:
        for path in traces.find(options.traces):
            programs[traces.name_of(path)] = _recorded(traces.read(path))
    except (TraceError, OSError) as error:
        print(f"bench.partition: {error}", file=sys.stderr)
        return 1
    cells = []
    for one, other in combinations(programs, 2):
        with progress.step(f"{one} beside {other}"):
            cells += [_cell(one, other, pace, programs, options) for pace in PACES]
    progress.table(
        f"share of requests answered, {CACHE_BLOCKS} blocks",
        ("programs", "pace", "undivided", "divided", "changes", "misses", "own caches"),
        [
            (
                each.programs,
                f"1:{each.pace}",
                f"{each.undivided:.3f}",
                f"{each.divided:.3f}",
                str(each.changes),
                f"x{each.misses:.3f}",
                "-" if each.bound is None else f"{each.bound:.3f}",
            )
            for each in cells
        ],
    )
    worst = max(each.misses for each in cells)
    progress.console.print(f"misses: mean x{fmean(each.misses for each in cells):.3f}, worst x{worst:.3f}")
    write_json(options.output, {"machine": machine(), "cells": [asdict(each) for each in cells]})
    return 0


def _cell(one: str, other: str, pace: int, programs: dict[str, Program], options: argparse.Namespace) -> Cell:
    generator = np.random.default_rng(options.seed)
    whose = (generator.random(options.requests) < pace / (1 + pace)).astype(int)
    blocks = [iter(programs[name](generator, options.requests).tolist()) for name in (one, other)]
    stream = [(each, bytes([each]) + next(blocks[each]).to_bytes(8, "big")) for each in whose.tolist()]
    shared, divided = Eviction(CACHE_BLOCKS * BLOCK_BYTES), Eviction(CACHE_BLOCKS * BLOCK_BYTES)
    undivided_hits, _ = run(stream, (shared, shared), is_divided=False)
    divided_hits, changes = run(stream, (divided, divided), is_divided=True)
    bound = None
    if options.bound:
        caches = [[Eviction(int(part * CACHE_BLOCKS * BLOCK_BYTES)) for part in (s, 1 - s)] for s in SHARES]
        bound = max(run(stream, each, is_divided=False)[0] for each in caches) / len(stream)
    return Cell(f"{one} beside {other}", pace, undivided_hits / len(stream), divided_hits / len(stream), changes, bound)


def run(stream: Stream, caches: Sequence[Eviction], is_divided: bool) -> tuple[int, int]:
    """Hits, and how often the division changed. `caches`: of each program."""
    hits = changes = 0
    for number, (program, key) in enumerate(stream, 1):
        cache = caches[program]
        if cache.get(key) is None:
            cache.admit(key, BLOCK_BYTES, group=program + 1)
        else:
            hits += 1
            cache.touch(key, program + 1)
        if cache.used_bytes > cache.capacity_bytes:
            cache.victims()
        if is_divided and not number % EVERY:
            changes += cache.divide()
    return hits, changes


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.partition", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--traces", nargs="+", type=Path, default=[], metavar="PATH", help="as bench.eviction has them")
    parser.add_argument("--requests", type=int, default=12_000, help="of both together (default: 12000)")
    parser.add_argument(
        "--bound", action="store_true", help="the best division in hindsight too: takes five times as long"
    )
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("out/partition.json"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
