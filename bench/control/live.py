"""Two programs that compete for a slow directory, mounted with each controller in turn: python -m bench.control.live

A loader reads a data set in another order each epoch, larger than the cache, with some work between two files; a
database reads single pages of a large file; a copy reads a long file from beginning to end; a program that starts reads
many small files. Two of them at a time, as jobs of their own, go through llmfs to one directory with a latency and a
narrow line. Each round mounts anew with an empty cache for each controller, in an order that is turned round each time,
so that what this machine does besides hits all alike.
"""

import argparse
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.mounted import Llmfs, LlmfsFailedError, drop_pages
from bench.report import Progress, machine, write_json
from bench.slowdir import BuildError, SlowDir
from llmfs.config import Control
from predictor.control.network import SHIPPED

FILES, FILE_BYTES, EPOCHS = 320, 128 << 10, 3
DATABASE_BYTES, PAGES, PAGE_BYTES = 128 << 20, 1500, 4096
LONG_BYTES, STARTS, SMALL_FILES, SMALL_BYTES = 192 << 20, 4, 200, 12 << 10
CACHE = "24M"
WORKING_S = 0.004
BOTH = "both, s"

Program = Callable[[Path], float]
"""Reads below a mountpoint; returns the seconds that it waited."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Two programs that compete."""

    name: str
    one: Program
    other: Program


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.control.live", description=__doc__)
    names = [scene.name for scene in SCENES]
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scenes", nargs="+", choices=names, default=names, help="of these only")
    parser.add_argument("--latency-ms", type=float, default=4.0)
    parser.add_argument("--bandwidth-mb", type=float, default=15.0)
    parser.add_argument("--output", type=Path, default=Path("out/control-live.json"))
    options = parser.parse_args(arguments)
    progress = Progress()
    progress.warn_if_busy()
    controls = [each.value for each in Control if each is not Control.LEARNED or SHIPPED.exists()]
    scenes = [scene for scene in SCENES if scene.name in options.scenes]
    found: dict[str, dict[str, list[dict[str, float]]]] = {
        scene.name: {control: [] for control in controls} for scene in scenes
    }
    try:
        with tempfile.TemporaryDirectory(prefix="llmfs-control-") as root:
            place = Path(root)
            _make(place / "backing")
            for number in range(options.rounds):
                for scene in scenes:
                    for control in controls[:: -1 if number % 2 else 1]:
                        with progress.step(f"{scene.name}, round {number + 1}, {control}") as said:
                            made = _run(place / f"{scene.name}-{number}-{control}", place, scene, control, options)
                            found[scene.name][control].append(made)
                            said.append(", ".join(f"{name} {value:.1f}" for name, value in made.items()))
    except (BuildError, LlmfsFailedError, OSError) as error:
        print(f"bench.control.live: {error}", file=sys.stderr)
        return 1
    for scene in scenes:
        _show(progress, scene.name, found[scene.name], options.rounds)
    write_json(options.output, {"machine": machine(), "runs": found})
    return 0


def _show(progress: Progress, scene: str, found: dict[str, list[dict[str, float]]], rounds: int) -> None:
    names = list(next(iter(found.values()))[0])
    medians = {
        control: {name: statistics.median(run[name] for run in runs) for name in names}
        for control, runs in found.items()
    }
    off_s = medians[Control.OFF.value][BOTH]
    progress.table(
        f"{scene}: medians of {rounds} rounds",
        ("control", *names, "of off"),
        [
            (control, *(f"{value:.1f}" for value in values.values()), f"{values[BOTH] / off_s:.2f}")
            for control, values in medians.items()
        ],
    )


def _make(backing: Path) -> None:
    (backing / "set").mkdir(parents=True)
    for number in range(FILES):
        (backing / "set" / f"{number:05}.bin").write_bytes(os.urandom(FILE_BYTES))
    (backing / "large.db").write_bytes(os.urandom(DATABASE_BYTES))
    (backing / "long").write_bytes(os.urandom(LONG_BYTES))
    for start in range(STARTS):
        (backing / f"program-{start}").mkdir()
        for number in range(SMALL_FILES):
            (backing / f"program-{start}" / f"part{number:03}.py").write_bytes(os.urandom(SMALL_BYTES))


def _run(place: Path, above: Path, scene: Scene, control: str, options: argparse.Namespace) -> dict[str, float]:
    backing, slow, mountpoint = above / "backing", place / "slow", place / "mnt"
    slow.mkdir(parents=True)
    mountpoint.mkdir()
    drop_pages(backing)
    source = SlowDir(backing, slow, options.latency_ms / 1e3, options.bandwidth_mb * 1e6)
    with source, Llmfs(slow, mountpoint, place / "cache", "--cache-size", CACHE, "--control", control) as mounted:
        mounted.settle()
        with multiprocessing.get_context("spawn").Pool(2, os.setpgrp) as pool:
            running = [pool.apply_async(program, (mountpoint,)) for program in (scene.one, scene.other)]
            one_s, other_s = (each.get() for each in running)
        steering = mounted.status().get("control") or {}
        fetched = source.counters["bytes_read"] / 1e6
    one, other = (f"{name}, s" for name in scene.name.split(" and "))
    waits = {one: one_s, other: other_s, BOTH: one_s + other_s}
    return waits | {"fetched, MB": fetched, "changes": float(steering.get("changes", 0))}


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


def copy(mountpoint: Path) -> float:
    """Reads the long file; the seconds that it waited."""
    waited_s = 0.0
    with open(mountpoint / "long", "rb", buffering=0) as file:
        piece = b"first"
        while piece:
            began_s = time.perf_counter()
            piece = file.read(128 << 10)
            waited_s += time.perf_counter() - began_s
    return waited_s


def start(mountpoint: Path) -> float:
    """Reads the small files of one program after the other; the seconds that it waited."""
    waited_s = 0.0
    drawing = random.Random(3)
    for number in range(STARTS):
        names = [f"part{part:03}.py" for part in range(SMALL_FILES)]
        drawing.shuffle(names)
        for name in names:
            began_s = time.perf_counter()
            (mountpoint / f"program-{number}" / name).read_bytes()
            waited_s += time.perf_counter() - began_s
            time.sleep(WORKING_S / 2)
    return waited_s


SCENES = (
    Scene("loader and database", load, query),
    Scene("copy and database", copy, query),
    Scene("copy and start", copy, start),
)


if __name__ == "__main__":
    sys.exit(main())
