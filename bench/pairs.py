"""This version of llmfs beside another one, in turn: python -m bench.pairs CHECKOUT [--rounds 3] [--program]

CHECKOUT is a directory with the other version, such as `git worktree add` makes; it runs under this interpreter, with
the packages that are installed here. A machine's speed drifts by more than a change is worth, so the two take turns,
and what counts is the median over the rounds of the ratio within a round.

Always measured are the microseconds of single requests over a slow directory: reads that the cache answers, of 4 KiB
and of 128 KiB across two blocks, past the kernel's page cache; a look at a known file by opening it; and reads at
random that nothing can foretell, each of which goes to the source. With --program also the seconds of the demo's
program: its first run, again with everything cached, and with the cache emptied and what was learned kept.
"""

import argparse
import itertools
import mmap
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from bench import environment
from bench.arguments import count, why_no_version
from bench.environment import EnvironmentFailedError
from bench.mounted import Llmfs, LlmfsFailedError, drop_pages, llmfs
from bench.report import Progress
from bench.slowdir import BuildError, SlowDir

T = TypeVar("T")

HERE = Path(__file__).resolve().parent.parent
LATENCY_S = 0.002

_CACHED_BYTES = 8 << 20
_LARGE_BYTES = 256 << 20
_SMALL_FILES = 300
_PAGE_BYTES = 4096
_LONG_BYTES = 128 << 10
_LONG_OFFSET = 20 << 10
"""Within a block: the read ends in the next one."""

_READS, _LONG_READS, _MISSES = 2000, 400, 400
_MONTH_S = 30 * 24 * 3600


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it; returns the exit status."""
    options = _parse(arguments)
    if (why := why_no_version(options.checkout)) is not None:
        print(f"pairs: {why}", file=sys.stderr)
        return 2
    progress = Progress()
    progress.warn_if_busy()
    versions = {"other": options.checkout.resolve(), "this": HERE}
    try:
        taken = measure(versions, options.rounds, options.program, progress)
    except (BuildError, EnvironmentFailedError, LlmfsFailedError, OSError) as error:
        print(f"pairs: {error}", file=sys.stderr)
        return 1
    rows = [
        (what, *(_shown(statistics.median(values[name])) for name in versions), f"{_ratio(values):.2f}x")
        for what, values in taken.items()
    ]
    progress.table(f"medians over {options.rounds} rounds", ("", *versions, "other / this"), rows)
    return 0


def measure(
    versions: dict[str, Path], rounds: int, with_program: bool, progress: Progress
) -> dict[str, dict[str, list[float]]]:
    """Seconds by what was done and by version, a value each round.

    Raises BuildError, EnvironmentFailedError, LlmfsFailedError, OSError.
    """
    taken: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="llmfs-pairs-", ignore_cleanup_errors=True) as name:
        scratch = Path(name).resolve()
        backing, slow_dir, mountpoint = (scratch / each for each in ("backing", "slow", "mount"))
        for directory in (backing, slow_dir, mountpoint):
            directory.mkdir()
        with progress.step("making the files"):
            _make(backing)
            if with_program:
                environment.build(backing / "env")
                environment.complete(backing / "env")
        with SlowDir(backing, slow_dir, LATENCY_S, has_ctime=False) as slow:  # old files, by all their times
            for number, (version, checkout) in itertools.product(range(rounds), versions.items()):
                mount = Llmfs(slow_dir, mountpoint, scratch / "cache", checkout=checkout)
                with progress.step(f"round {number + 1}, {version}"):
                    runs = _program(slow, mount) if with_program else ()
                    for what, seconds in itertools.chain(_requests(slow, mount, number), runs):
                        taken.setdefault(what, {each: [] for each in versions})[version].append(seconds)
    return taken


def _make(backing: Path) -> None:
    chance = random.Random(5)
    sizes = {"cached": _CACHED_BYTES, "large": _LARGE_BYTES} | {f"small-{n}": 3000 for n in range(_SMALL_FILES)}
    long_ago_s = time.time() - _MONTH_S  # else they were young, and looked at again and again
    for name, size_bytes in sizes.items():
        with open(backing / name, "wb") as file:
            for begin in range(0, size_bytes, 1 << 20):
                file.write(chance.randbytes(min(1 << 20, size_bytes - begin)))
        os.utime(backing / name, (long_ago_s, long_ago_s))
    os.utime(backing, (long_ago_s, long_ago_s))


def _requests(slow: SlowDir, mount: Llmfs, seed: int) -> Iterator[tuple[str, float]]:
    """Medians of the seconds of single requests, from an empty cache on."""
    chance = random.Random(seed)
    shutil.rmtree(mount.cache_dir, ignore_errors=True)
    slow.drop_kernel_caches()
    with mount:
        mount.settle()
        # First, while nothing is known: later it would be expected that this file is read whole, as the others are.
        fd = os.open(mount.mountpoint / "large", os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            offsets = [chance.randrange(_LARGE_BYTES // _PAGE_BYTES) * _PAGE_BYTES for _ in range(_MISSES)]
            yield "read from the source", _median(lambda offset: os.pread(fd, _PAGE_BYTES, offset), offsets)
        finally:
            os.close(fd)
        small = [mount.mountpoint / f"small-{number}" for number in range(_SMALL_FILES)]
        for file in (mount.mountpoint / "cached", *small):
            file.read_bytes()
        fd = os.open(mount.mountpoint / "cached", os.O_RDONLY | os.O_DIRECT)
        try:
            offsets = [chance.randrange(_CACHED_BYTES // _PAGE_BYTES) * _PAGE_BYTES for _ in range(_READS)]
            yield "cached 4 KiB read", _median(_into(fd, _PAGE_BYTES), offsets)
            blocks = _CACHED_BYTES // _LONG_BYTES - 1
            offsets = [chance.randrange(blocks) * _LONG_BYTES + _LONG_OFFSET for _ in range(_LONG_READS)]
            yield "cached 128 KiB read", _median(_into(fd, _LONG_BYTES), offsets)
        finally:
            os.close(fd)
        yield "open of a known file", _median(_open, small)


def _program(slow: SlowDir, mount: Llmfs) -> Iterator[tuple[str, float]]:
    """Seconds of the program's runs, from an empty cache on."""
    shutil.rmtree(mount.cache_dir, ignore_errors=True)
    for what in ("program, first run", "program, cached", "program, learned"):
        if what.endswith("learned"):
            llmfs("cache", "clear", "--cache-dir", str(mount.cache_dir))
        slow.drop_kernel_caches()
        drop_pages(mount.cache_dir)
        with mount:
            started_s = time.monotonic()
            environment.run(mount.mountpoint / "env", environment.PROGRAM)
            yield what, time.monotonic() - started_s


def _into(fd: int, length: int) -> Callable[[int], object]:
    """Reads from an offset into memory that suits O_DIRECT."""
    buffer = mmap.mmap(-1, length)
    return lambda offset: os.preadv(fd, [buffer], offset)


def _open(path: Path) -> None:
    os.close(os.open(path, os.O_RDONLY))


def _median(call: Callable[[T], object], arguments: Sequence[T]) -> float:
    seconds = []
    for argument in arguments:
        started_s = time.perf_counter()
        call(argument)
        seconds.append(time.perf_counter() - started_s)
    return statistics.median(seconds)


def _ratio(values: dict[str, list[float]]) -> float:
    return statistics.median(other_s / this_s for other_s, this_s in zip(values["other"], values["this"], strict=True))


def _shown(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1e6:,.0f} us"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    about, _, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m bench.pairs", description=about, epilog=more, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkout", type=Path, help="a directory with another version of llmfs")
    parser.add_argument("--rounds", type=count, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--program", action="store_true", help="the demo's program too: minutes a round")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
