"""The cache's disk slow: what programs wait for then is the source, and hardly ever that disk."""

import statistics
import time
from pathlib import Path

from bench.chaos.load import content, make_files
from bench.chaos.place import Daemon, Load, Result, Task, slow_source
from bench.slowdir import SlowDir

DISK_S = 0.05
"""A request to the slow disk: as a hard disk that others keep busy. One block is two or three of them."""

_FILES = 200
_ALLOWED = 3.0
"""Reads past the cache may take so many times what they take with a quick disk, and once"""
_ALLOWED_S = 2.0
"""more than that: both parts of the cache have to be found slow first, and are asked again now and then."""


def cache_slow(task: Task) -> Result:
    """A program reads what is cached, on a disk that became slow; another one reads what is not."""
    result = Result(f"the cache on a disk that takes {DISK_S * 1e3:.0f} ms a request")
    count = task.amount(200, 60)
    place = task.directory / "slow-disk"
    for name in ("disk", "cache"):
        (place / name).mkdir(parents=True)
    with slow_source(task.directory) as (backing, source), SlowDir(place / "disk", place / "cache", 0.0) as disk:
        names = make_files(backing, _FILES)
        for directory in ("quick", "slow"):
            (backing / directory).mkdir()
            make_files(backing / directory, count)
        with Daemon(source, place, "--cache-size", "64M", "--predictor", "off") as daemon:
            for name in names:
                (daemon.mountpoint / name).read_bytes()
            quick = _waits(daemon, disk, "quick", count, result)
            daemon.umount()
            disk.drop_kernel_caches()
            disk.set_latency(DISK_S)
            began_s = time.monotonic()
            daemon.mount()
            result.figures["mounted after, s"] = round(time.monotonic() - began_s, 2)
            slow = _waits(daemon, disk, "slow", count, result)
            result.figures["times passed by"] = daemon.metric("llmfs_faults_total", "blocks")
            began_s = time.monotonic()
            daemon.umount()
            result.figures["unmounted after, s"] = round(time.monotonic() - began_s, 2)
    for name, waits in (("quick", quick), ("slow", slow)):
        result.figures[f"read, {name} disk, median ms"] = round(1e3 * statistics.median(waits), 2)
        result.figures[f"read, {name} disk, longest ms"] = round(1e3 * max(waits), 1)
    bound_s = _ALLOWED * sum(quick) + _ALLOWED_S
    result.check(sum(slow) <= bound_s, f"{count} reads took {sum(slow):.1f} s, with a quick disk {sum(quick):.1f} s")
    return result


def _waits(daemon: Daemon, disk: SlowDir, directory: str, count: int, result: Result) -> list[float]:
    """How long each read of a file took that is not in the cache, in s, while others read what is.

    The cache is larger than what the kernel keeps of it in memory: nothing.
    """
    waits: list[float] = []
    mount = daemon.mountpoint
    with Load("read", mount, "1") as first, Load("read", mount, "2") as second:
        time.sleep(1.0)
        for number in range(count):
            disk.drop_kernel_caches()
            began_s = time.monotonic()
            data = Path(mount, directory, f"r{number}").read_bytes()
            waits.append(time.monotonic() - began_s)
            result.check(data == content(f"r{number}"), f"{directory}/r{number} is wrong")
        for load in (first, second):
            complaint = load.stop()
            result.check(not complaint, f"{directory} disk: {complaint}")
    return waits
