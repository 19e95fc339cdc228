"""Reliability, worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from predictor.calibration import draw_bars, draw_reliability, expected_error, reliability


def test_what_is_said_is_held_against_what_came_true() -> None:
    chances = np.array([0.05, 0.05, 0.95, 0.95, 1.0])
    table = reliability(chances, np.array([False, True, True, True, False]))
    assert [(each.low, each.count) for each in table] == [(0.0, 2), (0.9, 3)]
    assert table[0].said == pytest.approx(0.05)
    assert table[0].came_true == 0.5
    assert expected_error(table) == pytest.approx((2 * 0.45 + 3 * abs(2.9 / 3 - 2 / 3)) / 5)


def test_honest_probabilities_have_hardly_an_error_and_bold_ones_a_large_one() -> None:
    rng = np.random.default_rng(0)
    chances = rng.random(20_000)
    outcomes = rng.random(20_000) < chances
    assert expected_error(reliability(chances, outcomes)) < 0.02
    assert expected_error(reliability(np.round(chances), outcomes)) > 0.2


def test_nothing_said_is_no_error() -> None:
    assert expected_error(reliability(np.zeros(0), np.zeros(0, bool))) == 0


def test_plots_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    table = reliability(np.array([0.2, 0.8]), np.array([False, True]))
    draw_reliability(tmp_path / "a.png", {"counts": table, "network": table})
    draw_bars(tmp_path / "b.png", "ratios", {"one": 0.9, "two": 1.1}, 1.02)
    for name in ("a.png", "b.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
