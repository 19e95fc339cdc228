"""Everything at once, for long: reads with eviction, writes, renames, walks, the predictor. Nothing grows."""

import contextlib
import statistics
import time
from collections.abc import Mapping, Sequence

from bench.chaos.load import make_files
from bench.chaos.place import (
    Daemon,
    Load,
    Result,
    Task,
    anonymous_mib,
    descriptors_of,
    slow_source,
    threads_of,
    wait_for,
)

QUICK_MINUTES = 0.3
_SAMPLE_S = 5.0
_SAMPLES_AT_LEAST = 36
_FILES, _FILE_BYTES, _CACHE = 100, 1 << 20, "64M"

GROWTH = 1.2
"""What the last third may have more than the first one, in its median, and as much again as here, for noise:"""
ALLOWANCE = {"MiB": 16.0, "predictor MiB": 16.0, "descriptors": 16.0, "threads": 8.0, "LMDB readers": 4.0}


def soak(task: Task) -> Result:
    """Four programs at work, sampled every few seconds."""
    minutes = QUICK_MINUTES if task.is_quick else task.soak_minutes
    result = Result(f"{minutes:g} minutes of mixed load")
    with slow_source(task.directory) as (backing, slow), contextlib.ExitStack() as stack:
        make_files(backing, _FILES, _FILE_BYTES)
        daemon = stack.enter_context(Daemon(slow, task.directory, "--cache-size", _CACHE))
        mount = daemon.mountpoint
        loads = [
            stack.enter_context(Load(*words))
            for words in (("read", mount, "1"), ("read", mount, "2"), ("churn", mount, "c"), ("walk", mount))
        ]
        wait_for(lambda: daemon.status()["predictor_state"] not in ("loading", "down"), 60)
        began_s = time.monotonic()
        while time.monotonic() < began_s + 60 * minutes and all(load.is_running for load in loads):
            time.sleep(min(_SAMPLE_S, 60 * minutes / _SAMPLES_AT_LEAST))
            at_minutes = round((time.monotonic() - began_s) / 60, 3)
            for name, value in _sample(daemon).items():
                result.series.setdefault(name, []).append((at_minutes, value))
        result.failures += [complaint for load in loads if (complaint := load.stop())]
        result.figures["evictions"] = daemon.metric("llmfs_cache_evicted_blocks_total")
        result.figures["reads"] = sum(daemon.status()["reads"].values())
        result.check(result.figures["evictions"] > 0, "nothing was evicted")
        result.check(daemon.metric("llmfs_cache_corrupt_blocks_total") == 0, "a damaged block")
    series = {name: [value for _, value in samples] for name, samples in result.series.items()}
    for name, (first, last) in thirds(series).items():
        result.figures[f"{name}, first third"] = round(first, 1)
        result.figures[f"{name}, last third"] = round(last, 1)
    result.failures += grown(series)
    return result


def thirds(series: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    """Of each series the medians of its first and of its last third."""
    return {
        name: (statistics.median(values[: len(values) // 3]), statistics.median(values[-(len(values) // 3) :]))
        for name, values in series.items()
        if len(values) >= 3
    }


def grown(series: Mapping[str, Sequence[float]]) -> list[str]:
    """What grew by more than it may."""
    return [
        f"{name} went from {first:.0f} to {last:.0f}"
        for name, (first, last) in thirds(series).items()
        if last > first * GROWTH + ALLOWANCE[name]
    ]


def _sample(daemon: Daemon) -> dict[str, float]:
    sample = {
        "MiB": anonymous_mib(daemon.pid),
        "descriptors": float(descriptors_of(daemon.pid)),
        "threads": float(threads_of(daemon.pid)),
        "LMDB readers": float(daemon.readers()),
    }
    helper = daemon.status()["predictor_pid"]
    if helper:
        sample["predictor MiB"] = anonymous_mib(helper)
    return sample
