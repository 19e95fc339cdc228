"""The frozen model, for serving: an LSTM's surprise at a group's last operations, and a classifier over it and
counters.

Both run in NumPy on weights that are numbers and nothing else (safetensors). The LSTM (Hochreiter and Schmidhuber 1997)
has learned what benign programs do next; what it finds unlikely is a surprise, in nats. The classifier is a small
perceptron over the row of features with the mean surprise of the window and of its last quarter. Training is
bench/guard's, with torch, by predictor/guard/training.py.
"""

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from predictor.guard.windows import FEATURES, NO_TOKEN, TOKENS, VOCABULARY

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parents[1] / "weights" / "guard.safetensors"
WEIGHTS_BYTES_MAX = 1 << 20
WIDTH = 16  # D of the LSTM: a step takes 7 us, most of it calls
HIDDEN = 24  # of the classifier
LATE = TOKENS // 4

Matrix = npt.NDArray[np.float32]
Weights = dict[str, Matrix]

SHAPES = {
    "lstm.weight_ih_l0": (4 * WIDTH, VOCABULARY),
    "lstm.weight_hh_l0": (4 * WIDTH, WIDTH),
    "lstm.bias_ih_l0": (4 * WIDTH,),
    "lstm.bias_hh_l0": (4 * WIDTH,),
    "next.weight": (VOCABULARY, WIDTH),
    "next.bias": (VOCABULARY,),
    "mean": (len(FEATURES),),
    "scale": (len(FEATURES),),
    "hidden.weight": (HIDDEN, len(FEATURES)),
    "hidden.bias": (HIDDEN,),
    "out.weight": (1, HIDDEN),
    "out.bias": (1,),
}


class Model:
    """`predictor.guard.engine.Scorer` by the network."""

    def __init__(self, weights: Weights) -> None:
        """Raises ValueError for weights that do not fit."""
        if {name: array.shape for name, array in weights.items()} != SHAPES:
            raise ValueError("weights for other features")
        if not all(array.dtype == np.float32 and np.isfinite(array).all() for array in weights.values()):
            raise ValueError("weights that are no numbers")
        self.weights = weights
        bias = weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"]
        self._input = np.ascontiguousarray(weights["lstm.weight_ih_l0"].T) + bias  # (V, 4D): a token's row
        self._recurrent = np.ascontiguousarray(weights["lstm.weight_hh_l0"].T)  # (D, 4D)

    def __call__(self, row: npt.NDArray[np.float32], sequence: npt.NDArray[np.int64]) -> float:
        """row (FEATURES,), sequence (TOKENS,) -> the probability of an attack. 0.5 ms."""
        weights = self.weights
        told = row.copy()
        told[-2:] = self.surprise(sequence)
        scaled = np.clip((told - weights["mean"]) / weights["scale"], -8, 8)  # (F,)
        hidden = np.maximum(weights["hidden.weight"] @ scaled + weights["hidden.bias"], 0)  # (H,)
        logit = float((weights["out.weight"] @ hidden + weights["out.bias"])[0])
        return 1 / (1 + float(np.exp(-np.clip(logit, -30, 30))))

    def surprise(self, sequence: npt.NDArray[np.int64]) -> tuple[float, float]:
        """The mean surprise of a window's tokens, and of its last quarter's, in nats; 0 where there are none."""
        steps = sequence[sequence != NO_TOKEN]
        if len(steps) < 2:
            return 0.0, 0.0
        states = self._states(steps[:-1])  # (N, D)
        logits = states @ self.weights["next.weight"].T + self.weights["next.bias"]  # (N, V)
        logits -= logits.max(axis=1, keepdims=True)
        surprises = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(logits)), steps[1:]]  # (N,)
        return float(surprises.mean()), float(surprises[-LATE:].mean())

    def _states(self, steps: npt.NDArray[np.int64]) -> Matrix:
        hidden = np.zeros(WIDTH, np.float32)
        cell = np.zeros(WIDTH, np.float32)
        states = np.empty((len(steps), WIDTH), np.float32)
        for number, gates in enumerate(self._input[steps]):  # torch's order of gates: input, forget, cell, output
            gates = gates + hidden @ self._recurrent  # (4D,)
            squashed = 0.5 * np.tanh(0.5 * gates) + 0.5
            new = np.tanh(gates[2 * WIDTH : 3 * WIDTH])
            cell = squashed[WIDTH : 2 * WIDTH] * cell + squashed[:WIDTH] * new
            hidden = squashed[3 * WIDTH :] * np.tanh(cell)
            states[number] = hidden
        return states


def load(path: Path) -> Model:
    """The model in a file. Raises OSError, ValueError."""
    if path.stat().st_size > WEIGHTS_BYTES_MAX:
        raise ValueError(f"{path}: too large to be ours")
    try:
        return Model(safetensors.numpy.load(path.read_bytes()))
    except (safetensors.SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def shipped() -> Model | None:
    """The model that comes with the program; None where it is missing or damaged: rules decide alone then."""
    try:
        return load(SHIPPED)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("the guard goes by rules alone: %s", error)
        return None
