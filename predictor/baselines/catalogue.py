"""All rivals by name, made for one path table."""

from collections.abc import Callable

from predictor.baselines.last_successor import LastSuccessor, ProgramLastSuccessor
from predictor.baselines.leap import Leap
from predictor.baselines.order2 import Order2
from predictor.baselines.rival import Nothing, Rival
from predictor.baselines.sequential import Sequential
from predictor.baselines.siblings import Siblings
from predictor.baselines.stride import Stride
from predictor.events import PathTable

RIVALS: dict[str, Callable[[PathTable], Rival]] = {
    Nothing.name: lambda _paths: Nothing(),
    Sequential.name: lambda _paths: Sequential(),
    Stride.name: lambda _paths: Stride(),
    Leap.name: lambda _paths: Leap(),
    LastSuccessor.name: lambda _paths: LastSuccessor(),
    ProgramLastSuccessor.name: lambda _paths: ProgramLastSuccessor(),
    Order2.name: lambda _paths: Order2(),
    Siblings.name: Siblings,
}
"""From the one that does nothing to the one that costs most."""
