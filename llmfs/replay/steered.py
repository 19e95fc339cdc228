"""The replay's planner with a controller beside it, which sees what a mount's would see."""

from dataclasses import dataclass, field

from llmfs.policy.eviction import Eviction
from llmfs.policy.planning import UNUSED_SHARE_PROVEN
from llmfs.replay.planners import EnginePlanner
from llmfs.replay.simulation import Cache, Simulation
from llmfs.replay.source import Model
from llmfs.replay.workload import Workload
from predictor import experience
from predictor.control.arms import ARMS
from predictor.control.reward import Spent
from predictor.control.state import Reading, Row
from predictor.control.steering import DECIDE_S, Steering
from predictor.engine import Engine
from predictor.limits import Limits


@dataclass(frozen=True, slots=True)
class Scenario:
    """A workload over a source, with a cache."""

    name: str
    workload: Workload
    model: Model
    cache_bytes: int


@dataclass(slots=True)
class Look:
    """A decision and what followed until the next one."""

    row: Row | None
    arm: int
    answered: list[int] = field(default_factory=list)  # accesses
    wasted_bytes: int = 0
    fetches: int = 0


@dataclass(slots=True)
class Steered:
    """What a run showed."""

    spent: Spent
    looks: list[Look]
    stall_s: list[float]  # by access
    virtual_s: float
    changes: int


class SteeredPlanner(EnginePlanner):
    """The predictor; once in `DECIDE_S` of virtual time the controller is asked, and the cache is divided."""

    def __init__(self, engine: Engine, steering: Steering, divided: Eviction | None) -> None:
        super().__init__(steering.controller.name, engine)
        self._steering = steering
        self._divided = divided
        self.looks = [Look(None, steering.arm)]
        self.stall_s: list[float] = []

    def begin(self, simulation: Simulation) -> None:
        super().begin(simulation)
        self.stall_s = [0.0] * len(simulation.workload)
        self._wasted = self._fetches = 0
        self._look()

    def accessed(self, index: int) -> None:
        super().accessed(index)
        self.stall_s[index] = self.simulation.now_s - self.simulation.issued_s[index]
        self.looks[-1].answered.append(index)

    def _look(self) -> None:
        simulation = self.simulation
        self.settle()
        decision = self._steering.look(reading_of(simulation))
        if decision.was_changed:
            simulation.steer(ARMS[decision.arm])
        if self._divided is not None:
            self._divided.divide()
        self.looks.append(Look(decision.row, decision.arm))
        simulation.call_at(simulation.now_s + DECIDE_S, self._look)

    def settle(self) -> None:
        """Books what was spent since the last look on it."""
        outcome, look = self.simulation.outcome, self.looks[-1]
        fetches = outcome.names_ahead + outcome.blocks_ahead
        look.wasted_bytes, look.fetches = outcome.bytes_unused - self._wasted, fetches - self._fetches
        self._wasted, self._fetches = outcome.bytes_unused, fetches


def reading_of(simulation: Simulation) -> Reading:
    """The counters of a run, as a mount's metrics have them."""
    outcome, source = simulation.outcome, simulation.source
    demand_busy, _ = source.busy
    return Reading(
        time_s=simulation.now_s,
        stall_s=outcome.total_stall_s,
        reads=len(outcome.read_stalls_s),
        hits=outcome.block_hits + outcome.blocks[0],
        ahead_bytes=source.bytes[1],
        demand_bytes=source.bytes[0],
        used_bytes=outcome.bytes_used,
        wasted_bytes=outcome.bytes_unused,
        calls=(source.answered[0], source.answered[1]),
        call_s=(source.answered_s[0], source.answered_s[1]),
        queue=len(simulation.planning),
        demand_busy=demand_busy,
        running=simulation.planning.running,
        name_floor_s=source.name_floor.seconds,
        transfers_s=(source.transfers.took_s, source.transfers.alone_s),
    )


def steer(scenario: Scenario, steering: Steering, is_divided: bool = False) -> Steered:
    """One run, from an empty cache and the shipped experience.

    `is_divided`: programs may get shares of the cache, and have parts of a crowded line.
    """
    engine = Engine(Limits(ahead_bytes=int(UNUSED_SHARE_PROVEN * scenario.cache_bytes)))
    experience.give(engine)
    eviction = Eviction(scenario.cache_bytes)
    planner = SteeredPlanner(engine, steering, eviction if is_divided else None)
    simulation = Simulation(scenario.workload, Cache.empty(eviction), planner, scenario.model, is_divided)
    outcome = simulation.run()
    planner.settle()
    spent = Spent(outcome.total_stall_s, outcome.bytes_unused, outcome.names_ahead + outcome.blocks_ahead)
    return Steered(spent, planner.looks, planner.stall_s, outcome.virtual_s, steering.changes)
