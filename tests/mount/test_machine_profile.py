"""A live mount with the edge profile: within 150 MB whatever is read and walked, and all its parts at work."""

import json
import os
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

import pytest

from bench.slowdir import SlowDir
from tests.guard.test_mount import COMPLAINTS, FILES, attack, contents
from tests.mount.conftest import Mounted, World, eventually
from tests.mount.test_metrics import samples

trees = pytest.importorskip("bench.guard.trees")

BOUND_BYTES = 150_000_000
PACKAGES = Path(sysconfig.get_path("purelib"))


class Memory:
    """What a mount's two processes hold, looked at again and again while something goes on.

    Each page counts by its share (PSS, proc_pid_smaps_rollup), so what both map counts once. The maps of the cache's
    files count, too.
    """

    def __init__(self, m: Mounted) -> None:
        status = m.status()
        self.pids = [status["pid"], status["predictor_pid"]]
        self.most_bytes = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def look(self) -> int:
        found = 0
        for pid in self.pids:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    found += int(line.split()[1]) * 1024
        self.most_bytes = max(self.most_bytes, found)
        return found

    def mapped(self) -> str:
        return "".join(Path(f"/proc/{pid}/maps").read_text() for pid in self.pids)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.look()

    def _watch(self) -> None:
        while not self._end.wait(0.1):
            self.look()


def ready(m: Mounted) -> None:
    eventually(lambda: m.status()["predictor_state"] in ("pretrained", "learned"), 30, "a predictor that is ready")


def test_edge_takes_less_than_150_mb_while_a_large_program_starts_and_a_tree_is_walked(world: World) -> None:
    large = PACKAGES / "torch"
    if not large.is_dir():
        pytest.skip("there is no program that is large enough")
    slow = world.root / "slow"
    slow.mkdir()
    world.slow = SlowDir(PACKAGES, slow, 0.0002, options=("ro",))
    world.slow.mount()
    m = world.mount("--profile", "edge", "--metrics-port", "0", source=slow)
    ready(m)
    program = f"import sys; sys.path.insert(0, {str(m.path)!r}); import {large.name}; print({large.name}.__file__)"
    with Memory(m) as memory:
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-S", "-c", program],
                check=True,
                capture_output=True,
                text=True,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ""},
            )
            assert done.stdout.startswith(str(m.path))
        files = sum(
            os.stat(os.path.join(directory, name)).st_mode > 0
            for directory, _, names in os.walk(m / large.name)
            for name in names
        )
    assert files > 8000  # more than the profile lets the kernel hold
    assert memory.most_bytes < BOUND_BYTES, f"{memory.most_bytes:,} bytes"
    mapped = memory.mapped()
    assert "openblas" in mapped
    assert large.name not in mapped
    assert m.status()["prefetch"]["used_in_time"] > 50
    seen = samples(m)
    assert seen["llmfs_names_given_back_total", ()] > 0
    assert seen["llmfs_predictor_plans_total", ()] > 0
    assert not seen.get(("llmfs_predictor_training_runs_total", ()))
    eventually(lambda: samples(m)["llmfs_inodes", ()] < 12_000, 30, "that the kernel gives files back")


def test_edge_guards(world: World) -> None:
    world.expect_complaint(COMPLAINTS)
    trees.make(world.backing, 3, FILES)
    before = contents(world.backing)
    m = world.mount("--profile", "edge", "--guard", "protect", "--predictor", "off")
    said = attack(m, "in-place")
    assert said["is_stopped"] and said["hurt"] < FILES
    for row in json.loads(world.llmfs("guard", "list", "--json", m.path)):
        if row["kept"]:
            world.llmfs("guard", "restore", m.path, row["id"])
    after = contents(world.backing)
    assert {path: after.get(path) for path in before} == before


@pytest.mark.parametrize("name", ["edge", "desktop", "server"])
def test_the_profile_that_was_asked_for_is_told_everywhere(world: World, name: str) -> None:
    (world.backing / "f").write_bytes(b"x" * 1000)
    m = world.mount("--profile", name, "--metrics-port", "0")
    assert (m / "f").read_bytes() == b"x" * 1000
    assert m.status()["profile"] == {"name": name, "reason": "asked for"}
    assert f"profile    {name}, asked for" in world.llmfs("status", m.path)
    assert samples(m)["llmfs_machine_profile_info", (("profile", name), ("reason", "asked for"))] == 1
    assert f"its profile is {name}: asked for" in m.log()


def test_auto_says_why(world: World) -> None:
    m = world.mount()
    profile = m.status()["profile"]
    assert profile["name"] in ("edge", "desktop", "server")
    assert "GiB of memory" in profile["reason"] and profile["reason"] in m.log()
