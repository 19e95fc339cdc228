"""What a filesystem's processes cost: processor time and memory, of a process and all that it started."""

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS_S = os.sysconf("SC_CLK_TCK")
_STAT_PPID, _STAT_TIMES = 1, slice(11, 15)  # fields behind the name: utime, stime, and those of waited-for children


@dataclass(frozen=True, slots=True)
class Usage:
    """cpu_s: since they began. memory_bytes: resident, shared pages by share (PSS). anonymous_bytes: of that, what is
    theirs alone and in no file."""

    cpu_s: float
    memory_bytes: int
    anonymous_bytes: int


def usage(roots: Iterable[int]) -> Usage:
    """Of these processes and their descendants, as far as they are still there."""
    cpu_s, memory, anonymous = 0.0, 0, 0
    for pid in _tree(roots):
        with contextlib.suppress(OSError, ValueError):
            cpu_s += sum(int(ticks) for ticks in _stat(pid)[_STAT_TIMES]) / _TICKS_S
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            memory += _kib(rollup, "Pss:")
            anonymous += _kib(rollup, "Pss_Anon:")
    return Usage(cpu_s, memory, anonymous)


def _tree(roots: Iterable[int]) -> list[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                children[int(_stat(int(name))[_STAT_PPID])].append(int(name))
    found, waiting = [], list(roots)
    while waiting:
        found.append(pid := waiting.pop())
        waiting += children[pid]
    return found


def _stat(pid: int) -> list[str]:
    """The fields behind the name, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _kib(rollup: str, field: str) -> int:
    return next(int(line.split()[1]) << 10 for line in rollup.splitlines() if line.startswith(field))
