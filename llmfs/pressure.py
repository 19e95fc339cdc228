"""How short of memory this machine and our control group are, as the kernel tells it (PSI).

`some avg10` is the share of the last ten seconds, in percent, in which some task waited for memory
(Documentation/accounting/psi.rst). Kernels without it, and groups that the kernel does not account, are never short.
"""

from pathlib import Path

PRESSED_PERCENT = 10.0
"""Waiting for memory a tenth of the time: what was not asked for has no business in it."""

_MACHINE = Path("/proc/pressure/memory")


def own_files(cgroup: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> tuple[Path, ...]:
    """Where the pressure on the machine and on our control group is told."""
    try:
        lines = cgroup.read_text().splitlines()
    except (OSError, ValueError):
        lines = []
    ours = [root / line.removeprefix("0::/") / "memory.pressure" for line in lines if line.startswith("0::/")]
    return (_MACHINE, *ours)


def some_percent(files: tuple[Path, ...]) -> float:
    """The highest `some avg10` that these files tell; 0 where none tells any."""
    found = [0.0]
    for file in files:
        try:
            words = file.read_text().split()
            if words[:1] == ["some"]:
                found.append(float(dict(word.split("=") for word in words[1:5])["avg10"]))
        except (OSError, ValueError, KeyError):
            continue  # not there, or another kernel's format: nothing is known
    return max(found)
