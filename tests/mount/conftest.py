"""A world to mount in: llmfs through its command line, over a plain directory or over one that is really slow.

Whatever a test does, its mounts are gone and its processes ended when it is over, and its mounts' logs hold no warning
that the test did not announce.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.slowdir import SlowDir
from llmfs.pressure import TOLD_IN
from tests.conftest import detach, mounts_below

REPOSITORY = Path(__file__).parents[2]
COMMAND_TIMEOUT_S = 60
EXIT_TIMEOUT_S = 20


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.access("/dev/fuse", os.R_OK | os.W_OK) and shutil.which("fusermount3"):
        return
    for item in items:
        if "tests/mount/" in item.nodeid:
            item.add_marker(pytest.mark.skip(reason="this machine cannot mount"))


def eventually(claim: Callable[[], Any], timeout_s: float, what: str = "") -> Any:
    """Poll until `claim` is true and return its value; fail after `timeout_s`."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        value = claim()
        if value:
            return value
        if time.monotonic() > deadline_s:
            pytest.fail(f"not within {timeout_s} s: {what or claim}")
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rsplit(b") ", 1)[1][:1] != b"Z"
    except (OSError, IndexError):
        return False


class Mounted:
    """One llmfs mount, as its user sees it."""

    def __init__(self, world: "World", source: Path, name: str, options: tuple[str, ...]) -> None:
        self._world = world
        self.source = source
        self.path = world.root / f"mnt-{name}"
        self.cache_dir = world.root / f"cache-{name}"
        self.options = options
        self.path.mkdir(exist_ok=True)

    def mount(self, *more: str, env: dict[str, str] | None = None) -> "Mounted":
        self._world.llmfs("mount", self.source, self.path, "--cache-dir", self.cache_dir, *self.options, *more, env=env)
        pid = self.status()["pid"]
        self._world.daemons.append(pid)
        self.pid = pid
        return self

    def umount(self) -> None:
        self._world.llmfs("umount", self.path)
        eventually(lambda: not is_alive(self.pid), EXIT_TIMEOUT_S, "the daemon's exit")

    def remount(self, *more: str) -> "Mounted":
        self.umount()
        return self.mount(*more)

    def kill(self) -> None:
        """End the daemon as a crash would."""
        os.kill(self.pid, signal.SIGKILL)
        eventually(lambda: not is_alive(self.pid), EXIT_TIMEOUT_S, "the daemon's death")

    def status(self) -> dict[str, Any]:
        answer = json.loads(os.getxattr(self.path, "user.llmfs.status"))
        assert isinstance(answer, dict)
        return answer

    def metrics_text(self) -> str:
        url = f"http://127.0.0.1:{self.status()['metrics_port']}/metrics"
        with urllib.request.urlopen(url, timeout=10) as response:
            return str(response.read().decode())

    def log(self) -> str:
        try:
            return (self.cache_dir / "llmfs.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def __truediv__(self, name: "str | Path") -> Path:
        return self.path / name


class World:
    """The directories, mounts and processes of one test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.backing = root / "backing"  # what the source is made of
        self.backing.mkdir()
        self.daemons: list[int] = []
        self.mounts: list[Mounted] = []
        self.slow: SlowDir | None = None
        # A request that the kernel took back, as it does when it unmounts: nobody waits for the answer.
        self.allowed_complaints = [r"fuse_reply_\* failed with No such file or directory"]

    def llmfs(self, *arguments: "str | Path", env: dict[str, str] | None = None) -> str:
        """Run a command of llmfs; returns what it printed. Fails the test where it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "llmfs", *map(os.fspath, arguments)],
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
            env=self.environment(env),
        )
        assert done.returncode == 0, f"llmfs {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def environment(self, more: dict[str, str] | None = None) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "XDG_CACHE_HOME": str(self.root / "xdg"),
            TOLD_IN: str(self.root / "pressure"),  # nothing is there: how busy the machine is changes no test
            **(more or {}),
        }

    def slow_source(self, latency_s: float = 0.001, **options: Any) -> Path:
        """A slow directory over the backing one."""
        assert self.slow is None
        mountpoint = self.root / "slow"
        mountpoint.mkdir(exist_ok=True)
        self.slow = SlowDir(self.backing, mountpoint, latency_s, **options)
        self.slow.mount()
        return mountpoint

    def prepare(self, *options: str, source: Path | None = None, name: str = "m") -> Mounted:
        mounted = Mounted(self, source or self.backing, name, options)
        self.mounts.append(mounted)
        return mounted

    def mount(self, *options: str, source: Path | None = None, name: str = "m") -> Mounted:
        """Mount the backing directory, or `source`, with these options of `llmfs mount`."""
        return self.prepare(*options, source=source, name=name).mount()

    def expect_complaint(self, pattern: str) -> None:
        """The test provokes this line of the log."""
        self.allowed_complaints.append(pattern)

    def complaints(self) -> list[str]:
        """Lines that a mount should not have had to write."""
        return [
            line
            for mounted in self.mounts
            for line in mounted.log().splitlines()
            if re.search(r" (WARNING|ERROR|CRITICAL) |^Traceback|Warning:|Error\b", line)
            and not any(re.search(pattern, line) for pattern in self.allowed_complaints)
        ]

    def close(self) -> None:
        for mountpoint in mounts_below(self.root):
            if self.slow is not None and mountpoint == self.slow.mountpoint:
                continue
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(["fusermount3", "-u", mountpoint], check=False, capture_output=True, timeout=10)
        for mountpoint in mounts_below(self.root):
            if self.slow is None or mountpoint != self.slow.mountpoint:
                detach(mountpoint)
        deadline_s = time.monotonic() + EXIT_TIMEOUT_S
        for pid in self.daemons:
            while is_alive(pid) and time.monotonic() < deadline_s:
                time.sleep(0.01)
            if is_alive(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if self.slow is not None:
            self.slow.unmount()
        for mountpoint in mounts_below(self.root):
            detach(mountpoint)


@contextlib.contextmanager
def a_world(root: Path) -> Iterator[World]:
    world = World(root)
    try:
        yield world
    finally:
        world.close()
    complaints = world.complaints()
    subprocess.run(["rm", "-rf", "--", *root.iterdir()], check=True)  # a tree can be deeper than Python's stack
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as world:
        yield world


def drop_pages(path: Path) -> None:
    """Have the kernel forget a file's clean pages."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
