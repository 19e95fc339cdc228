"""Reads of the source: as few round trips after one another as can be, and no more of it under way than is good."""

import os
from pathlib import Path

import pytest

from llmfs import source as sources
from llmfs.inodes import Inode
from llmfs.source import Source

WINDOW_BYTES = 64 << 10
SIZE = 5 * WINDOW_BYTES + 1000
DATA = os.urandom(SIZE)


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Offsets and lengths that the kernel was told of, in a world whose window is WINDOW_BYTES."""
    said: list[tuple[int, int]] = []
    monkeypatch.setattr(sources, "_readahead_bytes", lambda device: WINDOW_BYTES)
    monkeypatch.setattr(os, "posix_fadvise", lambda fd, offset, length, advice: said.append((offset, length)))
    return said


@pytest.fixture
def source(tmp_path: Path, announced: list[tuple[int, int]]) -> Source:
    (tmp_path / "f").write_bytes(DATA)
    return Source(tmp_path, 100, lambda *_: None)


@pytest.fixture
def file(source: Source) -> Inode:
    return Inode(3, (source.root, b"f"), source.lookup(source.root, b"f"))


@pytest.mark.parametrize("offset", [0, 4096])
def test_what_is_longer_than_the_window_is_asked_for_together(
    source: Source, file: Inode, announced: list[tuple[int, int]], offset: int
) -> None:
    assert source.read(file, offset, SIZE - offset) == DATA[offset:]
    assert max(length for _, length in announced) <= WINDOW_BYTES
    covered = [at for start, length in announced for at in range(start, start + length)]
    assert covered == list(range(offset, SIZE))


def test_what_fits_the_window_is_read_as_ever(source: Source, file: Inode, announced: list[tuple[int, int]]) -> None:
    assert source.read(file, 0, WINDOW_BYTES) == DATA[:WINDOW_BYTES]
    assert not announced


def test_only_so_much_is_under_way_at_a_time(
    source: Source, file: Inode, announced: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "ANNOUNCED_BYTES", 3 * WINDOW_BYTES)
    preads: list[int] = []

    def another_meanwhile(fd: int, length: int, offset: int) -> bytes:
        preads.append(length)
        if len(preads) == 1:
            assert source.read(file, 0, 2 * WINDOW_BYTES) == DATA[: 2 * WINDOW_BYTES]
        return DATA[offset : offset + length]

    monkeypatch.setattr(os, "pread", another_meanwhile)
    assert source.read(file, 0, 2 * WINDOW_BYTES) == DATA[: 2 * WINDOW_BYTES]
    assert len(announced) == 2  # of the first alone
    assert source.read(file, 0, 2 * WINDOW_BYTES) == DATA[: 2 * WINDOW_BYTES]
    assert len(announced) == 4  # there is room again


def test_the_window_is_what_the_kernel_says(tmp_path: Path) -> None:
    device = os.stat(tmp_path).st_dev
    said = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    expected = int(said.read_text()) << 10 if said.exists() else sources.READAHEAD_BYTES
    assert sources._readahead_bytes(device) == expected
    assert sources._readahead_bytes(os.makedev(4095, 255)) == sources.READAHEAD_BYTES
