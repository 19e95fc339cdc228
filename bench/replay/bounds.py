"""What no policy can beat: they know the recording's future.

`OraclePlanner` prefetches what the programs need next, in that order, limited by the same source, carriers and share of
the cache as everybody; with `Belady` beside it, which drops the block that is used last. `CandidateOracle` is a perfect
ranking of the predictor's own candidates: all are proposed, however unlikely, and those that will be used are fetched.
"""

import heapq
from bisect import bisect_right
from collections import deque
from collections.abc import Callable

from bench.replay.lru import Lru
from llmfs.blocks import BLOCK_BYTES
from llmfs.config import Predictor
from llmfs.policy.eviction import Resident
from llmfs.replay.planners import EnginePlanner, NoPlanner
from llmfs.replay.simulation import CHANGES, Simulation
from llmfs.replay.workload import Workload
from predictor import experience
from predictor.engine import Engine
from predictor.events import Op
from predictor.limits import Limits
from predictor.plan import PlanItem, Want

NEVER = 1 << 62
AHEAD_ACCESSES = 8192
"""How far the oracle looks ahead for something to fetch."""

WAITING = 64
"""Wishes that it keeps waiting: enough for all carriers."""

WINDOW_SHARE = 0.2
"""Of the cache: how much it looks ahead. What lies there for a far future would be dropped before it is used."""

CANDIDATE_HORIZON = 4096
"""A candidate counts as right if it is used within so many accesses of the recording."""

_NAMES = frozenset({Op.LOOKUP, Op.GETATTR, Op.OPEN, Op.READLINK, Op.XATTR, Op.ABSENT})


class Future:
    """When each block and each path of a workload is used: indices of accesses, sorted."""

    def __init__(self, workload: Workload) -> None:
        self._blocks: dict[tuple[int, int], list[int]] = {}
        self._paths: dict[int, list[int]] = {}
        for index, path in enumerate(workload.path):
            self._paths.setdefault(path, []).append(index)
            if workload.op[index] == Op.READ and workload.length[index]:
                offset = workload.offset[index]
                last = (offset + workload.length[index] - 1) // BLOCK_BYTES
                for block in range(offset // BLOCK_BYTES, last + 1):
                    self._blocks.setdefault((path, block), []).append(index)

    def next_block(self, path: int, block: int, now: int) -> int:
        """The first access after `now` that reads the block; NEVER."""
        return _next(self._blocks.get((path, block), []), now)

    def next_path(self, path: int, now: int) -> int:
        """The first access after `now` of the path; NEVER."""
        return _next(self._paths.get(path, []), now)


def _next(places: list[int], now: int) -> int:
    index = bisect_right(places, now)
    return places[index] if index < len(places) else NEVER


class OraclePlanner(NoPlanner):
    """Knows what comes."""

    def __init__(self) -> None:
        super().__init__(Predictor.OFF, "oracle")

    def begin(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self._next = 0
        self._after = _changes_before(simulation.workload)
        self._postponed: list[tuple[int, int]] = []  # (the change that has to come first, access)
        self._window: deque[tuple[int, int]] = deque()  # (access, bytes): what the cache has to hold for it
        self._window_bytes = 0
        self._look_ahead()

    def accessed(self, index: int) -> None:
        self._look_ahead()

    def _look_ahead(self) -> None:
        simulation, workload = self.simulation, self.simulation.workload
        while self._postponed and self._postponed[0][0] <= simulation.issued:
            self._wish(heapq.heappop(self._postponed)[1])
        self._next = max(self._next, simulation.issued + 1)
        end = min(len(workload), simulation.issued + 1 + AHEAD_ACCESSES)
        room = simulation.cache.eviction.capacity_bytes
        while self._window and self._window[0][0] <= simulation.issued:
            self._window_bytes -= self._window.popleft()[1]
        while self._next < end and len(simulation.planning) < WAITING and self._window_bytes < WINDOW_SHARE * room:
            if workload.op[self._next] == Op.READ:
                self._window.append((self._next, workload.length[self._next]))
                self._window_bytes += workload.length[self._next]
            if self._after[self._next] > simulation.issued:
                heapq.heappush(self._postponed, (self._after[self._next], self._next))
            else:
                self._wish(self._next)
            self._next += 1

    def _wish(self, index: int) -> None:
        simulation, workload = self.simulation, self.simulation.workload
        op, node = workload.op[index], simulation.nodes[workload.path[index]]
        if op == Op.READ and workload.length[index]:
            simulation.wish(0, Want.DATA, node, workload.offset[index], workload.length[index], self.name, 1.0)
        elif op == Op.READDIR:
            simulation.wish(0, Want.LISTING, node, 0, 0, self.name, 1.0)
        elif op in _NAMES and not node.is_known:
            simulation.wish(0, Want.ATTRIBUTES, node, 0, 0, self.name, 1.0)


def _changes_before(workload: Workload) -> list[int]:
    """For each access the latest one before it that changes its path, -1: none."""
    latest: dict[int, int] = {}
    found = []
    for index, (op, path) in enumerate(zip(workload.op, workload.path, strict=True)):
        found.append(latest.get(path, -1))
        if op in CHANGES:
            latest[path] = index
    return found


class Belady(Lru):
    """Drops the block whose next use is furthest away (Belady, IBM Systems Journal 1966)."""

    def __init__(self, capacity_bytes: int, next_use: Callable[[bytes], int]) -> None:
        """`next_use(key)`: when the block is used next, as a number that grows."""
        super().__init__(capacity_bytes)
        self.next_use = next_use
        self._order: list[tuple[int, bytes]] = []  # (-next use, key), entries of the past among them

    def admit(self, key: bytes, size_bytes: int, generator: str | None = None, *, group: int = 0) -> Resident:
        resident = super().admit(key, size_bytes, generator)
        heapq.heappush(self._order, (-self.next_use(key), key))
        return resident

    def touch(self, key: bytes, group: int = 0) -> Resident | None:
        resident = super().touch(key)
        if resident is not None:
            heapq.heappush(self._order, (-self.next_use(key), key))
        return resident

    def next_victim(self) -> bytes:
        """The one that is used last."""
        while True:
            at, key = heapq.heappop(self._order)
            if key not in self.residents:
                continue
            now = self.next_use(key)
            if now == -at:
                return key
            heapq.heappush(self._order, (-now, key))  # it was used meanwhile


class CandidateOracle(EnginePlanner):
    """The engine with every candidate let through, and those kept that come true."""

    def __init__(self, ahead_bytes: int) -> None:
        limits = Limits(
            min_score=0.0,
            min_score_unseen=0.0,
            min_score_names=0.0,
            ahead_bytes=ahead_bytes,
        )
        engine = Engine(limits)
        experience.give(engine)
        super().__init__("candidate oracle", engine)

    def begin(self, simulation: Simulation) -> None:
        self._future = Future(simulation.workload)
        super().begin(simulation)

    def _plan(self) -> list[PlanItem]:
        simulation = self.simulation
        now = simulation.issued
        kept = []
        for item in super()._plan():
            number = simulation.numbers.get(simulation.cache.tree.at(item.path).id)
            if number is not None and self._future.next_path(number, now) <= now + CANDIDATE_HORIZON:
                kept.append(item)
        return kept
