"""`llmfs profile` on a live mount: what one program read is there before it runs again, on this mount or another."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmfs.blocks import BLOCK_BYTES
from tests.mount.conftest import World, eventually
from tests.mount.test_upkeep import cached, fails, run, says, source_reads

PROGRAM = """
import os, sys
os.listdir("d")
for name in ("d/a", "d/b"):
    open(name, "rb").read()
with open("big", "rb", buffering=0) as file:
    file.seek(3 * 131072)
    file.read(131072)
os.path.exists("nothing")
sys.exit(7)
"""


@pytest.fixture
def profiles(world: World, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(world.root / "data"))
    return world.root / "data" / "llmfs" / "profiles"


@pytest.fixture
def tree(world: World) -> None:
    (world.backing / "d").mkdir()
    for name in ("a", "b", "c"):
        (world.backing / "d" / name).write_bytes(os.urandom(50_000))
    (world.backing / "big").write_bytes(os.urandom(8 * BLOCK_BYTES))


def recorded(world: World, mountpoint: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Records a shell that starts the program: a family of two generations."""
    shell = f"cd {mountpoint} && {sys.executable} -c '{PROGRAM.replace(chr(39), chr(34))}'; exit $?"
    return run(world, "profile", "record", "p", "--mount", mountpoint, *options, "--", "sh", "-c", shell)


def files(path: Path) -> dict[str, Any]:
    return {each["path"]: each for each in json.loads(path.read_text())["files"]}


@pytest.mark.usefixtures("tree")
def test_what_a_program_read_is_recorded_and_ready_on_another_machine(world: World, profiles: Path) -> None:
    source = world.slow_source()
    m = world.mount("--predictor", "off", source=source)
    (m / "d/c").read_bytes()  # this program's reading is not the recorded one's
    (m / "d/b").read_bytes()  # in the kernel's page cache from here on, and recorded all the same
    done = recorded(world, m.path)
    assert done.returncode == 7 and "1 run, " in done.stderr, done
    found = files(profiles / "p.json")
    assert found["d/a"]["ranges"] == [[0, 53248]] and found["d/b"]["ranges"] == [[0, 53248]]
    assert found["big"]["ranges"] == [[3 * BLOCK_BYTES, BLOCK_BYTES]]
    assert found["d"]["is_listed"] and "nothing" in found and "ranges" not in found["nothing"]
    assert "ranges" not in found.get("d/c", {})

    other = world.mount("--predictor", "off", source=source, name="other")
    said = says(world, "profile", "replay", "p", "--mount", other.path)
    # "nothing" is missing, and whatever modules the interpreter looked for where it was started.
    assert said["missing"] >= 1 and said["files"] + said["missing"] == len(found), said
    assert (said["fetched_bytes"], said["errors"]) == (100_000 + BLOCK_BYTES, 0)
    assert (cached(other / "d/a"), cached(other / "d/c"), cached(other / "big")) == (50_000, 0, BLOCK_BYTES)
    (other / "d/a").read_bytes()
    assert source_reads(other) == 0
    assert "0 B fetched now" in world.llmfs("profile", "replay", "p", "--mount", other.path)


@pytest.mark.usefixtures("tree")
def test_runs_add_up_and_are_merged_trimmed_and_listed(world: World, profiles: Path) -> None:
    m = world.mount("--predictor", "off")
    recorded(world, m.path)
    script = f"cat {m.path}/d/c {m.path}/d/a > /dev/null"
    assert run(world, "profile", "record", "p", "--mount", m.path, "--", "sh", "-c", script).returncode == 0
    found = files(profiles / "p.json")
    assert (found["d/a"]["runs"], found["d/b"]["runs"], found["d/c"]["runs"]) == (2, 1, 1)
    listed = json.loads(world.llmfs("profile", "list", "--json"))
    assert [(each["name"], each["runs"], each["bytes"]) for each in listed] == [("p", 2, 3 * 53248 + BLOCK_BYTES)]
    merged = says(world, "profile", "merge", world.root / "copy.json", "p", "p")
    assert (merged["path"], merged["runs"]) == (str(world.root / "copy.json"), 4)
    assert files(world.root / "copy.json")["d/a"]["runs"] == 4
    assert "3 runs" not in world.llmfs("profile", "list")
    shown = says(world, "profile", "show", "p")
    assert (shown["runs"], len(shown["names"])) == (2, shown["files"]) and "d/a" in world.llmfs("profile", "show", "p")
    assert 0 < says(world, "profile", "trim", "p", "60K")["bytes"] <= 60 << 10
    assert [path for path, each in files(profiles / "p.json").items() if "ranges" in each] == ["d/a"]
    assert recorded(world, m.path, "--replace", "--max-size", "110K").returncode == 7
    found = files(profiles / "p.json")
    assert [path for path, each in found.items() if "ranges" in each] == ["d/a", "d/b"]
    assert says(world, "profile", "replay", "p", "--max-size", "60K", "--mount", m.path)["errors"] == 0
    done = run(world, "profile", "record", "p", "--json", "--mount", m.path, "--", "true")
    assert json.loads(done.stderr)["runs"] == 2 and done.stdout == ""
    assert "is deleted" in world.llmfs("profile", "delete", "p") and not (profiles / "p.json").exists()
    assert "there is no profile" in fails(world, "profile", "delete", "p", status=2)


@pytest.mark.usefixtures("tree")
def test_a_profile_is_good_for_a_copy_of_the_tree(world: World, profiles: Path) -> None:
    """On another machine the same files have other inode numbers and other times."""
    m = world.mount("--predictor", "off")
    recorded(world, m.path)
    copy = world.root / "copy"
    shutil.copytree(world.backing, copy, copy_function=shutil.copyfile)
    for path in (copy / "d", *copy.rglob("*")):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    assert (copy / "d/a").stat().st_ino != (world.backing / "d/a").stat().st_ino
    other = world.mount("--predictor", "off", source=copy, name="other")
    said = says(world, "profile", "replay", "p", "--mount", other.path)
    assert (said["fetched_bytes"], said["errors"]) == (100_000 + BLOCK_BYTES, 0)
    assert (cached(other / "d/a"), cached(other / "d/c"), cached(other / "big")) == (50_000, 0, BLOCK_BYTES)
    (other / "d/b").read_bytes()
    assert source_reads(other) == 0


def test_what_cannot_be_recorded_or_replayed_is_said_in_a_line(world: World, profiles: Path) -> None:
    assert "there is no profile" in fails(world, "profile", "replay", "p", status=2)
    assert "there is no mount of llmfs at" in fails(
        world, "profile", "record", "p", "--mount", world.root, "--", "true", status=2
    )
    assert "see llmfs profile record --help" in fails(world, "profile", "record", "p", status=2)
    m = world.mount("--predictor", "off")
    assert "cannot run /nothing" in fails(
        world, "profile", "record", "p", "--mount", m.path, "--", "/nothing", status=2
    )
    (world.root / "bad").write_text("{}")
    assert "is no profile" in fails(world, "profile", "replay", world.root / "bad", "--mount", m.path)
    assert not profiles.exists()
    assert json.loads(world.llmfs("profile", "list", "--json")) == []


def test_a_recorder_that_is_killed_leaves_nothing_recording(world: World, profiles: Path) -> None:
    m = world.mount("--predictor", "off")
    command = [sys.executable, "-m", "llmfs", "profile", "record", "p", "--mount", str(m.path), "--", "sleep", "60"]
    for _ in range(10):  # more than may record at a time
        with subprocess.Popen(command, env=world.environment(), stderr=subprocess.DEVNULL) as recorder:
            children = Path(f"/proc/{recorder.pid}/task/{recorder.pid}/children")
            child = eventually(lambda at=children: at.read_text().split(), 30, "the command")[0]
            recorder.kill()
            os.kill(int(child), 15)
    assert run(world, "profile", "record", "p", "--mount", m.path, "--", "true").returncode == 0
