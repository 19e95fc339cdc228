"""Training from traces: `llmfs train TRACE...`, and how the shipped weights are made.

The traces are played through an engine, several times over with time in between forgotten, as mounts would have sent
them; the rankings it makes on the way are the examples. Then the network is trained on them as the serving process
does it (predictor.trainer), and promoted by the same rule. What the engine learned by its tables is saved as well, so a
mount that uses the state directory knows these programs from the start.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from predictor import ranker, state
from predictor.engine import Engine
from predictor.evaluate import load as load_recording
from predictor.evaluate import replay
from predictor.features import CANDIDATE_FEATURES, EXTENSIONS, PRIOR_COLUMNS, TOKEN_FEATURES
from predictor.ranker import Weights
from predictor.state import replace
from predictor.trainer import Arrays, Report, incumbent_weights
from predictor.trainer import train as train_network

Progress = Callable[[str, float], None]
"""Called with what is being done and how far the whole is, 0 to 1."""


def train(
    traces: Sequence[str | os.PathLike[str]],
    state_dir: str | os.PathLike[str],
    progress: Progress | None = None,
    passes: int = 2,
    limit_bytes: int = state.LIMIT_BYTES,
    seconds: float = 120.0,
) -> Report | None:
    """Learns from `traces` (directories or segments of ours, CSV, DLIO) into `state_dir`.

    Returns the network's report, or None where the traces held too few rankings to train on; the tables are saved in
    both cases. The network is put in use only if it beat the one in use and the prior. Raises TraceError or OSError.
    """
    tell = progress or (lambda _what, _share: None)
    engine = state.load(state_dir, limit_bytes=limit_bytes)
    engine.examples.every = 1
    recordings = []
    for index, trace in enumerate(traces):
        tell(f"reading {Path(trace).name}", 0.2 * index / len(traces))
        recordings.append(load_recording(trace))
    for number in range(passes):
        for index, recording in enumerate(recordings):
            share = (number * len(recordings) + index) / (passes * len(recordings))
            tell(f"learning from {recording.name}, pass {number + 1}", 0.2 + 0.5 * share)
            replay(engine, recording)
    tell("training the network", 0.7)
    directory = Path(state_dir)
    directory.mkdir(parents=True, exist_ok=True)
    report = None
    try:
        weights, report = train_network(
            engine.examples.arrays(), incumbent_weights(directory), steps=2000, seconds=seconds
        )
        if report.is_better:
            data = ranker.dump_weights(weights)
            replace(directory / ranker.NAME, lambda file: file.write(data))
    except (ValueError, KeyError):
        tell("too few rankings to train a network on", 0.95)
    tell("saving", 0.95)
    state.save(engine, directory, limit_bytes)
    tell("done", 1.0)
    return report


PRETRAIN_STEPS = 60
PRETRAIN_DROPOUT = 0.3
"""Features switched off at random, for a whole batch: what is left must do on workloads of another kind."""


def pretrain(traces: Sequence[str | os.PathLike[str]], seed: int = 0) -> Weights:
    """Weights for mounts that have seen nothing yet: what the traces have in common, each trace weighing the same.

    Extensions are hidden, features drop out, steps are few: trained longer, the network is better on these traces and
    worse than the prior on others (left out one at a time). Raises TraceError or OSError.
    """
    import torch

    from predictor.model import Model, labels_of, loss

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-2)
    workloads = [arrays for arrays in map(_examples, traces) if arrays]
    for step in range(PRETRAIN_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (1 - step / PRETRAIN_STEPS)
        total = torch.zeros(())
        for arrays in workloads:
            starts = arrays["starts"]
            chosen = rng.integers(0, len(starts) - 1, 16)
            places = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in chosen])
            owner = np.repeat(np.arange(16), starts[chosen + 1] - starts[chosen])
            tokens = arrays["tokens"][chosen].astype(np.float32)  # (16, T, F)
            tokens[:, :, TOKEN_FEATURES - EXTENSIONS :] = 0
            tokens *= rng.random(TOKEN_FEATURES) > PRETRAIN_DROPOUT
            rows = arrays["rows"][places].astype(np.float32)  # (N, C)
            rows[:, CANDIDATE_FEATURES - EXTENSIONS :] = 0
            kept = rng.random(CANDIDATE_FEATURES) > PRETRAIN_DROPOUT
            kept[PRIOR_COLUMNS] = True
            rows *= kept
            logits = model(torch.from_numpy(tokens), torch.from_numpy(rows), torch.from_numpy(owner))
            total = total + loss(logits, torch.from_numpy(labels_of(arrays["distances"][places])))
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    weights = model.weights()
    weights["gru.weight_ih_l0"][:, TOKEN_FEATURES - EXTENSIONS :] = 0  # never trained: noise
    weights["hidden.weight"][:, -EXTENSIONS:] = 0
    return weights


def _examples(trace: str | os.PathLike[str]) -> Arrays:
    """All rankings of a first run of the trace."""
    engine = Engine()
    engine.examples.every = 1
    replay(engine, load_recording(trace))
    return engine.examples.arrays()


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m predictor.training TRACE... --output FILE`: makes the weights that are shipped."""
    parser = argparse.ArgumentParser(prog="predictor.training", description=main.__doc__)
    parser.add_argument("traces", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, default=ranker.SHIPPED)
    options = parser.parse_args(arguments)
    data = ranker.dump_weights(pretrain(options.traces))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    replace(options.output, lambda file: file.write(data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
