"""What a network is worth to programs that had no part in its training: each family of programs is left out in turn.

Two things are compared, on the family left out, between plans made by a network and plans made by counts: the loss of
the probabilities that were served, and what the plans covered and fetched in vain. A network that is fit to be shipped
is better on the mean, and nowhere much worse.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictor.engine import Engine
from predictor.evaluate import Result, replay
from predictor.pretraining import (
    FEW,
    Progress,
    Workload,
    begun_with,
    common_to_others,
    cross_entropy,
    family_of,
    loss_of,
    loss_of_prior,
    pretrain,
)
from predictor.ranker import NetworkRanker, Weights
from predictor.recording import Recording
from predictor.tracker import HORIZONS

WORST_RATIO = 1.02
"""Weights are fit to be shipped if, with each family left out, the loss on it is on the mean below the prior's and on
none of them more than 2% above it; and likewise of what the plans are worth."""


@dataclass(frozen=True, slots=True)
class InUse:
    """What became of the runs of a workload that were planned by counts, or by a network."""

    results: tuple[Result, ...]
    served: npt.NDArray[np.float16]  # (N, H): the probabilities that candidates were planned by
    distances: npt.NDArray[np.uint16]  # (N,)
    rankings: int

    @property
    def loss(self) -> float:
        """Mean cross entropy of what was served."""
        return cross_entropy(self.served, self.distances) if len(self.served) else 0.0

    @property
    def coverage(self) -> float:
        """Of names and blocks of data together, in all runs: planned before they were first touched."""
        covered = sum(len(r.covered) + len(r.blocks_covered) for r in self.results)
        return covered / max(1, sum(len(r.touched) + len(r.blocks_read) for r in self.results))

    @property
    def accuracy(self) -> float:
        """Of those that were planned: touched at all."""
        useful = sum(len(r.planned & r.touched) + len(r.blocks_planned & r.blocks_read) for r in self.results)
        return useful / max(1, sum(len(r.planned) + len(r.blocks_planned) for r in self.results))

    @property
    def worth(self) -> float:
        """The harmonic mean of the two: neither is worth anything without the other."""
        return 2 * self.coverage * self.accuracy / max(1e-9, self.coverage + self.accuracy)


def in_use(runs: Sequence[Recording], common: Engine, weights: Weights | None) -> InUse:
    """Replays the runs, planned by a network, or by counts where there is none."""
    engine = begun_with(common, None if weights is None else NetworkRanker(weights))
    results = tuple(replay(engine, recording) for recording in runs)
    engine.tracker.settle()
    arrays = engine.examples.arrays()
    if not arrays:
        return InUse(results, np.zeros((0, len(HORIZONS)), np.float16), np.zeros(0, np.uint16), 0)
    served, distances = np.asarray(arrays["served"], np.float16), np.asarray(arrays["distances"], np.uint16)
    return InUse(results, served, distances, len(arrays["starts"]) - 1)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A workload whose family had no part in the training."""

    name: str
    by_counts: InUse
    by_network: InUse
    ratio_alone: float  # of losses, were the network followed whatever it does

    @property
    def rankings(self) -> int:
        return self.by_counts.rankings

    @property
    def ratio(self) -> float:
        """Of the losses; below one: better than the prior."""
        return self.by_network.loss / self.by_counts.loss if self.by_counts.loss else 1.0

    @property
    def gain(self) -> float:
        """What the network's plans are worth, by what those by counts are worth; above one: better."""
        return self.by_network.worth / self.by_counts.worth if self.by_counts.worth else 1.0


def leave_one_out(
    runs: dict[str, list[Recording]],
    workloads: Sequence[Workload],
    more: Sequence[Workload],
    progress: Progress,
    keep: Callable[[str, Weights], object] = lambda _family, _weights: None,
    seed: int = 0,
) -> list[LeftOut]:
    """Trains without each family in turn, with `more` to train on, and tries what came of it on its workloads.

    `keep` is given each family and the weights that had no part of it.
    """
    found = []
    families = list(dict.fromkeys(family_of(workload.name) for workload in workloads))
    for number, family in enumerate(families):
        progress(f"training without {family}", number / len(families))
        weights = pretrain([w for w in (*workloads, *more) if family not in w.families], seed)
        keep(family, weights)
        for workload in workloads:
            if family in workload.families:
                common = common_to_others(workloads, workload.families)
                alone = loss_of(weights, workload) / loss_of_prior(workload) if workload.rankings else 1.0
                counts, network = (in_use(runs[workload.name], common, each) for each in (None, weights))
                found.append(LeftOut(workload.name, counts, network, alone))
                progress(
                    f"  {workload.name}: loss {found[-1].ratio:.3f}, plans {found[-1].gain:.3f}", number / len(families)
                )
    return found


def is_fit_to_ship(results: Sequence[LeftOut]) -> bool:
    """Whether a network so trained is better than the prior on programs it has not seen, and nowhere much worse."""
    ratios = [result.ratio for result in results if result.rankings >= FEW]
    gains = [result.gain for result in results]
    return (
        bool(ratios)
        and sum(ratios) / len(ratios) < 1
        and max(ratios) <= WORST_RATIO
        and sum(gains) / len(gains) > 1
        and min(gains) >= 1 / WORST_RATIO
    )
