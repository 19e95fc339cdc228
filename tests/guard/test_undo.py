"""Copies stay within their bound, outlive the mount, and damage is found."""

import random
from pathlib import Path

import pytest

from llmfs.guard.undo import BLOCK_BYTES, Entry, Kept, Undo

LIMIT_BYTES = 1 << 20


def entry(number: int, ref: str = "1-1", **more: object) -> Entry:
    known: dict[str, object] = {"kind": Kept.RANGE, "path": b"f%d" % number, "inode": number, "time_s": 1e12}
    return Entry(ref=ref, cgroup="/", command="x", **(known | more))  # type: ignore[arg-type]


@pytest.fixture
def dropped() -> list[int]:
    return []


@pytest.fixture
def undo(tmp_path: Path, dropped: list[int]) -> Undo:
    return Undo(tmp_path, LIMIT_BYTES, lambda: dropped.append(1))


def disk_bytes(path: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in path.iterdir())


def test_bound_holds_and_suspects_go_last(undo: Undo, tmp_path: Path, dropped: list[int]) -> None:
    undo.suspect("2-2")
    undo.keep(entry(1, "2-2"), lambda: b"suspect")
    for number in range(2, 60):
        undo.keep(entry(number), lambda: bytes(BLOCK_BYTES))
        assert disk_bytes(tmp_path) <= LIMIT_BYTES and undo.used_bytes <= LIMIT_BYTES
    assert dropped
    assert [kept.inode for _, kept in undo.of(lambda kept: kept.ref == "2-2")] == [1]


def test_one_file_does_not_take_it_all(undo: Undo, dropped: list[int]) -> None:
    large = entry(1, kind=Kept.WHOLE, size_bytes=LIMIT_BYTES)
    assert not undo.keep(large, lambda: pytest.fail("it was read"))
    assert dropped == [1]


def test_each_block_is_kept_once_as_it_was_first(undo: Undo) -> None:
    assert undo.wants(1, 0, 2 * BLOCK_BYTES, 10 * BLOCK_BYTES) == [0, 1]
    undo.keep(entry(1), lambda: b"first")
    assert undo.wants(1, 5, 10, 10 * BLOCK_BYTES) == []
    assert undo.wants(1, 0, 2 * BLOCK_BYTES, 10 * BLOCK_BYTES) == [1]
    assert undo.wants(1, 5 * BLOCK_BYTES, 10, 10) == [], "beyond the end there was nothing"
    undo.keep(entry(1, kind=Kept.WHOLE), lambda: b"all")
    assert undo.wants(1, 9 * BLOCK_BYTES, 10, 10 * BLOCK_BYTES) == [] and not undo.wants_all(1)


def test_entries_outlive_the_mount_but_not_their_hour(undo: Undo, tmp_path: Path) -> None:
    undo.keep(entry(1), lambda: b"old")
    undo.keep(entry(2, time_s=0.0), lambda: b"older")
    again = Undo(tmp_path, LIMIT_BYTES, lambda: None)
    (newest, _), (oldest, kept) = again.of(lambda _: True)
    assert kept.path == b"f1" and (again.data(oldest), again.data(newest)) == (b"old", b"older")
    undo.expire()
    assert [kept.inode for _, kept in undo.of(lambda _: True)] == [1]


@pytest.mark.parametrize("damage", [b"", b"\xff" * 100, b"\x05\0\0\0hello", random.Random(1).randbytes(500)])
def test_damaged_copy_is_removed(undo: Undo, tmp_path: Path, damage: bytes) -> None:
    undo.keep(entry(1), lambda: b"whole")
    (tmp_path / "0000000009").write_bytes(damage)
    (tmp_path / "notes").write_bytes(damage)
    assert len(Undo(tmp_path, LIMIT_BYTES, lambda: None).of(lambda _: True)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["0000000001"]
