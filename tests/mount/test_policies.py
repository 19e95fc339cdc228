"""Policies on live mounts: a backup leaves the cache as it was, and what else the rules promise."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import lmdb
import pytest

from llmfs.blocks import BLOCK_BYTES
from tests.mount.conftest import Mounted, World, drop_pages, eventually

OLD = (1_000_000, 1_000_000)


def write(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    os.utime(path, OLD)


def configured(world: World, text: str) -> str:
    file = world.root / "llmfs.toml"
    file.write_text(text)
    return str(file)


def program(world: World, name: str) -> Path:
    """An interpreter under another name: the command that rules go by."""
    there = world.root / "bin" / name
    there.parent.mkdir(exist_ok=True)
    shutil.copy2(os.path.realpath(sys.executable), there)
    return there


READ_ALL = """
import os, sys
for at, _, names in os.walk(sys.argv[1]):
    for name in sorted(names):
        with open(os.path.join(at, name), "rb") as file:
            while file.read(1 << 20):
                pass
"""


def read_all(interpreter: Path, root: Path) -> None:
    environment = {**os.environ, "PYTHONHOME": sys.base_prefix}
    subprocess.run([interpreter, "-S", "-c", READ_ALL, root], check=True, timeout=60, env=environment)


def cached(path: Path) -> int:
    return int(os.getxattr(path, "user.llmfs.cached"))


def blocks(m: Mounted) -> dict[bytes, bytes]:
    """What is in the cache of a mount that is not mounted: keys and values."""
    with (
        lmdb.open(os.fspath(m.cache_dir / "blocks"), max_dbs=4, readonly=True, lock=False) as environment,
        environment.begin(environment.open_db(b"blocks", create=False)) as transaction,
    ):
        return {bytes(key): bytes(value) for key, value in transaction.cursor()}


def test_a_backup_leaves_the_cache_as_it_was(world: World) -> None:
    for number in range(20):
        write(world.backing / "work" / f"w{number}", 300_000)
    for number in range(100):
        write(world.backing / "archive" / f"a{number}", 300_000)
    time.sleep(2.1)  # what changed just now is believed for one look (policy/freshness.py)
    file = configured(world, "[[mount.policy]]\ncommand = 'backup'\ndo = 'bypass'\n")
    m = world.mount("--cache-size", "16M", "--config", file, source=world.slow_source())
    for path in (m / "work").iterdir():
        path.read_bytes()
    m.umount()
    before = blocks(m)
    assert len(before) >= 40
    m.mount()
    read_all(program(world, "backup"), m.path)  # 36 MB past a cache of 16 MB
    assert m.status()["prefetch"]["issued"] == 0
    assert all(cached(path) == 300_000 for path in (m / "work").iterdir())
    assert m.status()["reads"]["source"] > 0 and m.status()["reads"]["cache"] > 0
    m.umount()
    assert blocks(m) == before
    # The control: the same program under a name that no rule is for.
    m.mount()
    read_all(program(world, "reader"), m.path)
    m.umount()
    assert blocks(m) != before


def test_a_bypassing_read_gets_the_right_bytes_beside_cached_ones(world: World) -> None:
    write(world.backing / "f", 5 * BLOCK_BYTES + 77)
    file = configured(world, "[[mount.policy]]\npath = 'f'\ndo = 'bypass'\n")
    m = world.mount("--predictor", "off", source=world.slow_source())
    with (m / "f").open("rb", buffering=0) as stream:
        stream.seek(2 * BLOCK_BYTES)
        stream.read(BLOCK_BYTES)
    assert 0 < cached(m / "f") < 5 * BLOCK_BYTES
    m.remount("--config", file)
    before = cached(m / "f")
    for _ in range(2):
        assert (m / "f").read_bytes() == (world.backing / "f").read_bytes()
        drop_pages(m / "f")
    assert cached(m / "f") == before
    with (m / "f").open("r+b") as stream:
        stream.write(b"new")
    assert (m / "f").read_bytes() == (world.backing / "f").read_bytes()


def test_no_prefetch_keeps_what_was_read_and_fetches_nothing_ahead(world: World) -> None:
    write(world.backing / "plain", 40 * BLOCK_BYTES)
    write(world.backing / "stream.iso", 40 * BLOCK_BYTES)
    file = configured(world, "[[mount.policy]]\npath = '*.iso'\ndo = 'no-prefetch'\n")
    m = world.mount("--predictor", "sequential", "--config", file, source=world.slow_source())

    def read_half(name: str) -> int:
        with (m / name).open("rb", buffering=0) as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # no readahead of the kernel's own
            for _ in range(20):
                stream.read(BLOCK_BYTES)
        return int(m.status()["prefetch"]["issued"])

    assert read_half("stream.iso") == 0
    assert cached(m / "stream.iso") == 20 * BLOCK_BYTES
    assert read_half("plain") > 0


def test_a_share_bounds_what_some_files_take(world: World) -> None:
    for number in range(30):
        write(world.backing / "stream" / f"s{number}", 2 * BLOCK_BYTES)
        write(world.backing / "work" / f"w{number}", BLOCK_BYTES)
    file = configured(world, "[[mount.policy]]\npath = 'stream'\nshare = '10%'\n")
    m = world.mount("--cache-size", "16M", "--predictor", "off", "--config", file, source=world.slow_source())
    for directory in ("work", "stream"):
        for path in sorted((m / directory).iterdir()):
            path.read_bytes()
    assert sum(cached(path) for path in (m / "stream").iterdir()) < 1.6e6  # 7.8 MB without the rule
    assert all(cached(path) == BLOCK_BYTES for path in (m / "work").iterdir())


def test_immutable_files_are_not_asked_about_again_and_others_are(world: World) -> None:
    for name in ("published/f", "live/f"):
        write(world.backing / name, 1000)
    file = configured(world, "[[mount.policy]]\npath = 'published'\ndo = 'immutable'\n")
    m = world.mount("--predictor", "off", "--consistency", "strict", "--config", file, source=world.slow_source())
    for name in ("published/f", "live/f"):
        (m / name).read_bytes()
    for name in ("published/f", "live/f"):
        (world.backing / name).write_bytes(b"another")
    eventually(lambda: (m / "live/f").stat().st_size == 7, 10)  # the slow directory's kernel believes for a while
    assert (m / "published/f").stat().st_size == 1000
    assert (m / "live/f").read_bytes() == b"another" and (m / "published/f").read_bytes() != b"another"
    m.remount()
    assert (m / "published/f").stat().st_size == 1000


def test_policies_are_read_again_on_sighup(world: World) -> None:
    for name in ("a", "b"):
        write(world.backing / name, 1000)
    file = configured(world, "[[mount.policy]]\npath = 'a'\ndo = 'bypass'\n")
    m = world.mount("--predictor", "off", "--config", file, source=world.slow_source())
    (m / "a").read_bytes()
    assert cached(m / "a") == 0
    configured(world, "[[mount.policy]]\npath = 'b'\ndo = 'bypass'\n")
    os.kill(m.pid, signal.SIGHUP)
    eventually(lambda: "reloaded" in m.log(), 10)
    for name in ("a", "b"):
        drop_pages(m / name)
        (m / name).read_bytes()
    assert (cached(m / "a"), cached(m / "b")) == (1000, 0)
    world.expect_complaint("takes another mount")
    configured(world, "[[mount.policy]]\npath = 'b'\ndo = 'immutable'\n")
    os.kill(m.pid, signal.SIGHUP)
    eventually(lambda: "takes another mount: policies that say immutable" in m.log(), 10)


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to be somebody else")
def test_a_user_is_known_by_uid(world: World) -> None:
    write(world.backing / "f", 1000)
    file = configured(world, "[[mount.policy]]\nuid = 'nobody'\ndo = 'bypass'\n")
    m = world.mount("--predictor", "off", "--allow-other", "--config", file, source=world.slow_source())
    for path in (world.root, *world.root.parents):
        if path.stat().st_mode & 0o055 != 0o055:
            path.chmod(path.stat().st_mode | 0o055)
    subprocess.run(["cat", m / "f"], user="nobody", check=True, stdout=subprocess.DEVNULL, timeout=30)
    assert cached(m / "f") == 0
    drop_pages(m / "f")
    (m / "f").read_bytes()
    assert cached(m / "f") == 1000
