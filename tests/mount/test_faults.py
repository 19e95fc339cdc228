"""The source's faults reach the program with their own errno, and nothing else does; healed, it is as before."""

import contextlib
import errno
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.slowdir import SlowDir
from tests.mount.conftest import Mounted, World, eventually


@pytest.fixture
def data(world: World) -> bytes:
    data = random.Random(6).randbytes(400_000)
    for name in ("good", "bad", "other"):
        (world.backing / name).write_bytes(data)
    return data


@pytest.fixture
def m(world: World, data: bytes) -> Mounted:
    return world.mount(source=world.slow_source(0.0005, entry_timeout_s=0, attr_timeout_s=0))


@pytest.fixture
def slow(world: World, m: Mounted) -> SlowDir:
    assert world.slow is not None
    return world.slow


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ENOMEM])
def test_error_on_read_reaches_the_program_and_later_reads_recover(
    m: Mounted, slow: SlowDir, data: bytes, number: int
) -> None:
    slow.fail(["read"], number, name_contains="bad")
    fd = os.open(m / "bad", os.O_RDONLY)
    with pytest.raises(OSError) as caught:
        os.pread(fd, 100_000, 200_000)
    # The kernel below us makes EIO of any error of a page that it reads ahead.
    assert caught.value.errno in (number, errno.EIO)
    assert (m / "good").read_bytes() == data
    slow.heal()
    assert os.pread(fd, 400_000, 0) == data
    os.close(fd)
    assert (m / "bad").read_bytes() == data


def test_error_on_lookup_is_no_absence(m: Mounted, slow: SlowDir, data: bytes) -> None:
    slow.fail(["lookup", "getattr"], errno.EIO, name_contains="bad")
    with pytest.raises(OSError) as caught:
        os.stat(m / "bad")
    assert caught.value.errno == errno.EIO
    assert os.stat(m / "good").st_size == len(data)
    slow.heal()
    assert (m / "bad").read_bytes() == data


def test_full_source_refuses_the_write_and_takes_it_when_there_is_room(
    m: Mounted, slow: SlowDir, world: World, data: bytes
) -> None:
    fd = os.open(m / "bad", os.O_RDWR)
    slow.fail(["write"], errno.ENOSPC, name_contains="bad")
    with pytest.raises(OSError) as caught:
        os.pwrite(fd, b"does not fit", 100)
    assert caught.value.errno == errno.ENOSPC
    assert os.pread(fd, 400_000, 0) == data
    slow.heal()
    assert os.pwrite(fd, b"does fit", 100) == 8
    os.fsync(fd)
    os.close(fd)
    expected = data[:100] + b"does fit" + data[108:]
    assert (world.backing / "bad").read_bytes() == (m / "bad").read_bytes() == expected


@pytest.mark.parametrize(
    ("operation", "act"),
    [
        ("create", lambda at: (at / "new").write_bytes(b"")),
        ("mkdir", lambda at: (at / "new").mkdir()),
        ("unlink", lambda at: (at / "bad").unlink()),
        ("rename", lambda at: os.rename(at / "bad", at / "moved")),
        ("setattr", lambda at: os.chmod(at / "bad", 0o600)),
        ("fsync", lambda at: _fsync(at / "bad")),
    ],
)
def test_error_of_a_change_reaches_the_program_and_nothing_is_believed_to_have_changed(
    m: Mounted, slow: SlowDir, world: World, data: bytes, operation: str, act: object
) -> None:
    before = sorted(os.listdir(world.backing))
    slow.fail([operation], errno.EROFS)
    with pytest.raises(OSError) as caught:
        act(m.path)  # type: ignore[operator]
    assert caught.value.errno == errno.EROFS
    slow.heal()
    assert sorted(os.listdir(m.path)) == before
    assert (m / "bad").read_bytes() == data
    act(m.path)  # type: ignore[operator]
    assert sorted(os.listdir(m.path)) == sorted(os.listdir(world.backing))


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDWR)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def test_hang_on_one_file_leaves_the_others_going(m: Mounted, slow: SlowDir, data: bytes) -> None:
    slow.hang(["read"], name_contains="bad")
    code = "import sys; print(len(open(sys.argv[1], 'rb').read()))"
    readers = [
        subprocess.Popen([sys.executable, "-c", code, m / "bad"], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    try:
        eventually(lambda: slow.hung > 0, 20, "a read that hangs")
        assert (m / "good").read_bytes() == data
        (m / "made").write_bytes(b"meanwhile")
        assert sorted(os.listdir(m.path)) == ["bad", "good", "made", "other"]
        assert m.status()["pid"]
        slow.heal()
        assert [reader.communicate(timeout=30)[0] for reader in readers] == ["400000\n"] * 3
        assert (m / "bad").read_bytes() == data
    finally:
        slow.heal()
        for reader in readers:
            with contextlib.suppress(ProcessLookupError):
                reader.kill()
            reader.wait(30)
            if reader.stdout:
                reader.stdout.close()


def test_signal_ends_a_program_that_waits_for_a_hanging_source(m: Mounted, slow: SlowDir) -> None:
    slow.hang(["read"], name_contains="bad")
    code = "import sys; open(sys.argv[1], 'rb').read()"
    reader = subprocess.Popen([sys.executable, "-c", code, m / "bad"])
    try:
        eventually(lambda: slow.hung > 0, 20, "a read that hangs")
        reader.send_signal(signal.SIGKILL)
        assert reader.wait(20) == -signal.SIGKILL
    finally:
        slow.heal()
        reader.kill()
        reader.wait(30)


def test_killed_reader_does_not_harm_those_who_read_the_same(m: Mounted, slow: SlowDir, data: bytes) -> None:
    """He fetched for all of them: they neither fail nor are told that the file ends there."""
    slow.hang(["read", "lookup", "getattr"], name_contains="bad")
    code = "import sys, hashlib; print(hashlib.md5(open(sys.argv[1], 'rb').read()).hexdigest())"
    readers = []
    try:
        for _ in range(3):
            readers.append(subprocess.Popen([sys.executable, "-c", code, m / "bad"], stdout=subprocess.PIPE, text=True))
            count = len(readers)
            eventually(lambda c=count: slow.hung > 0 and len(readers) == c, 20, "a look that hangs")
        time.sleep(0.3)  # the others join the first
        for operations in (["read"], []):
            killed = readers.pop(0)
            killed.kill()
            assert killed.wait(20) == -signal.SIGKILL
            assert killed.stdout is not None
            killed.stdout.close()
            slow.heal()
            slow.hang(operations, name_contains="bad")
            if operations:
                eventually(lambda: slow.hung > 0, 20, "a read that hangs")
                time.sleep(0.3)
        assert [reader.communicate(timeout=30)[0].strip() for reader in readers] == [hashlib.md5(data).hexdigest()]
    finally:
        slow.heal()
        for reader in readers:
            reader.kill()
            reader.wait(30)
            if reader.stdout:
                reader.stdout.close()


def test_mount_goes_on_where_a_hundred_reads_hang(m: Mounted, slow: SlowDir, world: World, data: bytes) -> None:
    """More than there are threads for demand."""
    for i in range(50):
        (world.backing / f"bad-{i}").write_bytes(b"x" * 5000)
    slow.hang(["read"], name_contains="bad-")
    code = (
        "import sys, threading\n"
        "threads = [threading.Thread(target=lambda p=p: open(p, 'rb').read()) for p in sys.argv[1:]]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
    )
    reader = subprocess.Popen([sys.executable, "-c", code, *[m / f"bad-{i}" for i in range(50)]])
    try:
        eventually(lambda: slow.hung >= 20, 20, "reads that hang")
        started = time.monotonic()
        assert (m / "good").read_bytes() == data
        assert os.stat(m / "other").st_size == len(data)
        assert time.monotonic() - started < 60
        slow.heal()
        assert reader.wait(60) == 0
    finally:
        slow.heal()
        reader.kill()
        reader.wait(30)


@pytest.mark.parametrize("operations", [["read"], ["lookup", "getattr"], ["open"]], ids="+".join)
def test_stale_handle_reaches_the_program_as_such_and_does_not_outlast_the_fault(
    m: Mounted, slow: SlowDir, data: bytes, operations: list[str]
) -> None:
    """As of NFS, whose server may have forgotten what a client holds; other files have nothing to do with it."""
    slow.fail(operations, errno.ESTALE, name_contains="bad")
    for _ in range(2):
        with pytest.raises(OSError) as caught:
            (m / "bad").read_bytes()
        # The kernel below us makes EIO of any error of a page that it reads ahead.
        assert caught.value.errno in ((errno.ESTALE, errno.EIO) if operations == ["read"] else (errno.ESTALE,))
        assert (m / "good").read_bytes() == data
        assert sorted(os.listdir(m.path)) == ["bad", "good", "other"]
    slow.heal()
    assert (m / "bad").read_bytes() == data
    assert os.stat(m / "bad").st_size == len(data)


def test_open_file_that_went_stale_is_read_on_when_the_fault_is_over(m: Mounted, slow: SlowDir, data: bytes) -> None:
    fd = os.open(m / "bad", os.O_RDONLY)
    try:
        assert os.pread(fd, 4096, 0) == data[:4096]
        slow.fail(["read"], errno.ESTALE, name_contains="bad")
        with pytest.raises(OSError) as caught:
            os.pread(fd, 4096, 300_000)
        assert caught.value.errno in (errno.ESTALE, errno.EIO)
        assert os.pread(fd, 4096, 0) == data[:4096]  # cached
        slow.heal()
        assert os.pread(fd, 400_000, 0) == data
    finally:
        os.close(fd)
