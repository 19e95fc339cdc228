"""A world for the command line: a source, a mount point, a place for caches, and a way to run a command in it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmfs import cli, mounts

STUB = Path(__file__).with_name("stub.py")

needs_fuse = pytest.mark.skipif(
    not os.access("/dev/fuse", os.R_OK | os.W_OK) or shutil.which("fusermount3") is None,
    reason="this machine cannot mount",
)


@dataclass(frozen=True, slots=True)
class Result:
    status: int
    out: str
    err: str


class World:
    def __init__(self, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.source = root / "source"
        self.mountpoint = root / "mountpoint"
        self.cache_home = root / "cache"
        self._capfd = capfd
        self.source.mkdir()
        self.mountpoint.mkdir()

    def run(self, *arguments: str | Path) -> Result:
        """One command in this process: for those that never come to serve."""
        self._capfd.readouterr()
        status = cli.run([os.fspath(each) for each in arguments])
        return Result(status, *self._capfd.readouterr())

    def start(self, *arguments: str | Path, stub: str = "serve") -> Result:
        """One command in a process of its own, with the stub for a file system."""
        done = subprocess.run(
            [sys.executable, STUB, *arguments],
            capture_output=True,
            timeout=30,
            check=False,
            env={**os.environ, "STUB": stub},
        )
        return Result(done.returncode, os.fsdecode(done.stdout), os.fsdecode(done.stderr))

    def entries(self) -> list[str]:
        """All names in this world but those in the mount, which may be dead or hang."""
        found = []
        for directory, inside, files in os.walk(self.root):
            found += [os.path.join(directory, name) for name in inside + files]
            inside[:] = [name for name in inside if os.path.join(directory, name) != str(self.mountpoint)]
        return sorted(found)

    def mounts(self) -> list[mounts.Mount]:
        """Those in this world: others have theirs on the same machine."""
        return [each for each in mounts.find() if each.mountpoint.is_relative_to(self.root)]

    def refuses(self, *arguments: str | Path, status: int) -> str:
        """The one line that a refused command prints. It must leave nothing behind."""
        before = self.entries(), self.mounts()
        result = self.run(*arguments)
        assert result.status == status, result
        assert result.out == ""
        assert result.err.startswith("llmfs: ") and result.err.count("\n") == 1, result.err
        assert (self.entries(), self.mounts()) == before
        return result.err.removeprefix("llmfs: ").rstrip("\n")

    def refuses_mount(self, *options: str | Path, status: int) -> str:
        return self.refuses("mount", self.source, self.mountpoint, *options, status=status)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[World]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(Path(cli.__file__).parents[1]))
    world = World(tmp_path, capfd)
    yield world
    for mount in world.mounts():
        subprocess.run(["fusermount3", "-uz", mount.mountpoint], check=True)
