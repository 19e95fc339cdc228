"""What `--guard watch` costs who writes: against `off`, both mounted at the same time, in turn, over the same disk.

The order changes from round to round. The median of the ratios within a round is what a user sees; the ratio of the
fastest rounds says more where other programs keep the processors busy, and so does that of the daemons' processor time.
"""

import math
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.mounted import Llmfs

_LARGE_BYTES = 32 << 20
_SMALL_FILES = 60
_SMALL_BYTES = 16 << 10
_RANDOM_WRITES = 400


def show(rounds: int) -> int:
    """Prints a line for each workload."""
    with tempfile.TemporaryDirectory(prefix="llmfs-guard-", ignore_cleanup_errors=True) as name:
        for workload, (ratios, fastest, processor) in measure(Path(name).resolve(), rounds).items():
            quartiles = statistics.quantiles(ratios, n=4)
            print(
                f"{workload}: watch takes {statistics.median(ratios):.3f} times as long as off"
                f" (quartiles {quartiles[0]:.3f} to {quartiles[2]:.3f}, {len(ratios)} rounds),"
                f" its fastest round {fastest:.3f} times, its daemon {processor:.3f} times the processor time"
            )
    return 0


def measure(scratch: Path, rounds: int) -> dict[str, tuple[list[float], float, float]]:
    """Ratios watch / off by workload: of the time of each round, of the fastest, of the daemons' fastest. Raises
    LlmfsFailedError."""
    found: dict[str, list[float]] = {name: [] for name in WORKLOADS}
    fastest = {(name, mode): (math.inf, math.inf) for name in WORKLOADS for mode in ("off", "watch")}
    mounts = {}
    for mode in ("off", "watch"):
        for kind in ("source", "mount"):
            (scratch / f"{kind}-{mode}").mkdir()
        mounts[mode] = Llmfs(
            scratch / f"source-{mode}", scratch / f"mount-{mode}", scratch / f"cache-{mode}",
            "--predictor", "off", "--guard", mode,
        )  # fmt: skip
    with mounts["off"], mounts["watch"]:
        daemons = {mode: int(mount.status()["pid"]) for mode, mount in mounts.items()}
        for number in range(rounds + 1):
            for name, write in WORKLOADS.items():
                seconds = {}
                for mode in ("off", "watch") if number % 2 else ("watch", "off"):
                    place = mounts[mode].mountpoint / "work"
                    place.mkdir()
                    began_s, before_s = time.perf_counter(), _processor_s(daemons[mode])
                    write(place)
                    seconds[mode] = time.perf_counter() - began_s
                    took_s = _processor_s(daemons[mode]) - before_s
                    best = fastest[name, mode]
                    fastest[name, mode] = (min(best[0], seconds[mode]), min(best[1], took_s))
                    shutil.rmtree(place)
                if number:  # the first warms up
                    found[name].append(seconds["watch"] / seconds["off"])
    return {
        name: (ratios, *(fastest[name, "watch"][kind] / fastest[name, "off"][kind] for kind in (0, 1)))  # type: ignore[misc]
        for name, ratios in found.items()
    }


def _processor_s(pid: int) -> float:
    """The processor time that a process has taken, of all its threads."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as statistics_of:
            total += int(statistics_of.read().split()[0])  # ns on a processor: proc(5)
    return total / 1e9


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
