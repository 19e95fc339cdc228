"""`llmfs warm`, `evict`, `check` on live mounts, and what a file's extended attributes say of it."""

import contextlib
import errno
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmfs.block_cache import TABLE
from llmfs.blocks import BLOCK_BYTES, Block, decode
from llmfs.control import LINE_BYTES_MAX, SOCKET, address
from llmfs.store import Store
from tests.mount.conftest import Mounted, World, drop_pages, eventually


def fails(world: World, *arguments: "str | Path", status: int = 1) -> str:
    """The one line that a command fails with."""
    done = run(world, *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (status, 1), done
    return done.stderr


def run(world: World, *arguments: "str | Path") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "llmfs", *map(os.fspath, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=world.environment(),
    )


def says(world: World, *arguments: "str | Path") -> Any:
    return json.loads(world.llmfs(*arguments, "--json"))


def cached(path: Path) -> int:
    return int(os.getxattr(path, "user.llmfs.cached"))


def source_reads(m: Mounted) -> int:
    return int(m.status()["reads"]["source"])


@pytest.fixture
def tree(world: World) -> Path:
    """Twenty files of 40 kB and one of five blocks, in two levels."""
    for number in range(20):
        directory = world.backing / "tree" / f"d{number % 3}" / "deep"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}").write_bytes(os.urandom(40_000))
    (world.backing / "tree" / "big").write_bytes(os.urandom(5 * BLOCK_BYTES))
    (world.backing / "tree" / "link").symlink_to("/")
    return Path("tree")


def test_what_was_warmed_is_read_without_the_source(world: World, tree: Path) -> None:
    m = world.mount("--predictor", "off", source=world.slow_source())
    said = says(world, "warm", "--wait", m / tree)
    size = 20 * 40_000 + 5 * BLOCK_BYTES
    assert (said["files"], said["bytes"], said["fetched_bytes"]) == (21, size, size)
    assert (said["errors"], said["left_out"], said["is_done"]) == (0, 0, True)
    assert (m / tree / "big").read_bytes() == (world.backing / tree / "big").read_bytes()
    assert (m / tree / "d1/deep/f1").read_bytes() == (world.backing / tree / "d1/deep/f1").read_bytes()
    assert source_reads(m) == 0
    again = says(world, "warm", "--wait", m / tree)
    assert (again["files"], again["fetched_bytes"]) == (21, 0)


def test_warming_goes_on_after_the_command_where_nobody_waits(world: World, tree: Path) -> None:
    m = world.mount("--predictor", "off", source=world.slow_source())
    assert "being warmed" in world.llmfs("warm", m / tree / "big", m / tree / "d0")
    eventually(lambda: cached(m / tree / "big") == 5 * BLOCK_BYTES, 20, "a warm file")
    eventually(lambda: cached(m / tree / "d0/deep/f18") == 40_000, 20, "a warm directory")
    assert cached(m / tree / "d1/deep/f1") == 0


def test_warming_leaves_out_what_the_cache_cannot_hold(world: World) -> None:
    for number in range(6):
        (world.backing / f"f{number}").write_bytes(os.urandom(4 << 20))
    m = world.mount("--predictor", "off", "--cache-size", "16M", source=world.slow_source())
    done = run(world, "warm", "--wait", m.path)
    assert done.returncode == 1 and "left out" in done.stdout
    assert sum(cached(m / f"f{number}") == 4 << 20 for number in range(6)) >= 2


def test_trees_that_are_warmed_together_share_the_cache(world: World) -> None:
    """Each of them would fit, and both do not: the second one must not push the first one out."""
    names = [f"{tree}/f{number}" for tree in "ab" for number in range(4)]
    for name in names:
        (world.backing / name).parent.mkdir(exist_ok=True)
        (world.backing / name).write_bytes(os.urandom(2 << 20))
    m = world.mount("--predictor", "off", "--cache-size", "16M", source=world.slow_source())
    done = run(world, "warm", "--wait", "--json", m / "a", m / "b")
    said = json.loads(done.stdout)
    assert done.returncode == 1 and said["left_out"] > 0 and said["files"] + said["left_out"] == len(names)
    assert all(cached(m / name) == 2 << 20 for name in names[:4])


def test_files_that_cannot_be_read_are_counted_and_the_others_warmed(world: World, tree: Path) -> None:
    source = world.slow_source()
    m = world.mount("--predictor", "off", source=source)
    assert world.slow is not None
    world.slow.fail(["read"], errno.EIO)
    done = run(world, "warm", "--wait", "--json", m / tree)
    world.slow.heal()
    said = json.loads(done.stdout)
    assert done.returncode == 1
    assert said["errors"] == 21 and said["files"] == 0


def test_evicted_files_are_asked_of_the_source_again(world: World, tree: Path) -> None:
    m = world.mount("--predictor", "off", source=world.slow_source())
    world.llmfs("warm", "--wait", m / tree)
    (m / tree / "big").read_bytes()
    said = says(world, "evict", m / tree / "big")
    assert (said["files"], said["blocks"]) == (1, 5)
    assert cached(m / tree / "big") == 0
    before = source_reads(m)
    assert (m / tree / "big").read_bytes() == (world.backing / tree / "big").read_bytes()
    assert source_reads(m) > before
    assert says(world, "evict", m.path)["files"] == 21
    assert cached(m / tree / "d1/deep/f1") == 0
    assert m.status()["cache"]["blocks"] == 0


def test_check_finds_cached_bytes_that_are_not_the_source_s(world: World, tree: Path) -> None:
    m = world.mount("--predictor", "off", "--consistency", "immutable", source=world.slow_source())
    world.llmfs("warm", "--wait", m / tree)
    said = says(world, "check", m.path)
    assert (said["files"], said["blocks"], said["differing"], said["changed"]) == (21, 25, 0, 0)
    m.umount()
    _spoil_a_block(m.cache_dir / "blocks", size=BLOCK_BYTES)
    m.mount("--metrics-port", "0")
    done = run(world, "check", m / tree)
    assert done.returncode == 1
    assert "differs: tree/big at " in done.stdout and "1 files differ" in done.stdout
    assert 'llmfs_cache_evicted_blocks_total{reason="damaged"} 1.0' in m.metrics_text()
    assert says(world, "check", m.path)["differing"] == 0
    assert (m / tree / "big").read_bytes() == (world.backing / tree / "big").read_bytes()


def _spoil_a_block(directory: Path, size: int) -> None:
    """Turns over a bit of a block of `size` bytes, and has its checksum say that it is right."""
    store = Store(os.fspath(directory), (TABLE,), 10 << 30, indexed=TABLE)
    for key, _ in store.index():
        block = store.read(TABLE, key, decode)
        assert block is not None
        if len(block.data) == size:
            store.put(TABLE, key, Block(block.bitmap, bytes([block.data[0] ^ 1]) + block.data[1:]))
            store.close()
            return
    raise AssertionError("there is no such block")


def test_check_tells_what_has_changed_although_it_is_believed(world: World, tree: Path) -> None:
    m = world.mount("--predictor", "off", "--consistency", "immutable", source=world.slow_source())
    world.llmfs("warm", "--wait", m / tree)
    (world.backing / tree / "big").write_bytes(b"another")
    said = says(world, "check", m / tree)
    assert (said["changed"], said["differing"]) == (1, 0)
    assert (m / tree / "big").read_bytes() == b"another"


def test_attributes_tell_how_much_is_cached_and_how_often_that_helped(world: World) -> None:
    (world.backing / "f").write_bytes(os.urandom(200_000))
    m = world.mount("--predictor", "off", source=world.slow_source())
    assert cached(m / "f") == 0 and os.getxattr(m / "f", "user.llmfs.hits") == b"0"
    (m / "f").read_bytes()
    assert cached(m / "f") == 200_000
    drop_pages(m / "f")
    (m / "f").read_bytes()
    assert int(os.getxattr(m / "f", "user.llmfs.hits")) > 0
    assert cached(m.path) == 0
    assert not [name for name in os.listxattr(m / "f") if name.startswith("user.llmfs")]


def test_odd_names_and_links_are_the_files_that_they_name(world: World) -> None:
    name = b"a\xff \n"
    (world.backing / os.fsdecode(name)).write_bytes(b"x" * 5000)
    (world.backing / "link").symlink_to(os.fsdecode(name))
    m = world.mount("--predictor", "off", source=world.slow_source())
    assert says(world, "warm", "--wait", m / os.fsdecode(name))["fetched_bytes"] == 5000
    assert "neither a file nor a directory" in fails(world, "evict", m / "link")


def test_what_cannot_be_done_is_said_in_a_line(world: World) -> None:
    (world.backing / "f").write_bytes(b"x")
    for command in ("warm", "evict", "check"):
        assert "is in no mount of llmfs" in fails(world, command, world.backing / "f", status=2)
        assert "see llmfs" in fails(world, command, status=2)
    m = world.mount("--predictor", "off")
    assert "there is no" in fails(world, "warm", m / "nothing")
    (m.cache_dir / SOCKET).unlink()
    assert "takes no commands" in fails(world, "evict", m / "f")
    m.kill()
    assert "is dead" in fails(world, "check", m.path)


# --- the socket itself


@contextlib.contextmanager
def connection(m: Mounted) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as stream, address(m.cache_dir) as path:
        stream.settimeout(10)
        stream.connect(path)
        yield stream


def test_socket_is_its_owner_s_alone_and_goes_with_the_mount(world: World) -> None:
    m = world.mount("--predictor", "off")
    there = os.stat(m.cache_dir / SOCKET)
    assert stat.S_IMODE(there.st_mode) == 0o600 and there.st_uid == os.geteuid()
    assert stat.S_IMODE(os.stat(m.cache_dir).st_mode) == 0o700
    m.kill()  # leaves it behind
    world.llmfs("umount", m.path)
    m.mount()
    assert says(world, "check", m.path)["files"] == 0
    m.umount()
    assert not (m.cache_dir / SOCKET).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to be somebody else")
def test_another_user_is_not_heard(world: World) -> None:
    m = world.mount("--predictor", "off", "--allow-other")
    os.chmod(m.cache_dir, 0o711)
    os.chmod(m.cache_dir / SOCKET, 0o666)  # as if somebody had opened it by mistake
    script = (
        "import os, socket, sys; fd = os.open(sys.argv[1], os.O_PATH); os.setuid(65534); s = socket.socket(1);"
        "s.connect(f'/proc/self/fd/{fd}'); s.settimeout(10);"
        """print(s.recv(100) if not s.sendall(b'{"do": "evict", "inode": 1}\\n') else 0)"""
    )
    done = subprocess.run(
        [sys.executable, "-c", script, m.cache_dir / SOCKET], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout.strip() == "b''" or "BrokenPipe" in done.stderr or "ConnectionReset" in done.stderr, done


NONSENSE = (
    b"\n", b"[]\n", b"{}\n", b'{"do": "reboot"}\n', b'{"do": ["warm"]}\n', b"\xff\n", b"[" * 100_000 + b"\n",
    b'{"do": "warm"}\n', b'{"do": "warm", "inode": "1"}\n', b'{"do": "evict", "inode": 999999}\n',
    b'{"do": "replay"}\n', b'{"do": "replay", "files": [1]}\n', b'{"do": "replay", "files": [{"path": "../x"}]}\n',
    b'{"do": "replay", "files": [{"path": "x", "ranges": [[0]]}]}\n',
    b'{"do": "replay", "files": [{"path": "x", "ranges": [[-1, 4]]}]}\n',
    b'{"do": "replay", "files": [{"path": "x", "ranges": [["a", 4]]}]}\n',
    b'{"do": "replay", "files": [{"path": 7}]}\n', b'{"do": "replay", "files": [{"path": "a\\ud800"}]}\n',
)  # fmt: skip


def test_nonsense_gets_an_error_and_the_connection_goes_on(world: World) -> None:
    m = world.mount("--predictor", "off")
    with connection(m) as stream, stream.makefile("rb") as lines:
        for request in NONSENSE:
            stream.sendall(request)
            assert "error" in json.loads(lines.readline()), request


def test_a_line_without_end_ends_the_connection(world: World) -> None:
    m = world.mount("--predictor", "off")
    with connection(m) as stream, pytest.raises(OSError, match=r"Broken pipe|reset"):
        for _ in range(3 + LINE_BYTES_MAX // (1 << 20)):
            stream.sendall(b"x" * (1 << 20))
        stream.recv(1)
        raise BrokenPipeError(32, "Broken pipe")
    assert says(world, "check", m.path)["files"] == 0


def test_closing_the_connection_gives_up_what_it_asked_for(world: World, tree: Path) -> None:
    m = world.mount("--predictor", "off", source=world.slow_source(latency_s=0.5))
    with connection(m) as stream:
        request = {"do": "warm", "inode": os.stat(m.path).st_ino, "wait": True}
        stream.sendall(json.dumps(request).encode() + b"\n")
        assert json.loads(stream.makefile("rb").readline())["files"] < 21
    m.umount()
