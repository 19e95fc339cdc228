"""Patterns are told apart, and each is prefetched its way, for files of a directory as for blocks of a file."""

import random

import pytest

from predictor.baselines.igtcache import FILES_AHEAD, SET_STEP, IGTCacheLike, Walk
from predictor.baselines.patterns import Pattern, classify, ks_distance
from predictor.baselines.rival import BLOCK_BYTES, Access, Wish
from predictor.events import Op, PathTable
from predictor.plan import Want

SIZE = 300


def shuffled(seed: int, size: int = SIZE) -> list[int]:
    return random.Random(seed).sample(range(size), size)


def zipf(seed: int, count: int, size: int = SIZE) -> list[int]:
    """Draws from a shuffled list, the n-th most popular in proportion to 1/n, no two in a row alike."""
    popular = shuffled(seed, size)
    draws = random.Random(seed).choices(popular, [1 / n for n in range(1, size + 1)], k=2 * count)
    kept = [draw for before, draw in zip([-1, *draws], draws, strict=False) if draw != before]
    return kept[:count]


def share(pattern: Pattern, windows: list[list[int]]) -> float:
    return sum(classify(window, SIZE) is pattern for window in windows) / len(windows)


def test_the_ks_distance_is_that_of_the_triangular_distribution() -> None:
    # Below 2, P(0) = P(1) = 1/2.
    assert ks_distance([0, 1], 2) == pytest.approx(0.0)
    assert ks_distance([1, 1], 2) == pytest.approx(0.5)
    # Below 3, P(0) = 3/9, P(1) = 4/9, P(2) = 2/9.
    assert ks_distance([2] * 9, 3) == pytest.approx(7 / 9)
    assert ks_distance([0] * 3 + [1] * 4 + [2] * 2, 3) == pytest.approx(0.0)


def test_walks_in_order_are_sequential() -> None:
    assert classify([5, 6, 7, 8], SIZE) is Pattern.SEQUENTIAL
    assert classify(list(range(100)), 0) is Pattern.SEQUENTIAL
    two_workers = [start + offset for start in range(0, 96, 8) for pair in range(4) for offset in (pair, pair + 4)]
    assert classify(two_workers, SIZE) is Pattern.SEQUENTIAL
    assert classify(list(range(100, 0, -1)), SIZE) is not Pattern.SEQUENTIAL


def test_epochs_and_uniform_draws_are_random() -> None:
    assert share(Pattern.RANDOM, [shuffled(seed)[:100] for seed in range(100)]) >= 0.95
    uniform = [random.Random(seed).choices(range(SIZE), k=100) for seed in range(100)]
    assert share(Pattern.RANDOM, uniform) >= 0.95


def test_popular_ones_are_skewed_wherever_they_lie() -> None:
    assert share(Pattern.SKEWED, [zipf(seed, 100) for seed in range(100)]) >= 0.95


def test_too_few_positions_or_an_unknown_size_are_no_pattern() -> None:
    assert classify([4], SIZE) is Pattern.UNKNOWN
    assert classify(shuffled(1)[:63], SIZE) is Pattern.UNKNOWN
    assert classify(shuffled(1)[:100], 0) is Pattern.UNKNOWN


def test_a_sequence_runs_ahead_twice_as_far_each_time_up_to_the_end() -> None:
    walk = Walk()
    found = []
    for position in range(8):
        walk.observe(position, 20)
        found.append(list(walk.expect(20, 8)))
    assert found == [[], [], [], [4], [5, 6], [7, 8, 9], [10, 11, 12, 13, 14], [15]]
    for position in range(8, 20):
        walk.observe(position, 20)
        found.append(list(walk.expect(20, 8)))
    assert [position for some in found for position in some] == list(range(4, 20))


def test_a_random_set_is_fetched_whole_once_an_epoch_and_never_what_was_used() -> None:
    walk = Walk()
    wished: list[int] = []
    used: set[int] = set()
    for position in shuffled(3):
        walk.observe(position, SIZE)
        used.add(position)
        some = walk.expect(SIZE, FILES_AHEAD)
        assert len(some) <= SET_STEP
        wished += some
    assert walk.pattern is Pattern.RANDOM
    assert len(wished) == len(set(wished))
    assert set(wished) | used == set(range(SIZE))
    assert len(wished) > SIZE // 2
    again: list[int] = []
    for position in [*shuffled(4), *shuffled(5)]:
        walk.observe(position, SIZE)
        again += walk.expect(SIZE, FILES_AHEAD)
    assert len(again) > SIZE // 2


class Mounted:
    """One directory of files, listed as the rival wishes."""

    def __init__(self, order: list[int] | None = None, capacity_bytes: int = 1 << 40) -> None:
        self.paths = PathTable()
        self.directory = self.paths.intern_path(b"data")
        self.files = [self.paths.intern_path(b"data/%03d.bin" % number) for number in range(SIZE)]
        self.listed = [self.files[number] for number in order or range(SIZE)]
        self.rival = IGTCacheLike(self.paths, capacity_bytes)

    def open(self, number: int) -> list[int]:
        """Opens a file of 10 kB: the numbers of the files wished for."""
        wishes = self.rival.access(Access(Op.OPEN, self.files[number], 1, "a", 0, 0, 10_000))
        for wish in wishes:
            if wish == Wish(self.directory, Want.LISTING):
                self.rival.listing(self.directory, self.listed, ())
        return [self.files.index(wish.path) for wish in wishes if wish.want is Want.DATA]


@pytest.mark.parametrize("order", [None, shuffled(7)])
def test_files_read_by_name_are_expected_in_any_listing_order(order: list[int] | None) -> None:
    mounted = Mounted(order)
    found = [mounted.open(number) for number in range(50)]
    assert {number for some in found for number in some} >= set(range(8, 50))
    assert max(number for some in found for number in some) <= 50 + FILES_AHEAD


def test_files_read_as_listed_are_expected_as_listed() -> None:
    order = shuffled(7)
    mounted = Mounted(order)
    found = [mounted.open(number) for number in order[:50]]
    assert {number for some in found for number in some} >= set(order[8:50])


def test_a_shuffled_data_set_is_wished_for_whole_if_it_fits() -> None:
    fits, does_not_fit = Mounted(), Mounted(capacity_bytes=SIZE * 10_000 - 1)
    wished = {number for position in shuffled(1) for number in fits.open(position)}
    assert len(wished) > SIZE // 2
    assert not any(does_not_fit.open(position) for position in shuffled(1))


def test_nothing_is_fetched_for_popular_files() -> None:
    mounted = Mounted()
    wished = [mounted.open(number) for number in zipf(1, 400)]
    assert sum(map(len, wished)) <= SET_STEP * 16, "a window may pass for random now and then"


def test_the_first_files_of_the_next_directory_are_expected_where_directories_are_walked_in_order() -> None:
    paths = PathTable()
    rival = IGTCacheLike(paths)
    folders = [paths.intern_path(b"set/%02d" % number) for number in range(20)]
    files = {folder: [paths.intern(folder, b"%02d" % number) for number in range(10)] for folder in folders}
    rival.listing(paths.intern_path(b"set"), folders, folders)
    for folder in folders:
        rival.listing(folder, files[folder], ())
    expected: set[int] = set()
    for folder in folders[:8]:
        for file in files[folder]:
            expected.update(wish.path for wish in rival.access(Access(Op.OPEN, file, 1, "a")))
    assert set(files[folders[8]][:4]) <= expected


def test_blocks_of_a_file_are_classified_like_files_of_a_directory() -> None:
    paths = PathTable()
    file = paths.intern_path(b"table")

    def wished(blocks: list[int]) -> set[int]:
        rival = IGTCacheLike(paths)
        size = SIZE * BLOCK_BYTES
        found: set[int] = set()
        for block in blocks:
            for wish in rival.access(Access(Op.READ, file, 1, "a", block * BLOCK_BYTES, 4096, size)):
                found.add(wish.offset // BLOCK_BYTES)
        return found

    assert wished(list(range(40))) >= set(range(4, 100))
    assert len(wished(shuffled(2))) > SIZE // 2
    assert len(wished(zipf(2, 400))) <= SET_STEP * 16
