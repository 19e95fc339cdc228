"""What a program waits beside one that reads a long file: python -m bench.contention [CHECKOUT...] [--rounds 3]

One program reads a file from beginning to end, which is what is fetched ahead of most; another one reads single pages
of another file at random, which nothing can foretell. Both go to one source, whose line brings the bytes of both.

Measured in turn, over each of the benchmark's slow directories: the source itself, this version with and without its
predictor, and other versions, each a directory as `git worktree add` makes it. What counts are the medians over the
rounds of what the first program got a second, and of the median and the 90th percentile of what the other one waited.
"""

import argparse
import itertools
import multiprocessing
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

from bench.arguments import count, why_no_version
from bench.matrix.sources import SOURCES, Source
from bench.matrix.trees import aged
from bench.mounted import Llmfs, LlmfsFailedError, drop_pages
from bench.report import Progress
from bench.slowdir import BuildError, SlowDir

LONG_S = 6.0
"""How long the line takes for the long file."""

OTHER_BYTES = 256 << 20
PAGE_BYTES, PIECE_BYTES = 4096, 128 << 10
BETWEEN_S = 0.002
"""What the second program does between two reads."""


@dataclass(frozen=True, slots=True)
class Found:
    """bytes_s: of the program that reads on; waits_s: of each read of the other one, sorted."""

    bytes_s: float
    waits_s: list[float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it; returns the exit status."""
    options = _parse(arguments)
    for checkout in options.checkout:
        if (why := why_no_version(checkout)) is not None:
            print(f"contention: {why}", file=sys.stderr)
            return 2
    progress = Progress()
    progress.warn_if_busy()
    systems: dict[str, tuple[Path | None, list[str]] | None] = {"raw": None}
    systems |= {"llmfs off": (None, ["--predictor", "off"]), "llmfs": (None, [])}
    systems |= {checkout.name: (checkout.resolve(), []) for checkout in options.checkout}
    try:
        for source in SOURCES:
            if source.name in options.sources:
                found: dict[str, list[Found]] = {name: [] for name in systems}
                with _Scene(source) as scene:
                    for number, (name, system) in itertools.product(range(options.rounds), systems.items()):
                        step = progress.step(f"{source.name}, round {number + 1}, {name}")
                        with step, scene.seen_through(system) as root:
                            found[name].append(_compete(root))
                rows = [(name, *_row(each)) for name, each in found.items()]
                head = ("", "reads on, MB/s", "leaps, ms", "90%")
                progress.table(f"{source.description}: medians over {options.rounds} rounds", head, rows)
    except (BuildError, LlmfsFailedError, OSError) as error:
        print(f"contention: {error}", file=sys.stderr)
        return 1
    return 0


class _Scene:
    """Two files behind a slow directory. A context manager."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __enter__(self) -> "_Scene":
        self._scratch = Path(tempfile.mkdtemp(prefix="llmfs-contention-")).resolve()
        self._backing, slow_dir, self._mountpoint = (self._scratch / name for name in ("backing", "slow", "mount"))
        for directory in (self._backing, slow_dir, self._mountpoint):
            directory.mkdir()
        aged(self._make)(self._backing)
        source = self._source
        self._slow = SlowDir(self._backing, slow_dir, source.latency_s, source.bandwidth_bytes_s, has_ctime=False)
        try:
            self._slow.__enter__()
        except BaseException:
            shutil.rmtree(self._scratch, ignore_errors=True)
            raise
        return self

    def _make(self, root: Path) -> None:
        for name, size_bytes in (("long", int(LONG_S * self._source.bandwidth_bytes_s)), ("other", OTHER_BYTES)):
            with open(root / name, "wb") as file:
                for _ in range(size_bytes >> 20):
                    file.write(os.urandom(1 << 20))

    def __exit__(self, *error: object) -> None:
        try:
            self._slow.__exit__(None, None, None)
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)

    @contextmanager
    def seen_through(self, system: tuple[Path | None, list[str]] | None) -> Iterator[Path]:
        """The directory as it is (None), or through a version of llmfs with these options and an empty cache."""
        self._slow.drop_kernel_caches()
        drop_pages(self._backing)
        if system is None:
            yield self._slow.mountpoint
            return
        checkout, options = system
        cache_dir = self._scratch / "cache"
        shutil.rmtree(cache_dir, ignore_errors=True)
        with Llmfs(self._slow.mountpoint, self._mountpoint, cache_dir, *options, checkout=checkout) as mounted:
            mounted.settle()
            yield self._mountpoint


def _compete(root: Path) -> Found:
    context = multiprocessing.get_context("spawn")
    with context.Pool(2, os.setpgrp) as pool, context.Manager() as manager:
        is_over = manager.Event()
        waits = pool.apply_async(_leap, (root / "other", is_over))
        read = pool.apply_async(_read_on, (root / "long", is_over))
        return Found(read.get(), sorted(waits.get()))


def _read_on(path: Path, is_over: Event) -> float:
    """Reads all of the file; bytes a second."""
    began_s, size_bytes = time.perf_counter(), 0
    fd = os.open(path, os.O_RDONLY)
    try:
        while piece := os.read(fd, PIECE_BYTES):
            size_bytes += len(piece)
    finally:
        os.close(fd)
        is_over.set()
    return size_bytes / (time.perf_counter() - began_s)


def _leap(path: Path, is_over: Event) -> list[float]:
    """Reads single pages at random until the other one is through; the seconds of each."""
    chance, waits_s = random.Random(3), list[float]()
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        while not waits_s or not is_over.wait(BETWEEN_S):
            began_s = time.perf_counter()
            os.pread(fd, PAGE_BYTES, chance.randrange(OTHER_BYTES // PAGE_BYTES) * PAGE_BYTES)
            waits_s.append(time.perf_counter() - began_s)
    finally:
        os.close(fd)
    return waits_s


def _row(found: Sequence[Found]) -> tuple[str, str, str]:
    def median(value: Callable[[Found], float]) -> float:
        return statistics.median(map(value, found))

    return (
        f"{median(lambda each: each.bytes_s) / 1e6:.1f}",
        f"{median(lambda each: each.waits_s[len(each.waits_s) // 2]) * 1e3:.1f}",
        f"{median(lambda each: each.waits_s[len(each.waits_s) * 9 // 10]) * 1e3:.1f}",
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    about, _, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m bench.contention",
        description=about,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [source.name for source in SOURCES]
    parser.add_argument("checkout", type=Path, nargs="*", help="other versions of llmfs")
    parser.add_argument("--rounds", type=count, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--sources", nargs="+", choices=names, default=names, help="these slow directories")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
