"""What the learned controller learns from: replays of drawn scenarios, steered to see what comes of it, against their
ghosts.

The first ones are steered at random. Later ones are steered by what was learned so far, now and then at random, for
what random steering leads to is not what a good controller meets.
"""

import concurrent.futures
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, TypeVar

from bench.control.steered import Steered, steer
from bench.control.workloads import drawn
from predictor.control.arms import ARMS, SAFE
from predictor.control.network import Learned, Weights
from predictor.control.reward import Spent, reward_s
from predictor.control.rivals import Fixed
from predictor.control.state import Observer, Row
from predictor.control.steering import Steering
from predictor.control.transitions import Transition

Result = TypeVar("Result")

STAYS = 0.75
"""How often the explorer keeps its arm: what an arm does shows after a few looks."""

STRAYS = 0.1
"""How often it goes elsewhere than the network would."""

RUNS = 3
"""Of each scenario that are steered, beside the ghost."""


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


def episode(seed: int, accesses: int, weights: Weights | None) -> list[Transition]:
    """Of a drawn scenario what explorers met, and what the safe arm met, whose rewards are 0."""
    random = Random(seed)
    scenario = drawn(random, accesses)
    ghost = steer(scenario, Steering(Fixed(SAFE)))
    found = transitions(ghost, ghost)
    for _ in range(RUNS):
        explored = steer(scenario, Steering(Explorer(random, weights), agreeing=1, dwell=0))
        found += transitions(explored, ghost)
    return found


def judged(seed: int, accesses: int, candidates: Sequence[Weights]) -> list[float]:
    """What each network's run of a drawn scenario costs, relative to no control."""
    scenario = drawn(Random(seed), accesses)
    base_s = steer(scenario, Steering(Fixed(SAFE))).spent.cost_s
    return [steer(scenario, Steering(Learned(weights))).spent.cost_s / base_s for weights in candidates]


def episodes(seed: int, count: int, accesses: int, jobs: int, weights: Weights | None) -> Iterator[list[Transition]]:
    """So many episodes, `jobs` at a time."""
    yield from in_parallel(episode, [(seed * 1_000_003 + number, accesses, weights) for number in range(count)], jobs)


def judge(seed: int, count: int, accesses: int, jobs: int, candidates: Sequence[Weights]) -> Iterator[list[float]]:
    """The costs of all candidates on so many scenarios, each relative to no control."""
    yield from in_parallel(judged, [(seed * 1_000_003 + number, accesses, candidates) for number in range(count)], jobs)


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
