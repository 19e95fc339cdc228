"""What is served is what was trained, and nothing else is loaded."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from predictor.guard import model
from predictor.guard.model import SHAPES, Model, Weights
from predictor.guard.windows import FEATURES, NO_TOKEN, TOKENS, VOCABULARY


@pytest.fixture
def weights() -> Weights:
    chance = np.random.default_rng(1)
    made = {name: chance.normal(0, 0.3, shape).astype(np.float32) for name, shape in SHAPES.items()}
    return made | {"scale": np.ones(len(FEATURES), np.float32)}


@pytest.mark.parametrize("whose", ["shipped", "random"])
def test_surprise_is_that_of_torch(weights: Weights, whose: str) -> None:
    torch = pytest.importorskip("torch")
    if whose == "shipped":
        weights = model.load(model.SHIPPED).weights
    from predictor.guard.training import _Next

    net = _Next()
    net.load_state_dict({name: torch.from_numpy(weights[name]) for name in net.state_dict()})
    steps = np.random.default_rng(2).integers(1, VOCABULARY, 40)
    sequence = np.append(np.full(TOKENS - 40, NO_TOKEN), steps)
    with torch.no_grad():
        logits = net(torch.from_numpy(steps[None, :-1]))[0]
        expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(steps[1:]), reduction="none").numpy()
    surprise = Model(weights).surprise(sequence)
    assert surprise == pytest.approx((expected.mean(), expected[-TOKENS // 4 :].mean()), abs=1e-4)


def test_surprise_in_training_is_that_in_serving(weights: Weights) -> None:
    training = pytest.importorskip("predictor.guard.training")
    chance = np.random.default_rng(3)
    lengths = [0, 1, 2, 17, TOKENS]
    sequences = np.stack([np.append(np.full(TOKENS - n, NO_TOKEN), chance.integers(1, VOCABULARY, n)) for n in lengths])
    expected = [Model(weights).surprise(sequence) for sequence in sequences]
    assert training.surprises(weights, sequences) == pytest.approx(np.array(expected), abs=1e-4)


def test_empty_window_surprises_nobody(weights: Weights) -> None:
    nothing = np.full(TOKENS, NO_TOKEN)
    assert Model(weights).surprise(nothing) == (0.0, 0.0)
    assert 0 <= Model(weights)(np.zeros(len(FEATURES), np.float32), nothing) <= 1


@pytest.mark.parametrize("damage", ["missing", "shape", "nan", "bytes", "large"])
def test_weights_that_do_not_fit_are_refused_and_rules_go_on(
    weights: Weights, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if damage == "missing":
        del weights["mean"]
    elif damage == "shape":
        weights["mean"] = np.zeros(3, np.float32)
    elif damage == "nan":
        weights["mean"][0] = np.nan
    path = tmp_path / "guard.safetensors"
    data = safetensors.numpy.save(weights)
    path.write_bytes({"bytes": b"\x80\x04pickle", "large": bytes(model.WEIGHTS_BYTES_MAX + 1)}.get(damage, data))
    with pytest.raises(ValueError):
        model.load(path)
    monkeypatch.setattr(model, "SHIPPED", path)
    assert model.shipped() is None


def test_shipped_weights_are_there_and_small() -> None:
    shipped = model.shipped()
    assert shipped is not None
    assert model.SHIPPED.stat().st_size < 100_000
