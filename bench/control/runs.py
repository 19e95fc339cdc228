"""The runs that are evaluated, each by name and number, so that processes of their own can make them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

from llmfs.replay.mixes import SOURCES, drawn, evaluated, seconds, together
from llmfs.replay.steered import Scenario, steer
from llmfs.replay.workload import arrange
from predictor.control import network
from predictor.control.arms import ARMS
from predictor.control.network import Weights
from predictor.control.reward import Spent
from predictor.control.rivals import Aimd, DiscountedUcb, Fixed
from predictor.control.rules import Rules
from predictor.control.steering import Controller, Steering
from predictor.recording import Recording, load

FIXED = "fixed "
DIVIDED = "rules, shares"
"""What a mount does: the rules, and programs have shares of the cache (`llmfs/policy/partition.py`)."""

CACHE_BYTES = 24 << 20


@cache
def scenarios_of(seed: int, accesses: int, traces: tuple[str, ...], count: int) -> list[Scenario]:
    """Those that are evaluated; `count`: so many that are drawn, in place of the mixes. Raises OSError, TraceError."""
    if count:
        made = [drawn(Random(seed + number), accesses) for number in range(count)]
        found = [replace(each, name=f"{number}: {each.name}") for number, each in enumerate(made, 1)]
    else:
        found = evaluated(seed, accesses, CACHE_BYTES)
    return found + _recorded([load(Path(trace)) for trace in traces]) if traces else found


def run(
    seed: int, accesses: int, traces: tuple[str, ...], count: int, number: int, name: str, weights: Weights | None
) -> Spent:
    """What a controller, named as in the tables, spends in a scenario."""
    scenario = scenarios_of(seed, accesses, traces, count)[number]
    controller: Controller
    if name.startswith(FIXED):
        controller = Fixed([arm.name for arm in ARMS].index(name.removeprefix(FIXED)))
    elif weights is not None and name == "learned":
        controller = network.Learned(weights)
    else:
        controller = {"aimd": Aimd, "discounted ucb": DiscountedUcb, "rules": Rules, DIVIDED: Rules}[name]()
    return steer(scenario, Steering(controller), is_divided=name == DIVIDED).spent


def _recorded(recordings: Sequence[Recording]) -> list[Scenario]:
    """All recordings beside each other, and one after the other, over each source."""
    begins, begin_s = [], 0.0
    for each in recordings:
        begins.append(begin_s)
        begin_s += seconds(each)
    made = {
        "recorded, beside each other": [(each, 0.0) for each in recordings],
        "recorded, in turn": list(zip(recordings, begins, strict=True)),
    }
    return [
        Scenario(f"{name}, {source}", arrange(together(name, parts)), model, CACHE_BYTES)
        for name, parts in made.items()
        for source, model in SOURCES.items()
    ]
