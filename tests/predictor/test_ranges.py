"""Byte ranges against a set of bytes."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from predictor import ranges
from predictor.ranges import GAP_BYTES, MAX_INTERVALS, Ranges

SPANS = st.lists(st.tuples(st.integers(0, 100), st.integers(1, 5)), max_size=30)


@given(SPANS)
def test_ranges_cover_what_was_added_and_stay_sorted_and_apart(spans: list[tuple[int, int]]) -> None:
    found: Ranges = ()
    for start, length in spans:
        low, high = start * GAP_BYTES, (start + length) * GAP_BYTES
        added = ranges.add(found, low, high)
        if added is None:
            continue
        found = added
        assert any(a <= low and high <= b for a, b in found)
        assert len(found) <= MAX_INTERVALS
        assert all(a[1] + GAP_BYTES < b[0] for a, b in pairwise(found))


def test_adding_what_is_there_returns_the_same_ranges() -> None:
    once = ranges.add((), 10, 20)
    assert once is not None
    assert ranges.add(once, 12, 18) is once


def test_total_counts_bytes_once() -> None:
    assert ranges.total(ranges.union(((0, 10),), ((5, 30),))) == 30
