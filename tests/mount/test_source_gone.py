"""A source that does not answer, or is not there: nobody waits for ever, and what is cached is served meanwhile."""

import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bench.slowdir import SlowDir
from tests.conftest import detach
from tests.mount.conftest import Mounted, World, eventually, is_alive

HUNG = ["read", "lookup", "getattr", "open"]


@pytest.fixture
def slow(world: World) -> SlowDir:
    for number in range(40):
        (world.backing / f"bad{number}").write_bytes(b"bad")
    (world.backing / "good").write_bytes(b"good")
    world.slow_source(0.0005)
    assert world.slow is not None
    return world.slow


def reader(path: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_more_hung_requests_than_threads_leave_other_files_going(world: World, slow: SlowDir) -> None:
    m = world.mount(source=slow.mountpoint)
    slow.hang(HUNG, name_contains="bad")
    readers = [reader(m / f"bad{number}") for number in range(40)]
    eventually(lambda: slow.hung >= 32, 10, "the source hangs")
    assert (m / "good").read_bytes() == b"good"
    slow.heal()
    assert [each.wait(20) for each in readers] == [0] * 40
    for each in readers:
        assert each.stderr is not None
        each.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_frees_a_program_from_a_hung_source(world: World, slow: SlowDir, number: signal.Signals) -> None:
    m = world.mount(source=slow.mountpoint)
    slow.hang(HUNG, name_contains="bad1")
    hung = reader(m / "bad1")
    eventually(lambda: slow.hung, 10, "the source hangs")
    hung.send_signal(number)
    assert hung.wait(10) == -number
    assert hung.stderr is not None
    hung.stderr.close()
    slow.heal()


def test_source_timeout_is_an_errno(world: World, slow: SlowDir) -> None:
    m = world.mount("--source-timeout", "0.6", source=slow.mountpoint)
    slow.hang(HUNG, name_contains="bad2")
    with pytest.raises(OSError) as caught:
        (m / "bad2").read_bytes()
    assert caught.value.errno == errno.ETIMEDOUT
    slow.heal()
    assert eventually(lambda: (m / "bad2").read_bytes() == b"bad", 10)


def test_daemon_that_is_asked_to_stop_does_not_wait_for_a_hung_source(world: World, slow: SlowDir) -> None:
    m = world.mount(source=slow.mountpoint)
    slow.hang(HUNG, name_contains="bad3")
    hung = reader(m / "bad3")
    eventually(lambda: slow.hung, 10, "the source hangs")
    os.kill(m.pid, signal.SIGTERM)
    assert hung.wait(15) != 0
    eventually(lambda: not is_alive(m.pid), 15, "the daemon's exit")
    assert hung.stderr is not None
    hung.stderr.close()
    slow.heal()


def test_status_answers_while_everything_hangs(world: World, slow: SlowDir) -> None:
    m = world.mount(source=slow.mountpoint)
    slow.hang([*HUNG, "readdir", "opendir"])
    time.sleep(3.5)  # past the time to live of the root's attributes
    assert m.status()["pid"] == m.pid
    slow.heal()


def old_tree(world: World) -> None:
    (world.backing / "d").mkdir()
    for number in range(3):
        (world.backing / "d" / f"f{number}").write_bytes(b"x" * 70_000)
    (world.backing / "unread").write_bytes(b"unread")


def read_tree(m: Mounted) -> dict[str, int]:
    return {name: len((m / "d" / name).read_bytes()) for name in sorted(os.listdir(m / "d"))}


def test_what_is_cached_is_served_while_the_source_is_gone_and_the_rest_when_it_is_back(world: World) -> None:
    old_tree(world)
    source = world.slow_source(0.0005)
    m = world.mount(source=source)
    world.expect_complaint("the source cannot be reached|the source is there again")
    expected = read_tree(m)
    assert world.slow is not None
    os.kill(world.slow.pid, signal.SIGKILL)
    time.sleep(4)  # past the time to live of what was just made: it would have to be looked at again
    assert read_tree(m) == expected
    with pytest.raises(OSError) as caught:
        (m / "unread").read_bytes()
    assert caught.value.errno == errno.ENOTCONN
    world.slow.unmount()
    detach(source)
    world.slow = None
    world.slow_source(0.0005)

    def is_back() -> bool:
        try:
            return (m / "unread").read_bytes() == b"unread"
        except OSError:
            return False

    eventually(is_back, 10, "the source is taken up again")
    assert read_tree(m) == expected


def test_offline_ok_mounts_without_the_source_and_takes_it_up_when_it_comes(world: World) -> None:
    old_tree(world)
    source = world.slow_source(0.0005)
    m = world.mount(source=source)
    world.expect_complaint("the source cannot be reached|the source is there again|the source is not there")
    expected = read_tree(m)
    m.umount()
    assert world.slow is not None
    world.slow.unmount()
    world.slow = None
    m.mount("--offline", "ok")  # an empty directory of another file system, where the source was mounted
    assert read_tree(m) == expected
    world.slow_source(0.0005)
    eventually(lambda: _reads(m, "unread") == b"unread", 10, "the source is taken up")
    assert read_tree(m) == expected


def _reads(m: Mounted, name: str) -> bytes:
    try:
        return (m / name).read_bytes()
    except OSError:
        return b""
