"""Random operations of two clients, one through the mount and one on the source itself, against a plain directory.

In strict mode nothing may ever differ: not what an operation answers, not what is read, listed or statted. The examples
are the same in every run; a failure shrinks to the shortest list of steps that shows it.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.mount.conftest import Mounted, World, a_world

NAMES = ("a", "b", "c", "d/a", "d/b", "e/a")
DIRECTORIES = ("d", "e", "d/d")
names = st.sampled_from(NAMES)
directories = st.sampled_from(DIRECTORIES)
anything = st.sampled_from(NAMES + DIRECTORIES)
clients = st.sampled_from(["mount", "mount", "mount", "behind"])
sizes = st.sampled_from([0, 1, 100, 4095, 4096, 4097, 9000, 131072, 131073, 200_000])
bytes_ = st.integers(1, 255)
slots = st.integers(0, 2)


class Pair:
    """The mount and its source, and the reference that gets the same operations."""

    def __init__(self, mounted: Mounted, backing: Path, reference: Path) -> None:
        self.mount = mounted.path
        self.behind = backing
        self.reference = reference

    def clear(self) -> None:
        for root in (self.mount, self.reference):
            for entry in list(os.scandir(root)):
                shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)


pair: Pair


class Clients(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        pair.clear()
        self.handles: dict[int, tuple[int, int]] = {}  # of the mount, of the reference

    @initialize()
    def begin(self) -> None:
        for root in (pair.mount, pair.reference):
            (root / "d").mkdir()
            (root / "a").write_bytes(b"begun")

    def teardown(self) -> None:
        for handles in self.handles.values():
            for fd in handles:
                os.close(fd)

    def both(self, client: str, act: object) -> None:
        """The same act on the mount (or behind it) and on the reference: the same answer, or the same error."""
        answers = []
        for root in (getattr(pair, client), pair.reference):
            try:
                answers.append(act(root))  # type: ignore[operator]
            except OSError as error:
                answers.append(errno.errorcode[error.errno or 0])
        assert answers[0] == answers[1]

    @rule(client=clients, name=names, size=sizes, byte=bytes_)
    def write_whole(self, client: str, name: str, size: int, byte: int) -> None:
        self.both(client, lambda root: (root / name).write_bytes(bytes([byte]) * size))

    @rule(client=clients, name=names, offset=sizes, size=sizes, byte=bytes_)
    def write_part(self, client: str, name: str, offset: int, size: int, byte: int) -> None:
        def act(root: Path) -> int:
            with open(root / name, "r+b", buffering=0) as file:
                return os.pwrite(file.fileno(), bytes([byte]) * size, offset)

        self.both(client, act)

    @rule(client=clients, name=names, byte=bytes_)
    def append(self, client: str, name: str, byte: int) -> None:
        def act(root: Path) -> int:
            fd = os.open(root / name, os.O_WRONLY | os.O_APPEND)
            try:
                return os.write(fd, bytes([byte]) * 1000)
            finally:
                os.close(fd)

        self.both(client, act)

    @rule(client=clients, name=anything, size=sizes)
    def truncate(self, client: str, name: str, size: int) -> None:
        self.both(client, lambda root: os.truncate(root / name, size))

    @rule(client=clients, name=names, offset=sizes, size=sizes)
    def read(self, client: str, name: str, offset: int, size: int) -> None:
        def act(root: Path) -> bytes:
            with open(root / name, "rb", buffering=0) as file:
                return os.pread(file.fileno(), size, offset)

        self.both(client, act)

    @rule(client=clients, old=anything, new=anything)
    def rename(self, client: str, old: str, new: str) -> None:
        self.both(client, lambda root: os.rename(root / old, root / new))

    @rule(client=clients, old=names, new=names)
    def link(self, client: str, old: str, new: str) -> None:
        self.both(client, lambda root: os.link(root / old, root / new))

    @rule(client=clients, name=names)
    def symlink(self, client: str, name: str) -> None:
        self.both(client, lambda root: os.symlink("a", root / name))

    @rule(client=clients, name=anything)
    def unlink(self, client: str, name: str) -> None:
        self.both(client, lambda root: os.unlink(root / name))

    @rule(client=clients, name=directories)
    def mkdir(self, client: str, name: str) -> None:
        self.both(client, lambda root: os.mkdir(root / name))

    @rule(client=clients, name=directories)
    def rmdir(self, client: str, name: str) -> None:
        self.both(client, lambda root: os.rmdir(root / name))

    @rule(client=clients, name=names, mode=st.sampled_from([0o600, 0o644, 0o755]), time=st.integers(1, 3))
    def set_attributes(self, client: str, name: str, mode: int, time: int) -> None:
        def act(root: Path) -> None:
            os.chmod(root / name, mode)
            os.utime(root / name, (time, time))

        self.both(client, act)

    @rule(slot=slots, name=names)
    def open(self, slot: int, name: str) -> None:
        self.close(slot)
        opened = []
        for root in (pair.mount, pair.reference):
            try:
                opened.append(os.open(root / name, os.O_RDWR))
            except OSError as error:
                opened.append(-(error.errno or 0))
        if min(opened) < 0:
            assert opened[0] == opened[1]
        else:
            self.handles[slot] = (opened[0], opened[1])

    @rule(slot=slots)
    def close(self, slot: int) -> None:
        for fd in self.handles.pop(slot, ()):
            os.close(fd)

    @rule(slot=slots, offset=sizes, size=sizes, byte=bytes_)
    def write_by_handle(self, slot: int, offset: int, size: int, byte: int) -> None:
        handles = self.handles.get(slot, ())
        assert len({os.pwrite(fd, bytes([byte]) * size, offset) for fd in handles}) <= 1

    @rule(slot=slots, size=sizes)
    def truncate_by_handle(self, slot: int, size: int) -> None:
        for fd in self.handles.get(slot, ()):
            os.ftruncate(fd, size)

    @rule(slot=slots, offset=sizes, size=sizes)
    def read_by_handle(self, slot: int, offset: int, size: int) -> None:
        handles = self.handles.get(slot, ())
        assert len({(os.fstat(fd).st_size, os.fstat(fd).st_nlink, os.pread(fd, size, offset)) for fd in handles}) <= 1

    @invariant()
    def trees_are_the_same(self) -> None:
        expected = shown_by(pair.reference)
        assert shown_by(pair.mount) == expected


def shown_by(root: Path) -> list[tuple[object, ...]]:
    shown: list[tuple[object, ...]] = []
    waiting = [""]
    while waiting:
        directory = waiting.pop()
        for entry in sorted(os.listdir(root / directory)):
            path = root / directory / entry
            relative = os.path.join(directory, entry)
            looked = os.lstat(path)
            content: object = None
            if stat.S_ISLNK(looked.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(looked.st_mode):
                content = path.read_bytes()
            else:
                waiting.append(relative)
            size = looked.st_size if not stat.S_ISDIR(looked.st_mode) else 0
            shown.append((relative, looked.st_mode, looked.st_nlink, size, content))
    return sorted(shown, key=lambda each: str(each[0]))


@pytest.fixture(params=["plain", "slow"])
def model(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    global pair
    with a_world(tmp_path) as world:
        source = world.backing
        if request.param == "slow":
            source = world.slow_source(0.0004, attr_timeout_s=0, entry_timeout_s=0)
        m = world.mount("--consistency", "strict", source=source)
        reference = world.root / "reference"
        reference.mkdir()
        pair = Pair(m, world.backing, reference)
        yield world


def test_mount_and_source_agree_with_a_plain_directory(model: World) -> None:
    run_state_machine_as_test(
        Clients,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        ),
    )
