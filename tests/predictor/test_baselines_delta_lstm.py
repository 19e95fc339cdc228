"""The delta-LSTM learns repeated steps as it goes, in either order of a directory and within files."""

import pytest

pytest.importorskip("torch")

from predictor.baselines.delta_lstm import BLOCK, VOCABULARY, DeltaLSTM, StepPredictor, Walker
from predictor.baselines.rival import BLOCK_BYTES, Access
from predictor.events import Op, PathTable

STEPS = (1, 1, 5, -3)


def test_a_repeated_pattern_of_steps_is_learned_online() -> None:
    predictor, walker = StepPredictor(), Walker("a")
    right = 0
    for number in range(1200):
        found = predictor.observe(walker, (BLOCK, STEPS[number % 4]))
        right += number >= 1000 and found[:1] == [(BLOCK, STEPS[(number + 1) % 4])]
    assert right >= 190


def test_the_vocabulary_is_bounded_and_rare_steps_are_not_in_it() -> None:
    predictor = StepPredictor()
    assert predictor._token((BLOCK, 5)) == 0
    assert predictor._token((BLOCK, 5)) == 1
    for distance in range(3 * VOCABULARY):
        predictor._token((BLOCK, distance))
        assert predictor._token((BLOCK, distance)) < VOCABULARY


def test_files_in_order_and_strided_blocks_are_expected() -> None:
    paths = PathTable()
    directory = paths.intern_path(b"d")
    files = [paths.intern_path(b"d/%04d" % number) for number in range(800)]
    rival = DeltaLSTM(paths)
    rival.listing(directory, files[::-1], ())
    table = paths.intern_path(b"table")
    expected: set[tuple[int, int]] = set()
    covered = 0
    for number, file in enumerate(files):
        for access in (
            Access(Op.OPEN, file, 1, "a"),
            Access(Op.READ, table, 2, "b", 2 * number * BLOCK_BYTES, 4096),
        ):
            place = access.offset // BLOCK_BYTES
            covered += number >= 600 and (access.path, place) in expected
            expected.update((wish.path, wish.offset // BLOCK_BYTES) for wish in rival.access(access))
    assert covered >= 380
