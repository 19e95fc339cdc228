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
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from predictor import experience, ranker, state
from predictor.engine import Engine
from predictor.evaluate import Recording, Result, replay
from predictor.evaluate import load as load_recording
from predictor.features import CANDIDATE_FEATURES, EXTENSIONS, PRIOR_COLUMNS, TOKEN_FEATURES
from predictor.ranker import Weights
from predictor.snapshot import give_back_tables, take_tables
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

WORST_RATIO = 1.02
"""Weights are fit to be shipped if, with each family left out, the loss on it is on the mean below the prior's, and on
none of them more than 2% above it."""


@dataclass(frozen=True, slots=True)
class Workload:
    """The rankings of some runs of one program, in order, and how well its first run was planned."""

    name: str
    family: str  # programs that are too alike to be called unseen
    engine: Engine
    arrays: Arrays
    first: Result


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a network achieves on a workload whose family it was not trained on. Mean binary cross entropies."""

    name: str
    rankings: int
    loss_prior: float
    loss: float

    @property
    def ratio(self) -> float:
        """Below one: better than the prior."""
        return self.loss / self.loss_prior


def recordings_of(traces: Sequence[Path], progress: Progress) -> dict[str, list[Recording]]:
    """The runs NAME-1, NAME-2... of each workload NAME, in order. Raises TraceError or OSError."""
    runs: dict[str, list[Recording]] = {}
    for number, trace in enumerate(sorted(traces)):
        progress(f"reading {trace.name}", number / len(traces))
        runs.setdefault(trace.name.partition(".")[0].rpartition("-")[0] or trace.name, []).append(load_recording(trace))
    return runs


def play(name: str, runs: Sequence[Recording], common: Engine | None = None) -> Workload:
    """What an engine makes of the runs that knows nothing, or only what is `common`."""
    engine = Engine()
    if common is not None:
        give_back_tables(engine, take_tables(common))
    engine.examples.every = 1
    results = [replay(engine, recording) for recording in runs]
    return Workload(name, name.partition("-")[0], engine, engine.examples.arrays(), results[0])


def with_experience(
    runs: dict[str, list[Recording]], workloads: Sequence[Workload], progress: Progress
) -> list[Workload]:
    """The workloads again, each begun with what those of other families have in common."""
    found = []
    for number, workload in enumerate(workloads):
        progress(f"replaying {workload.name} with the others' experience", number / len(workloads))
        common = experience.gather([other.engine for other in workloads if other.family != workload.family])
        found.append(play(workload.name, runs[workload.name], common))
    return found


def leave_one_out(workloads: Sequence[Workload], progress: Progress, seed: int = 0) -> list[LeftOut]:
    """Trains without each family in turn, and tries what came of it on that family's workloads."""
    found = []
    workloads = [workload for workload in workloads if workload.arrays]
    families = list(dict.fromkeys(workload.family for workload in workloads))
    for number, family in enumerate(families):
        progress(f"training without {family}", number / len(families))
        weights = pretrain([workload for workload in workloads if workload.family != family], seed)
        for workload in workloads:
            if workload.family == family:
                count = len(workload.arrays["starts"]) - 1
                found.append(LeftOut(workload.name, count, _loss(None, workload), _loss(weights, workload)))
    return found


def is_fit_to_ship(results: Sequence[LeftOut]) -> bool:
    """Whether a network so trained is better than the prior on programs it has not seen, and nowhere much worse."""
    ratios = [result.ratio for result in results]
    return bool(ratios) and sum(ratios) / len(ratios) < 1 and max(ratios) <= WORST_RATIO


def pretrain(workloads: Sequence[Workload], seed: int = 0) -> Weights:
    """Weights for mounts that have seen nothing yet: what the workloads have in common, each weighing the same.

    Extensions are hidden, features drop out, steps are few: trained longer, the network is better on these workloads
    and worse than the prior on others (left out one at a time).
    """
    import torch

    from predictor.model import Model, labels_of, loss

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-2)
    for step in range(PRETRAIN_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (1 - step / PRETRAIN_STEPS)
        total = torch.zeros(())
        for arrays in (workload.arrays for workload in workloads):
            starts = arrays["starts"]
            chosen = rng.integers(0, len(starts) - 1, 16)
            tokens, rows, owner, labels = _batch(arrays, chosen)
            tokens[:, :, TOKEN_FEATURES - EXTENSIONS :] = 0
            tokens *= rng.random(TOKEN_FEATURES) > PRETRAIN_DROPOUT
            rows[:, CANDIDATE_FEATURES - EXTENSIONS :] = 0
            kept = rng.random(CANDIDATE_FEATURES) > PRETRAIN_DROPOUT
            kept[PRIOR_COLUMNS] = True
            rows *= kept
            logits = model(torch.from_numpy(tokens), torch.from_numpy(rows), torch.from_numpy(owner))
            total = total + loss(logits, torch.from_numpy(labels_of(labels)))
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    weights = model.weights()
    weights["gru.weight_ih_l0"][:, TOKEN_FEATURES - EXTENSIONS :] = 0  # never trained: noise
    weights["hidden.weight"][:, -EXTENSIONS:] = 0
    return weights


def _loss(weights: Weights | None, workload: Workload) -> float:
    """On all rankings of the workload; of the prior, where there are no weights."""
    import torch

    from predictor.model import Model, labels_of, loss

    model = Model()  # untrained, it is the prior
    if weights is not None:
        model.load_weights(weights)
    model.eval()
    count = len(workload.arrays["starts"]) - 1
    total, candidates = 0.0, 0
    with torch.no_grad():
        for low in range(0, count, 256):
            chosen = np.arange(low, min(count, low + 256))
            tokens, rows, owner, labels = _batch(workload.arrays, chosen)
            logits = model(torch.from_numpy(tokens), torch.from_numpy(rows), torch.from_numpy(owner))
            total += float(loss(logits, torch.from_numpy(labels_of(labels)))) * len(rows)
            candidates += len(rows)
    return total / candidates


def _batch(
    arrays: Arrays, chosen: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.uint16]]:
    """tokens (B, T, F), rows (N, C), owner (N,), distances (N,) of the chosen rankings."""
    starts = arrays["starts"]
    places = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in chosen])
    owner = np.repeat(np.arange(len(chosen)), starts[chosen + 1] - starts[chosen])
    return (
        arrays["tokens"][chosen].astype(np.float32),
        arrays["rows"][places].astype(np.float32),
        owner,
        arrays["distances"][places],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m predictor.training TRACE... --output FILE`: makes the weights that are shipped, if they are fit."""
    parser = argparse.ArgumentParser(prog="predictor.training", description=main.__doc__)
    parser.add_argument("traces", nargs="+", type=Path, help="as bench.record writes them: NAME-1.trace, NAME-2.trace")
    parser.add_argument("--output", type=Path, default=ranker.SHIPPED, help="the weights")
    parser.add_argument("--experience", type=Path, default=experience.SHIPPED, help="the tables")
    options = parser.parse_args(arguments)

    def progress(what: str, share: float) -> None:
        print(f"{share:4.0%} {what}", file=sys.stderr, flush=True)

    runs = recordings_of(options.traces, progress)
    blank = []
    for number, name in enumerate(runs):
        progress(f"replaying {name}", number / len(runs))
        blank.append(play(name, runs[name]))
    informed = with_experience(runs, blank, progress)
    is_useful = _show_experience(blank, informed)
    if is_useful:
        arrays = experience.save(experience.gather([workload.engine for workload in blank]))
        _write(options.experience, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
    workloads = informed if is_useful else blank
    results = leave_one_out(workloads, progress)
    _show_network(results)
    if is_fit_to_ship(results):
        data = ranker.dump_weights(pretrain([workload for workload in workloads if workload.arrays]))
        _write(options.output, lambda file: file.write(data))
    else:
        print("the network is not fit to be shipped: not written")
    return 0


def _show_experience(blank: Sequence[Workload], informed: Sequence[Workload]) -> bool:
    """Prints what the others' experience does for a first run; whether it is worth shipping."""
    print("first runs that begin blank -> with what other families have in common")
    print(f"{'left out':16} {'loss of the prior':>17} {'names covered':>16} {'accuracy':>16} {'blocks':>16} accuracy")
    gains, losses = [], []
    for before, after in zip(blank, informed, strict=True):
        if before.arrays and after.arrays:
            one, other = _loss(None, before), _loss(None, after)
            losses.append(other / one)
        else:
            one = other = 0.0
        a, b = before.first, after.first
        gains.append(b.coverage + b.block_coverage - a.coverage - a.block_coverage)
        print(
            f"{before.name:16} {one:7.4f} -> {other:6.4f} {a.coverage:6.3f} -> {b.coverage:5.3f} "
            f"{a.accuracy:6.3f} -> {b.accuracy:5.3f} {a.block_coverage:6.3f} -> {b.block_coverage:5.3f} "
            f"{a.block_accuracy:5.3f} -> {b.block_accuracy:5.3f}"
        )
    print(f"mean ratio of losses {sum(losses) / max(1, len(losses)):.3f}; mean gain {sum(gains) / len(gains):.3f}")
    return sum(gains) > 0 and max(losses, default=0.0) <= WORST_RATIO


def _show_network(results: Sequence[LeftOut]) -> None:
    print(f"{'left out':16} {'rankings':>8} {'prior':>8} {'network':>8} {'ratio':>6}")
    for result in results:
        print(f"{result.name:16} {result.rankings:8} {result.loss_prior:8.4f} {result.loss:8.4f} {result.ratio:6.3f}")
    mean = sum(result.ratio for result in results) / max(1, len(results))
    print(f"mean ratio {mean:.3f}, worst {max((result.ratio for result in results), default=0.0):.3f}")


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, write)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
