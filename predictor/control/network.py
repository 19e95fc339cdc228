"""The learned controller, served in NumPy: a dueling network (Wang et al. 2016) over a row of features.

Weights are numbers and nothing else (safetensors). Made by `training.py` with torch; nothing here imports it.
"""

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from predictor.control.arms import ARMS
from predictor.control.state import FEATURES, Observer, Row

log = logging.getLogger(__name__)

NAME = "controller.safetensors"
SHIPPED = Path(__file__).parents[1] / "weights" / NAME
WEIGHTS_BYTES_MAX = 1 << 20
HIDDEN = 48

MARGINS_S = (0.05, 0.2, 0.5, 1.0)
"""Seconds that another arm must promise to gain on the present one. Which of them it is comes with the weights."""

Matrix = npt.NDArray[np.float32]
Weights = dict[str, Matrix]

SHAPES = {
    "margin_s": (1,),
    "mean": (len(FEATURES),),
    "scale": (len(FEATURES),),
    "body.0.weight": (HIDDEN, len(FEATURES)),
    "body.0.bias": (HIDDEN,),
    "body.2.weight": (HIDDEN, HIDDEN),
    "body.2.bias": (HIDDEN,),
    "value.weight": (1, HIDDEN),
    "value.bias": (1,),
    "advantage.weight": (len(ARMS), HIDDEN),
    "advantage.bias": (len(ARMS),),
}


class Learned:
    """Takes the arm of the highest value. Raises ValueError where the weights are not of this network."""

    name = "learned"

    def __init__(self, weights: Weights) -> None:
        if {name: array.shape for name, array in weights.items()} != SHAPES:
            raise ValueError("weights of another network")
        if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in weights.values()):
            raise ValueError("weights that are no numbers")
        self.weights = weights

    def values(self, row: Row) -> Matrix:
        """row (FEATURES,) -> the seconds that each arm gains on the safe one from here on, discounted (ARMS,)."""
        weights = self.weights
        hidden = np.clip((row - weights["mean"]) / weights["scale"], -5, 5)  # (F,)
        for layer in ("body.0", "body.2"):
            hidden = np.maximum(weights[f"{layer}.weight"] @ hidden + weights[f"{layer}.bias"], 0)  # (H,)
        advantage = weights["advantage.weight"] @ hidden + weights["advantage.bias"]  # (A,)
        value = weights["value.weight"] @ hidden + weights["value.bias"]  # (1,)
        found: Matrix = value + advantage - advantage.mean()
        return found

    def choose(self, row: Row, seen: Observer, arm: int) -> int:
        values = self.values(row)
        best = int(np.argmax(values))
        return best if values[best] > values[arm] + self.weights["margin_s"][0] else arm


def load(path: Path) -> Learned:
    """The controller in a file. Raises OSError, ValueError."""
    if path.stat().st_size > WEIGHTS_BYTES_MAX:
        raise ValueError(f"{path}: too large to be ours")
    try:
        return Learned(safetensors.numpy.load(path.read_bytes()))
    except (safetensors.SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def shipped() -> Learned | None:
    """The controller that comes with the program; None where there is none or it is damaged."""
    return first_of(SHIPPED)


def first_of(*paths: Path) -> Learned | None:
    """The controller in the first of these files that is there and whole; None where none is."""
    for path in paths:
        try:
            return load(path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            log.warning("a learned controller is passed over: %s", error)
    return None
