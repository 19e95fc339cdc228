"""What llmfs costs where it can gain nothing: python -m bench.overhead

Data on a fast local directory, its pages in memory, read once and in random order: nothing is read twice,
nothing can be foretold, and the source is as quick as a cache. The same reads go through bare
(bench/passthrough.py, the floor in Python), llmfs, and bindfs (the floor in C), each freshly mounted with
nothing cached, in turn, for some rounds; what counts is the median over the rounds of the ratio llmfs to
bare within a round, for a machine's speed drifts.
"""

import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import fio, peers
from bench.mounted import Llmfs, LlmfsFailedError
from bench.peers import PeerFailedError
from bench.report import Progress

ROUNDS = 3

_SMALL_FILES = 2000
_SMALL_BYTES = 8 << 10
_FILES_PER_DIRECTORY = 100
_RANDOM_4K_BYTES = 48 << 20
_RANDOM_128K_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Overhead:
    """One workload: the seconds of each round by filesystem, and the median ratio of llmfs to bare."""

    workload: str
    seconds: dict[str, list[float]]
    ratio: float


def main() -> int:
    progress = Progress()
    try:
        results = measure(progress)
    except (fio.FioMissingError, LlmfsFailedError, PeerFailedError) as error:
        print(f"overhead: {error}", file=sys.stderr)
        return 1
    show(results, progress)
    return 0


def measure(progress: Progress, rounds: int = ROUNDS) -> list[Overhead]:
    """Runs everything in a temporary directory. Raises FioMissingError, LlmfsFailedError, PeerFailedError."""
    with tempfile.TemporaryDirectory(prefix="llmfs-overhead-", ignore_cleanup_errors=True) as name:
        scratch = Path(name).resolve()
        source, mountpoint = scratch / "source", scratch / "mount"
        mountpoint.mkdir()
        _make(source)
        mounts = _mounts(source, mountpoint, scratch)
        taken: dict[str, dict[str, list[float]]] = {
            workload: {filesystem: [] for filesystem in mounts} for workload in WORKLOADS
        }
        for number in range(rounds):
            with progress.step(f"overhead, round {number + 1} of {rounds}"):
                for filesystem, mount in mounts.items():
                    for workload, read in WORKLOADS.items():
                        with mount(number):
                            started_s = time.monotonic()
                            read(mountpoint, number)
                            taken[workload][filesystem].append(time.monotonic() - started_s)
        return [Overhead(workload, seconds, _ratio(seconds)) for workload, seconds in taken.items()]


def show(results: Sequence[Overhead], progress: Progress) -> None:
    filesystems = list(results[0].seconds)
    rows = [
        (
            each.workload,
            *(f"{statistics.median(each.seconds[filesystem]):.2f}" for filesystem in filesystems),
            f"{each.ratio:.2f}x",
        )
        for each in results
    ]
    columns = ("seconds (median)", *filesystems, "llmfs / bare")
    progress.table("Fast local source, everything read once at random: nothing to gain", columns, rows)


def _ratio(seconds: dict[str, list[float]]) -> float:
    return statistics.median(
        llmfs_s / bare_s for llmfs_s, bare_s in zip(seconds["llmfs"], seconds["bare"], strict=True)
    )


# -- the filesystems


def _mounts(
    source: Path, mountpoint: Path, scratch: Path
) -> dict[str, Callable[[int], AbstractContextManager[object]]]:
    @contextmanager
    def llmfs(number: int) -> Iterator[None]:
        cache_dir = scratch / f"cache-{number}"
        with Llmfs(source, mountpoint, cache_dir) as mounted:
            mounted.settle()  # the mount is measured, not its start
            yield
        shutil.rmtree(cache_dir)  # the next is as empty

    mounts: dict[str, Callable[[int], AbstractContextManager[object]]] = {
        "bare": lambda _: peers.bare(source, mountpoint),
        "llmfs": llmfs,
    }
    if peers.is_installed("bindfs"):
        mounts["bindfs"] = lambda _: peers.bindfs(source, mountpoint)
    return mounts


# -- the workloads


def _make(source: Path) -> None:
    content = random.Random(1).randbytes(1 << 20)
    for number in range(_SMALL_FILES):
        file = source / _small_file(number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content[number : number + _SMALL_BYTES])
    for name, size in (("random-4k", _RANDOM_4K_BYTES), ("random-128k", _RANDOM_128K_BYTES)):
        with open(source / name, "wb") as large:
            for _ in range(size >> 20):
                large.write(content)
    month_ago_s = time.time() - 30 * 24 * 3600
    for directory, _, names in os.walk(source, topdown=False):
        for path in (*(os.path.join(directory, name) for name in names), directory):
            os.utime(path, (month_ago_s, month_ago_s))


def _small_file(number: int) -> str:
    return f"small/{number // _FILES_PER_DIRECTORY:03}/{number:05}"


def _read_small_files(root: Path, seed: int) -> None:
    order = list(range(_SMALL_FILES))
    random.Random(seed).shuffle(order)
    for number in order:
        with open(root / _small_file(number), "rb", buffering=0) as file:
            file.read(_SMALL_BYTES)


def _read_random(name: str, block_bytes: int) -> Callable[[Path, int], None]:
    def read(root: Path, seed: int) -> None:
        fio.read(root / name, block_bytes=block_bytes, once=True, seed=seed + 1)

    return read


WORKLOADS: dict[str, Callable[[Path, int], None]] = {
    f"{_SMALL_FILES} files of 8 KiB": _read_small_files,
    "random 4 KiB reads": _read_random("random-4k", 4 << 10),
    "random 128 KiB reads": _read_random("random-128k", 128 << 10),
}


if __name__ == "__main__":
    sys.exit(main())
