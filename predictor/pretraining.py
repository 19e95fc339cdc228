"""How what is shipped is made: weights and tables for mounts that have seen nothing yet, from recordings.

    recordings --replay--> tables that the families have in common                     predictor.experience
               --replay, renamed, mixed--> rankings and their outcomes --train--> weights    predictor.model

Both are shipped only if they help programs that had no part in them (predictor.leave_one_out).

What keeps the network from doing harm elsewhere: it starts as the prior; each family weighs the same, its loss measured
in its prior's; extensions are hidden and features drop out; and of what it learned only as much is applied, and only as
many steps are made, as is best for families that were held back from the training, the worst of them counting as much
as the mean. In use it is followed only as far as it proves itself (predictor.tracker.Group).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from predictor import experience
from predictor.augment import interleaved, renamed
from predictor.engine import Engine
from predictor.evaluate import Result, replay
from predictor.features import CANDIDATE_FEATURES, EXTENSIONS, PRIOR_COLUMNS, TOKEN_FEATURES
from predictor.ranker import Weights
from predictor.ranking import Ranker
from predictor.recording import Recording, load
from predictor.snapshot import give_back_tables, take_tables
from predictor.tracker import HORIZONS
from predictor.trainer import Arrays

if TYPE_CHECKING:
    from predictor.model import Model  # torch takes a second to import

Progress = Callable[[str, float], None]
"""Called with what is being done and how far it is, 0 to 1."""

STEPS = 320
CHECK_EVERY = 25
RATE = 1e-3
DECAY = 1e-2
RANKINGS = 384
"""Drawn for a step."""
AUGMENTED_MAX = 20_000
"""Accesses a run. What is longer has rankings enough of its own, and takes long to replay."""
JUDGED = 192
"""Rankings of each workload held back."""
DROPOUT = 0.2
"""Features switched off at random, for a whole batch: what is left must do on workloads of another kind."""
SCALES = (0.25, 0.5, 0.75)
"""How much of the corrections may be made. Not all: the families held back are fewer than those that there are. (With
all of it, one workload of 37 was 3.7% worse than the prior, and with this 0.8%; on the mean it was 1% better.)"""
HELD_BACK = 4
"""One family in so many is held back to decide when to stop, and how much to apply."""
FEW = 32
"""Rankings below which a workload says nothing about a loss."""


@dataclass(frozen=True, slots=True)
class Workload:
    """The rankings of some runs of one program, in order, and how well its first run was planned."""

    name: str
    families: frozenset[str]  # programs that are too alike to be called unseen; two where two programs were mixed
    engine: Engine
    arrays: Arrays
    first: Result

    @property
    def rankings(self) -> int:
        return len(self.arrays["starts"]) - 1 if self.arrays else 0


def family_of(name: str) -> str:
    """Of a workload, by its name."""
    return name.partition("-")[0]


def recordings_of(traces: Sequence[Path], progress: Progress) -> dict[str, list[Recording]]:
    """The runs NAME-1, NAME-2... of each workload NAME, in order. Raises TraceError or OSError."""
    runs: dict[str, list[Recording]] = {}
    for number, trace in enumerate(sorted(traces)):
        progress(f"reading {trace.name}", number / len(traces))
        runs.setdefault(trace.name.partition(".")[0].rpartition("-")[0] or trace.name, []).append(load(trace))
    return runs


def play(name: str, families: frozenset[str], runs: Sequence[Recording], common: Engine | None = None) -> Workload:
    """What an engine makes of the runs that knows nothing, or only what is `common`."""
    engine = begun_with(common)
    results = [replay(engine, recording) for recording in runs]
    engine.tracker.settle()
    return Workload(name, families, engine, engine.examples.arrays(), results[0])


def begun_with(common: Engine | None, ranker: Ranker | None = None) -> Engine:
    """An engine that knows what is `common`, and keeps every ranking as an example."""
    engine = Engine(ranker=ranker)
    if common is not None:
        give_back_tables(engine, take_tables(common))
    engine.examples.every = 1
    return engine


def with_experience(
    runs: dict[str, list[Recording]], workloads: Sequence[Workload], progress: Progress
) -> list[Workload]:
    """The workloads again, each begun with what those of other families have in common."""
    found = []
    for number, workload in enumerate(workloads):
        progress(f"replaying {workload.name} with the others' experience", number / len(workloads))
        common = common_to_others(workloads, workload.families)
        found.append(play(workload.name, workload.families, runs[workload.name], common))
    return found


def common_to_others(workloads: Sequence[Workload], families: frozenset[str]) -> Engine:
    """What the workloads of none of these families have in common."""
    return experience.gather([other.engine for other in workloads if not other.families & families])


def augmented(
    runs: dict[str, list[Recording]], workloads: Sequence[Workload], progress: Progress, seed: int = 0
) -> list[Workload]:
    """More workloads to train on: each under other names, and each mixed with one of another family."""
    rng = np.random.default_rng(seed)
    found = []
    workloads = [w for w in workloads if max(_accesses(recording) for recording in runs[w.name]) <= AUGMENTED_MAX]
    for number, workload in enumerate(workloads):
        progress(f"replaying {workload.name}, renamed and mixed", number / len(workloads))
        prefix, shift = b"%c" % (97 + int(rng.integers(26))), int(rng.integers(1, 50))
        again = [renamed(recording, prefix, shift) for recording in runs[workload.name]]
        common = common_to_others(workloads, workload.families)
        found.append(play(f"{workload.name} renamed", workload.families, again, common))
        others = [other for other in workloads if not other.families & workload.families]
        if not others:
            continue
        other = others[int(rng.integers(len(others)))]
        families = workload.families | other.families
        mixed = [interleaved(a, b) for a, b in zip(runs[workload.name], runs[other.name], strict=False)]
        found.append(play(f"{workload.name} with {other.name}", families, mixed, common_to_others(workloads, families)))
    return found


def _accesses(recording: Recording) -> int:
    return sum(len(records) for records in recording.batches)


# The network


def pretrain(workloads: Sequence[Workload], seed: int = 0) -> Weights:
    """Weights for mounts that have seen nothing yet. Some families are held back to say when to stop."""
    import torch

    from predictor.model import Model, loss, tensors

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    workloads = [workload for workload in workloads if workload.rankings]
    families = sorted({family for workload in workloads for family in workload.families})
    held_back = frozenset(rng.permutation(families)[: max(1, len(families) // HELD_BACK)].tolist())
    taught = [workload for workload in workloads if not workload.families & held_back]
    judge = Judge([w for w in workloads if w.families <= held_back and w.rankings >= FEW], rng)
    arrays, firsts = together(taught)
    chances, weights = _balance(taught)
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=DECAY)
    best, best_score = model.weights() | {"scale": np.zeros(1, np.float32)}, 0.0
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - step / STEPS)
        drawn = np.sort(rng.choice(len(taught), RANKINGS, p=chances))
        places = (rng.random(RANKINGS) * (firsts[drawn + 1] - firsts[drawn])).astype(np.int64)
        tokens, rows, owner, distances = tensors(arrays, firsts[drawn] + places)
        tokens *= torch.from_numpy(_shown(rng, TOKEN_FEATURES))
        kept = _shown(rng, CANDIDATE_FEATURES)
        kept[PRIOR_COLUMNS] = 1
        rows *= torch.from_numpy(kept)
        weight = torch.from_numpy(weights[drawn])[owner]
        logits, times = model(tokens, rows, owner)
        value = loss(logits, times, distances, owner, weight)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % CHECK_EVERY == 0:
            scale, score = judge(model)
            if score < best_score:
                best, best_score = _hidden_extensions(model.weights()), score
                best["scale"] = np.array([scale], np.float32)
    return best


class Judge:
    """Says how good a model is for workloads that it was not trained on, and how much of its corrections to make."""

    def __init__(self, workloads: Sequence[Workload], rng: np.random.Generator) -> None:
        self._workloads = workloads
        self._chosen = [np.sort(rng.permutation(w.rankings)[:JUDGED]) for w in workloads]

    def __call__(self, model: "Model") -> tuple[float, float]:
        """(scale, score): the mean of the logarithms of losses in the prior's, and the worst where it is above zero.
        Below zero is better than the prior."""
        import torch

        from predictor.model import cross_entropy, labels_of, prior_of, tensors

        logs: dict[float, list[float]] = {scale: [] for scale in SCALES}
        for workload, chosen in zip(self._workloads, self._chosen, strict=True):
            tokens, rows, owner, distances = tensors(workload.arrays, chosen)
            tokens[:, :, TOKEN_FEATURES - EXTENSIONS :] = 0
            rows[:, CANDIDATE_FEATURES - EXTENSIONS :] = 0
            labels = labels_of(distances)
            with torch.no_grad():
                prior = prior_of(rows)
                correction = model(tokens, rows, owner)[0] - prior
                rival = float(cross_entropy(prior, labels))
                for scale in SCALES:
                    logs[scale].append(float(np.log(float(cross_entropy(prior + scale * correction, labels)) / rival)))
        scores = {scale: float(np.mean(each)) + max(0.0, *each) for scale, each in logs.items() if each}
        best = min(scores, key=lambda scale: scores[scale], default=0.0)
        return best, scores.get(best, 0.0)


def together(workloads: Sequence[Workload]) -> tuple[Arrays, npt.NDArray[np.int64]]:
    """All their rankings one after the other, and firsts (W+1,): the first of each."""
    names = ("tokens", "rows", "distances")
    arrays: Arrays = {name: np.concatenate([workload.arrays[name] for workload in workloads]) for name in names}
    lengths = np.concatenate([np.diff(workload.arrays["starts"]) for workload in workloads])
    arrays["starts"] = np.concatenate([[0], np.cumsum(lengths)])
    return arrays, np.concatenate([[0], np.cumsum([workload.rankings for workload in workloads])])


def _balance(workloads: Sequence[Workload]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """How often to draw from each workload: each family as often, whatever the number of its workloads. And the weight
    of each candidate drawn: so that a ranking weighs the same however long, and losses are measured in the prior's."""
    counts: dict[frozenset[str], int] = {}
    for workload in workloads:
        counts[workload.families] = counts.get(workload.families, 0) + 1
    chances = np.array([1 / counts[workload.families] for workload in workloads])
    lengths = np.array([len(workload.arrays["rows"]) / workload.rankings for workload in workloads])
    losses = np.array([max(0.05, loss_of_prior(workload)) for workload in workloads])
    return chances / chances.sum(), (lengths.mean() / lengths * losses.mean() / losses).astype(np.float32)


def _shown(rng: np.random.Generator, width: int) -> npt.NDArray[np.float32]:
    shown = (rng.random(width) > DROPOUT).astype(np.float32)
    shown[width - EXTENSIONS :] = 0
    return shown


def _hidden_extensions(weights: Weights) -> Weights:
    """What was never trained is noise."""
    weights = {name: value.copy() for name, value in weights.items()}
    weights["gru.weight_ih_l0"][:, TOKEN_FEATURES - EXTENSIONS :] = 0
    weights["hidden.weight"][:, -EXTENSIONS:] = 0
    return weights


def loss_of_prior(workload: Workload) -> float:
    """Mean cross entropy of the counts on all rankings of a workload."""
    return cross_entropy(workload.arrays["rows"][:, PRIOR_COLUMNS], workload.arrays["distances"])


def cross_entropy(chances: npt.NDArray[Any], distances: npt.NDArray[Any]) -> float:
    """chances (N, H) of use within each horizon, distances (N,), 0 for never -> the mean over all."""
    clipped = np.clip(chances.astype(np.float64), 1e-4, 1 - 1e-4)
    is_used = (distances[:, None] > 0) & (distances[:, None] <= np.array(HORIZONS))
    return float(-np.log(np.where(is_used, clipped, 1 - clipped)).mean())


def loss_of(weights: Weights, workload: Workload) -> float:
    """Mean cross entropy of the network alone on all rankings of a workload."""
    from predictor.model import Model, mean_cross_entropy

    model = Model()
    model.load_weights(weights)
    return mean_cross_entropy(model, workload.arrays, np.arange(workload.rankings))
