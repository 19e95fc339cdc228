"""Trains what `network.py` serves, with torch: a dueling double DQN on transitions of replays.

Double (van Hasselt et al. 2016): the network chooses the next arm, a slow copy of it says what that is worth. It learns
offline, from fixed transitions, so arms that were seldom tried are overrated where nothing contradicts; a conservative
term (CQL, Kumar et al. 2020) holds the values of what was not done below those of what was.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from predictor.control.arms import ARMS
from predictor.control.network import HIDDEN, MARGINS_S, Learned, Weights
from predictor.control.state import FEATURES
from predictor.control.transitions import Transition

STEPS = 1500
BATCH = 256
DISCOUNT = 0.8  # a choice shows within some five looks
SLOWNESS = 0.01  # of the copy
CONSERVATIVE = 0.002  # beside rewards of hundredths of a second a look: with more it learns who explored, not what paid
REWARD_MAX_S = 1.0  # a look of luck must not outweigh a hundred others
DECAY = 1e-1  # some thousand decisions are few


class Net(nn.Module):
    """A row to the value of each arm."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(len(FEATURES), HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()
        )  # fmt: skip
        self.value = nn.Linear(HIDDEN, 1)
        self.advantage = nn.Linear(HIDDEN, len(ARMS))

    def forward(self, rows: Tensor) -> Tensor:
        """rows (B, F), scaled -> values (B, A)."""
        hidden = self.body(rows)  # (B, H)
        advantage = self.advantage(hidden)  # (B, A)
        found: Tensor = self.value(hidden) + advantage - advantage.mean(dim=1, keepdim=True)
        return found


def train(transitions: Sequence[Transition], seed: int = 0, steps: int = STEPS) -> Learned:
    """A controller of these transitions. All randomness comes from the seed."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rows = np.stack([each.row for each in transitions])  # (N, F)
    mean, scale = rows.mean(axis=0), np.maximum(rows.std(axis=0), 0.05)  # (F,), (F,)

    def scaled(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.clip((values - mean) / scale, -5, 5).astype(np.float32))

    before = scaled(rows)
    after = scaled(np.stack([each.row if each.after is None else each.after for each in transitions]))  # (N, F)
    goes_on = torch.tensor([each.after is not None for each in transitions], dtype=torch.float32)  # (N,)
    arms = torch.tensor([each.arm for each in transitions])  # (N,)
    rewards = torch.tensor([each.reward_s for each in transitions]).float().clamp(-REWARD_MAX_S, REWARD_MAX_S)  # (N,)
    net, slow = Net(), Net()
    slow.load_state_dict(net.state_dict())
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=DECAY)
    for _ in range(steps):
        chosen = torch.randint(len(transitions), (BATCH,))
        with torch.no_grad():
            best = net(after[chosen]).argmax(dim=1, keepdim=True)  # (B, 1)
            worth = slow(after[chosen]).gather(1, best)[:, 0]  # (B,)
            target = rewards[chosen] + DISCOUNT * goes_on[chosen] * worth  # (B,)
        values = net(before[chosen])  # (B, A)
        taken = values.gather(1, arms[chosen, None])[:, 0]  # (B,)
        overrated = (values.logsumexp(dim=1) - taken).mean()
        loss = functional.smooth_l1_loss(taken, target) + CONSERVATIVE * overrated
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for ours, theirs in zip(slow.parameters(), net.parameters(), strict=True):
                ours.lerp_(theirs, SLOWNESS)
    return Learned(exported(net, mean, scale))


def exported(net: Net, mean: np.ndarray, scale: np.ndarray) -> Weights:
    """The weights as `network.py` takes them; mean and scale (F,) of the features."""
    weights = {name: value.detach().numpy().astype(np.float32) for name, value in net.state_dict().items()}
    return weights | {
        "margin_s": np.array(MARGINS_S[:1], np.float32),
        "mean": mean.astype(np.float32),
        "scale": scale.astype(np.float32),
    }
