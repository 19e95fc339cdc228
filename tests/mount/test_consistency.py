"""Changes made behind the mount are seen when the documentation says so; our own at once.

Close-to-open believes what it saw for a tenth of the file's age, 3 to 60 seconds; the files here are new, so 3. In
strict mode the next open or look shows the change, in immutable mode none does.
"""

import contextlib
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mount.conftest import World, eventually

TTL_S = 3.0
MODES = ("close-to-open", "strict", "immutable")


def read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def listing(path: Path) -> list[str]:
    return sorted(os.listdir(path))


class Change:
    """What another client does, and how it looks before and after."""

    def __init__(
        self, name: str, prepare: Callable[[Path], None], change: Callable[[Path], None], look: Callable[[Path], object]
    ) -> None:
        self.name = name
        self.prepare = prepare
        self.change = change
        self.look = look


def _write(data: bytes, name: str = "f") -> Callable[[Path], None]:
    return lambda at: (at / name).write_bytes(data) and None


def _same_size_same_second(at: Path) -> None:
    """Same inode, same length, and the time stamp that it had."""
    before = os.stat(at / "f")
    with open(at / "f", "r+b") as file:
        file.write(b"B" * 5000)
    os.utime(at / "f", ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace(at: Path) -> None:
    (at / "new").write_bytes(b"replaced by rename")
    os.rename(at / "new", at / "f")


def _recreate(at: Path) -> None:
    (at / "f").unlink()
    (at / "f").write_bytes(b"born again")


def _append(at: Path) -> None:
    with open(at / "f", "ab") as file:
        file.write(b" and more")


def _grow(at: Path) -> None:
    with open(at / "f", "ab") as file:
        file.write(b"g" * 1_000_000)


def _tree(at: Path) -> None:
    (at / "d").mkdir()
    for i in range(20):
        (at / "d" / f"n{i}").touch()


def _retarget(at: Path) -> None:
    (at / "l").unlink()
    (at / "l").symlink_to("elsewhere!")


def _swap_kind(at: Path) -> None:
    (at / "f").unlink()
    (at / "f").mkdir()


CHANGES = [
    Change("content", _write(b"old" * 1000), _write(b"brand new" * 1000), lambda at: read(at / "f")),
    Change("same-size-and-mtime", _write(b"A" * 5000), _same_size_same_second, lambda at: read(at / "f")),
    Change("size", _write(b"short"), _grow, lambda at: os.stat(at / "f").st_size),
    Change("truncation", _write(b"z" * 300_000), lambda at: os.truncate(at / "f", 1000), lambda at: read(at / "f")),
    Change("to-nothing", _write(b"z" * 300_000), lambda at: os.truncate(at / "f", 0), lambda at: read(at / "f")),
    Change("replacement", _write(b"the original"), _replace, lambda at: read(at / "f")),
    Change("deletion", _write(b"to be gone"), lambda at: (at / "f").unlink(), lambda at: read(at / "f")),
    Change("re-creation", _write(b"first life"), _recreate, lambda at: read(at / "f")),
    Change("append", _write(b"begun"), _append, lambda at: read(at / "f")),
    Change("absent-appears", lambda at: None, _write(b"here now"), lambda at: read(at / "f")),
    Change("new-in-listing", _tree, lambda at: (at / "d" / "new").touch(), lambda at: listing(at / "d")),
    Change("gone-from-listing", _tree, lambda at: (at / "d" / "n7").unlink(), lambda at: listing(at / "d")),
    Change("directory-renamed", _tree, lambda at: os.rename(at / "d", at / "e"), lambda at: listing(at)),
    Change("mode", _write(b"x"), lambda at: os.chmod(at / "f", 0o600), lambda at: os.stat(at / "f").st_mode),
    Change("link-target", lambda at: (at / "l").symlink_to("somewhere"), _retarget, lambda at: os.readlink(at / "l")),
    Change("file-becomes-directory", _write(b"x"), _swap_kind, lambda at: (at / "f").is_dir()),
]  # fmt: skip


@pytest.mark.parametrize("is_held_open", [False, True], ids=["closed", "held-open"])
@pytest.mark.parametrize("mode", MODES)
def test_changes_behind_the_mount_are_seen_when_they_should_be(world: World, mode: str, is_held_open: bool) -> None:
    for change in CHANGES:
        (world.backing / change.name).mkdir()
        change.prepare(world.backing / change.name)
    m = world.mount("--consistency", mode, "--predictor", "off")
    before = {change.name: change.look(m / change.name) for change in CHANGES}
    assert before == {change.name: change.look(world.backing / change.name) for change in CHANGES}
    held = []
    if is_held_open:
        held = [
            os.open(m / change.name / "f", os.O_RDONLY)
            for change in CHANGES
            if (world.backing / change.name / "f").is_file()
        ]
    for change in CHANGES:
        change.change(world.backing / change.name)
    deadline_s = time.monotonic() + TTL_S + 1
    after = {change.name: change.look(world.backing / change.name) for change in CHANGES}
    assert all(before[name] != after[name] for name in after), "a change that is none"
    if mode == "immutable":
        time.sleep(0.2)
        assert {change.name: change.look(m / change.name) for change in CHANGES} == before
    elif mode == "strict":
        for change in CHANGES:
            assert change.look(m / change.name) == after[change.name], change.name
    else:
        waiting = {change.name: change for change in CHANGES}
        while waiting:
            for change in list(waiting.values()):
                if change.look(m / change.name) == after[change.name]:
                    del waiting[change.name]
            assert not waiting or time.monotonic() < deadline_s, f"not seen in time: {sorted(waiting)}"
            time.sleep(0.05)
    for fd in held:
        with contextlib.suppress(OSError):  # a file that is a directory now
            os.close(fd)


@pytest.mark.parametrize("mode", ["close-to-open", "strict"])
def test_changes_between_two_mounts_are_seen(world: World, mode: str) -> None:
    """Also in the root, which is looked at when it is mounted."""
    for change in CHANGES:
        (world.backing / change.name).mkdir()
        change.prepare(world.backing / change.name)
    (world.backing / "rooted").write_bytes(b"old")
    m = world.mount("--consistency", mode, "--predictor", "off")
    for change in CHANGES:
        change.look(m / change.name)
    listing(m.path)
    assert not (m / "appears").exists()
    m.umount()
    for change in CHANGES:
        change.change(world.backing / change.name)
    (world.backing / "appears").write_bytes(b"")
    (world.backing / "rooted").unlink()
    m.mount()
    assert "appears" in listing(m.path) and "rooted" not in listing(m.path)
    for change in CHANGES:
        expected = change.look(world.backing / change.name)
        eventually(lambda c=change, e=expected: c.look(m / c.name) == e, TTL_S + 1, change.name)


@pytest.mark.parametrize("mode", MODES)
def test_own_changes_are_seen_at_once_by_all_handles_and_after_a_remount(world: World, mode: str) -> None:
    for change in CHANGES:
        (world.backing / change.name).mkdir()
        change.prepare(world.backing / change.name)
    m = world.mount("--consistency", mode, "--predictor", "off", source=world.slow_source(0.0005))
    for change in CHANGES:
        change.look(m / change.name)
    for change in CHANGES:
        change.change(m / change.name)
        assert change.look(m / change.name) == change.look(world.backing / change.name), change.name
    m.remount()
    for change in CHANGES:
        assert change.look(m / change.name) == change.look(world.backing / change.name), change.name


def test_write_by_one_handle_is_read_by_another_that_was_open_before(world: World) -> None:
    (world.backing / "f").write_bytes(b"a" * 300_000)
    m = world.mount(source=world.slow_source())
    reader = os.open(m / "f", os.O_RDONLY)
    assert os.pread(reader, 300_000, 0) == b"a" * 300_000
    writer = os.open(m / "f", os.O_RDWR)
    for i in range(20):
        at = i * 14_983
        os.pwrite(writer, b"%05d" % i, at)
        assert os.pread(reader, 5, at) == b"%05d" % i
    os.ftruncate(writer, 1000)
    assert os.pread(reader, 300_000, 0) == (world.backing / "f").read_bytes()
    os.pwrite(writer, b"far", 500_000)
    assert os.fstat(reader).st_size == 500_003
    assert os.pread(reader, 10, 499_998) == b"\0\0far"
    os.close(reader)
    os.close(writer)


def test_appends_of_another_are_read_through_an_open_handle(world: World) -> None:
    (world.backing / "log").write_bytes(b"0\n")
    m = world.mount("--predictor", "off")
    with open(m / "log", "rb") as tail:
        assert tail.read() == b"0\n"
        for i in range(1, 3):
            with open(world.backing / "log", "ab") as log:
                log.write(b"%d\n" % i)
            assert eventually(tail.read, TTL_S + 1, "the appended line") == b"%d\n" % i


def test_appends_of_another_are_read_through_an_open_direct_handle(world: World) -> None:
    import mmap

    (world.backing / "log").write_bytes(b"x" * 4096)
    m = world.mount("--predictor", "off")
    buffer = mmap.mmap(-1, 8192)
    fd = os.open(m / "log", os.O_RDONLY | os.O_DIRECT)
    assert os.preadv(fd, [buffer], 0) == 4096
    with open(world.backing / "log", "ab") as log:
        log.write(b"y" * 4096)
    eventually(lambda: os.preadv(fd, [buffer], 0) == 8192, TTL_S + 1, "the appended page")
    assert buffer[4096:] == b"y" * 4096
    os.close(fd)


def test_a_look_that_began_before_our_change_does_not_undo_it(world: World) -> None:
    """While one program waits for the slow source's answer, another changes the file: the answer is of the past."""
    source = world.slow_source(0.0)
    rounds = 4
    for i in range(rounds):
        (world.backing / f"f{i}").write_bytes(b"old")
        os.utime(world.backing / f"f{i}", (1, 1))
    m = world.mount("--predictor", "off", source=source)
    assert world.slow is not None
    for i in range(rounds):
        stop = threading.Event()

        def look(path: Path = m / f"f{i}", directory: Path = m.path, stop: threading.Event = stop) -> None:
            while not stop.is_set():
                os.stat(path)
                os.listdir(directory)

        lookers = [threading.Thread(target=look) for _ in range(3)]
        world.slow.set_latency(0.02)
        for looker in lookers:
            looker.start()
        try:
            for j in range(3):
                data = b"new" * (j + 2)
                (m / f"f{i}").write_bytes(data)
                os.chmod(m / f"f{i}", 0o600 + j)
                (m / f"made-{i}-{j}").write_bytes(b"")
                st = os.stat(m / f"f{i}")
                assert (st.st_size, stat.S_IMODE(st.st_mode)) == (len(data), 0o600 + j)
                assert (m / f"f{i}").read_bytes() == data
                assert f"made-{i}-{j}" in os.listdir(m.path)
        finally:
            stop.set()
            world.slow.set_latency(0)
            for looker in lookers:
                looker.join(30)
        st = os.stat(m / f"f{i}")
        assert (st.st_size, stat.S_IMODE(st.st_mode)) == (12, 0o602)
