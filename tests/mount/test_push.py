"""Cached bytes are stored in the kernel's page cache, and nothing stale is.

The source is slow, for over a fast one reads go past the cache.
"""

import mmap
import os
import random
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmfs.policy.pushing import HITS
from tests.mount.conftest import Mounted, World, drop_pages, eventually

PAGE = 4096
BLOCK = 128 << 10
SIZE = 24 * BLOCK


def counter(mounted: Mounted, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", mounted.metrics_text(), re.MULTILINE)
    assert found, name
    return float(found[1])


def reads(mounted: Mounted) -> int:
    return sum(mounted.status()["reads"].values())


def pushed(mounted: Mounted) -> float:
    return counter(mounted, "llmfs_pushed_bytes_total")


def page_of(fd: int, page: int) -> bytes:
    return os.pread(fd, PAGE, page * PAGE)


def in_small_pieces(fd: int, blocks: int = SIZE // BLOCK) -> None:
    """Some pages of each block, one request each."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    for block in range(blocks):
        for page in range(0, 6 * HITS, 6):
            page_of(fd, block * 32 + page)


@pytest.fixture
def mounted(world: World) -> Iterator[Mounted]:
    (world.backing / "f").write_bytes(random.Random(1).randbytes(SIZE))
    old = time.time() - 1000
    os.utime(world.backing / "f", (old, old))
    source = world.slow_source(0.0005)
    mounted = world.mount("--metrics-port", "0", "--predictor", "off", source=source)
    (mounted / "f").read_bytes()
    yield mounted


def pushed_all(mounted: Mounted, fd: int) -> None:
    in_small_pieces(fd)
    eventually(lambda: pushed(mounted) > 0.95 * SIZE, 10, "the file is pushed")


def test_what_is_read_in_small_pieces_is_in_the_kernel_afterwards(world: World, mounted: Mounted) -> None:
    expected = (world.backing / "f").read_bytes()
    drop_pages(mounted / "f")
    fd = os.open(mounted / "f", os.O_RDONLY)
    try:
        pushed_all(mounted, fd)
        before = reads(mounted)
        for page in range(SIZE // PAGE):
            assert page_of(fd, page) == expected[page * PAGE : (page + 1) * PAGE]
        held_back = counter(mounted, "llmfs_push_held_back_pages_total")
        assert reads(mounted) - before <= held_back + 2  # of 768 pages
        assert counter(mounted, "llmfs_push_held_back_used_pages_total") <= held_back
        told = mounted.status()["kernel"]
        assert (told["pushed_bytes"], told["held_back_pages"]) == (pushed(mounted), held_back)
        assert ("read_share" in told) == (held_back > 0)
    finally:
        os.close(fd)


def test_the_end_of_a_file_is_pushed_and_its_size_stays(world: World, mounted: Mounted) -> None:
    data = random.Random(2).randbytes(3 * BLOCK + 1234)
    (world.backing / "odd").write_bytes(data)
    path = mounted / "odd"
    path.read_bytes()
    time.sleep(3)  # what changed just now is believed for one look (policy/freshness.py)
    path.read_bytes()
    drop_pages(path)
    fd = os.open(path, os.O_RDONLY)
    try:
        in_small_pieces(fd, 4)
        eventually(lambda: pushed(mounted) >= len(data) - PAGE, 10, "it is pushed")
        assert os.fstat(fd).st_size == len(data)
        assert os.pread(fd, 2 * len(data), 0) == data
    finally:
        os.close(fd)


def test_our_own_writes_are_seen_while_it_is_pushed(world: World, mounted: Mounted) -> None:
    """Readers keep it being pushed while it is written, truncated and mapped; a read after a write shows the write."""
    path = mounted / "f"
    content = bytearray(path.read_bytes())
    chance = random.Random(3)
    is_over = threading.Event()

    def keep_reading() -> None:
        while not is_over.is_set():
            drop_pages(path)
            fd = os.open(path, os.O_RDONLY)
            try:
                in_small_pieces(fd)
            finally:
                os.close(fd)

    reader = threading.Thread(target=keep_reading)
    reader.start()
    try:
        deadline_s = time.monotonic() + 8
        rounds = 0
        while time.monotonic() < deadline_s:
            rounds += 1
            offset, data = chance.randrange(SIZE - 5 * PAGE), chance.randbytes(chance.randrange(1, 4 * PAGE))
            how = rounds % 4
            if how == 3:  # shrink and grow again
                os.truncate(path, offset)
                with open(path, "ab") as file:
                    file.write(bytes(SIZE - offset))
                content[offset:] = bytes(SIZE - offset)
            elif how == 2:
                with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
                    mapped[offset : offset + len(data)] = data
                content[offset : offset + len(data)] = data
            else:
                with open(path, "r+b", buffering=0) as file:
                    file.seek(offset)
                    assert file.write(data) == len(data)
                content[offset : offset + len(data)] = data
            assert path.stat().st_size == SIZE
            at = max(0, offset - PAGE)
            with open(path, "rb") as file:
                file.seek(at)
                assert file.read(6 * PAGE) == content[at : at + 6 * PAGE], f"round {rounds}"
    finally:
        is_over.set()
        reader.join()
    assert rounds > 10
    assert path.read_bytes() == content
    assert (world.backing / "f").read_bytes() == content
    drop_pages(path)
    with open(path, "rb") as file:  # and it is pushed when nobody writes any more
        eventually(lambda: in_small_pieces(file.fileno()) or pushed(mounted) > 0, 20, "it was pushed")
        assert file.read() == content


def test_a_change_behind_the_mount_is_not_undone_by_a_push(world: World, mounted: Mounted) -> None:
    """After an open that shows the new state, no page of the old one is read."""
    path, behind = mounted / "f", world.backing / "f"
    is_over = threading.Event()

    def keep_reading() -> None:
        while not is_over.is_set():
            fd = os.open(path, os.O_RDONLY)
            try:
                in_small_pieces(fd)
            finally:
                os.close(fd)

    reader = threading.Thread(target=keep_reading)
    reader.start()
    try:
        for version in range(1, 5):
            size = SIZE - version * 5 * PAGE - version
            behind.write_bytes(bytes([version]) * size)
            eventually(lambda size=size: path.stat().st_size == size, 70, "the change is seen")  # type: ignore[misc]
            for _ in range(20):
                assert path.read_bytes() == bytes([version]) * size
                assert path.stat().st_size == size
    finally:
        is_over.set()
        reader.join()


def test_direct_reads_and_a_program_that_writes_are_not_pushed_to(mounted: Mounted) -> None:
    path: Path = mounted / "f"
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, PAGE)
    try:
        for page in range(0, 64, 4):
            os.preadv(fd, [buffer], page * PAGE)
    finally:
        os.close(fd)
        buffer.close()
    drop_pages(path)
    with open(path, "r+b"), open(path, "rb") as other:
        in_small_pieces(other.fileno())
        time.sleep(0.3)
        assert pushed(mounted) == 0
