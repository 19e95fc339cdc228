"""How fast llmfs reads from a slow directory with little bandwidth: python -m bench.throughput

A file on a slowdir of 2 ms a request and 200 MB/s is read in order, and some of its blocks at random, from
the slow directory itself, through llmfs with nothing cached, and through llmfs with everything cached after
a remount; through rclone's full cache too where it is installed. The kernel forgets its pages before each.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import fio, peers
from bench.mounted import Llmfs, LlmfsFailedError, drop_pages
from bench.peers import PeerFailedError
from bench.report import Bars, Progress
from bench.slowdir import BuildError, SlowDir

LATENCY_S = 0.002
BANDWIDTH_BYTES_S = 200e6

_FILE_BYTES = 192 << 20
_RANDOM_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Throughput:
    """One filesystem: what was read in order and at random, and the bytes that the source sent for the former."""

    filesystem: str
    sequential_bytes_s: float
    random_reads_s: float
    random_p50_us: float
    source_bytes: int


def main() -> int:
    progress = Progress()
    try:
        results = measure(progress)
    except (BuildError, fio.FioMissingError, LlmfsFailedError, PeerFailedError) as error:
        print(f"throughput: {error}", file=sys.stderr)
        return 1
    show(results, progress)
    return 0


def measure(progress: Progress) -> list[Throughput]:
    """Runs everything in a temporary directory.

    Raises BuildError, FioMissingError, LlmfsFailedError, PeerFailedError.
    """
    with tempfile.TemporaryDirectory(prefix="llmfs-throughput-", ignore_cleanup_errors=True) as name:
        scratch = Path(name).resolve()
        backing, slow_dir, mountpoint = scratch / "backing", scratch / "slow", scratch / "mount"
        for directory in (backing, slow_dir, mountpoint):
            directory.mkdir()
        (backing / "file").write_bytes(os.urandom(_FILE_BYTES))
        os.utime(backing / "file", (0, 0))

        def through_llmfs(cache_dir: Path) -> Callable[[], AbstractContextManager[object]]:
            return lambda: Llmfs(slow_dir, mountpoint, cache_dir)

        # Random reads come from a cache of their own, so that nothing is there but what they fetched.
        filesystems: list[tuple[str, Callable[[str], Callable[[], AbstractContextManager[object]]], Path]] = [
            ("slow directory itself", lambda _: nullcontext, slow_dir),
            ("llmfs, nothing cached", lambda kind: through_llmfs(scratch / kind), mountpoint),
            ("llmfs, cached", lambda _: through_llmfs(scratch / "sequential"), mountpoint),
        ]
        if peers.is_installed("rclone"):
            filesystems.append(
                (
                    "rclone, nothing cached",
                    lambda kind: lambda: peers.rclone(slow_dir, mountpoint, scratch / f"rclone-{kind}"),
                    mountpoint,
                )
            )
        with SlowDir(backing, slow_dir, LATENCY_S, BANDWIDTH_BYTES_S) as slow:
            return [_measure_one(slow, scratch, progress, *each) for each in filesystems]


def _measure_one(
    slow: SlowDir,
    scratch: Path,
    progress: Progress,
    filesystem: str,
    mount: Callable[[str], Callable[[], AbstractContextManager[object]]],
    root: Path,
) -> Throughput:
    with progress.step(f"throughput, {filesystem}") as said:
        _forget(slow, scratch)
        with mount("sequential")():
            in_order = fio.read(root / "file", block_bytes=128 << 10, once=True, is_random=False)
        source_bytes = slow.counters["bytes_read"]
        _forget(slow, scratch)
        with mount("random")():
            at_random = fio.read(root / "file", block_bytes=4 << 10, seconds=_RANDOM_SECONDS)
        said.append(f"{in_order.bytes_s / 1e6:,.0f} MB/s in order")
        said.append(f"{at_random.requests_s:,.0f} random reads/s")
    return Throughput(filesystem, in_order.bytes_s, at_random.requests_s, at_random.latency_p50_us, source_bytes)


def _forget(slow: SlowDir, scratch: Path) -> None:
    slow.drop_kernel_caches()
    for directory in scratch.iterdir():
        if directory != slow.backing and directory != slow.mountpoint:
            drop_pages(directory)
    slow.reset_counters()


def show(results: Sequence[Throughput], progress: Progress) -> None:
    rows = [
        (
            each.filesystem,
            f"{each.sequential_bytes_s / 1e6:,.0f}",
            f"{each.source_bytes / 1e6:,.0f}",
            f"{each.random_reads_s:,.0f}",
            f"{each.random_p50_us:,.0f}",
        )
        for each in results
    ]
    source = f"{LATENCY_S * 1e3:g} ms a request, {BANDWIDTH_BYTES_S / 1e6:.0f} MB/s"
    title = f"{_FILE_BYTES >> 20} MiB from {source}"
    columns = ("", "in order MB/s", "source sent MB", "random 4 KiB/s", "p50 us")
    progress.table(title, columns, rows)


def bars(results: Sequence[Throughput]) -> Bars:
    """For a plot: reading in order."""
    labels = [each.filesystem for each in results]
    values = [each.sequential_bytes_s / 1e6 for each in results]
    return Bars("read in order, source of 200 MB/s", labels, values, "MB/s")


def as_json(results: Sequence[Throughput]) -> dict[str, Any]:
    return {each.filesystem: asdict(each) for each in results}


if __name__ == "__main__":
    sys.exit(main())
