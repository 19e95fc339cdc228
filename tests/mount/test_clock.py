"""The daemon's clock jumps while it is mounted: nothing stale is shown for longer than the documented time.

The jump is the daemon's alone (clock.c, preloaded): what the test and the source write carries the machine's time.
Under a clock that is ahead files look older than they are, and what is looked at ahead of its use between the jump and
the change is believed for longer, 60 s at most: so that jump comes last.
"""

import csv
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from llmfs.policy.freshness import LONGEST_NS, SECOND_NS
from tests.mount.conftest import Mounted, World, eventually
from tests.mount.test_consistency import TTL_S

HOUR_NS = 3600 * 10**9

needs_compiler = pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")


class Clock:
    """How far the daemon's wall clock is ahead."""

    def __init__(self, directory: Path) -> None:
        library = directory / "clock.so"
        source = Path(__file__).with_name("clock.c")
        subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source], check=True)
        self._file = directory / "ahead"
        self.set(0)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_AHEAD_NS": str(self._file)}

    def set(self, ahead_ns: int) -> None:
        fd = os.open(self._file, os.O_WRONLY | os.O_CREAT)
        os.pwrite(fd, struct.pack("<q", ahead_ns), 0)
        os.close(fd)


def times_s(world: World, m: Mounted) -> list[float]:
    """When the accesses were made that the trace holds, in their order."""
    exported = world.root / "trace.csv"
    world.llmfs("trace", "export", "--format", "csv", "--output", exported, "--cache-dir", m.cache_dir)
    with open(exported, newline="") as file:
        return [float(row["ts"]) for row in csv.DictReader(file)]


@needs_compiler
@pytest.mark.parametrize("mode", ["close-to-open", "strict"])
def test_changes_are_seen_in_time_whatever_the_daemons_clock_does(world: World, mode: str) -> None:
    (world.root / "clock").mkdir()
    clock = Clock(world.root / "clock")
    (world.backing / "d").mkdir()
    (world.backing / "f").write_bytes(b"0")
    m = world.prepare("--consistency", mode).mount(env=clock.environment)
    for number, ahead_ns in enumerate((-HOUR_NS, 0, -HOUR_NS, 30 * 24 * HOUR_NS), 1):
        assert (m / "f").read_bytes() == b"%d" % (number - 1)
        assert not (m / f"new-{number}").exists() and f"new-{number}" not in os.listdir(m / "d")
        clock.set(ahead_ns)
        (m / "own").write_bytes(b"%d" % number)
        assert (m / "own").read_bytes() == b"%d" % number
        (world.backing / "f").write_bytes(b"%d" % number)
        (world.backing / f"new-{number}").touch()
        (world.backing / "d" / f"new-{number}").touch()

        def is_seen(number: int = number) -> bool:
            return (
                (m / "f").read_bytes() == b"%d" % number
                and (m / f"new-{number}").exists()
                and f"new-{number}" in os.listdir(m / "d")
            )

        if mode == "strict":
            assert is_seen()
        else:
            within_s = TTL_S if ahead_ns <= 0 else LONGEST_NS / SECOND_NS
            eventually(is_seen, within_s + 1, f"after the clock was set to {ahead_ns / 1e9:+.0f} s")
    m.umount()
    seen_s = times_s(world, m)
    assert seen_s != sorted(seen_s) and max(seen_s) - min(seen_s) > 30 * 24 * 3600
    m.mount()
    assert (m / "f").read_bytes() == b"4" and (m / "own").read_bytes() == b"4"


@needs_compiler
def test_what_a_killed_mount_changed_is_seen_when_the_clock_was_set_back(world: World) -> None:
    """In immutable mode nothing is asked again: but for what may have been changed by a mount that was killed."""
    (world.root / "clock").mkdir()
    clock = Clock(world.root / "clock")
    (world.backing / "f").write_bytes(b"old")
    m = world.prepare("--consistency", "immutable", "--predictor", "off").mount(env=clock.environment)
    assert (m / "f").read_bytes() == b"old"
    m.umount()
    m.mount(env=clock.environment)
    m.kill()
    (world.backing / "f").write_bytes(b"as if we had written it")
    world.llmfs("umount", m.path)
    clock.set(-HOUR_NS)
    m.mount(env=clock.environment)
    clock.set(0)
    assert (m / "f").read_bytes() == b"as if we had written it"
