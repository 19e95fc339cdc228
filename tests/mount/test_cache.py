"""What the cache promises: it asks the source once, survives remounts and crashes, keeps its limit, never lies."""

import contextlib
import errno
import hashlib
import json
import mmap
import os
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.slowdir import SlowDir
from llmfs import kernel_readahead
from llmfs.cache_dir import FORMAT
from tests.mount.conftest import Mounted, World, drop_pages, eventually, is_alive

LOOKING = ("lookup", "getattr", "open", "read", "opendir", "readdir", "readlink", "statfs", "access", "getxattr")
READING = ("read", "opendir", "readdir", "readlink")


def asked(world: World, *operations: str) -> dict[str, int]:
    """Which of these requests reached the source, and how often."""
    assert world.slow is not None
    counters = world.slow.counters
    return {name: counters[name] for name in operations if counters.get(name)}


def make_tree(root: Path) -> dict[str, bytes]:
    rng = random.Random(3)
    files = {}
    for i in range(5):
        (root / f"d{i}").mkdir()
        for j in range(8):
            name = f"d{i}/f{j}"
            files[name] = rng.randbytes(rng.choice((0, 10, 4096, 70_000, 300_000)))
            (root / name).write_bytes(files[name])
            os.utime(root / name, (1_000_000, 1_000_000))
    (root / "link").symlink_to("d0/f0")
    return files


def read_all(root: Path) -> dict[str, bytes]:
    shown = {}
    for directory in sorted(os.listdir(root)):
        if directory == "link":
            os.readlink(root / directory)
            continue
        for name in sorted(os.listdir(root / directory)):
            shown[f"{directory}/{name}"] = (root / directory / name).read_bytes()
    return shown


@pytest.fixture
def files(world: World) -> dict[str, bytes]:
    return make_tree(world.backing)


def test_kernel_reads_further_ahead_where_it_may_be_told_to(world: World) -> None:
    m = world.mount()
    window = kernel_readahead.window_of(os.minor(os.stat(m / ".").st_dev))
    wanted_kb = kernel_readahead.WINDOW_KB if os.access(window, os.W_OK) else kernel_readahead.DEFAULT_KB
    assert int(window.read_text()) == wanted_kb


def test_remounted_unchanged_tree_is_revalidated_and_not_read_again(world: World, files: dict[str, bytes]) -> None:
    m = world.mount("--predictor", "off", source=world.slow_source())
    # What changed within the last seconds might change again without a trace, so it is not trusted: wait until it is.
    eventually(lambda: _settles(world), 5, "settled directories")
    assert read_all(m.path) == files
    m.umount()
    assert world.slow is not None
    world.slow.drop_kernel_caches()
    world.slow.reset_counters()
    m.mount()
    assert read_all(m.path) == files
    assert asked(world, *READING) == {}
    revalidated = asked(world, "lookup", "getattr")
    assert sum(revalidated.values()) <= 3 * (len(files) + 7), revalidated


def _settles(world: World) -> bool:
    import time

    newest = max(os.lstat(path).st_ctime for path in world.backing.rglob("*"))
    return time.time() - max(newest, os.stat(world.backing).st_ctime) > 2.1


def test_immutable_tree_asks_nothing_after_a_remount(world: World, files: dict[str, bytes]) -> None:
    m = world.mount("--consistency", "immutable", "--predictor", "off", source=world.slow_source())
    assert read_all(m.path) == files
    assert not (m / "absent").exists()
    m.remount()
    assert world.slow is not None
    world.slow.drop_kernel_caches()
    world.slow.reset_counters()
    assert read_all(m.path) == files
    assert not (m / "absent").exists() and not (m / "d1" / "absent").exists()
    assert asked(world, *LOOKING) == {}


def test_second_read_on_the_same_mount_asks_nothing(world: World, files: dict[str, bytes]) -> None:
    m = world.mount("--consistency", "immutable", source=world.slow_source())
    assert read_all(m.path) == files
    assert world.slow is not None
    world.slow.reset_counters()
    for name in files:
        drop_pages(m / name)
    assert read_all(m.path) == files
    assert asked(world, *LOOKING) == {}


def test_cache_clear_empties_it_and_the_next_read_asks_the_source(world: World, files: dict[str, bytes]) -> None:
    m = world.mount("--consistency", "immutable", "--predictor", "off", source=world.slow_source())
    assert read_all(m.path) == files
    m.umount()
    world.llmfs("cache", "clear", "--cache-dir", m.cache_dir)
    left = sum(path.stat().st_blocks * 512 for path in (m.cache_dir / "blocks").rglob("*"))
    assert left == 0
    assert world.slow is not None
    world.slow.drop_kernel_caches()
    world.slow.reset_counters()
    m.mount()
    assert read_all(m.path) == files
    assert asked(world, "read")["read"] >= sum(1 for data in files.values() if data)


def test_deleting_the_cache_directory_loses_nothing(world: World, files: dict[str, bytes]) -> None:
    m = world.mount(source=world.slow_source())
    (m / "d0" / "f0").write_bytes(b"written through")
    m.umount()
    subprocess.run(["rm", "-rf", m.cache_dir], check=True)
    m.mount()
    assert read_all(m.path) == {**files, "d0/f0": b"written through"}


def test_flipped_bits_on_disk_never_reach_a_program(world: World) -> None:
    rng = random.Random(5)
    marker = b"\xc5" + rng.randbytes(200)
    data = {f"f{i}": rng.randbytes(50_000 * i) + marker + rng.randbytes(100_000) for i in range(6)}
    for name, content in data.items():
        (world.backing / name).write_bytes(content)
    options = ("--consistency", "immutable", "--predictor", "off", "--metrics-port", "0")
    m = world.mount(*options, source=world.slow_source())
    assert {name: (m / name).read_bytes() for name in data} == data
    m.umount()
    flipped = 0
    stored = bytearray((m.cache_dir / "blocks" / "data.mdb").read_bytes())
    at = -1
    while (at := stored.find(marker, at + 1)) >= 0:
        stored[at + flipped % len(marker)] ^= 1 << flipped % 8
        flipped += 1
    assert flipped >= len(data)
    (m.cache_dir / "blocks" / "data.mdb").write_bytes(stored)
    m.mount()
    assert {name: (m / name).read_bytes() for name in data} == data
    metrics = dict(line.rsplit(" ", 1) for line in m.metrics_text().splitlines() if line[0] != "#")
    assert float(metrics["llmfs_cache_corrupt_blocks_total"]) >= len(data)


@pytest.mark.parametrize("part", ["meta", "blocks"])
@pytest.mark.parametrize("damage", ["truncated", "rubbish", "empty", "another-lmdb"])
def test_damaged_cache_is_set_aside_and_nothing_is_wrong(
    world: World, files: dict[str, bytes], part: str, damage: str
) -> None:
    world.expect_complaint("is damaged|failed to")
    m = world.mount("--predictor", "off", source=world.slow_source())
    assert read_all(m.path) == files
    m.umount()
    path = m.cache_dir / part / "data.mdb"
    if damage == "truncated":
        os.truncate(path, 8192)
    elif damage == "another-lmdb":
        with open(path, "r+b") as file:
            for meta_page in (0, mmap.PAGESIZE):
                os.pwrite(file.fileno(), b"\xe7\x03\0\0", meta_page + 20)  # the version, behind header and magic
    elif damage == "rubbish":
        path.write_bytes(random.Random(1).randbytes(200_000))
    else:
        path.write_bytes(b"")
    m.mount()
    assert read_all(m.path) == files
    m.remount()
    assert read_all(m.path) == files


@pytest.mark.parametrize("version", [FORMAT - 1, FORMAT + 1, "0.0.9"])
def test_cache_of_another_version_is_started_anew_and_what_was_learned_is_kept(
    world: World, files: dict[str, bytes], version: object
) -> None:
    world.expect_complaint(r"written by another version of llmfs \(format .*\): starting it anew")
    m = world.mount("--consistency", "immutable", "--predictor", "off", source=world.slow_source())
    assert read_all(m.path) == files
    m.umount()
    (m.cache_dir / "learned" / "something").write_bytes(b"learned")
    described = json.loads((m.cache_dir / "format").read_text())
    (m.cache_dir / "format").write_text(json.dumps({**described, "format": version}))
    # Believed, it would show the past for ever.
    (world.backing / "d0" / "f0").write_bytes(b"changed meanwhile")
    m.mount()
    assert read_all(m.path) == {**files, "d0/f0": b"changed meanwhile"}
    assert m.log().count("starting it anew") == 1
    assert (m.cache_dir / "learned" / "something").read_bytes() == b"learned"
    assert world.slow is not None
    m.remount()
    world.slow.drop_kernel_caches()
    world.slow.reset_counters()
    assert read_all(m.path)["d0/f0"] == b"changed meanwhile"
    assert asked(world, *LOOKING) == {}


FILE_BYTES = 20 << 20
FILES = 8
PAGE = 4096


def _page(seed: int, index: int) -> bytes:
    """What stands at a page: its own address, so that a wrong one shows."""
    word = hashlib.blake2b(b"%d %d" % (seed, index), digest_size=16).digest()
    return word * (PAGE // 16)


def test_100_000_random_reads_with_a_cache_a_tenth_of_the_data_are_right_and_keep_the_limit(world: World) -> None:
    limit = 16 << 20
    for i in range(FILES):
        with open(world.backing / f"f{i}", "wb") as file:
            for page in range(FILE_BYTES // PAGE):
                file.write(_page(i, page))
    m = world.mount("--cache-size", "16M", source=world.slow_source(0.0003))
    largest = 0
    stop = threading.Event()

    def watch() -> None:
        nonlocal largest
        while not stop.wait(0.1):
            shown = 0
            for path in m.cache_dir.rglob("*"):
                try:
                    shown += path.lstat().st_blocks * 512
                except FileNotFoundError:
                    continue
            largest = max(largest, shown)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        command = [sys.executable, "-m", "tests.mount.random_reads", m.path, str(FILES), str(FILE_BYTES), "100000"]
        subprocess.run(command, check=True, timeout=150, env=world.environment())
    finally:
        stop.set()
        watcher.join()
    status = m.status()
    assert status["cache"]["evictions"] > 100, status["cache"]
    assert 0 < largest <= limit, f"the cache took {largest} bytes on disk, {largest - limit} too many"
    m.umount()
    assert sum(path.lstat().st_blocks * 512 for path in m.cache_dir.rglob("*")) <= limit


def test_many_readers_of_one_cold_file_cause_each_byte_to_be_read_once(world: World) -> None:
    size = 3_000_000
    data = random.Random(9).randbytes(size)
    (world.backing / "f").write_bytes(data)
    m = world.mount("--predictor", "sequential", source=world.slow_source(0.02))
    assert world.slow is not None
    world.slow.reset_counters()
    code = "import sys, hashlib; print(hashlib.blake2b(open(sys.argv[1], 'rb').read()).hexdigest())"
    readers = [
        subprocess.Popen([sys.executable, "-c", code, m / "f"], stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    direct = ThreadPoolExecutor(4)
    answers = [direct.submit(_read_direct, m / "f", size) for _ in range(4)]
    assert {reader.communicate(timeout=60)[0].strip() for reader in readers} == {hashlib.blake2b(data).hexdigest()}
    assert all(answer.result(60) == data for answer in answers)
    direct.shutdown()
    shown = asked(world, "bytes_read")["bytes_read"]
    assert shown <= size + 4096, f"{shown} bytes were read of a file of {size}"


def _read_direct(path: Path, size: int) -> bytes:
    """Each request goes to the mount: these readers never share the kernel's pages."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, 1 << 17)
    shown = b""
    while len(shown) < size:
        count = os.preadv(fd, [buffer], len(shown))
        shown += buffer[:count]
    os.close(fd)
    return shown


def test_killed_mount_is_cleaned_up_and_its_cache_is_still_good(world: World, files: dict[str, bytes]) -> None:
    m = world.mount("--consistency", "immutable", source=world.slow_source())
    assert read_all(m.path) == files
    predictor = m.status()["predictor_pid"]
    (m / "d0" / "f0").write_bytes(b"synced")
    assert world.slow is not None
    # The cache is written behind: give the batch under way the time to be committed.
    eventually(lambda: _is_quiet(m), 10, "the cache's last batch")
    held = os.open(m / "d1" / "f1", os.O_RDONLY)
    m.kill()
    with pytest.raises(OSError, match=r"not connected|abort"):
        os.stat(m / "d0")
    with contextlib.suppress(OSError):  # nobody is there to be told
        os.close(held)
    world.llmfs("umount", m.path)
    eventually(lambda: not is_alive(predictor), 20, "the predictor's exit")
    world.slow.drop_kernel_caches()
    world.slow.reset_counters()
    m.mount()
    expected = {**files, "d0/f0": b"synced"}
    assert read_all(m.path) == expected
    assert asked(world, "read").get("read", 0) <= 1  # but what was written is not in the cache
    assert (world.backing / "d0" / "f0").read_bytes() == b"synced"


def test_disk_of_the_cache_that_dies_takes_the_mount_along_and_nothing_else(
    world: World, files: dict[str, bytes]
) -> None:
    """What LMDB's map cannot read is a bus error: the log says so, the source has everything, the next mount works."""
    world.expect_complaint("Fatal Python error: Bus error|Bus error")
    m = world.prepare("--predictor", "off", source=world.slow_source())
    disk = world.root / "disk"
    disk.mkdir()
    m.cache_dir.mkdir()
    with SlowDir(disk, m.cache_dir, 0.0) as dying:
        m.mount()
        assert read_all(m.path) == files
        (m / "d0" / "f0").write_bytes(b"written before")
        m.remount()
        dying.fail(["read"], errno.EIO)
        dying.drop_kernel_caches()
        with pytest.raises(OSError, match=r"not connected|abort"):
            for _ in range(1000):
                read_all(m.path)
        eventually(lambda: not is_alive(m.pid), 20, "the daemon's death")
        assert "Bus error" in (disk / "llmfs.log").read_text()
        world.llmfs("umount", m.path)
    m.mount()
    assert read_all(m.path) == {**files, "d0/f0": b"written before"}


def _is_quiet(m: Mounted) -> bool:
    import time

    def stamp() -> list[int]:
        return [(m.cache_dir / part / "data.mdb").stat().st_mtime_ns for part in ("meta", "blocks")]

    before = stamp()
    time.sleep(0.5)
    return stamp() == before


def test_metadata_cache_that_overflows_never_shows_the_past(world: World) -> None:
    """The smallest cache has 2 MiB for attributes: 12,000 names do not fit."""
    m = world.mount("--cache-size", "16M", "--predictor", "off", source=world.slow_source(0.0))
    for i in range(2):
        (world.backing / f"d{i}").mkdir()
        for j in range(6000):
            (world.backing / f"d{i}" / f"a-name-that-takes-some-room-{j:06}").touch()
    (world.backing / "f").write_bytes(b"old")
    assert (m / "f").read_bytes() == b"old"
    for i in range(2):
        assert sum(entry.stat().st_size for entry in os.scandir(m / f"d{i}")) == 0
    (m / "f").write_bytes(b"new content")
    os.chmod(m / "f", 0o600)
    (m / "d0" / "made").write_bytes(b"!")
    m.remount()
    assert (m / "f").read_bytes() == b"new content"
    assert os.stat(m / "f").st_mode & 0o777 == 0o600
    assert "made" in os.listdir(m / "d0") and len(os.listdir(m / "d0")) == 6001
