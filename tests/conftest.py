"""What holds for the whole run: nothing of ours stays mounted."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that runs us in the background has us and all that we start ignore it; tests interrupt programs.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def mounts_below(directory: Path) -> list[Path]:
    """The mount points of FUSE file systems below `directory`, the last mounted first."""
    inside = os.fspath(directory) + "/"
    found = []
    with open("/proc/self/mountinfo", "rb") as table:
        for line in table:
            before, _, after = line.partition(b" - ")
            raw = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), before.split(b" ")[4])
            if after.startswith(b"fuse") and os.fsdecode(raw).startswith(inside):
                found.append(Path(os.fsdecode(raw)))
    return found[::-1]


def detach(mountpoint: Path) -> None:
    """Take a mount away, whatever state it is in."""
    subprocess.run(["umount", "-l", mountpoint], check=False, capture_output=True, timeout=10)


@pytest.fixture(scope="session", autouse=True)
def _nothing_stays_mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    base = tmp_path_factory.getbasetemp()
    yield
    left = mounts_below(base)
    for mountpoint in left:
        detach(mountpoint)
    assert not left, f"left mounted: {left}"
