"""Which blocks are pushed, and which pages are held back."""

from llmfs.blocks import BLOCK_BYTES, PAGE_BYTES
from llmfs.policy.pushing import COUNTED_BLOCKS, HITS, LARGEST_BLOCKS, SAMPLE, SMALL_BYTES, SmallHits, is_held_back


def small(hits: SmallHits, index: int, inode: int = 1, generation: int = 1) -> range:
    return hits.hit(inode, generation, index * BLOCK_BYTES, PAGE_BYTES)


def often(hits: SmallHits, index: int) -> range:
    for _ in range(HITS - 1):
        assert not small(hits, index)
    return small(hits, index)


def test_a_block_is_pushed_when_small_requests_hit_it_often() -> None:
    hits = SmallHits()
    assert list(often(hits, 5)) == [5]
    assert not small(hits, 5)  # and counted anew


def test_longer_requests_push_nothing() -> None:
    hits = SmallHits()
    assert not any(hits.hit(1, 1, 0, SMALL_BYTES + 1) for _ in range(HITS + 1))
    assert [bool(hits.hit(1, 1, 0, SMALL_BYTES)) for _ in range(HITS)] == [False] * (HITS - 1) + [True]


def test_what_is_pushed_doubles_and_contains_the_block_that_was_hit() -> None:
    hits = SmallHits()
    lengths = []
    for index in range(0, 2000, 100):
        wanted = often(hits, index)
        assert index in wanted
        lengths.append(len(wanted))
    assert lengths[:8] == [1, 2, 4, 8, 16, 32, LARGEST_BLOCKS, LARGEST_BLOCKS]


def test_another_state_of_the_file_begins_anew() -> None:
    hits = SmallHits()
    for _ in range(HITS - 1):
        small(hits, 5)
    assert not small(hits, 5, generation=2)
    assert not small(hits, 5, inode=2)
    assert small(hits, 5)


def test_what_is_remembered_is_bounded() -> None:
    hits = SmallHits()
    for _ in range(HITS - 1):
        small(hits, 0)
    for index in range(1, COUNTED_BLOCKS + 1):
        small(hits, index)
    assert not small(hits, 0)  # forgotten


def test_the_sample_is_the_same_each_time_and_of_the_size_that_it_says() -> None:
    pages = 400 * SAMPLE
    held = [page for page in range(pages) if is_held_back(77, page)]
    assert held == [page for page in range(pages) if is_held_back(77, page)]
    assert 300 <= len(held) <= 500
    assert held != [page for page in range(pages) if is_held_back(78, page)]
