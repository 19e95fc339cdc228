"""Pretraining on small workloads; what is fit to be shipped."""

import numpy as np
import pytest

from predictor.engine import Engine
from predictor.evaluate import Result
from predictor.leave_one_out import InUse, LeftOut, in_use, is_fit_to_ship
from predictor.pretraining import FEW, Workload, cross_entropy, loss_of, loss_of_prior, play, pretrain, together
from predictor.tracker import HORIZONS
from tests.predictor.test_augment import recorded

pytest.importorskip("torch")

from tests.predictor.test_network import pattern, random_weights


def workload(name: str, seed: int, is_noise: bool = False, examples: int = 120) -> Workload:
    arrays = pattern(examples, seed)
    if is_noise:
        used = np.random.default_rng(seed).random(examples * 10) < 0.3
        arrays["distances"] = np.where(used, 5, 0).astype(np.uint16)
    return Workload(name, frozenset({name}), Engine(), arrays, Result("rules", name))


def test_what_all_families_share_is_learned_and_helps_one_that_had_no_part() -> None:
    weights = pretrain([workload(f"w{seed}", seed) for seed in range(8)])
    other = workload("other", 99)
    assert weights["scale"][0] > 0
    assert loss_of(weights, other) < 0.9 * loss_of_prior(other)


def test_where_nothing_is_to_be_learned_the_prior_stays() -> None:
    weights = pretrain([workload(f"w{seed}", seed, is_noise=True) for seed in range(8)])
    other = workload("other", 99, is_noise=True)
    assert loss_of(weights, other) < 1.02 * loss_of_prior(other)


def test_the_rankings_of_workloads_laid_end_to_end() -> None:
    arrays, firsts = together([workload("a", 1, examples=20), workload("b", 2, examples=30)])
    assert firsts.tolist() == [0, 20, 50]
    assert arrays["starts"][[0, 20, 50]].tolist() == [0, 200, 500]


def test_cross_entropy_by_hand() -> None:
    chances = np.array([[0.5, 0.5, 0.5], [0.1, 0.2, 0.9]])
    expected = -(np.log(0.5) * 3 + np.log(0.9) + np.log(0.8) + np.log(0.9)) / 6
    assert cross_entropy(chances, np.array([1, HORIZONS[-1]])) == pytest.approx(expected)


def test_rankings_at_the_end_of_a_recording_count_too() -> None:
    played = play("data", frozenset({"data"}), [recorded("data", 40)])
    assert played.rankings > 10
    assert (played.arrays["distances"] > 0).any()


def test_runs_planned_by_a_network_are_measured_as_those_by_counts() -> None:
    runs = [recorded("data", 40)]
    counts, network = in_use(runs, Engine(), None), in_use(runs, Engine(), random_weights())
    assert counts.rankings == network.rankings > 10
    assert 0 < counts.worth <= 1
    assert counts.loss != network.loss


def result(coverage: float, chance: float) -> InUse:
    names = {b"%d" % number for number in range(1000)}
    covered = {b"%d" % number for number in range(int(1000 * coverage))}
    run = Result("rules", "x", touched=names, planned=set(names), covered=covered)
    served = np.full((100, len(HORIZONS)), chance, np.float16)
    return InUse((run,), served, np.ones(100, np.uint16), FEW)


def left_out(coverage: float, chance: float, name: str = "x") -> LeftOut:
    """By counts: coverage 0.5, and half sure of what is always used at once."""
    return LeftOut(name, result(0.5, 0.5), result(coverage, chance), 1.0)


@pytest.mark.parametrize(
    ("results", "is_fit"),
    [
        ([left_out(0.51, 0.6), left_out(0.5, 0.5)], True),
        ([left_out(0.51, 0.6), left_out(0.5, 0.48)], False),  # somewhere the loss is much worse
        ([left_out(0.51, 0.5), left_out(0.5, 0.499)], False),  # the loss is no better on the mean
        ([left_out(0.6, 0.6), left_out(0.48, 0.6)], False),  # somewhere the plans are much worse
        ([left_out(0.49, 0.6), left_out(0.5, 0.6)], False),  # the plans are no better on the mean
        ([], False),
    ],
)
def test_fit_to_ship_is_what_is_better_on_the_mean_and_nowhere_much_worse(results: list[LeftOut], is_fit: bool) -> None:
    assert is_fit_to_ship(results) == is_fit
