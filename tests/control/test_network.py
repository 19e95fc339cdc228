"""The learned controller: NumPy agrees with torch, weights are checked, training learns what pays."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from predictor.control import network
from predictor.control.arms import ARMS
from predictor.control.network import SHAPES, Learned
from predictor.control.state import FEATURES, Observer, Row
from predictor.control.transitions import Transition

torch = pytest.importorskip("torch")


def _rows(count: int, seed: int = 0) -> list[Row]:
    return list(np.random.default_rng(seed).normal(size=(count, len(FEATURES))).astype(np.float32))


def test_numpy_serves_what_torch_computes() -> None:
    from predictor.control.training import Net, exported

    torch.manual_seed(3)
    net = Net()
    generator = np.random.default_rng(1)
    mean, scale = generator.normal(size=len(FEATURES)), generator.uniform(0.5, 2, len(FEATURES))
    served = Learned(exported(net, mean, scale))
    for row in _rows(50):
        scaled = np.clip((row - mean.astype(np.float32)) / scale.astype(np.float32), -5, 5)
        with torch.no_grad():
            expected = net(torch.from_numpy(scaled)[None])[0].numpy()
        assert np.abs(served.values(row) - expected).max() < 1e-4


def test_training_finds_the_arm_that_pays_in_each_state() -> None:
    from predictor.control.training import train

    generator = np.random.default_rng(2)
    transitions = []
    for row in _rows(3000):
        arm = int(generator.integers(len(ARMS)))
        best = 4 if row[0] > 0 else 0
        transitions.append(Transition(row, arm, 1.0 if arm == best else -0.5, None))
    learned = train(transitions, steps=800)
    chosen = [int(np.argmax(learned.values(row))) == (4 if row[0] > 0 else 0) for row in _rows(200, 5)]
    assert np.mean(chosen) > 0.9


def _blank() -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    return {name: np.full(shape, name == "scale", np.float32) for name, shape in SHAPES.items()}


def test_it_stays_where_no_arm_promises_more() -> None:
    assert Learned(_blank()).choose(_rows(1)[0], Observer(), 5) == 5


def test_weights_survive_a_file(tmp_path: Path) -> None:
    path = tmp_path / "controller.safetensors"
    path.write_bytes(safetensors.numpy.save(_blank()))
    assert network.load(path).values(_rows(1)[0]).tolist() == [0.0] * len(ARMS)


@pytest.mark.parametrize("harm", ["shape", "missing", "infinite", "garbage"])
def test_damaged_weights_are_refused(tmp_path: Path, harm: str) -> None:
    weights = _blank()
    if harm == "shape":
        weights["mean"] = np.zeros(3, np.float32)
    elif harm == "missing":
        del weights["mean"]
    elif harm == "infinite":
        weights["value.bias"] = np.full(1, np.inf, np.float32)
    path = tmp_path / "controller.safetensors"
    path.write_bytes(b"no weights" if harm == "garbage" else safetensors.numpy.save(weights))
    with pytest.raises(ValueError):
        network.load(path)
