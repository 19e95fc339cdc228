"""Whom a block counts for where some may not have all of the cache: who brought it in, or may have more of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmfs.block_cache import TABLE, BlockCache
from llmfs.blocks import BLOCK_BYTES
from llmfs.store import Store

LIMIT_BYTES = 64 * BLOCK_BYTES
BACKUP, EVERYBODY = 1, 0
DATA = bytes(BLOCK_BYTES)


@pytest.fixture
def dropped() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, dropped: list[str]) -> Iterator[BlockCache]:
    store = Store(str(tmp_path / "blocks"), (TABLE,), 4 * LIMIT_BYTES, indexed=TABLE)
    cache = BlockCache(
        store, LIMIT_BYTES, lambda key: 0.0, lambda key, resident, reason: dropped.append(reason), lambda: None
    )
    cache.share_out([0.1])
    yield cache
    store.close()


def keys(first: int, count: int) -> list[bytes]:
    return [number.to_bytes(24, "big") for number in range(first, first + count)]


def test_a_backup_that_reads_what_others_use_takes_none_of_it(cache: BlockCache, dropped: list[str]) -> None:
    for key in keys(0, 20):
        cache.add(key, 0, DATA, None, EVERYBODY)
    for key in keys(0, 20):
        cache.use(key, BACKUP)
    for key in keys(100, 20):
        cache.add(key, 0, DATA, None, BACKUP)
    assert set(dropped) == {"share"}
    assert all(cache.resident(key) is not None for key in keys(0, 20))
    assert 0 < cache.share_bytes(BACKUP) <= 0.1 * cache.capacity_bytes


def test_who_may_have_all_of_the_cache_takes_over_what_a_backup_brought(cache: BlockCache, dropped: list[str]) -> None:
    (key,) = keys(0, 1)
    cache.add(key, 0, DATA, None, BACKUP)
    cache.use(key, EVERYBODY)
    assert cache.share_bytes(BACKUP) == 0
    for each in keys(100, 20):
        cache.add(each, 0, DATA, None, BACKUP)
    assert cache.resident(key) is not None


def test_what_was_fetched_ahead_counts_for_who_uses_it_first(cache: BlockCache) -> None:
    ahead, old = keys(0, 2)
    cache.add(ahead, 0, DATA, "history", EVERYBODY)
    assert cache.use(ahead, BACKUP) == "history"
    assert cache.share_bytes(BACKUP) > 0
    cache.use(ahead, EVERYBODY)
    assert cache.share_bytes(BACKUP) == 0
    # So does what a former mount left.
    cache._take_index([(old, BLOCK_BYTES)])
    cache.use(old, BACKUP)
    assert cache.share_bytes(BACKUP) > 0


def test_a_block_that_grows_stays_with_who_used_it(cache: BlockCache) -> None:
    (key,) = keys(0, 1)
    cache.add(key, 0, DATA[: BLOCK_BYTES // 2], None, EVERYBODY)
    cache.add(key, 16, DATA[: BLOCK_BYTES // 2], None, BACKUP)
    assert cache.share_bytes(BACKUP) == 0
