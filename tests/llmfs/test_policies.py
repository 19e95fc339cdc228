"""The small policies: freshness, stat-ahead, what to fetch, whether the source is fast, how a limit is shared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfs.attributes import Attributes
from llmfs.blocks import BLOCK_PAGES, PAGE_BYTES
from llmfs.budget import Budget
from llmfs.config import Consistency
from llmfs.policy.fetching import WHOLE_FILE_BYTES, pages_to_fetch
from llmfs.policy.freshness import (
    GRANULARITY_NS,
    LONGEST_NS,
    SECOND_NS,
    SHORTEST_NS,
    generation_of,
    is_fresh,
    time_to_live_ns,
)
from llmfs.policy.scanning import FIRST_WINDOW, LAST_WINDOW, Scan

NOW_NS = 1_700_000_000 * SECOND_NS
CLOSE, STRICT, IMMUTABLE = Consistency.CLOSE_TO_OPEN, Consistency.STRICT, Consistency.IMMUTABLE


def attributes(age_s: float = 0, size: int = 10, ino: int = 5, ctime_age_s: float | None = None) -> Attributes:
    mtime_ns = NOW_NS - int(age_s * SECOND_NS)
    ctime_ns = mtime_ns if ctime_age_s is None else NOW_NS - int(ctime_age_s * SECOND_NS)
    return Attributes(0o100644, 1, 0, 0, 0, size, 4096, 8, 0, mtime_ns, ctime_ns, 0, ino)


# --- freshness


@pytest.mark.parametrize(
    ("age_s", "expected_s"), [(0, 3), (29, 3), (30, 3), (100, 10), (600, 60), (10**7, 60), (-50, 3)]
)
def test_close_to_open_believes_for_a_tenth_of_the_age_within_bounds(age_s: float, expected_s: float) -> None:
    assert time_to_live_ns(CLOSE, attributes(age_s), NOW_NS) == expected_s * SECOND_NS


def test_a_recent_change_of_attributes_alone_counts_as_young() -> None:
    assert time_to_live_ns(CLOSE, attributes(10**6, ctime_age_s=0), NOW_NS) == SHORTEST_NS


@given(st.integers(-(10**12), 10**12), st.integers(0, 120 * 10**9))
def test_time_to_live_stays_within_its_bounds_and_ends(age_s: int, later_ns: int) -> None:
    shown = attributes(age_s % 10**9)
    lives_ns = time_to_live_ns(CLOSE, shown, NOW_NS)
    assert SHORTEST_NS <= lives_ns <= LONGEST_NS
    assert is_fresh(CLOSE, shown, NOW_NS, NOW_NS + later_ns) == (later_ns < lives_ns)


def test_strict_believes_nothing_immutable_everything_and_nobody_a_look_from_the_future() -> None:
    shown = attributes(100)
    assert not is_fresh(STRICT, shown, NOW_NS, NOW_NS)
    assert is_fresh(IMMUTABLE, shown, NOW_NS, NOW_NS + 10**18)
    assert not is_fresh(IMMUTABLE, shown, 0, NOW_NS)
    assert not is_fresh(CLOSE, shown, NOW_NS, NOW_NS - 1)


def test_generation_repeats_for_a_settled_file_and_never_for_one_just_changed() -> None:
    def generation(age_s: float, checked_ns: int) -> int:
        return generation_of(CLOSE, attributes(age_s), checked_ns, True)

    assert generation(10, NOW_NS) == generation(10, NOW_NS + 5)
    assert generation(1, NOW_NS) != generation(1, NOW_NS + 5)
    assert generation(GRANULARITY_NS / SECOND_NS, NOW_NS) != generation(GRANULARITY_NS / SECOND_NS, NOW_NS - 5)
    immutable = [generation_of(IMMUTABLE, attributes(0), NOW_NS + i, True) for i in range(2)]
    assert immutable[0] == immutable[1] != 0


@pytest.mark.parametrize("field", ["size", "mtime_ns", "ctime_ns", "ino"])
def test_generation_changes_with_what_tells_of_content(field: str) -> None:
    before = attributes(100)
    after = before._replace(**{field: getattr(before, field) - 1})
    assert generation_of(CLOSE, before, NOW_NS, True) != generation_of(CLOSE, after, NOW_NS, True)
    ignores = field == "ino"
    assert (generation_of(CLOSE, before, NOW_NS, False) == generation_of(CLOSE, after, NOW_NS, False)) == ignores


# --- fetching


@given(st.integers(1, 10**7), st.data(), st.booleans())
def test_fetch_covers_what_is_wanted_within_the_file(size: int, data: st.DataObject, is_sequential: bool) -> None:
    end = -(-size // PAGE_BYTES)
    first = data.draw(st.integers(0, end - 1))
    stop = data.draw(st.integers(first + 1, end))
    got_first, got_stop = pages_to_fetch(first, stop, size, is_sequential)
    assert 0 <= got_first <= first < stop <= got_stop <= end
    if size > WHOLE_FILE_BYTES:
        assert got_first == first
        if not is_sequential:
            assert got_stop == stop
        else:
            assert got_stop == end or (got_stop % BLOCK_PAGES == 0 and got_stop - stop < BLOCK_PAGES)


def test_small_file_comes_whole() -> None:
    assert pages_to_fetch(3, 4, WHOLE_FILE_BYTES, False) == (0, WHOLE_FILE_BYTES // PAGE_BYTES)


# --- scanning


def test_walker_is_served_each_name_ahead_once() -> None:
    scan, count = Scan(), 5000
    ahead: list[int] = []
    for position in range(count):
        window = scan.observe(position, count)
        if window is not None:
            assert window[0] > position and window[1] - position - 1 <= LAST_WINDOW
            ahead += range(*window)
    assert ahead == sorted(set(ahead))
    assert set(range(3 + FIRST_WINDOW, count)) <= set(ahead)


def test_who_walked_another_directory_is_served_all_of_this_one_at_once() -> None:
    scan = Scan()
    assert scan.begin(100) == (0, 100)
    assert all(scan.observe(position, 100) is None for position in range(100))
    assert scan.begin(100) == (100, 100)
    long = Scan()
    assert long.begin(5000) == (0, LAST_WINDOW)
    ahead = [window for position in range(5000) if (window := long.observe(position, 5000)) is not None]
    assert [position for window in ahead for position in range(*window)] == list(range(LAST_WINDOW, 5000))


def test_random_stats_show_no_walk() -> None:
    scan = Scan()
    assert all(scan.observe(position * 37 % 1000, 1000) is None for position in range(1, 200))


@given(st.lists(st.integers(0, 99), max_size=200))
def test_names_ahead_exist(positions: list[int]) -> None:
    scan = Scan()
    for position in positions:
        window = scan.observe(position, 100)
        assert window is None or 0 <= window[0] < window[1] <= 100


# --- budget


@given(st.integers(16 << 20, 1 << 50))
def test_parts_of_the_limit_stay_below_it_and_are_whole_pages(limit: int) -> None:
    budget = Budget.of(limit)
    assert min(budget.blocks, budget.meta, budget.trace, budget.learned) > 0
    assert budget.blocks + budget.meta + budget.trace + budget.learned + (2 << 20) <= limit
    assert budget.blocks % 4096 == budget.meta % 4096 == 0
    assert budget.blocks >= limit // 2
