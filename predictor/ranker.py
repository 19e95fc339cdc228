"""The network, for serving: the weights of predictor.model, run in NumPy.

Importing torch costs 1.3 s and 220 MB; this costs nothing. One ranking (16 tokens, 64 candidates) takes 0.25 to 0.35 ms
on a busy core, half of it for the tokens.
Weights are safetensors: names, shapes and numbers, nothing that could execute; they are checked against the features of
this version before use.
"""

import os
from math import log1p
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from predictor.features import CANDIDATE_FEATURES, PRIOR_COLUMNS, TOKEN_FEATURES
from predictor.tracker import HORIZONS

Matrix = npt.NDArray[np.float32]
Weights = dict[str, Matrix]

NAME = "weights.safetensors"
SHIPPED = Path(__file__).parent / "weights" / "pretrained.safetensors"

LOGIT_MAX = 12.0
CORRECTION_MAX = 2.0
"""How far the network may move the prior's logits. A bound is needed: without one, networks tried on kinds of programs
that they were not trained on made the loss up to four times the prior's. "scale" shrinks it further."""

QUANTILES = (0.25, 0.5, 0.75)
"""Of the time to a candidate's use, given that it is used."""

WEIGHTS_MAX_BYTES = 4 << 20

_HALF = np.float32(0.5)


class WeightsError(ValueError):
    """The weights are damaged, or made for other features."""


class NetworkRanker:
    """Scores candidates: predictor.ranking.Ranker by the network."""

    def __init__(self, weights: Weights) -> None:
        """Raises WeightsError for weights that do not fit."""
        _check(weights)
        width = weights["hidden.bias"].shape[0]
        self._width = width
        # A gate is sigmoid(x) = (1 + tanh(x / 2)) / 2: halves are taken here once, not at each of 16 steps.
        halves = np.ones(3 * width, np.float32)  # (3D,)
        halves[: 2 * width] = 0.5
        gates_bias = weights["gru.bias_hh_l0"].copy()  # (3D,)
        gates_bias[2 * width :] = 0
        self._input = np.ascontiguousarray(weights["gru.weight_ih_l0"].T * halves)  # (F, 3D)
        self._input_bias = (weights["gru.bias_ih_l0"] + gates_bias) * halves  # (3D,)
        self._recurrent = np.ascontiguousarray(weights["gru.weight_hh_l0"].T * np.float32(0.5))  # (D, 3D)
        self._new_bias = weights["gru.bias_hh_l0"][2 * width :] * np.float32(0.5)  # (D,)
        self._hidden_context = np.ascontiguousarray(weights["hidden.weight"][:, :width].T)  # (D, D)
        self._hidden_row = np.ascontiguousarray(weights["hidden.weight"][:, width:].T)  # (C, D)
        self._hidden_bias = weights["hidden.bias"]  # (D,)
        self._head = np.ascontiguousarray(weights["head.weight"].T)  # (D, H)
        self._head_bias = weights["head.bias"]  # (H,)
        self._time = np.ascontiguousarray(weights["time.weight"].T)  # (D, Q)
        self._time_bias = weights["time.bias"]  # (Q,)
        self._trust = weights["trust"]  # (H,)
        self._scale = float(weights["scale"][0])

    def __call__(self, tokens: Matrix, candidates: Matrix) -> tuple[Matrix, Matrix]:
        """tokens (T, F), candidates (N, C) -> probabilities (N, H), visits to the use (N, Q)."""
        context = self._context(tokens)  # (D,)
        shared = context @ self._hidden_context + self._hidden_bias  # (D,)
        hidden = np.maximum(candidates @ self._hidden_row + shared, 0)  # (N, D)
        prior = np.clip(candidates[:, PRIOR_COLUMNS], 1e-4, 1 - 1e-4)  # (N, H)
        logits = np.log(prior / (1 - prior))  # (N, H)
        correction = self._trust * logits + hidden @ self._head + self._head_bias  # (N, H)
        logits = logits + self._scale * CORRECTION_MAX * np.tanh(correction / CORRECTION_MAX)
        times = np.clip(hidden @ self._time + self._time_bias, 0, 1)  # (N, Q)
        visits = np.expm1(np.sort(times, axis=1) * log1p(HORIZONS[-1]))  # (N, Q)
        return _sigmoid(np.clip(logits, -LOGIT_MAX, LOGIT_MAX)), visits

    def _context(self, tokens: Matrix) -> Matrix:
        """The state after all tokens: torch's GRU, whose gates are reset, update, new. In place: 16 steps of a dozen
        operations on so small arrays cost what making the arrays costs."""
        width, recurrent, new_bias = self._width, self._recurrent, self._new_bias
        inputs = tokens @ self._input + self._input_bias  # (T, 3D)
        state = np.zeros(width, np.float32)
        sums = np.empty(3 * width, np.float32)
        gates, reset, update, new = sums[: 2 * width], sums[:width], sums[width : 2 * width], sums[2 * width :]
        for of_gates, of_new in zip(inputs[:, : 2 * width], inputs[:, 2 * width :], strict=True):
            np.dot(state, recurrent, out=sums)
            np.add(gates, of_gates, out=gates)
            np.tanh(gates, out=gates)
            np.add(gates, 1, out=gates)  # twice the gate
            np.add(new, new_bias, out=new)
            np.multiply(new, reset, out=new)
            np.add(new, of_new, out=new)
            np.tanh(new, out=new)
            np.subtract(state, new, out=state)
            np.multiply(state, update, out=state)
            np.multiply(state, _HALF, out=state)
            np.add(state, new, out=state)
        return state


def load(path: str | os.PathLike[str]) -> NetworkRanker:
    """The network in a file. Raises WeightsError or OSError."""
    return NetworkRanker(load_weights(path))


def load_weights(path: str | os.PathLike[str]) -> Weights:
    """The arrays in a file. Raises WeightsError or OSError."""
    place = Path(path)
    if place.stat().st_size > WEIGHTS_MAX_BYTES:
        raise WeightsError(f"{place}: too large to be ours")
    try:
        weights = safetensors.numpy.load(place.read_bytes())
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{place}: {error}") from error
    _check(weights)
    return weights


def dump_weights(weights: Weights) -> bytes:
    """The bytes of a weights file."""
    return safetensors.numpy.save(weights)


def _check(weights: Weights) -> None:
    try:
        width = weights["hidden.bias"].shape[0]
    except (KeyError, IndexError) as error:
        raise WeightsError("no hidden layer") from error
    shapes = {
        "gru.weight_ih_l0": (3 * width, TOKEN_FEATURES),
        "gru.weight_hh_l0": (3 * width, width),
        "gru.bias_ih_l0": (3 * width,),
        "gru.bias_hh_l0": (3 * width,),
        "hidden.weight": (width, width + CANDIDATE_FEATURES),
        "hidden.bias": (width,),
        "head.weight": (len(HORIZONS), width),
        "head.bias": (len(HORIZONS),),
        "time.weight": (len(QUANTILES), width),
        "time.bias": (len(QUANTILES),),
        "trust": (len(HORIZONS),),
        "scale": (1,),
    }
    if {name: array.shape for name, array in weights.items()} != shapes:
        raise WeightsError("weights for other features")
    if not all(array.dtype == np.float32 and np.isfinite(array).all() for array in weights.values()):
        raise WeightsError("weights that are no numbers")


def _sigmoid(x: Matrix) -> Matrix:
    return np.asarray(0.5 * np.tanh(0.5 * x) + 0.5, np.float32)
