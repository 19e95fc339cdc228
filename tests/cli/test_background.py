"""Going to the background, coming down again, with a file system that is as small as can be."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llmfs import daemon, mounts
from llmfs.cache_dir import CacheDir
from tests.cli.conftest import STUB, World, needs_fuse


def eventually(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def cache(world: World) -> CacheDir:
    return CacheDir(world.root / "c")


def mount(world: World, cache: CacheDir, *options: str) -> mounts.Health:
    result = world.start("mount", world.source, world.mountpoint, "--cache-dir", cache.path, *options)
    assert result.status == 0, result
    assert result.out == f"{world.source} is mounted at {world.mountpoint}; its log is {cache.log}\n"
    assert result.err == ""
    found = mounts.at(str(world.mountpoint))
    assert found is not None
    return mounts.ask(found)


@needs_fuse
def test_mount_returns_when_it_answers_and_umount_when_it_can_be_remounted(world: World, cache: CacheDir) -> None:
    for _ in range(2):
        health = mount(world, cache)
        assert health.state is mounts.State.LIVE
        assert health.says["cache_dir"] == str(cache.path)
        result = world.run("umount", world.mountpoint)
        assert (result.status, result.err) == (0, "")
        assert cache.holder() is None
    assert mounts.at(str(world.mountpoint)) is None


@needs_fuse
def test_second_mount_of_the_same_is_refused(world: World, cache: CacheDir) -> None:
    mount(world, cache)
    line = world.refuses_mount(status=1)
    assert line == (
        f"there is a mount of llmfs already at {world.mountpoint}: take it down with llmfs umount {world.mountpoint}"
    )
    other = world.root / "other"
    other.mkdir()
    line = world.refuses("mount", world.source, other, "--cache-dir", cache.path, status=1)
    assert f"in use by the mount at {world.mountpoint}" in line


@needs_fuse
def test_umount_cleans_up_after_a_killed_daemon(world: World, cache: CacheDir) -> None:
    pid = mount(world, cache).says["pid"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: mounts.ask(world.mounts()[0]).state is mounts.State.DEAD)
    assert "there is a dead mount at" in world.refuses_mount(status=1)
    shown = world.run("status", world.mountpoint)
    assert shown.status == 0
    assert f"dead: its daemon is gone; clean up with llmfs umount {world.mountpoint}" in shown.out
    result = world.run("umount", world.mountpoint)
    assert (result.status, result.out) == (0, f"{world.mountpoint} is unmounted\n")
    mount(world, cache)


@needs_fuse
def test_umount_by_a_link_and_by_a_relative_path(
    world: World, cache: CacheDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = world.root / "link"
    link.symlink_to(world.mountpoint)
    monkeypatch.chdir(world.root)
    for name in ("link", "mountpoint", "./mountpoint/"):
        mount(world, cache)
        assert world.run("umount", name).status == 0


@needs_fuse
def test_busy_mount_names_who_uses_it_and_comes_down_lazily(world: World, cache: CacheDir) -> None:
    mount(world, cache)
    user = subprocess.Popen(["sleep", "60"], cwd=world.mountpoint)
    try:
        line = world.refuses("umount", world.mountpoint, status=1)
        assert line == (
            f"{world.mountpoint} is busy (sleep, pid {user.pid}): close what uses it,"
            f" or detach it with llmfs umount --lazy {world.mountpoint}"
        )
        assert world.run("umount", "--lazy", world.mountpoint).status == 0
        assert mounts.at(str(world.mountpoint)) is None
        assert cache.holder() is not None
    finally:
        user.kill()
        user.wait()
    eventually(lambda: cache.holder() is None)


@needs_fuse
def test_hanging_mount_is_reported_and_comes_down_lazily(
    world: World, cache: CacheDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "_ANSWER_S", 0.2)
    pid = mount(world, cache).says["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        shown = world.run("status", world.mountpoint).out
        assert "not answering; end it with llmfs umount --force" in shown
        assert "does not answer" in world.refuses("umount", world.mountpoint, status=1)
        assert world.run("umount", "--lazy", world.mountpoint).status == 0
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: cache.holder() is None)


@needs_fuse
@pytest.mark.parametrize("has_fusectl", [True, False])
def test_hanging_mount_is_ended_by_force_and_who_waits_for_it_gets_an_error(
    world: World, cache: CacheDir, monkeypatch: pytest.MonkeyPatch, has_fusectl: bool
) -> None:
    monkeypatch.setattr(mounts, "_ANSWER_S", 0.2)
    if not has_fusectl:
        monkeypatch.setattr(mounts, "_CONNECTIONS", "/nowhere")
    pid = mount(world, cache).says["pid"]
    os.kill(pid, signal.SIGSTOP)
    user = subprocess.Popen(["ls", world.mountpoint], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        eventually(lambda: Path(f"/proc/{user.pid}/stat").read_text().rsplit(") ")[1][0] in "DS")
        assert user.poll() is None
        if not has_fusectl and os.geteuid():
            assert "root" in world.refuses("umount", "--force", world.mountpoint, status=1)
            assert world.run("umount", "--lazy", world.mountpoint).status == 0
            return
        assert "is unmounted" in world.run("umount", "--force", world.mountpoint).out
        assert mounts.at(str(world.mountpoint)) is None
        assert user.wait(timeout=10) != 0
    finally:
        os.kill(pid, signal.SIGCONT)
        user.kill()
        user.communicate()
    eventually(lambda: cache.holder() is None)


@needs_fuse
def test_dead_mount_comes_down_by_force_too(world: World, cache: CacheDir) -> None:
    os.kill(mount(world, cache).says["pid"], signal.SIGKILL)
    eventually(lambda: "dead" in world.run("status", world.mountpoint).out)
    assert world.run("umount", "--force", world.mountpoint).status == 0
    assert mounts.at(str(world.mountpoint)) is None


@needs_fuse
def test_names_that_the_mount_table_escapes(world: World, cache: CacheDir) -> None:
    world.mountpoint = world.root / "a b\t\\040\n[ü]\udcff"
    world.mountpoint.mkdir()
    result = world.start("mount", world.source, world.mountpoint, "--cache-dir", cache.path)
    assert result.status == 0, result
    assert "live" in world.run("status", world.mountpoint).out
    listed = json.loads(world.run("status", "--json").out)
    assert str(world.mountpoint) in [each["mountpoint"] for each in listed]
    assert world.run("umount", world.mountpoint).status == 0


@needs_fuse
def test_mount_and_umount_with_no_standard_streams(world: World, cache: CacheDir) -> None:
    for arguments in ([world.source, world.mountpoint, "--cache-dir", cache.path], [world.mountpoint]):
        command = [sys.executable, STUB, "mount" if len(arguments) > 1 else "umount", *arguments]
        closing = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *command]
        assert subprocess.run(closing, timeout=30, check=False).returncode == 0
        assert (mounts.at(str(world.mountpoint)) is not None) == (len(arguments) > 1)


@needs_fuse
def test_foreground_serves_until_it_is_unmounted(world: World, cache: CacheDir) -> None:
    serving = subprocess.Popen(
        [sys.executable, STUB, "mount", "-f", world.source, world.mountpoint, "--cache-dir", cache.path],
        stderr=subprocess.PIPE,
    )
    eventually(lambda: mounts.at(str(world.mountpoint)) is not None)
    assert world.run("umount", world.mountpoint).status == 0
    _, err = serving.communicate(timeout=10)
    assert serving.returncode == 0
    assert b"is mounted at" in err
    assert not cache.log.exists()


@needs_fuse
@pytest.mark.parametrize("foreground", [[], ["-f"]])
def test_an_option_that_fuse_does_not_know(world: World, cache: CacheDir, foreground: list[str]) -> None:
    before = world.entries()
    where = world.source, world.mountpoint, "--cache-dir", cache.path
    result = world.start("mount", *where, "-o", "nonsense", *foreground)
    why = "fuse: unknown option(s): `-o nonsense'"
    assert (result.status, result.err) == (1, f"llmfs: cannot mount at {world.mountpoint}: {why}\n")
    assert world.entries() == before


def test_what_the_child_is_like(world: World, cache: CacheDir) -> None:
    held = os.open(world.source, os.O_RDONLY)
    os.set_inheritable(held, True)
    before = os.umask(0o027)
    try:
        done = subprocess.run(
            [sys.executable, STUB, "mount", world.source, world.mountpoint, "--cache-dir", cache.path],
            env={**os.environ, "STUB": "state"},
            close_fds=False,
            capture_output=True,
            check=True,
            timeout=30,
        )
    finally:
        os.umask(before)
        os.close(held)
    assert done.stderr == b""
    written = Path(f"{cache.path}.json")
    eventually(written.exists)
    state = json.loads(written.read_text())
    assert str(world.source) not in state.pop("descriptors")
    assert state == {
        "cwd": "/",
        "session_is_own": True,
        "umask": 0o027,
        "threads": 1,
        "loaded_early": [],
    }
    assert "said on stderr" in cache.log.read_text()
    assert cache.path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("stub", ["refuse", "returns"])
def test_child_that_fails_is_one_line_and_leaves_nothing(world: World, stub: str) -> None:
    before = world.entries()
    result = world.start("mount", world.source, world.mountpoint, stub=stub)
    says = {"refuse": "the stub\\nrefuses", "returns": "it was unmounted before it was ready"}[stub]
    assert (result.status, result.out, result.err) == (1, "", f"llmfs: {says}\n")
    assert world.entries() == before


def test_foreground_that_fails_is_one_line_and_leaves_nothing(world: World) -> None:
    before = world.entries()
    result = world.start("mount", "-f", world.source, world.mountpoint, stub="refuse")
    assert (result.status, result.out, result.err) == (1, "", "llmfs: the stub\\nrefuses\n")
    assert world.entries() == before


@pytest.mark.parametrize(
    ("stub", "says"),
    [
        ("bug", "cannot mount: RuntimeError: a bug; see {log}"),
        ("killed", "llmfs was killed by signal 9 while mounting: see {log}"),
    ],
)
def test_child_that_breaks_down_leaves_its_log(world: World, cache: CacheDir, stub: str, says: str) -> None:
    result = world.start("mount", world.source, world.mountpoint, "--cache-dir", cache.path, stub=stub)
    assert (result.status, result.err) == (1, f"llmfs: {says.format(log=cache.log)}\n")
    assert cache.log.exists()
    assert ("Traceback" in cache.log.read_text()) == (stub == "bug")


def test_failed_mount_keeps_a_cache_that_was_there(world: World, cache: CacheDir) -> None:
    cache.prepare(world.source)
    (cache.learned / "weights").touch()
    assert world.start("mount", world.source, world.mountpoint, "--cache-dir", cache.path, stub="refuse").status == 1
    assert (cache.learned / "weights").exists()


def test_log_is_bounded_and_takes_stderr_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = os.dup(2)
    umask = os.umask(0)
    handler = daemon._LogFile(tmp_path / "llmfs.log")
    try:
        handler.maxBytes = 4096
        for number in range(200):
            handler.emit(logging.LogRecord("x", logging.INFO, "", 0, f"line {number} \udcff", (), None))
            os.write(2, b"a complaint of a library\n")
    finally:
        os.umask(umask)
        os.dup2(stderr, 2)
        os.close(stderr)
        handler.close()
    assert sorted(os.listdir(tmp_path)) == ["llmfs.log", "llmfs.log.1"]
    for path in tmp_path.iterdir():
        assert path.stat().st_size < 4096 + 200
        assert path.stat().st_mode & 0o777 == 0o600
    assert "a complaint" in (tmp_path / "llmfs.log").read_text()
