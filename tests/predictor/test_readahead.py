"""Readahead within one file."""

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from predictor.baselines.readahead import TRAINS, Readahead

KIB = 1 << 10
MIB = 1 << 20


def fetched(ranges: list[tuple[int, int]]) -> set[int]:
    """The 4 KiB pages in ranges."""
    return {page for offset, length in ranges for page in range(offset // 4096, -(-(offset + length) // 4096))}


def test_a_sequential_reader_finds_everything_fetched_after_its_second_read() -> None:
    state = Readahead(size=64 * MIB)
    pages: set[int] = set()
    missing = 0
    for offset in range(0, 64 * MIB, 128 * KIB):
        missing += not fetched([(offset, 128 * KIB)]) <= pages
        pages |= fetched(state.observe(offset, 128 * KIB))
    assert missing == 2


def test_the_window_grows_to_its_maximum_and_no_byte_is_fetched_twice() -> None:
    state = Readahead(maximum=4 * MIB)
    ranges = [r for offset in range(0, 64 * MIB, 64 * KIB) for r in state.observe(offset, 64 * KIB)]
    assert max(length for _, length in ranges) <= 4 * MIB
    assert all(a[0] + a[1] <= b[0] for a, b in pairwise(ranges))
    assert len(ranges) < 80


def test_interleaved_streams_in_one_file_are_each_read_ahead() -> None:
    state = Readahead(size=1 << 30)
    heads = [number * 64 * MIB for number in range(TRAINS - 2)]
    pages: set[int] = set()
    missing = 0
    for step in range(32):
        for head in heads:
            offset = head + step * 128 * KIB
            missing += not fetched([(offset, 128 * KIB)]) <= pages
            pages |= fetched(state.observe(offset, 128 * KIB))
    assert missing <= 2 * len(heads)


def test_random_reads_fetch_nothing() -> None:
    state = Readahead(size=1 << 40)
    chance = random.Random(4)
    assert [r for _ in range(2000) for r in state.observe(chance.randrange(1 << 28) * 4096, 4096)] == []


def test_random_reads_do_not_disturb_a_sequential_reader() -> None:
    state = Readahead(size=1 << 40)
    chance = random.Random(5)
    pages: set[int] = set()
    missing = 0
    for step in range(64):
        missing += not fetched([(step * 128 * KIB, 128 * KIB)]) <= pages
        pages |= fetched(state.observe(step * 128 * KIB, 128 * KIB))
        for _ in range(3):
            state.observe((1 << 32) + chance.randrange(1 << 24) * 4096, 4096)
    assert missing <= 3


def test_a_strided_reader_is_followed() -> None:
    state = Readahead(size=1 << 34)
    pages: set[int] = set()
    hits = 0
    for step in range(40):
        hits += fetched([(step * MIB, 16 * KIB)]) <= pages
        pages |= fetched(state.observe(step * MIB, 16 * KIB))
    assert hits >= 34
    assert len(pages) < 80 * 4


def test_nothing_is_fetched_beyond_the_end() -> None:
    state = Readahead(size=300 * KIB)
    ranges = [r for offset in range(0, 300 * KIB, 4 * KIB) for r in state.observe(offset, 4 * KIB)]
    assert max(offset + length for offset, length in ranges) == 300 * KIB


def test_reading_the_same_bytes_again_fetches_nothing() -> None:
    state = Readahead()
    state.observe(0, 4096)
    assert [state.observe(0, 4096) for _ in range(5)] == [[]] * 5


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 1 << 18)), max_size=60))
def test_any_reads_give_ranges_within_the_file(reads: list[tuple[int, int]]) -> None:
    state = Readahead(size=1 << 20)
    for offset, length in reads:
        for start, count in state.observe(offset, length):
            assert count > 0
            assert start >= 0
            assert start + count <= 1 << 20
