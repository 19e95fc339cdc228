"""What this machine has for us: memory and cores, as far as our control groups let us have them.

What it is good for is `machine_profile.py`. What cannot be read counts as a desktop's.
"""

import os
from pathlib import Path

from llmfs.machine_profile import Machine

_DESKTOP_BYTES = 8 << 30


def look(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> Machine:
    """This machine, of which our control groups may leave us a part."""
    groups = _groups(proc / "self/cgroup", cgroups)
    memory_bytes = _meminfo(proc / "meminfo", "MemTotal") or _DESKTOP_BYTES
    limit_bytes = min((limit for group in groups for limit in _memory_limits(group)), default=memory_bytes)
    cores = len(os.sched_getaffinity(0))
    quota = min((share for group in groups for share in _core_limits(group)), default=float(cores))
    return Machine(
        min(memory_bytes, limit_bytes),
        max(1, min(cores, round(quota))),
        limit_bytes < memory_bytes,
        round(quota) < cores,
    )


def available_bytes(proc: Path = Path("/proc")) -> int:
    """What programs could still have of the machine's memory without swapping; 0 where that cannot be read."""
    return _meminfo(proc / "meminfo", "MemAvailable") or 0


def _meminfo(meminfo: Path, name: str) -> int | None:
    """A figure of proc_meminfo(5), in bytes."""
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _groups(own: Path, root: Path) -> list[Path]:
    """The directories of our control group and of those above it, of both versions (cgroups(7))."""
    found = []
    try:
        lines = own.read_text().splitlines()
    except (OSError, ValueError):
        return []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for base in [root] if not controllers else [root / name for name in controllers.split(",")]:
            group = base / path.strip("/")
            found += [above for above in (group, *group.parents) if above == base or base in above.parents]
    return found


def _memory_limits(group: Path) -> list[int]:
    limits = (_number(group / name) for name in ("memory.max", "memory.limit_in_bytes"))
    return [limit for limit in limits if limit is not None and 0 < limit < 1 << 60]


def _core_limits(group: Path) -> list[float]:
    found = []
    try:
        quota, period = (group / "cpu.max").read_text().split()
        found.append(int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        pass  # not there, or "max"
    old, period_us = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
    if old is not None and old > 0 and period_us:
        found.append(old / period_us)
    return found


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
