"""Makes weights for the learned controller: rounds of steered replays, networks after each, the best told on others.

The rule by which weights are taken, stated before any were trained: on scenarios that had no part in training or in
the choice among networks, their mean cost is less than the rules', and no scenario costs more than `WORSE` times no
control.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import safetensors.numpy

from llmfs.replay.episodes import Draw, episodes, judge
from predictor.control.network import MARGINS_S, Weights
from predictor.control.transitions import Transition
from predictor.state import replace

WORSE = 1.05
"""Times the cost of no control, beyond which a controller has done harm."""

CHOOSING, PROVING = 900, 950
"""Added to the seed: apart from the rounds'."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How much is played."""

    rounds: int  # each steered by what was learned before
    scenarios: int  # a round
    judged: int  # scenarios to choose by, and as many to prove the choice
    steps: int  # of training, after each round
    seed: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What a controller costs relative to no control, over scenarios."""

    mean: float
    worst: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network of a round, and its figures on the scenarios that it is chosen by."""

    round: int
    weights: Weights
    chosen_by: Figures

    @property
    def margin_s(self) -> float:
        return float(self.weights["margin_s"][0])


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it. `proved` and `rules` are of the same scenarios, that nobody saw before."""

    decisions: int
    candidates: list[Candidate]
    best: Candidate
    proved: Figures
    rules: Figures

    @property
    def is_better(self) -> bool:
        """Whether the best one may be used."""
        return self.proved.mean < self.rules.mean and self.proved.worst <= WORSE


def make(recipe: Recipe, draw: Draw, jobs: int, tell: Callable[[str, float], None]) -> Report:
    """Plays, trains, judges. `tell(what, share)` hears how far it is. Raises OSError, TraceError."""
    tell("reading", 0.0)
    draw.check()
    from predictor.control.training import train  # torch: seconds, and only here

    met: list[Transition] = []
    made: list[tuple[int, Weights]] = []
    weights: Weights | None = None
    steps = recipe.rounds * recipe.scenarios + 2 * recipe.judged
    for number in range(recipe.rounds):
        seed = 1000 * recipe.seed + number
        for played, episode in enumerate(episodes(draw, seed, recipe.scenarios, jobs, weights), 1):
            met += episode
            tell(f"round {number + 1}: {len(met):,} decisions", (number * recipe.scenarios + played) / steps)
        weights = train(met, seed, recipe.steps).weights
        made += [(number + 1, weights | {"margin_s": np.array([margin_s], np.float32)}) for margin_s in MARGINS_S]

    def judged(part: int, candidates: Sequence[Weights], done: int, what: str) -> list[Figures]:
        costs = []
        seed = 1000 * recipe.seed + part
        for found in judge(draw, seed, recipe.judged, jobs, candidates):
            costs.append(found)
            tell(f"{what} on {recipe.judged} others", (done + len(costs)) / steps)
        return [Figures(fmean(each), max(each)) for each in zip(*costs, strict=True)]

    done = recipe.rounds * recipe.scenarios
    _, *figures = judged(CHOOSING, [weights for _, weights in made], done, "choosing")
    candidates = [Candidate(*each, found) for each, found in zip(made, figures, strict=True)]
    best = min(candidates, key=lambda each: each.chosen_by.mean + max(0.0, each.chosen_by.worst - WORSE))
    rules, proved = judged(PROVING, [best.weights], done + recipe.judged, "proving")
    return Report(len(met), candidates, best, proved, rules)


def save(candidate: Candidate, file: Path) -> None:
    """Writes the weights: the file is whole or as it was. Raises OSError."""
    replace(file, lambda stream: stream.write(safetensors.numpy.save(candidate.weights)))
