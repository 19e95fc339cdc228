"""What the learned controller learns from: replays of drawn scenarios, steered at random, against their ghosts."""

from collections.abc import Iterator
from random import Random

from bench.control.steered import Steered, steer
from bench.control.workloads import drawn
from predictor.control.arms import ARMS, SAFE
from predictor.control.reward import Spent, reward_s
from predictor.control.rivals import Fixed
from predictor.control.state import Observer, Row
from predictor.control.steering import Steering
from predictor.control.transitions import Transition

STAYS = 0.75
"""How often the explorer keeps its arm: what an arm does shows after a few looks."""


class Explorer:
    """Any arm, for a while."""

    name = "explorer"

    def __init__(self, random: Random) -> None:
        self._random = random

    def choose(self, row: Row, seen: Observer, arm: int) -> int:
        return arm if self._random.random() < STAYS else self._random.randrange(len(ARMS))


def episodes(seed: int, count: int, accesses: int) -> Iterator[list[Transition]]:
    """Of each drawn scenario what the explorer met, and what the safe arm met, whose rewards are 0."""
    for number in range(count):
        random = Random(seed * 1_000_003 + number)
        scenario = drawn(random, accesses)
        ghost = steer(scenario, Steering(Fixed(SAFE)))
        explored = steer(scenario, Steering(Explorer(random), agreeing=1, dwell=0))
        yield transitions(explored, ghost) + transitions(ghost, ghost)


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
