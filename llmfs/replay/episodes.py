"""What the learned controller learns from: replays of drawn scenarios, steered to see what comes of it, against their
ghosts.

The first ones are steered at random. Later ones are steered by what was learned so far, now and then at random, for
what random steering leads to is not what a good controller meets. Where recordings are given, excerpts of the first
`LEARNED_FROM` of each are learned from, and of the rest judged by.
"""

import concurrent.futures
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any, TypeVar

from llmfs.replay.mixes import drawn, excerpts
from llmfs.replay.steered import Scenario, Steered, steer
from predictor.control.arms import ARMS, SAFE
from predictor.control.network import Learned, Weights
from predictor.control.reward import Spent, reward_s
from predictor.control.rivals import Fixed
from predictor.control.rules import Rules
from predictor.control.state import Observer, Row
from predictor.control.steering import Controller, Steering
from predictor.control.transitions import Transition
from predictor.recording import Recording, latest, load
from predictor.trace import TraceError

Result = TypeVar("Result")

STAYS = 0.75
"""How often the explorer keeps its arm: what an arm does shows after a few looks."""

STRAYS = 0.1
"""How often it goes elsewhere than the network would."""

RUNS = 3
"""Of each scenario that are steered, beside the ghost."""

LEARNED_FROM = 0.7
"""Of each recording; what is judged by lies after it, as what a mount will see does."""

ACCESSES_MAX = 200_000
"""Of each recording, the latest: every process has it in memory."""

ACCESSES_LEAST = 1000
"""Of a recording: from less nothing is learned, and nothing is left to judge by."""


class Explorer:
    """Any arm, for a while; with weights mostly theirs."""

    name = "explorer"

    def __init__(self, random: Random, weights: Weights | None = None) -> None:
        self._random = random
        self._learned = Learned(weights) if weights is not None else None

    def choose(self, row: Row, seen: Observer, arm: int) -> int:
        if self._learned is not None and self._random.random() >= STRAYS:
            return self._learned.choose(row, seen, arm)
        if self._learned is None and self._random.random() < STAYS:
            return arm
        return self._random.randrange(len(ARMS))


@dataclass(frozen=True, slots=True)
class Draw:
    """Where scenarios come from: how long their programs are, and the recordings to mix in."""

    accesses: int
    traces: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises OSError, TraceError where a recording cannot be read, or is too short."""
        _loaded(self.traces)

    def scenario(self, random: Random, is_to_judge: bool) -> Scenario:
        """One of them."""
        part = (LEARNED_FROM, 1.0) if is_to_judge else (0.0, LEARNED_FROM)
        recorded = {each.name: excerpts(each, *part) for each in _loaded(self.traces)}
        return drawn(random, self.accesses, recorded)


@cache
def _loaded(traces: tuple[str, ...]) -> list[Recording]:
    found = []
    for number, trace in enumerate(traces, 1):
        recording = latest(load(trace), ACCESSES_MAX)
        if (accesses := sum(map(len, recording.batches))) < ACCESSES_LEAST:
            raise TraceError(f"{trace}: {accesses} accesses are too few, of {ACCESSES_LEAST}")
        found.append(replace(recording, name=f"{number}: {recording.name}"))
    return found


def episode(draw: Draw, seed: int, weights: Weights | None) -> list[Transition]:
    """Of a drawn scenario what explorers met, and what the safe arm met, whose rewards are 0."""
    random = Random(seed)
    scenario = draw.scenario(random, is_to_judge=False)
    ghost = steer(scenario, Steering(Fixed(SAFE)))
    found = transitions(ghost, ghost)
    for _ in range(RUNS):
        explored = steer(scenario, Steering(Explorer(random, weights), agreeing=1, dwell=0))
        found += transitions(explored, ghost)
    return found


def judged(draw: Draw, seed: int, candidates: Sequence[Weights]) -> list[float]:
    """What a drawn scenario costs, relative to no control, by the rules and by each network."""
    scenario = draw.scenario(Random(seed), is_to_judge=True)
    base_s = steer(scenario, Steering(Fixed(SAFE))).spent.cost_s
    controllers: list[Controller] = [Rules(), *map(Learned, candidates)]
    return [steer(scenario, Steering(each)).spent.cost_s / base_s for each in controllers]


def episodes(draw: Draw, seed: int, count: int, jobs: int, weights: Weights | None) -> Iterator[list[Transition]]:
    """So many episodes, `jobs` at a time."""
    return in_parallel(episode, [(draw, each, weights) for each in _seeds(seed, count)], jobs)


def judge(draw: Draw, seed: int, count: int, jobs: int, candidates: Sequence[Weights]) -> Iterator[list[float]]:
    """What so many scenarios cost, each as `judged` has it."""
    return in_parallel(judged, [(draw, each, candidates) for each in _seeds(seed, count)], jobs)


def _seeds(seed: int, count: int) -> list[int]:
    return [seed * 1_000_003 + number for number in range(count)]


def in_parallel(call: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], jobs: int) -> Iterator[Result]:
    """The results of `call(*task)`, in the order of the tasks, `jobs` at a time in processes of their own."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        yield from (each.result() for each in [pool.submit(call, *task) for task in tasks])


def transitions(run: Steered, ghost: Steered) -> list[Transition]:
    """What each decision of a run led to. The ghost's waste is spread evenly over its accesses."""
    found = []
    share = len(ghost.stall_s) or 1
    for number, look in enumerate(run.looks):
        if look.row is None:
            continue
        part = len(look.answered) / share
        spent = Spent(sum(run.stall_s[index] for index in look.answered), look.wasted_bytes, look.fetches)
        base = Spent(
            sum(ghost.stall_s[index] for index in look.answered),
            int(part * ghost.spent.wasted_bytes),
            int(part * ghost.spent.fetches),
        )
        after = run.looks[number + 1].row if number + 1 < len(run.looks) else None
        found.append(Transition(look.row, look.arm, reward_s(spent, base), after))
    return found
