"""Which blocks are pushed, and which pages are held back."""

from llmfs.blocks import BLOCK_BYTES, PAGE_BYTES
from llmfs.policy.pushing import COUNTED_BLOCKS, LARGEST_BLOCKS, SAMPLE, SecondHits, is_held_back


def small(hits: SecondHits, index: int, inode: int = 1, generation: int = 1) -> range:
    return hits.hit(inode, generation, index * BLOCK_BYTES, PAGE_BYTES)


def test_a_block_is_pushed_when_a_second_request_hits_it() -> None:
    hits = SecondHits()
    assert not small(hits, 5)
    assert list(small(hits, 5)) == [5]


def test_requests_as_long_as_a_block_push_nothing() -> None:
    hits = SecondHits()
    assert not any(hits.hit(1, 1, 0, BLOCK_BYTES) for _ in range(3))


def test_what_is_pushed_doubles_and_contains_the_block_that_was_hit() -> None:
    hits = SecondHits()
    lengths = []
    for index in range(0, 2000, 100):
        small(hits, index)
        wanted = small(hits, index)
        assert index in wanted
        lengths.append(len(wanted))
    assert lengths[:8] == [1, 2, 4, 8, 16, 32, LARGEST_BLOCKS, LARGEST_BLOCKS]


def test_another_state_of_the_file_begins_anew() -> None:
    hits = SecondHits()
    small(hits, 5)
    assert not small(hits, 5, generation=2)
    assert not small(hits, 5, inode=2)


def test_what_is_remembered_is_bounded() -> None:
    hits = SecondHits()
    for index in range(COUNTED_BLOCKS + 1):
        small(hits, index)
    assert not small(hits, 0)  # forgotten
    assert small(hits, COUNTED_BLOCKS)


def test_the_sample_is_the_same_each_time_and_of_the_size_that_it_says() -> None:
    pages = 400 * SAMPLE
    held = [page for page in range(pages) if is_held_back(77, page)]
    assert held == [page for page in range(pages) if is_held_back(77, page)]
    assert 300 <= len(held) <= 500
    assert held != [page for page in range(pages) if is_held_back(78, page)]
