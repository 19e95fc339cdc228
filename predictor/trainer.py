"""One training run: `python -m predictor.trainer DIR`, a niced child of the serving process.

It reads DIR/examples.npz (predictor.examples), trains from the weights in use, and writes DIR/candidate.safetensors and
DIR/report.json with the losses on the newest fifth of the examples, which it did not train on: of the candidate, of the
weights in use, and of the count-ranked prior. It decides nothing: whether the candidate is promoted is up to
`is_better`, asked by who started it.
"""

import argparse
import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from predictor.ranker import NAME, SHIPPED, Weights, WeightsError, dump_weights, load_weights
from predictor.state import replace

EXAMPLES = "examples.npz"
CANDIDATE = "candidate.safetensors"
REPORT = "report.json"

BATCH = 64  # rankings a step, about 2,000 candidates: 30 ms
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-3
PULL = 1e-4  # towards the weights it began with: few examples must not undo many
MARGIN = 0.995  # a loss must fall by half a percent to be called better
CPU_LIMIT_S = 60
"""The kernel ends a run that takes more than this: a broken one must not burn a core."""

_PR_SET_PDEATHSIG = 1

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Report:
    """What a run achieved. Losses are mean binary cross entropies on held-out rankings."""

    examples: int
    held_out: int
    steps: int
    seconds: float
    loss: float
    loss_incumbent: float  # of the weights it began with; the prior's where there were none
    loss_prior: float

    @property
    def is_better(self) -> bool:
        """Whether the candidate beats both the weights in use and the count-ranked prior."""
        return self.loss < MARGIN * self.loss_incumbent and self.loss < MARGIN * self.loss_prior


def train(
    arrays: Arrays,
    incumbent: Weights | None,
    steps: int = 400,
    seconds: float = 20.0,
    seed: int = 0,
    clock: Callable[[], float] = time.process_time,
) -> tuple[Weights, Report]:
    """Trains on `Examples.arrays()`; at most `steps` steps or `seconds` of CPU. Raises ValueError for too few."""
    import torch

    from predictor.model import Model, loss, mean_cross_entropy, tensors

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    count = len(arrays["starts"]) - 1
    held = max(1, count // 5)
    if count < 10:
        raise ValueError(f"{count} examples are too few")
    newest = np.arange(count - held, count)

    started = clock()
    model = Model()
    loss_prior = mean_cross_entropy(model, arrays, newest)  # untrained, it is the prior
    loss_incumbent = loss_prior
    if incumbent is not None:
        model.load_weights(incumbent)
        loss_incumbent = mean_cross_entropy(model, arrays, newest)
        model.scale.fill_(1.0)  # what it shrank for programs unknown is learned anew for those that are known
        for part in (model.head.weight, model.head.bias, model.trust):
            part.data.mul_(float(incumbent["scale"][0]))
    anchor = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    rng = np.random.default_rng(seed)
    model.train()
    done = 0
    steps = min(steps, 16 * max(1, (count - held) // BATCH + 1))
    while done < steps and clock() - started < seconds:
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - done / steps)
        tokens, rows, owner, distances = tensors(arrays, rng.integers(0, count - held, min(BATCH, count - held)))
        logits, times = model(tokens, rows, owner)
        value = loss(logits, times, distances, owner)
        if incumbent is not None:
            value = value + PULL * sum(((p - a) ** 2).sum() for p, a in zip(model.parameters(), anchor, strict=True))
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        done += 1
    final = mean_cross_entropy(model, arrays, newest)
    return model.weights(), Report(count, held, done, clock() - started, final, loss_incumbent, loss_prior)


def incumbent_weights(directory: Path) -> Weights | None:
    """The weights in use: the state directory's own, else the shipped ones, else none."""
    for path in (directory / NAME, SHIPPED):
        try:
            return load_weights(path)
        except (OSError, WeightsError):
            continue
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one training; status 0 when a candidate was written."""
    parser = argparse.ArgumentParser(prog="predictor.trainer", description=__doc__.split("\n", 1)[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0, help="CPU seconds to train for at most")
    options = parser.parse_args(arguments)
    os.nice(19)
    _end_with_parent()
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S))
    with np.load(options.directory / EXAMPLES, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    weights, report = train(arrays, incumbent_weights(options.directory), seconds=options.seconds)
    replace(options.directory / CANDIDATE, lambda file: file.write(dump_weights(weights)))
    text = json.dumps(asdict(report)).encode()
    replace(options.directory / REPORT, lambda file: file.write(text))
    return 0


def _end_with_parent() -> None:
    """Nobody is left behind, not even stopped, where the predictor is killed."""
    with contextlib.suppress(AttributeError, OSError):  # another system than Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
