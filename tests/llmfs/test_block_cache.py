"""What a former mount left is found before its index was read and after it, and what is not there is not looked for."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import trio

from llmfs import store as module
from llmfs.block_cache import TABLE, BlockCache
from llmfs.blocks import PAGE_BYTES, block_of
from llmfs.store import Store

LIMIT_BYTES = 16 << 20
DATA = bytes(range(256)) * (PAGE_BYTES // 256)
KEY, OTHER = (number.to_bytes(20, "big") for number in (1, 2))

Opens = Callable[[], AbstractContextManager[tuple[BlockCache, list[bytes]]]]


@pytest.fixture
def opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opens:
    """Opens the cache on the same path; with it come the keys that were looked for in the store."""

    @contextmanager
    def opened() -> Iterator[tuple[BlockCache, list[bytes]]]:
        store, looked = Store(str(tmp_path / "blocks"), (TABLE,), LIMIT_BYTES, indexed=TABLE), []
        read = store.read

        def noted(table: str, key: bytes, copy: Callable[[Sequence[bytes | memoryview]], module.T]) -> module.T | None:
            looked.append(key)
            return read(table, key, copy)

        monkeypatch.setattr(store, "read", noted)
        try:
            yield (
                BlockCache(store, LIMIT_BYTES, lambda key: 0.0, lambda key, resident, reason: None, lambda: None),
                looked,
            )
        finally:
            store.close()

    return opened


async def _index(cache: BlockCache) -> None:
    cache.load_index(trio.lowlevel.current_trio_token())
    with trio.fail_after(30):
        while not len(cache):
            await trio.sleep(0.01)


def test_a_block_is_found_before_and_after_the_index_was_read(opens: Opens) -> None:
    with opens() as (cache, _):
        cache.add(KEY, 3, DATA, None)
        assert cache.get(KEY) == block_of(3, DATA)
    with opens() as (cache, looked):
        assert cache.look(KEY) == block_of(3, DATA) and cache.get(OTHER) is None
        assert looked == [KEY, OTHER]
    with opens() as (cache, looked):
        trio.run(_index, cache)
        assert cache.get(OTHER) is None and cache.look(OTHER) is None and not looked
        assert cache.get(KEY) == block_of(3, DATA) and looked == [KEY]


def test_a_block_that_was_dropped_is_gone_and_one_that_came_later_is_there(opens: Opens) -> None:
    with opens() as (cache, _):
        cache.add(KEY, 0, DATA, None)
    with opens() as (cache, _):
        trio.run(_index, cache)
        cache.drop(KEY)
        cache.add(OTHER, 0, DATA, None)
        assert cache.get(KEY) is None and cache.get(OTHER) == block_of(0, DATA)


def test_where_the_index_cannot_be_read_blocks_are_looked_for(opens: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    with opens() as (cache, _):
        cache.add(KEY, 0, DATA, None)
        cache.add(OTHER, 0, DATA, None)
    with opens() as (cache, _):
        monkeypatch.setattr(Store, "index", lambda self: iter([(OTHER, PAGE_BYTES + 16)]))  # it ended too early
        trio.run(_index, cache)
        assert cache.get(KEY) == block_of(0, DATA)


def test_a_cache_whose_map_was_full_aims_lower_and_then_higher_again(opens: Opens) -> None:
    with opens() as (cache, _):
        most = cache.capacity_bytes
        keys = [number.to_bytes(20, "big") for number in range(3000)]
        for key in keys[:1000]:
            cache.add(key, 0, DATA, None)
        cache.lost([(TABLE, keys[0])])
        least = cache.capacity_bytes
        assert cache.used_bytes <= least < most
        for key in keys[1000:] * 40:
            cache.add(key, 0, DATA, None)
        assert least < cache.capacity_bytes <= most
