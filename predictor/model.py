"""The network, for training: what a stream did lately, and a candidate, to the probability that it is used.

    tokens (B, T, F) --GRU--> context (B, D)
    context beside each candidate's row --MLP--> a correction to the prior's logits --sigmoid--> p within each horizon

The network corrects the count-ranked prior rather than replacing it: its last layer starts at zero, so an untrained
network *is* the prior, and a few hundred examples suffice to improve on it. The correction is bounded, so that on
programs unlike those it was trained on it can do little harm. 27k parameters.

Serving runs the same weights in NumPy (predictor.ranker); a test holds the two together. Only the trainer imports this
file, because torch is large and slow to import.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from predictor.features import CANDIDATE_FEATURES, PRIOR_COLUMNS, TOKEN_FEATURES
from predictor.ranker import CORRECTION_MAX, LOGIT_MAX, Weights
from predictor.tracker import HORIZONS


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes. The features' widths are part of the weights' identity: other widths, other weights."""

    token_features: int = TOKEN_FEATURES
    candidate_features: int = CANDIDATE_FEATURES
    width: int = 64  # D: a GRU step in NumPy takes 10 us
    horizons: int = len(HORIZONS)


class Model(nn.Module):
    """GRU over the tokens, MLP over context and candidate."""

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ModelConfig()
        self.gru = nn.GRU(config.token_features, config.width, batch_first=True)
        self.hidden = nn.Linear(config.width + config.candidate_features, config.width)
        self.head = nn.Linear(config.width, config.horizons)
        self.trust = nn.Parameter(torch.ones(config.horizons))  # how far the prior's logits are believed
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tensor, rows: Tensor, owner: Tensor) -> Tensor:
        """tokens (B, T, F), rows (N, C), owner (N,): which of the B each row belongs to -> logits (N, H)."""
        _, last = self.gru(tokens)  # (1, B, D)
        context = last[0][owner]  # (N, D)
        hidden = functional.relu(self.hidden(torch.cat([context, rows], dim=1)))  # (N, D)
        prior = rows[:, PRIOR_COLUMNS]  # (N, H)
        logits = torch.logit(prior.clamp(1e-4, 1 - 1e-4))  # (N, H)
        correction = CORRECTION_MAX * torch.tanh(self.head(hidden) / CORRECTION_MAX)  # (N, H)
        corrected: Tensor = self.trust * logits + correction  # (N, H)
        return corrected.clamp(-LOGIT_MAX, LOGIT_MAX)

    def weights(self) -> Weights:
        """The parameters as NumPy arrays, by the names that predictor.ranker expects."""
        return {name: value.detach().numpy().astype(np.float32) for name, value in self.state_dict().items()}

    def load_weights(self, weights: Weights) -> None:
        """Takes parameters back. Raises RuntimeError where names or shapes differ."""
        self.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross entropy over candidates and horizons: proper, so what it trains is calibrated."""
    return functional.binary_cross_entropy_with_logits(logits, labels)


def labels_of(distances: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """distances (N,), 0 for never -> (N, H): used within each horizon."""
    horizons = np.array(HORIZONS)
    return ((distances[:, None] > 0) & (distances[:, None] <= horizons)).astype(np.float32)
