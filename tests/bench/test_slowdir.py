"""slowdir waits, fails, hangs and counts as told; test_slowdir_is_its_backing.py holds that it changes nothing."""

import contextlib
import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.slowdir import SlowDir
from bench.slowdir.control import Control, Word

_PATIENCE_S = 10.0


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.002)


def is_listed(mountpoint: Path) -> bool:
    """Whether something is mounted there: asks nobody who may be about to leave."""
    return f" {mountpoint} " in Path("/proc/self/mountinfo").read_text()


class Reader:
    """Reads a file in a thread of its own, for reads that hang."""

    def __init__(self, file: Path) -> None:
        self.result: bytes | OSError | None = None
        self._file = file
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def join(self) -> bytes | OSError | None:
        self._thread.join(_PATIENCE_S)
        return self.result

    def _read(self) -> None:
        try:
            self.result = self._file.read_bytes()
        except OSError as error:
            self.result = error


# -- counters and latency


def test_counts_requests_and_bytes(slow: SlowDir) -> None:
    (slow.backing / "file").write_bytes(b"x" * 10_000)

    assert (slow.mountpoint / "file").read_bytes() == b"x" * 10_000

    counters = slow.counters
    assert (counters["lookup"], counters["open"], counters["create"]) == (1, 1, 0)
    assert counters["read"] >= 1
    assert (counters["bytes_read"], counters["bytes_written"]) == (10_000, 0)


def test_counts_written_bytes(slow: SlowDir) -> None:
    (slow.mountpoint / "file").write_bytes(b"x" * 5_000)

    assert slow.counters["create"] == 1
    assert slow.counters["bytes_written"] == 5_000


def test_reset_starts_counting_anew(slow: SlowDir) -> None:
    os.listdir(slow.mountpoint)
    assert slow.requests > 0

    slow.reset_counters()

    assert slow.requests == 0
    os.listdir(slow.mountpoint)
    assert slow.counters["opendir"] == 1


def test_each_request_waits_once(slow: SlowDir) -> None:
    (slow.backing / "file").write_bytes(b"x")
    slow.set_latency(0.003)

    started_s = time.monotonic()
    (slow.mountpoint / "file").read_bytes()
    taken_s = time.monotonic() - started_s

    assert slow.counters["delayed"] == slow.requests
    assert slow.counters["delayed_ns"] == slow.requests * 3_000_000
    assert taken_s >= 0.003 * 3  # lookup, open and read, one after the other: a sleep is never short


def test_free_operations_do_not_wait(_slowdir_works: None, backing: Path, mountpoint: Path) -> None:
    (backing / "file").write_bytes(b"x")
    free = ("lookup", "getattr", "open", "flush", "forget", "release", "releasedir")
    with SlowDir(backing, mountpoint, latency_s=0.001, free_operations=free) as slow:
        (mountpoint / "file").read_bytes()

        assert slow.counters["open"] == 1
        assert slow.counters["delayed"] == slow.counters["read"] == slow.requests


def test_requests_wait_at_the_same_time(slow: SlowDir) -> None:
    for number in range(16):
        (slow.backing / str(number)).write_bytes(b"x")
    slow.hang(["open"])

    readers = [Reader(slow.mountpoint / str(number)) for number in range(16)]
    wait_until(lambda: slow.hung == 16)

    assert slow.peak_waiting >= 16
    slow.heal()
    assert [reader.join() for reader in readers] == [b"x"] * 16


def test_bandwidth_is_shared(slow: SlowDir) -> None:
    for name in "ab":
        (slow.backing / name).write_bytes(bytes(200_000))
    slow.set_bandwidth(4e6)

    started_s = time.monotonic()
    readers = [Reader(slow.mountpoint / name) for name in "ab"]
    assert [reader.join() for reader in readers] == [bytes(200_000)] * 2

    assert time.monotonic() - started_s >= 0.1  # 400 kB at 4 MB/s: never quicker


# -- what the kernel may keep


def test_names_and_pages_are_kept_for_their_time(_slowdir_works: None, backing: Path, mountpoint: Path) -> None:
    (backing / "file").write_bytes(b"x")
    with SlowDir(backing, mountpoint, latency_s=0, entry_timeout_s=1000) as slow:
        (mountpoint / "file").read_bytes()
        slow.reset_counters()
        (mountpoint / "file").read_bytes()
        assert (slow.counters["lookup"], slow.counters["open"], slow.counters["read"]) == (0, 1, 0)

        slow.drop_kernel_caches()
        slow.reset_counters()
        (mountpoint / "file").read_bytes()
        assert (slow.counters["lookup"], slow.counters["open"], slow.counters["read"]) == (1, 1, 1)


def test_without_ctime_a_file_is_as_old_as_its_contents(_slowdir_works: None, backing: Path, mountpoint: Path) -> None:
    (backing / "file").write_bytes(b"x")
    os.utime(backing / "file", (1, 1))
    with SlowDir(backing, mountpoint, latency_s=0, has_ctime=False):
        status = (mountpoint / "file").stat()
        (listed,) = os.scandir(mountpoint)
        assert status.st_ctime == status.st_mtime == listed.stat().st_ctime == 1
    with SlowDir(backing, mountpoint, latency_s=0):
        assert (mountpoint / "file").stat().st_ctime == (backing / "file").stat().st_ctime > 1


def test_pages_of_a_changed_file_are_not_kept(slow: SlowDir) -> None:
    (slow.backing / "file").write_bytes(b"old")
    assert (slow.mountpoint / "file").read_bytes() == b"old"

    (slow.backing / "file").write_bytes(b"new")  # the same size, another mtime
    os.utime(slow.backing / "file", (1, 1))

    assert (slow.mountpoint / "file").read_bytes() == b"new"


def test_drop_leaves_open_files_alone(_slowdir_works: None, backing: Path, mountpoint: Path) -> None:
    (backing / "dir").mkdir()
    (backing / "dir" / "file").write_bytes(b"content")
    with SlowDir(backing, mountpoint, latency_s=0, entry_timeout_s=1000) as slow:
        with open(mountpoint / "dir" / "file", "rb", buffering=0) as file:
            assert file.read(3) == b"con"
            slow.drop_kernel_caches()
            assert file.read(4) == b"tent"
        assert (mountpoint / "dir" / "file").read_bytes() == b"content"


def test_negative_names_are_asked_for_each_time_by_default(slow: SlowDir) -> None:
    for _ in range(3):
        assert not (slow.mountpoint / "nothing").exists()
    assert slow.counters["lookup"] == 3


def test_negative_names_may_be_believed(_slowdir_works: None, backing: Path, mountpoint: Path) -> None:
    with SlowDir(backing, mountpoint, latency_s=0, negative_timeout_s=1000) as slow:
        for _ in range(3):
            assert not (mountpoint / "nothing").exists()
        assert slow.counters["lookup"] == 1


# -- faults


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES, errno.ETIMEDOUT])
def test_fault_raises_its_errno_and_heals(slow: SlowDir, number: int) -> None:
    (slow.backing / "file").write_bytes(b"x")
    slow.fail(["open"], number)

    with pytest.raises(OSError) as raised:
        (slow.mountpoint / "file").read_bytes()
    assert raised.value.errno == number
    assert slow.counters["faulted"] >= 1  # the kernel tries once more when it is told ESTALE

    slow.heal()
    assert (slow.mountpoint / "file").read_bytes() == b"x"


def test_fault_is_for_chosen_names_alone(slow: SlowDir) -> None:
    for name in ("weights.bin", "config.json"):
        (slow.backing / name).write_bytes(b"x")
    slow.fail(["read"], errno.EIO, name_contains="weights")

    assert (slow.mountpoint / "config.json").read_bytes() == b"x"
    with pytest.raises(OSError, match="Input/output"):
        (slow.mountpoint / "weights.bin").read_bytes()


def test_fault_goes_by_the_name_after_a_rename(slow: SlowDir) -> None:
    (slow.mountpoint / "before").write_bytes(b"x")
    (slow.mountpoint / "before").rename(slow.mountpoint / "after")
    slow.fail(["open"], errno.EIO, name_contains="after")

    with pytest.raises(OSError, match="Input/output"):
        (slow.mountpoint / "after").read_bytes()


def test_fault_of_a_write_reaches_the_writer(slow: SlowDir) -> None:
    slow.fail(["write"], errno.ENOSPC)

    with pytest.raises(OSError) as raised:
        (slow.mountpoint / "file").write_bytes(b"x")
    assert raised.value.errno == errno.ENOSPC


def test_unknown_operation_is_refused(slow: SlowDir) -> None:
    with pytest.raises(ValueError, match="raed"):
        slow.fail(["raed"], errno.EIO)


# -- hangs


def test_hang_leaves_other_files_going_and_heals(slow: SlowDir) -> None:
    for name in ("stuck", "other"):
        (slow.backing / name).write_bytes(b"x")
    slow.hang(["read"], name_contains="stuck")

    reader = Reader(slow.mountpoint / "stuck")
    wait_until(lambda: slow.hung == 1)
    assert (slow.mountpoint / "other").read_bytes() == b"x"
    assert reader.result is None

    slow.heal()
    assert reader.join() == b"x"


def test_unmount_ends_what_hangs(slow: SlowDir) -> None:
    (slow.backing / "file").write_bytes(b"x")
    slow.hang(["read"])
    reader = Reader(slow.mountpoint / "file")
    wait_until(lambda: slow.hung == 1)

    slow.unmount()

    assert isinstance(reader.join(), OSError)
    assert not slow.mountpoint.is_mount()


def test_program_that_hangs_can_be_killed(slow: SlowDir) -> None:
    (slow.backing / "file").write_bytes(b"x")
    slow.hang(["read"])
    with subprocess.Popen(["cat", slow.mountpoint / "file"], stdout=subprocess.DEVNULL) as program:
        wait_until(lambda: slow.hung == 1)
        program.kill()
        assert program.wait(_PATIENCE_S) < 0


# -- life


def test_unmount_twice_is_harmless(slow: SlowDir) -> None:
    slow.unmount()
    slow.unmount()
    assert not slow.mountpoint.is_mount()


def test_unmounts_while_files_are_open(slow: SlowDir) -> None:
    (slow.backing / "file").write_bytes(b"x")
    fd = os.open(slow.mountpoint / "file", os.O_RDONLY)
    try:
        slow.unmount()
        assert os.listdir(slow.mountpoint) == []
        with pytest.raises(OSError, match="not connected"):
            os.pread(fd, 1, 0)
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)


def test_unmounts_itself_when_its_starter_is_killed(_slowdir_works: None, backing: Path, mountpoint: Path) -> None:
    program = (
        "import sys, pathlib, signal\n"
        "from bench.slowdir import SlowDir\n"
        "SlowDir(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])).mount()\n"
        "print('mounted', flush=True)\n"
        "signal.pause()\n"
    )
    command = [sys.executable, "-c", program, str(backing), str(mountpoint)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"mounted\n"
        starter.kill()
    wait_until(lambda: not is_listed(mountpoint))


def test_missing_backing_is_said(tmp_path: Path, mountpoint: Path, _slowdir_works: None) -> None:
    with pytest.raises(RuntimeError, match="No such file"):
        SlowDir(tmp_path / "nowhere", mountpoint).mount()


def test_control_words_have_the_places_that_the_program_uses(slow: SlowDir) -> None:
    # The program writes these; had one side moved a word, they would not be found here.
    assert slow.control[Word.READY] == 1
    assert {"lookup", "read", "fallocate", "lseek"} <= set(slow.control.operations())


def test_control_file_is_removed() -> None:
    control = Control()
    path = control.path
    assert path.exists()
    control.close()
    assert not path.exists()
