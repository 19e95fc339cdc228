"""The network, for training: what a stream did lately, and a candidate, to the probability that it is used.

    tokens (B, T, F) --GRU--> context (B, D)
    context beside each candidate's row --MLP--> a correction to the prior's logits --sigmoid--> p within each horizon
                                            +--> quantiles of the time to its use, if it is used

The network corrects the count-ranked prior rather than replacing it: its last layer starts at zero, so an untrained
network *is* the prior, and a few hundred examples suffice to improve on it. The correction is bounded, and `scale`
shrinks it as far as programs held back from training say, so that on others it can do little harm. 32k parameters.

Serving runs the same weights in NumPy (predictor.ranker); a test holds the two together. Only the trainer imports this
file, because torch is large and slow to import.
"""

from dataclasses import dataclass
from math import log1p

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from predictor.features import CANDIDATE_FEATURES, PRIOR_COLUMNS, TOKEN_FEATURES
from predictor.ranker import CORRECTION_MAX, LOGIT_MAX, QUANTILES, Weights
from predictor.tracker import HORIZONS

LISTWISE = 0.1
PINBALL = 0.3
"""Weights of the losses beside the cross entropy, which is what the probabilities are judged by."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes. The features' widths are part of the weights' identity: other widths, other weights."""

    token_features: int = TOKEN_FEATURES
    candidate_features: int = CANDIDATE_FEATURES
    width: int = 64  # D: a GRU step in NumPy takes 10 us
    horizons: int = len(HORIZONS)
    quantiles: int = len(QUANTILES)


class Model(nn.Module):
    """GRU over the tokens, MLP over context and candidate."""

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ModelConfig()
        self.gru = nn.GRU(config.token_features, config.width, batch_first=True)
        self.hidden = nn.Linear(config.width + config.candidate_features, config.width)
        self.head = nn.Linear(config.width, config.horizons)
        self.time = nn.Linear(config.width, config.quantiles)
        self.trust = nn.Parameter(torch.zeros(config.horizons))  # how much further the prior's logits are believed
        self.scale = nn.Parameter(torch.ones(1), requires_grad=False)  # how much of the correction is made
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        nn.init.zeros_(self.time.weight)
        nn.init.constant_(self.time.bias, 0.35)  # eight visits

    def forward(self, tokens: Tensor, rows: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
        """tokens (B, T, F), rows (N, C), owner (N,): which of the B each row belongs to -> logits (N, H) of use within
        each horizon, and quantiles (N, Q) of the time to it, as `time_of`."""
        _, last = self.gru(tokens)  # (1, B, D)
        context = last[0][owner]  # (N, D)
        hidden = functional.relu(self.hidden(torch.cat([context, rows], dim=1)))  # (N, D)
        prior = prior_of(rows)  # (N, H)
        correction = self.trust * prior + self.head(hidden)  # (N, H)
        bounded = CORRECTION_MAX * torch.tanh(correction / CORRECTION_MAX)  # (N, H)
        logits: Tensor = prior + self.scale * bounded  # (N, H)
        return logits.clamp(-LOGIT_MAX, LOGIT_MAX), self.time(hidden)

    def weights(self) -> Weights:
        """The parameters as NumPy arrays, by the names that predictor.ranker expects."""
        return {name: value.detach().numpy().astype(np.float32) for name, value in self.state_dict().items()}

    def load_weights(self, weights: Weights) -> None:
        """Takes parameters back. Raises RuntimeError where names or shapes differ."""
        self.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})


def prior_of(rows: Tensor) -> Tensor:
    """rows (N, C) -> the prior's logits (N, H)."""
    return torch.logit(rows[:, PRIOR_COLUMNS].clamp(1e-4, 1 - 1e-4))


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross entropy over candidates and horizons: proper, so what it trains is calibrated."""
    return functional.binary_cross_entropy_with_logits(logits, labels)


def loss(logits: Tensor, times: Tensor, distances: Tensor, owner: Tensor, weight: Tensor | None = None) -> Tensor:
    """What is trained: cross entropy; softmax over each ranking's candidates, the nearer ones used counting more
    (listwise, as ListNet of Cao et al. 2007, with the candidates that did not come true as hard negatives); and the
    pinball loss of the time of those that did (Koenker and Bassett 1978). distances (N,), 0 for never; weight (N,)."""
    labels = labels_of(distances)  # (N, H)
    weight = torch.ones(len(logits)) if weight is None else weight  # (N,)
    entropy = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(dim=1)  # (N,)
    rankings = int(owner[-1]) + 1
    gain = labels.mean(dim=1)  # (N,)
    gains = torch.zeros(rankings).index_add(0, owner, gain)  # (B,)
    score = logits.mean(dim=1)  # (N,)
    sums = torch.zeros(rankings).index_add(0, owner, torch.exp(score))  # (B,)
    surprise = torch.log(sums)[owner] - score  # (N,)
    listwise = gain / gains[owner].clamp(min=1e-6) * surprise  # (N,)
    error = time_of(distances)[:, None] - times  # (N, Q)
    levels = torch.tensor(QUANTILES)
    pinball = torch.maximum(levels * error, (levels - 1) * error).mean(dim=1) * (distances > 0)  # (N,)
    return (weight * (entropy + LISTWISE * listwise + PINBALL * pinball)).mean()


def time_of(distances: Tensor) -> Tensor:
    """Visits to a use, as a share of the longest horizon in logarithms."""
    return torch.log1p(distances) / log1p(HORIZONS[-1])


def labels_of(distances: Tensor) -> Tensor:
    """distances (N,), 0 for never -> (N, H): used within each horizon."""
    horizons = torch.tensor(HORIZONS)
    return ((distances[:, None] > 0) & (distances[:, None] <= horizons)).float()


def tensors(
    arrays: dict[str, npt.NDArray[np.generic]], chosen: npt.NDArray[np.int64]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """tokens (B, T, F), rows (N, C), owner (N,), distances (N,) of some rankings of `Examples.arrays()`."""
    starts = arrays["starts"].astype(np.int64)
    lengths = starts[chosen + 1] - starts[chosen]  # (B,)
    before = np.cumsum(lengths) - lengths  # (B,)
    places = np.repeat(starts[chosen] - before, lengths) + np.arange(lengths.sum())  # (N,)
    return (
        torch.from_numpy(arrays["tokens"][chosen].astype(np.float32)),
        torch.from_numpy(arrays["rows"][places].astype(np.float32)),
        torch.from_numpy(np.repeat(np.arange(len(chosen)), lengths)),
        torch.from_numpy(arrays["distances"][places].astype(np.int64)),
    )


def mean_cross_entropy(
    model: Model, arrays: dict[str, npt.NDArray[np.generic]], chosen: npt.NDArray[np.int64]
) -> float:
    """On some rankings of `Examples.arrays()`, each candidate weighing the same."""
    model.eval()
    total, candidates = 0.0, 0
    with torch.no_grad():
        for low in range(0, len(chosen), 256):
            tokens, rows, owner, distances = tensors(arrays, chosen[low : low + 256])
            logits, _ = model(tokens, rows, owner)
            total += float(cross_entropy(logits, labels_of(distances))) * len(rows)
            candidates += len(rows)
    return total / max(1, candidates)
