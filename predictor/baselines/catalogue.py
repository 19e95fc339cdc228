"""All rivals by name, made for one path table. Importing it imports no torch: the one that needs it does, when made."""

from collections.abc import Callable

from predictor.baselines.igtcache import IGTCacheLike
from predictor.baselines.last_successor import LastSuccessor, ProgramLastSuccessor
from predictor.baselines.leap import Leap
from predictor.baselines.mithril import Mithril
from predictor.baselines.order2 import Order2
from predictor.baselines.probability_graph import ProbabilityGraph
from predictor.baselines.rival import Nothing, Rival
from predictor.baselines.sequential import Sequential
from predictor.baselines.siblings import Siblings
from predictor.baselines.stride import Stride
from predictor.events import PathTable


def _delta_lstm(paths: PathTable) -> Rival:
    from predictor.baselines.delta_lstm import DeltaLSTM

    return DeltaLSTM(paths)


RIVALS: dict[str, Callable[[PathTable], Rival]] = {
    Nothing.name: lambda _paths: Nothing(),
    Sequential.name: lambda _paths: Sequential(),
    Stride.name: lambda _paths: Stride(),
    Leap.name: lambda _paths: Leap(),
    LastSuccessor.name: lambda _paths: LastSuccessor(),
    ProgramLastSuccessor.name: lambda _paths: ProgramLastSuccessor(),
    Order2.name: lambda _paths: Order2(),
    Siblings.name: Siblings,
    Mithril.name: lambda _paths: Mithril(),
    ProbabilityGraph.name: lambda _paths: ProbabilityGraph(),
    IGTCacheLike.name: IGTCacheLike,
    "delta-LSTM": _delta_lstm,
}
"""From the one that does nothing to the one that costs most."""
