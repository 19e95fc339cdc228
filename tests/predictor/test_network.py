"""The network: the same numbers in NumPy and torch, better than the prior where there is something to learn."""

from pathlib import Path

import numpy as np
import pytest

from predictor import ranker
from predictor.features import CANDIDATE_FEATURES, PRIOR_COLUMNS, TOKEN_FEATURES, TOKENS
from predictor.ranker import NetworkRanker, Weights, WeightsError
from predictor.tracker import HORIZONS
from predictor.trainer import Arrays, Report, train

torch = pytest.importorskip("torch")

from predictor.model import Model  # noqa: E402


def random_weights(seed: int = 0) -> Weights:
    torch.manual_seed(seed)
    model = Model()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.weights()


def pattern(examples: int = 300, seed: int = 0) -> Arrays:
    """Rankings in which a feature of candidate and context says, better than the prior, what comes true."""
    chance = np.random.default_rng(seed)
    tokens = chance.random((examples, TOKENS, TOKEN_FEATURES)).astype(np.float16)
    rows = chance.random((examples * 10, CANDIDATE_FEATURES)).astype(np.float16)
    rows[:, PRIOR_COLUMNS] = 0.3
    mode = chance.integers(0, 2, examples)
    tokens[:, -1, 0] = mode
    kind = chance.integers(0, 2, examples * 10)
    rows[:, 0] = kind
    used = kind == np.repeat(mode, 10)
    return {
        "tokens": tokens,
        "rows": rows,
        "served": rows[:, PRIOR_COLUMNS],
        "distances": np.where(used, 5, 0).astype(np.uint16),
        "starts": np.arange(0, examples * 10 + 1, 10),
    }


@pytest.mark.parametrize("whose", ["shipped", "random"])
def test_numpy_and_torch_agree(whose: str) -> None:
    weights = ranker.load_weights(ranker.SHIPPED) if whose == "shipped" else random_weights()
    chance = np.random.default_rng(1)
    tokens = chance.normal(size=(TOKENS, TOKEN_FEATURES)).astype(np.float32)
    rows = chance.normal(size=(64, CANDIDATE_FEATURES)).astype(np.float32)
    rows[:, PRIOR_COLUMNS] = chance.random((64, len(HORIZONS)))
    model = Model()
    model.load_weights(weights)
    with torch.no_grad():
        logits, times = model(torch.from_numpy(tokens)[None], torch.from_numpy(rows), torch.zeros(64, dtype=torch.long))
    chances, visits = NetworkRanker(weights)(tokens, rows)
    np.testing.assert_allclose(chances, torch.sigmoid(logits).numpy(), atol=1e-4)
    told = np.log1p(visits) / np.log1p(HORIZONS[-1])
    np.testing.assert_allclose(told, np.sort(times.numpy().clip(0, 1), axis=1), atol=1e-4)


def test_an_untrained_network_is_the_prior() -> None:
    rows = np.random.default_rng(2).random((32, CANDIDATE_FEATURES)).astype(np.float32)
    tokens = np.zeros((TOKENS, TOKEN_FEATURES), np.float32)
    chances, _ = NetworkRanker(Model().weights())(tokens, rows)
    np.testing.assert_allclose(chances, rows[:, PRIOR_COLUMNS], atol=1e-3)


def test_a_network_that_is_shrunk_to_nothing_is_the_prior() -> None:
    weights = random_weights() | {"scale": np.zeros(1, np.float32)}
    rows = np.random.default_rng(2).random((32, CANDIDATE_FEATURES)).astype(np.float32)
    chances, _ = NetworkRanker(weights)(np.ones((TOKENS, TOKEN_FEATURES), np.float32), rows)
    np.testing.assert_allclose(chances, rows[:, PRIOR_COLUMNS], atol=1e-3)


def test_what_is_learned_tells_soon_from_late() -> None:
    arrays = pattern(600)
    soon = arrays["rows"][:, 0] > 0
    arrays["distances"] = np.where(soon, 2, 200).astype(np.uint16)
    weights, _ = train(arrays, None, steps=300, clock=iter(range(10**6)).__next__, seconds=10**6)
    rows = arrays["rows"][:200].astype(np.float32)
    _, visits = NetworkRanker(weights)(arrays["tokens"][0].astype(np.float32), rows)
    assert (visits[:, 0] <= visits[:, 1]).all()
    assert (visits[:, 1] <= visits[:, 2]).all()
    assert 2 * np.median(visits[soon[:200], 1]) < np.median(visits[~soon[:200], 1])


def test_training_improves_the_held_out_loss_on_a_pattern() -> None:
    weights, report = train(pattern(1200), None, steps=300, clock=iter(range(10**6)).__next__, seconds=10**6)
    assert report.is_better
    assert report.loss < 0.9 * report.loss_prior
    _, again = train(pattern(1200), weights, steps=20, clock=iter(range(10**6)).__next__, seconds=10**6)
    assert again.loss_incumbent == pytest.approx(report.loss, rel=1e-3)


def test_training_on_noise_is_not_promoted_over_a_calibrated_prior() -> None:
    arrays = pattern()
    chance = np.random.default_rng(7)
    arrays["distances"] = np.where(chance.random(3000) < 0.3, 5, 0).astype(np.uint16)
    _, report = train(arrays, None, steps=100, clock=iter(range(10**6)).__next__, seconds=10**6)
    assert not report.is_better


def test_too_few_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        train(pattern(examples=5), None)


def test_promotion_needs_to_beat_both_rivals() -> None:
    def report(loss: float, incumbent: float, prior: float) -> Report:
        return Report(100, 20, 10, 1.0, loss, incumbent, prior)

    assert report(0.4, 0.5, 0.5).is_better
    assert not report(0.4, 0.39, 0.5).is_better
    assert not report(0.4, 0.5, 0.39).is_better
    assert not report(float("nan"), 0.5, 0.5).is_better


def test_weights_survive_a_file(tmp_path: Path) -> None:
    weights = random_weights()
    (tmp_path / "w").write_bytes(ranker.dump_weights(weights))
    for name, array in ranker.load_weights(tmp_path / "w").items():
        np.testing.assert_array_equal(array, weights[name])


@pytest.mark.parametrize("damage", ["shape", "missing", "nan", "bytes", "type"])
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, damage: str) -> None:
    weights = random_weights()
    if damage == "shape":
        weights["hidden.weight"] = weights["hidden.weight"][:, 1:].copy()
    elif damage == "missing":
        del weights["head.bias"]
    elif damage == "nan":
        weights["scale"][0] = np.nan
    elif damage == "type":
        weights["trust"] = weights["trust"].astype(np.float64)  # type: ignore[assignment]
    data = b"nonsense" if damage == "bytes" else ranker.dump_weights(weights)
    (tmp_path / "w").write_bytes(data)
    with pytest.raises(WeightsError):
        ranker.load(tmp_path / "w")


def test_shipped_weights_fit_this_version() -> None:
    if ranker.SHIPPED.exists():
        ranker.load(ranker.SHIPPED)
