"""The controller in a live mount: who steers, and what is told of it."""

import os
import subprocess
import sys

import pytest

from tests.mount.conftest import World, eventually
from tests.mount.test_metrics import samples


def test_rules_steer_unless_told_otherwise(world: World) -> None:
    m = world.mount("--metrics-port", "0", "--log-level", "debug")
    assert m.status()["control"] == {
        "controller": "rules",
        "arm": "deep-any",
        "changes": 0,
        "short_of": [],
        "programs": [],
    }
    decisions = ("llmfs_control_decisions_total", ())
    eventually(lambda: samples(m)[decisions] >= 2, 20, "two looks")
    assert samples(m)["llmfs_control_arm", (("arm", "deep-any"),)] == 1
    assert "rules: deep-any, 0 changes" in world.llmfs("status", m.path)
    eventually(lambda: "arm deep-any, wanted" in m.log(), 20, "a decision in the log")


def test_nobody_steers_where_that_is_wanted(world: World) -> None:
    m = world.mount("--control", "off")
    assert m.status()["control"] == {}


def test_who_reads_is_told_with_what_it_holds_and_what_it_would_gain(world: World) -> None:
    m = world.mount("--metrics-port", "0")
    for name in ("one.bin", "two.bin"):
        (m.source / name).write_bytes(bytes(300_000))
    for _ in range(2):
        subprocess.run(["cat", m.path / "one.bin", m.path / "two.bin"], stdout=subprocess.DEVNULL, check=True)
    eventually(lambda: m.status()["control"]["programs"], 20, "who reads")
    (program,) = m.status()["control"]["programs"]
    assert program["process_group"] == os.getpgid(0) and program["share"] is None
    assert program["held_bytes"] >= 600_000
    assert len(program["hit_ratios"]) == 5 and program["hit_ratios"][0] == 0
    assert samples(m)["llmfs_control_sharers", ()] == 0


def test_without_weights_the_rules_steer(world: World) -> None:
    world.expect_complaint("no weights for the learned controller")
    m = world.mount("--control", "learned")
    assert m.status()["control"]["controller"] in ("rules", "learned")


def test_where_cores_are_contended_prefetching_steps_back_and_says_so(world: World) -> None:
    m = world.mount("--metrics-port", "0")
    (world.root / "pressure").mkdir()
    file = world.root / "pressure" / "cpu"
    file.write_text("some avg10=80.00 avg60=40.00 avg300=10.00 total=1\n")
    eventually(lambda: m.status()["control"]["short_of"] == ["cores"], 20, "that it steps back")
    assert m.status()["control"]["arm"] == "middle-likely"
    assert samples(m)["llmfs_backing_off", (("resource", "cpu"),)] == 1
    assert "stepping back: short of cores" in world.llmfs("status", m.path)
    file.write_text("some avg10=30.00 avg60=40.00 avg300=10.00 total=1\n")
    eventually(lambda: samples(m)["llmfs_pressure_ratio", (("resource", "cpu"),)] == 0.3, 20, "another look")
    assert m.status()["control"]["short_of"] == ["cores"]  # not calm yet
    file.write_text("some avg10=0.00 avg60=40.00 avg300=10.00 total=1\n")
    eventually(lambda: m.status()["control"]["short_of"] == [], 20, "that it goes on")
    eventually(lambda: m.status()["control"]["arm"] == "deep-any", 20, "the arm of before")


READS_PAGES = """
import os, random, sys, time
fd = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
pages = os.fstat(fd).st_size // 4096
while True:
    os.pread(fd, 4096, random.randrange(pages) * 4096)
    time.sleep(0.002)
"""


@pytest.mark.parametrize(("control", "is_shared"), [("rules", True), ("off", False)])
def test_programs_on_a_crowded_line_take_turns_where_somebody_steers(
    world: World, control: str, is_shared: bool
) -> None:
    source = world.slow_source(0.0005, bandwidth_bytes_s=25e6)
    long = os.urandom(32 << 20)
    (world.backing / "long").write_bytes(long)
    (world.backing / "other").write_bytes(os.urandom(32 << 20))
    m = world.mount("--metrics-port", "0", "--control", control, source=source)
    with subprocess.Popen([sys.executable, "-c", READS_PAGES, m.path / "other"], process_group=0) as other:
        try:
            assert (m.path / "long").read_bytes() == long
        finally:
            other.kill()
    found = samples(m)
    assert (found["llmfs_source_line_held_requests_total", ()] > 0) is is_shared
    assert found["llmfs_source_line_crowded", ()] == is_shared
    assert (found["llmfs_source_line_held_seconds_total", ()] > 0) is is_shared
