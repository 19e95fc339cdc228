"""How short of memory and of cores this machine and our control group are, as the kernel tells it (PSI).

`some avg10` is the share of the last ten seconds, in percent, in which some task waited for memory, or for a core
(Documentation/accounting/psi.rst). Kernels without it, and groups that the kernel does not account, are never short.

Memory that is short is given up at once, cores with hysteresis (`Contention`): waiting for memory is always a fault,
waiting for a core is what busy machines do.
"""

import os
from pathlib import Path

TOLD_IN = "LLMFS_PRESSURE"
"""An environment variable that names a directory to read in place of /proc/pressure and the groups', for tests."""

PRESSED_PERCENT = 10.0
"""Waiting for memory a tenth of the time: what was not asked for has no business in it."""

CONTENDED_PERCENT = 50.0
"""Waiting for a core half of the time. One large program that starts through a mount makes it 18 at most (`import
torch`, two cores, nothing else at work), and it is what prefetching is for."""

CALM_PERCENT = 25.0
"""Below this cores are free again."""

_MACHINE = Path("/proc/pressure")


def own_files(
    resource: str = "memory", cgroup: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> tuple[Path, ...]:
    """Where the pressure on the machine and on our control group is told. `resource`: memory or cpu."""
    if told_in := os.environ.get(TOLD_IN):
        return (Path(told_in) / resource,)
    try:
        lines = cgroup.read_text().splitlines()
    except (OSError, ValueError):
        lines = []
    ours = [root / line.removeprefix("0::/") / f"{resource}.pressure" for line in lines if line.startswith("0::/")]
    return (_MACHINE / resource, *ours)


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


class Contention:
    """Whether the cores are contended: from `CONTENDED_PERCENT` on, until it is less than `CALM_PERCENT`. Pure."""

    def __init__(self) -> None:
        self.is_on = False

    def look(self, percent: float) -> bool:
        """The pressure on the cores now; whether to step back."""
        self.is_on = percent >= (CALM_PERCENT if self.is_on else CONTENDED_PERCENT)
        return self.is_on
