"""Two programs that compete for a slow directory, mounted with each controller in turn: python -m bench.control.live

A loader reads a data set in another order each epoch, larger than the cache, with some work between two files; a
database reads single pages of a large file. Both go through llmfs to one directory with a latency and a narrow line.
Each round mounts anew with an empty cache for each controller, in an order that is turned round each time, so that
what this machine does besides hits all alike.
"""

import argparse
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.mounted import Llmfs, LlmfsFailedError, drop_pages
from bench.report import Progress, machine, write_json
from bench.slowdir import BuildError, SlowDir
from llmfs.config import Control
from predictor.control.network import SHIPPED

FILES, FILE_BYTES, EPOCHS = 320, 128 << 10, 3
DATABASE_BYTES, PAGES, PAGE_BYTES = 128 << 20, 1500, 4096
CACHE = "24M"
WORKING_S = 0.004


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.control.live", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency-ms", type=float, default=4.0)
    parser.add_argument("--bandwidth-mb", type=float, default=15.0)
    parser.add_argument("--output", type=Path, default=Path("out/control-live.json"))
    options = parser.parse_args(arguments)
    progress = Progress()
    progress.warn_if_busy()
    controls = [each.value for each in Control if each is not Control.LEARNED or SHIPPED.exists()]
    found: dict[str, list[dict[str, float]]] = {control: [] for control in controls}
    try:
        with tempfile.TemporaryDirectory(prefix="llmfs-control-") as root:
            place = Path(root)
            _make(place / "backing")
            for number in range(options.rounds):
                for control in controls[:: -1 if number % 2 else 1]:
                    with progress.step(f"round {number + 1}, {control}") as said:
                        made = _run(place / f"{number}-{control}", place / "backing", control, options)
                        found[control].append(made)
                        said.append(", ".join(f"{name} {value:.1f}" for name, value in made.items()))
    except (BuildError, LlmfsFailedError, OSError) as error:
        print(f"bench.control.live: {error}", file=sys.stderr)
        return 1
    names = list(found[controls[0]][0])
    medians = {
        control: [statistics.median(run[name] for run in runs) for name in names] for control, runs in found.items()
    }
    progress.table(
        f"medians of {options.rounds} rounds",
        ("control", *names),
        [(control, *(f"{value:.1f}" for value in values)) for control, values in medians.items()],
    )
    write_json(options.output, {"machine": machine(), "runs": found})
    return 0


def _make(backing: Path) -> None:
    (backing / "set").mkdir(parents=True)
    for number in range(FILES):
        (backing / "set" / f"{number:05}.bin").write_bytes(os.urandom(FILE_BYTES))
    (backing / "large.db").write_bytes(os.urandom(DATABASE_BYTES))


def _run(place: Path, backing: Path, control: str, options: argparse.Namespace) -> dict[str, float]:
    slow, mountpoint = place / "slow", place / "mnt"
    slow.mkdir(parents=True)
    mountpoint.mkdir()
    drop_pages(backing)
    source = SlowDir(backing, slow, options.latency_ms / 1e3, options.bandwidth_mb * 1e6)
    with source, Llmfs(slow, mountpoint, place / "cache", "--cache-size", CACHE, "--control", control) as mounted:
        mounted.settle()
        with multiprocessing.get_context("spawn").Pool(2, os.setpgrp) as pool:
            loader = pool.apply_async(load, (mountpoint,))
            database = pool.apply_async(query, (mountpoint,))
            waits = {"loader, s": loader.get(), "database, s": database.get()}
        steering = mounted.status().get("control") or {}
        fetched = source.counters["bytes_read"] / 1e6
    total = {"both, s": sum(waits.values())}
    return waits | total | {"fetched, MB": fetched, "changes": float(steering.get("changes", 0))}


def load(mountpoint: Path) -> float:
    """Reads the data set; the seconds that it waited."""
    waited_s = 0.0
    shuffling = random.Random(1)
    names = [mountpoint / "set" / f"{number:05}.bin" for number in range(FILES)]
    for _ in range(EPOCHS):
        shuffling.shuffle(names)
        for name in names:
            began_s = time.perf_counter()
            name.read_bytes()
            waited_s += time.perf_counter() - began_s
            time.sleep(WORKING_S)
    return waited_s


def query(mountpoint: Path) -> float:
    """Reads pages at random; the seconds that it waited."""
    waited_s = 0.0
    drawing = random.Random(2)
    fd = os.open(mountpoint / "large.db", os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        for _ in range(PAGES):
            began_s = time.perf_counter()
            os.pread(fd, PAGE_BYTES, drawing.randrange(DATABASE_BYTES // PAGE_BYTES) * PAGE_BYTES)
            waited_s += time.perf_counter() - began_s
            time.sleep(WORKING_S)
    finally:
        os.close(fd)
    return waited_s


if __name__ == "__main__":
    sys.exit(main())
