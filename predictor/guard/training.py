"""Trains what `predictor/guard/model.py` serves, with torch: first the LSTM on benign sequences, then the classifier.

The LSTM never sees an attack, so that its surprise is at what programs do not do. The classifier then learns from rows
of both kinds, each recording weighing the same, however long. All randomness comes from the seed.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from predictor.guard.model import HIDDEN, LATE, SHAPES, WIDTH, Model, Weights
from predictor.guard.windows import FEATURES, NO_TOKEN, VOCABULARY

LSTM_STEPS = 600
CLASSIFIER_STEPS = 1500
BATCH = 64
SURPRISED_AT_ONCE = 1024
DECAY = 1e-2
"""Of the classifier's weights: it has to do with programs and attacks that it has not seen."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Windows as they were judged. N of them."""

    rows: npt.NDArray[np.float32]  # (N, FEATURES), as they come without surprises
    sequences: npt.NDArray[np.int64]  # (N, TOKENS)
    is_attack: npt.NDArray[np.bool_]  # (N,)
    recording: npt.NDArray[np.int64]  # (N,): which one it is of

    def of(self, chosen: npt.NDArray[np.bool_]) -> "Examples":
        """Those that are chosen, (N,)."""
        return Examples(self.rows[chosen], self.sequences[chosen], self.is_attack[chosen], self.recording[chosen])


class _Next(nn.Module):
    """A token to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(VOCABULARY, WIDTH, batch_first=True)
        self.next = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, sequences: Tensor) -> Tensor:
        """sequences (B, T) -> logits (B, T, V) of the token after each."""
        states, _ = self.lstm(functional.one_hot(sequences, VOCABULARY).float())  # (B, T, D)
        logits: Tensor = self.next(states)
        return logits


def train(examples: Examples, seed: int = 0, sequence: Weights | None = None) -> Model:
    """A model of these examples; `sequence`: an LSTM to take as it is (`train_sequence`, `no_sequence`)."""
    sequence = train_sequence(examples, seed) if sequence is None else sequence
    return train_classifier(surprised(examples, sequence), sequence, seed)


def surprised(examples: Examples, sequence: Weights) -> Examples:
    """The same windows, with the surprise of this LSTM at them."""
    rows = examples.rows.copy()
    rows[:, -2:] = surprises(sequence, examples.sequences)
    return replace(examples, rows=rows)


def surprises(sequence: Weights, sequences: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """What `Model.surprise` says of each: sequences (N, TOKENS) -> (N, 2)."""
    torch.set_num_threads(1)
    net = _Next()
    net.load_state_dict({name: torch.from_numpy(sequence[name]) for name in net.state_dict()})
    found = np.zeros((len(sequences), 2), np.float32)
    for start in range(0, len(sequences), SURPRISED_AT_ONCE):
        chunk = sequences[start : start + SURPRISED_AT_ONCE]  # (B, T)
        lengths = (chunk != NO_TOKEN).sum(axis=1)  # (B,)
        from_left = np.stack([np.roll(row, length) for row, length in zip(chunk, lengths, strict=True)])
        tokens = torch.from_numpy(from_left)
        with torch.no_grad():
            logits = net(tokens[:, :-1]).transpose(1, 2)  # (B, V, T - 1)
        steps = functional.cross_entropy(logits, tokens[:, 1:], reduction="none").numpy()  # (B, T - 1)
        for number, length in enumerate(lengths):
            known = steps[number, : max(0, length - 1)]
            if len(known):
                found[start + number] = known.mean(), known[-LATE:].mean()
    return found


def train_classifier(examples: Examples, sequence: Weights, seed: int = 0) -> Model:
    """A model with this LSTM, of windows with its surprise (`surprised`)."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    return Model(sequence | _trained_classifier(examples.rows, examples))


def no_sequence() -> Weights:
    """An LSTM that finds all the same: what the classifier is worth without one."""
    return _blank(*(name for name in SHAPES if name.startswith(("lstm.", "next."))))


def _blank(*names: str) -> Weights:
    return {name: np.full(SHAPES[name], name == "scale", np.float32) for name in names}


def train_sequence(examples: Examples, seed: int = 0) -> Weights:
    """The LSTM of the benign ones among these examples."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    benign = examples.sequences[~examples.is_attack]
    chosen = _balanced(examples.recording[~examples.is_attack])
    net = _Next()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(LSTM_STEPS):
        batch = torch.from_numpy(benign[torch.multinomial(chosen, BATCH, replacement=True).numpy()])  # (B, T)
        logits = net(batch[:, :-1])  # (B, T - 1, V)
        loss = functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), ignore_index=NO_TOKEN)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return _arrays(net)


def _trained_classifier(rows: npt.NDArray[np.float32], examples: Examples) -> Weights:
    mean, scale = rows.mean(axis=0), np.maximum(rows.std(axis=0), 0.1)  # (F,), (F,)
    scaled = torch.from_numpy(np.clip((rows - mean) / scale, -8, 8).astype(np.float32))  # (N, F)
    labels = torch.from_numpy(examples.is_attack.astype(np.float32))  # (N,)
    weight = _balanced(examples.recording)  # (N,)
    for is_attack in (True, False):  # both kinds weigh the same
        weight[labels == is_attack] /= weight[labels == is_attack].sum()
    net = nn.Module()
    net.hidden, net.out = nn.Linear(len(FEATURES), HIDDEN), nn.Linear(HIDDEN, 1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3, weight_decay=DECAY)
    for _ in range(CLASSIFIER_STEPS):
        chosen = torch.multinomial(weight, 4 * BATCH, replacement=True)
        logits = net.out(functional.relu(net.hidden(scaled[chosen])))[:, 0]  # (B,)
        loss = functional.binary_cross_entropy_with_logits(logits, labels[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return {**_arrays(net), "mean": mean.astype(np.float32), "scale": scale.astype(np.float32)}


def _balanced(recording: npt.NDArray[np.int64]) -> Tensor:
    """Weights (N,) by which each recording is drawn as often as each other."""
    _, inverse, counts = np.unique(recording, return_inverse=True, return_counts=True)
    return torch.from_numpy(1.0 / counts[inverse])


def _arrays(net: nn.Module) -> Weights:
    return {name: value.detach().numpy().astype(np.float32) for name, value in net.state_dict().items()}
