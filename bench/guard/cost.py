"""What `--guard watch` costs who writes: against `off`, both mounted at the same time, in turn, over the same disk.

The order changes from round to round; what counts is the median of the ratios within a round.
"""

import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.mounted import Llmfs

_LARGE_BYTES = 192 << 20
_SMALL_FILES = 400
_SMALL_BYTES = 16 << 10
_RANDOM_WRITES = 3000


def show(rounds: int) -> int:
    """Prints a line for each workload."""
    with tempfile.TemporaryDirectory(prefix="llmfs-guard-", ignore_cleanup_errors=True) as name:
        for workload, ratios in measure(Path(name).resolve(), rounds).items():
            quartiles = statistics.quantiles(ratios, n=4)
            print(
                f"{workload}: watch takes {statistics.median(ratios):.3f} times as long as off"
                f" (quartiles {quartiles[0]:.3f} to {quartiles[2]:.3f}, {len(ratios)} rounds)"
            )
    return 0


def measure(scratch: Path, rounds: int) -> dict[str, list[float]]:
    """Ratios watch / off, by workload. Raises LlmfsFailedError."""
    found: dict[str, list[float]] = {name: [] for name in WORKLOADS}
    mounts = {}
    for mode in ("off", "watch"):
        for kind in ("source", "mount"):
            (scratch / f"{kind}-{mode}").mkdir()
        mounts[mode] = Llmfs(
            scratch / f"source-{mode}", scratch / f"mount-{mode}", scratch / f"cache-{mode}",
            "--predictor", "off", "--guard", mode,
        )  # fmt: skip
    with mounts["off"], mounts["watch"]:
        for number in range(rounds + 1):
            for name, write in WORKLOADS.items():
                seconds = {}
                for mode in ("off", "watch") if number % 2 else ("watch", "off"):
                    place = mounts[mode].mountpoint / "work"
                    place.mkdir()
                    began_s = time.perf_counter()
                    write(place)
                    seconds[mode] = time.perf_counter() - began_s
                    shutil.rmtree(place)
                if number:  # the first warms up
                    found[name].append(seconds["watch"] / seconds["off"])
    return found


def _large(place: Path) -> None:
    data = random.Random(1).randbytes(1 << 20)
    with open(place / "large", "wb", buffering=0) as file:
        for _ in range(_LARGE_BYTES >> 20):
            file.write(data)


def _small(place: Path) -> None:
    data = random.Random(2).randbytes(_SMALL_BYTES)
    for number in range(_SMALL_FILES):
        (place / f"{number}.dat").write_bytes(data)


def _in_places(place: Path) -> None:
    chance = random.Random(3)
    with open(place / "file", "wb", buffering=0) as file:
        file.truncate(64 << 20)
    with open(place / "file", "r+b", buffering=0) as file:
        for _ in range(_RANDOM_WRITES):
            os.pwrite(file.fileno(), chance.randbytes(4096), chance.randrange(0, 16 << 10) * 4096)


WORKLOADS: dict[str, Callable[[Path], None]] = {
    f"a file of {_LARGE_BYTES >> 20} MiB": _large,
    f"{_SMALL_FILES} files of {_SMALL_BYTES >> 10} KiB": _small,
    f"{_RANDOM_WRITES} writes of 4 KiB here and there": _in_places,
}
