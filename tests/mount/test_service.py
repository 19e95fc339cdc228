"""Mounts as the system makes and tends them: by mount(8), for a journal, and when they are told to reload."""

import logging
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmfs import mount_helper, mounts, service
from tests.mount.conftest import World, eventually


def run_helper(world: World, *arguments: "str | Path") -> "subprocess.CompletedProcess[str]":
    """`mount.llmfs` as mount(8) starts it: with no HOME and hardly a PATH."""
    program = "import sys; from llmfs.mount_helper import main; main()"
    environment = {**world.environment(), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    environment.pop("HOME", None)
    return subprocess.run(
        [sys.executable, "-c", program, *map(os.fspath, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )


def test_mount_helper_mounts_what_a_line_of_fstab_says(world: World) -> None:
    (world.backing / "f").write_bytes(b"x")
    mountpoint, cache = world.root / "at", world.root / "cache dir"
    mountpoint.mkdir()
    (world.root / "llmfs.toml").write_text('[mount]\npredictor = "off"\n')
    options = f"rw,noauto,x-systemd.automount,cache_dir={cache},cache_size=32M,ro,config={world.root}/llmfs.toml"
    done = run_helper(world, world.backing, mountpoint, "-n", "-o", options)
    assert (done.returncode, done.stderr) == (0, "")
    mount = mounts.at(str(mountpoint))
    assert mount is not None
    says = mounts.ask(mount).says
    world.daemons.append(says["pid"])
    assert (says["cache_dir"], says["predictor"]) == (str(cache), "off")
    assert says["cache"]["limit_bytes"] == 32 << 20
    with pytest.raises(OSError, match="Read-only"):
        (mountpoint / "g").write_bytes(b"")
    again = run_helper(world, world.backing, mountpoint, "-o", f"cache_dir={world.root}/other")
    assert again.returncode == 32 and "a mount of llmfs already" in again.stderr


def test_mount_helper_has_mount_s_exit_statuses(world: World) -> None:
    there = world.root / "at"
    for arguments, words in (
        ((world.backing,), "SOURCE and MOUNTPOINT are needed"),
        ((world.backing, there, "-q"), "option -q"),
        ((world.backing, there, "-o", "remount,ro"), "cannot change a mount"),
        ((world.backing, there, "-N", "1"), "another namespace"),
        ((world.backing, there), "there is no mount point"),
        ((world.backing, there, "-o", "cache-size=lots"), "is no size"),
    ):
        done = run_helper(world, *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1) and words in done.stderr, done
    assert run_helper(world, world.backing, there, "-f").returncode == 0  # pretended: nothing is mounted
    assert mounts.at(str(there)) is None


def test_words_of_mount_become_words_of_llmfs() -> None:
    words, is_fake = mount_helper.read(["/s", "/m", "-s", "-v", "-r", "-t", "llmfs", "-o", "a=1,,config=/c", "-o", "b"])
    assert words == ["mount", "--config", "/c", "-o", "ro,a=1,b", "--", "/s", "/m"] and not is_fake
    assert mount_helper.read(["-f", "--", "-odd", "/m"]) == (["mount", "--", "-odd", "/m"], True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mount(8) is root's")
def test_mount_finds_its_helper(world: World) -> None:
    helper = Path("/sbin/mount.llmfs")
    if helper.exists():
        pytest.skip(f"there is a {helper} already")
    helper.write_text(f"#!{sys.executable}\nimport sys\nfrom llmfs.mount_helper import main\nmain()\n")
    helper.chmod(0o755)
    mountpoint = world.root / "at"
    mountpoint.mkdir()
    try:
        options = f"cache_dir={world.root}/c,predictor=off"
        command = ["mount", "-t", "llmfs", "-o", options, world.backing, mountpoint]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=world.environment())
        assert (done.returncode, done.stderr) == (0, "")
        mount = mounts.at(str(mountpoint))
        assert mount is not None
        world.daemons.append(mounts.ask(mount).says["pid"])
        subprocess.run(["umount", mountpoint], check=True, timeout=60)
    finally:
        helper.unlink()


# --- SIGHUP


def test_hangup_takes_up_what_can_be_taken_up_and_names_the_rest(world: World) -> None:
    configuration = world.root / "llmfs.toml"
    configuration.write_text("[mount]\nsource-timeout = 500\n")
    (world.backing / "f").write_bytes(b"x" * 100)
    source = world.slow_source()
    m = world.mount("--predictor", "off", "--config", str(configuration), source=source)
    configuration.write_text('[mount]\nsource-timeout = 1\ncache-size = "1G"\n')
    world.expect_complaint(r"takes another mount: cache_size_bytes")
    os.kill(m.pid, signal.SIGHUP)
    eventually(lambda: "reloaded; takes another mount: cache_size_bytes" in m.log(), 10)
    assert world.slow is not None
    world.slow.hang(["read"])
    try:
        with pytest.raises(TimeoutError):
            (m / "f").read_bytes()
    finally:
        world.slow.heal()
    configuration.write_text("[mount]\nsource-timeout = -1\n")
    world.expect_complaint(r"not reloaded: .*is no time-out")
    os.kill(m.pid, signal.SIGHUP)
    eventually(lambda: "not reloaded" in m.log(), 10)
    assert (m / "f").read_bytes() == b"x" * 100


def test_hangup_goes_on_with_a_new_log_where_the_old_one_was_moved(world: World) -> None:
    m = world.mount("--predictor", "off")
    log = m.cache_dir / "llmfs.log"
    log.rename(m.cache_dir / "moved")
    os.kill(m.pid, signal.SIGHUP)
    eventually(lambda: "reloaded" in m.log(), 10)
    assert os.stat(log).st_mode & 0o777 == 0o600


# --- the journal


@pytest.fixture
def journal(world: World) -> Iterator[Path]:
    yield world.root / "journal"


def test_log_for_a_journal_has_priorities_and_no_time(world: World, journal: Path) -> None:
    mountpoint = world.root / "at"
    mountpoint.mkdir()
    with journal.open("wb") as stream:
        there = os.fstat(stream.fileno())
        daemon = subprocess.Popen(
            [
                *(sys.executable, "-m", "llmfs", "mount", "-f", world.backing, mountpoint),
                *("--cache-dir", world.root / "c", "--predictor", "off"),
            ],
            stderr=stream,
            env=world.environment({"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"}),
        )
    world.daemons.append(daemon.pid)
    try:
        eventually(lambda: mounts.at(str(mountpoint)) and b"is mounted" in journal.read_bytes(), 30)
    finally:
        daemon.terminate()
        assert daemon.wait(timeout=30) == 0
    lines = journal.read_text().splitlines()
    assert any(re.fullmatch(r"<6>llmfs\.commands\.mount: llmfs .* is mounted at .*", line) for line in lines), lines
    assert all(re.match(r"<\d>", line) for line in lines)


def test_every_line_of_a_traceback_has_its_priority() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("llmfs", logging.ERROR, "", 0, "it %s", ("failed",), sys.exc_info())
    lines = service.JournalFormatter().format(record).splitlines()
    assert lines[0] == "<3>llmfs: it failed" and len(lines) > 3
    assert all(line.startswith("<3>") for line in lines)
    levels = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.CRITICAL: 2}
    for level, priority in levels.items():
        record = logging.LogRecord("x", level, "", 0, "", (), None)
        assert service.JournalFormatter().format(record).startswith(f"<{priority}>")


def test_a_stream_that_is_not_the_journal_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "a").open("wb") as stream:
        there = os.fstat(stream.fileno())
        monkeypatch.delenv("JOURNAL_STREAM", raising=False)
        assert not service.is_journal(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{there.st_dev}:{there.st_ino}")
        assert service.is_journal(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{there.st_dev}:{there.st_ino + 1}")
        assert not service.is_journal(stream.fileno())


def test_nobody_is_notified_where_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("", "relative", str(tmp_path / "nothing"), f"@llmfs-{os.getpid()}-{time.monotonic_ns()}"):
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        assert not service.notify("READY=1")


def test_a_mount_in_the_foreground_ends_with_its_terminal(world: World) -> None:
    mountpoint = world.root / "at"
    mountpoint.mkdir()
    leader, follower = pty.openpty()
    command = ["mount", "-f", world.backing, mountpoint, "--cache-dir", world.root / "c", "--predictor", "off"]
    daemon = subprocess.Popen([sys.executable, "-m", "llmfs", *command], stderr=follower, env=world.environment())
    world.daemons.append(daemon.pid)
    os.close(follower)
    try:
        eventually(lambda: mounts.at(str(mountpoint)) and os.listdir(mountpoint) == [], 30)
        daemon.send_signal(signal.SIGHUP)
        assert daemon.wait(timeout=30) == 0
    finally:
        os.close(leader)
    assert mounts.at(str(mountpoint)) is None
