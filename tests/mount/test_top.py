"""`llmfs top` of live mounts: for programs, for a pipe, for a terminal."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.mount.conftest import Mounted, World, drop_pages, eventually
from tests.mount.test_upkeep import fails, run


@contextlib.contextmanager
def reading(paths: list[Path]) -> Iterator[None]:
    """Somebody reads these, again and again."""
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            for path in paths:
                drop_pages(path)
                path.read_bytes()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        is_over.set()
        reader.join()


def busy(world: World) -> tuple[Mounted, list[Path]]:
    for number in range(30):
        (world.backing / f"[red]f{number}").write_bytes(os.urandom(20_000))
    m = world.mount(source=world.slow_source())
    return m, [m / f"[red]f{number}" for number in range(30)]


def test_who_reads_what_and_what_is_expected(world: World) -> None:
    m, paths = busy(world)
    with reading(paths):

        def look() -> object:
            shown = json.loads(world.llmfs("top", m.path, "--json", "-d", "0.5"))
            assert [each["mountpoint"] for each in shown] == [str(m.path)]
            activity, rates = shown[0]["activity"], shown[0]["rates"]
            assert rates["reads_cache"] > 0 and rates["bytes_cache"] > rates["reads_cache"]
            assert {each["pid"] for each in activity["programs"] if each["reads"]} == {os.getpid()}
            assert 0 < len(activity["files"]) <= 20
            top = max(activity["files"], key=lambda each: each["reads"])
            assert top["path"].startswith("[red]f") and top["bytes"] > 0 and top["hits"] <= top["reads"]
            return [each for each in activity["expected"] if each["path"].startswith("[red]f")]

        expected = eventually(look, 60, "a prediction")
        shown = world.llmfs("top", m.path, "-n", "1", "-d", "0.5")
    assert all(0 < each["score"] <= 1 and each["want"] and each["by"] for each in expected)
    assert "expected next" in shown and "source requests" in shown and "[red]f" in shown


def test_a_mount_where_nothing_happens_and_one_that_is_dead(world: World) -> None:
    m = world.mount("--predictor", "off")
    other = world.mount("--predictor", "off", name="other", source=world.slow_source())
    other.kill()

    def look() -> str:  # others on the machine look at what is mounted, now and then
        shown = world.llmfs("top", "-n", "1", "-d", "0.1")
        return shown if "none just now" in shown else ""

    shown = eventually(look, 60, "a time in which nothing happens")
    assert str(m.path) in "".join(shown.split())  # long paths are folded
    assert "dead" in shown
    described = json.loads(world.llmfs("top", "--json", "-d", "0.1", other.path))
    assert (described[0]["state"], described[0]["activity"]) == ("dead", None)
    assert "there is no mount of llmfs at" in fails(world, "top", world.root, status=2)
    assert "see llmfs top --help" in fails(world, "top", "-d", "0", status=2)


def test_a_daemon_that_takes_no_commands_still_shows_its_figures(world: World) -> None:
    m = world.mount("--predictor", "off")
    (m.cache_dir / "control").unlink()
    done = run(world, "top", m.path, "-n", "1", "-d", "0.1")
    shown = " ".join(done.stdout.split())  # folded
    assert done.returncode == 0 and "takes no commands" in shown and "reads/s" in shown


def test_on_a_terminal_it_is_live_until_it_is_interrupted(world: World) -> None:
    m = world.mount("--predictor", "off")
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    top = subprocess.Popen(
        [sys.executable, "-m", "llmfs", "top", "-d", "0.1", str(m.path)],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=world.environment({"TERM": "xterm"}),
    )
    os.close(follower)
    said = b""
    try:
        while said.count(b"source requests") < 3:
            said += os.read(leader, 65536)
        top.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the end of a terminal
            while more := os.read(leader, 65536):
                said += more
        assert top.wait(timeout=30) == 0
    finally:
        top.kill()
        top.wait()
        os.close(leader)
    assert said.count(b"\x1b[?1049h") == said.count(b"\x1b[?1049l") == 1  # the other screen, and back
    assert b"Traceback" not in said
