"""Attacks through a mount are stopped and undone; programs of every day are not; a broken guard breaks nothing."""

import errno
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from bench.guard import trees
from bench.guard.negatives import NEGATIVES
from bench.guard.runs import in_a_group
from bench.programs.base import Workload
from tests.mount.conftest import REPOSITORY, Mounted, World

COMPLAINTS = r"llmfs.guard.watch: |llmfs.guard.hook: "
FILES = 30


def contents(root: Path) -> dict[Path, bytes]:
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def attack(m: Mounted, family: str, seed: int = 3) -> dict[str, Any]:
    """In a process group of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.guard", "attack", family, m.path, str(seed)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        start_new_session=True,
        cwd=REPOSITORY,
    )
    said = json.loads(done.stdout)
    assert isinstance(said, dict)
    return said


def found(world: World, m: Mounted) -> list[dict[str, Any]]:
    rows = json.loads(world.llmfs("guard", "list", "--json", m.path))
    assert isinstance(rows, list)
    return rows


@pytest.fixture
def before(world: World) -> dict[Path, bytes]:
    world.expect_complaint(COMPLAINTS)
    trees.make(world.backing, 3, FILES)
    return contents(world.backing)


@pytest.mark.parametrize(
    "family", ["in-place", "renamed-first", "truncated", "copied", "replaced", "intermittent", "split-steps"]
)
def test_attack_is_stopped_and_restored_byte_for_byte(world: World, before: dict[Path, bytes], family: str) -> None:
    m = world.mount("--predictor", "off", "--guard", "protect")
    said = attack(m, family)
    assert said["is_stopped"] and said["hurt"] < FILES
    for row in found(world, m):
        if row["kept"]:
            assert "files put back" in world.llmfs("guard", "restore", m.path, row["id"])
    after, seen = contents(world.backing), contents(m.path)
    assert {path: after.get(path) for path in before} == before
    assert {path: seen.get(path) for path in before} == before


def test_denied_group_reads_and_others_write(world: World, before: dict[Path, bytes]) -> None:
    m = world.mount("--predictor", "off", "--guard", "protect")
    script = """
        import os, pathlib, sys
        root = pathlib.Path(sys.argv[1])
        files = sorted(path for path in root.rglob('*.*') if path.name[0] != '.')
        try:
            for path in files:
                size = path.stat().st_size
                with open(path, 'r+b') as file:
                    file.write(os.urandom(size))
            print('went on')
        except OSError as error:
            print(error.errno, len(files[-1].read_bytes()) > 0)
        for change in (lambda: (root / 'new').touch(), lambda: (root / 'd').mkdir(), files[-1].unlink,
                       lambda: files[-1].rename(root / 'x'), lambda: os.truncate(files[-1], 0)):
            try:
                change()
                print('went on')
            except OSError as error:
                print(error.errno)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), m.path],
        capture_output=True, text=True, timeout=60, check=True, start_new_session=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(errno.EROFS), "True"] + [str(errno.EROFS)] * 5
    (m / "others").write_bytes(b"may")
    assert (world.backing / "others").read_bytes() == b"may"


def test_watch_stops_nothing_keeps_nothing_and_tells(world: World, before: dict[Path, bytes]) -> None:
    told = world.root / "told"
    hook = world.root / "hook"
    hook.write_text(f'#!/bin/sh\necho "$LLMFS_GUARD_LEVEL $LLMFS_GUARD_COMMAND" >> {told}\n')
    hook.chmod(0o755)
    m = world.mount("--predictor", "off", "--metrics-port", "0", "--guard-hook", str(hook))
    said = attack(m, "in-place")
    assert not said["is_stopped"] and said["hurt"] == FILES
    rows = found(world, m)
    assert [(row["level"], row["kept"]) for row in rows] == [("alerted", 0)]
    assert 'llmfs_guard_findings_total{level="alerted"}' in m.metrics_text()
    assert told.read_text().startswith("alerted ")
    assert not (m.cache_dir / "guard" / "undo").exists()


def test_throttle_slows_down_and_does_not_refuse(world: World, before: dict[Path, bytes]) -> None:
    m = world.mount("--predictor", "off", "--guard", "throttle", "--metrics-port", "0")
    (script,) = [
        "import os, pathlib, sys\n"
        "files = sorted(p for p in pathlib.Path(sys.argv[1]).rglob('*.*') if p.name[0] != '.')[:8]\n"
        "for path in files:\n"
        "    size = path.stat().st_size\n"
        "    open(path, 'r+b', buffering=0).write(os.urandom(size))\n"
    ]
    subprocess.run([sys.executable, "-c", script, m.path], timeout=60, check=True, start_new_session=True)
    (row,) = found(world, m)
    assert row["level"] == "throttled" and row["kept"] >= 8
    assert "llmfs_guard_throttled_seconds_total 0.0" not in m.metrics_text()
    world.llmfs("guard", "restore", m.path, row["id"])
    assert contents(world.backing) == before


def test_what_a_person_allows_is_remembered_over_remounts(world: World, before: dict[Path, bytes]) -> None:
    m = world.mount("--predictor", "off", "--guard", "protect")
    assert attack(m, "in-place")["is_stopped"]
    (row,) = found(world, m)
    assert row["kept_bytes"] > 0
    assert "1 denied" in world.llmfs("status", m.path)
    assert f"llmfs guard restore {m.path} ID" in world.llmfs("guard", "list", m.path)
    assert "python" in world.llmfs("guard", "allow", m.path, row["id"])
    assert found(world, m)[0]["level"] == "allowed"
    assert "denied" not in world.llmfs("status", m.path)
    m.remount("--guard", "protect")
    assert not attack(m, "in-place")["is_stopped"]


def test_cgroup_that_is_allowed_once_writes_on_and_is_denied_again(world: World, before: dict[Path, bytes]) -> None:
    """It may be all that a person runs: after an attack is undone he has to be able to work, and to be protected."""
    m = world.mount("--predictor", "off", "--guard", "protect")
    assert attack(m, "split-steps")["is_stopped"]
    (row,) = found(world, m)
    assert row["id"].startswith("cgroup:")
    with pytest.raises(OSError, match="Read-only"):
        (m / "mine").touch()
    world.llmfs("guard", "allow", "--once", m.path, row["id"])
    (m / "mine").touch()
    assert not (m.cache_dir / "guard" / "allowed.json").exists()
    assert attack(m, "split-steps", seed=4)["is_stopped"]
    assert found(world, m)[0]["level"] == "denied"


def test_copies_of_a_killed_mount_are_restored_by_the_next(world: World, before: dict[Path, bytes]) -> None:
    m = world.mount("--predictor", "off", "--guard", "protect")
    attack(m, "in-place-unnamed")
    m.kill()
    world.llmfs("umount", m.path)
    m.mount()
    (row,) = found(world, m)
    world.llmfs("guard", "restore", m.path, row["id"])
    assert contents(world.backing) == before


@pytest.mark.parametrize(
    "workload",
    [
        each
        for each in NEGATIVES
        if each.name.partition("-")[2]
        in ("tar", "zip", "gpg", "git", "rsync", "gcc", "sed", "pip", "sqlite", "openssl", "editor")
    ],
    ids=lambda workload: workload.name,
)
def test_programs_of_every_day_are_never_held_up(world: World, workload: Workload) -> None:
    if workload.missing:
        pytest.skip(f"{workload.missing} are not installed")
    workload.prepare(world.backing)
    m = world.mount("--predictor", "off", "--guard", "protect")
    in_a_group(lambda: workload.run(m.path))
    assert not [row for row in found(world, m) if row["level"] in ("throttled", "denied")]


@pytest.mark.parametrize("place", ["observe", "of"])
def test_guard_that_raises_leaves_the_mount_working(world: World, before: dict[Path, bytes], place: str) -> None:
    """From the start of a write to the last of its faults, programs notice nothing."""
    broken = world.root / "broken"
    broken.mkdir()
    what = "predictor.guard.engine.GuardEngine" if place == "observe" else "llmfs.guard.actors.Actors"
    module, _, kind = what.rpartition(".")
    (broken / "sitecustomize.py").write_text(
        f"import {module}\ndef fails(*_): raise RuntimeError('broken')\n{module}.{kind}.{place} = fails\n"
    )
    world.expect_complaint(r"llmfs.guard.watch|^Traceback|RuntimeError")
    m = world.prepare("--predictor", "off", "--guard", "protect", "--metrics-port", "0")
    m.mount(env={"PYTHONPATH": f"{broken}:{REPOSITORY}"})
    for number in range(60):
        (m / f"new-{number}").write_bytes(b"x" * 5000)
        os.rename(m / f"new-{number}", m / f"moved-{number}")
        assert (m / f"moved-{number}").read_bytes() == b"x" * 5000
        os.unlink(m / f"moved-{number}")
    told = m.metrics_text()
    assert 'llmfs_faults_total{part="guard"} 0.0' not in told
    assert "\nllmfs_guard_up 0.0\n" in told
    assert contents(world.backing) == before


def test_off_takes_no_commands_and_nonsense_is_answered_in_a_line(world: World) -> None:
    m = world.mount("--predictor", "off", "--guard", "off")
    done = subprocess.run(
        [sys.executable, "-m", "llmfs", "guard", "list", m.path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    m.remount("--guard", "watch")
    for words in (["allow", str(m.path), "nobody"], ["restore", str(m.path), "nobody"]):
        done = subprocess.run(
            [sys.executable, "-m", "llmfs", "guard", *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done
