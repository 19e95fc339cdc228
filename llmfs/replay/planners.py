"""Who plans in a replay: nobody, the local rules, the predictor's engine, or a rival in its place."""

from collections import deque
from collections.abc import Sequence

from llmfs.blocks import key_inode_id
from llmfs.config import Predictor
from llmfs.recorder import BATCH_RECORDS, FLUSH_S
from llmfs.replay.simulation import Simulation
from llmfs.replay.tree import Node
from predictor.baselines.rival import Access, Rival
from predictor.engine import Engine
from predictor.events import Op
from predictor.plan import Outcome as Became
from predictor.plan import PlanItem
from predictor.process import SCORES_S

THINKING_S = 50e-6
"""An access in the predictor's process, in virtual time."""

BETWEEN_RUNS_NS = 60_000_000_000
"""From the end of a run to the next one, on the engine's clock: what was planned in one is over in the next."""


class NoPlanner:
    """No predictor: the local rules alone, or not even these."""

    def __init__(self, rules: Predictor, name: str) -> None:
        self.name = name
        self.rules = rules

    def begin(self, simulation: Simulation) -> None:
        pass

    def accessed(self, index: int) -> None:
        pass

    def listed(self, node: Node) -> None:
        pass

    def became(self, node: Node, generator: str, was_used: bool, was_late: bool) -> None:
        pass

    def score(self, key: bytes) -> float:
        return 0.0


class EnginePlanner(NoPlanner):
    """The predictor, told in batches as the recorder's, answering after it has thought."""

    def __init__(self, name: str, engine: Engine) -> None:
        super().__init__(Predictor.LEARNED, name)
        self.engine = engine
        self._latest_ns = 0
        self._scores: dict[int, float] = {}

    def begin(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.engine.begin_session(len(simulation.workload.recording.paths))
        self._pending: list[int] = []
        self._listed: deque[Node] = deque()
        self._named_paths: set[int] = {0}
        self._named_streams: set[int] = set()
        self._outcomes: list[tuple[bytes, str, int]] = []
        self._is_due = False
        self._free_s = 0.0
        self._epoch_ns = self._latest_ns + BETWEEN_RUNS_NS
        simulation.call_at(SCORES_S, self._score_all)

    def accessed(self, index: int) -> None:
        self._pending.append(index)
        if len(self._pending) >= BATCH_RECORDS:
            self._flush()
        else:
            self._flush_soon()

    def listed(self, node: Node) -> None:
        self._listed.append(node)
        self._flush_soon()

    def became(self, node: Node, generator: str, was_used: bool, was_late: bool) -> None:
        outcome = Became.UNUSED if not was_used else Became.LATE if was_late else Became.IN_TIME
        self._outcomes.append((self.simulation.cache.tree.path(node), generator, int(outcome)))

    def score(self, key: bytes) -> float:
        return self._scores.get(key_inode_id(key), 0.0)

    def _flush_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self.simulation.call_at(self.simulation.now_s + FLUSH_S, self._flush_due)

    def _flush_due(self) -> None:
        self._is_due = False
        self._flush()

    def _flush(self) -> None:
        """The batch goes to the predictor, which has it when it has done with the one before."""
        pending, self._pending = self._pending, []
        simulation, engine = self.simulation, self.engine
        if pending:
            workload = simulation.workload
            records = workload.records[pending]
            self._latest_ns = self._epoch_ns + int(simulation.now_s * 1e9)
            records["time_ns"] = self._latest_ns
            paths: list[list[object]] = []
            for number in dict.fromkeys(records["path"].tolist()):
                self._name_path(number, paths)
            streams: list[list[object]] = []
            for number in dict.fromkeys(records["stream"].tolist()):
                if number not in self._named_streams:
                    self._named_streams.add(number)
                    stream = workload.recording.streams[number]
                    streams.append([number, stream.tgid, stream.command])
            engine.observe(paths, streams, records)
        while self._listed:
            self._tell_listing(self._listed.popleft())
        if self._outcomes:
            engine.outcomes(self._outcomes)
            self._outcomes = []
        items = self._plan()
        self._free_s = max(self._free_s, simulation.now_s) + THINKING_S * (1 + len(pending))
        if items:
            simulation.call_at(self._free_s, lambda: self._carry_out(items))
        turned = engine.turned()
        if turned:
            simulation.call_at(self._free_s, lambda: self._take_scores(turned))

    def _plan(self) -> list[PlanItem]:
        return self.engine.plan()

    def _carry_out(self, items: Sequence[PlanItem]) -> None:
        simulation = self.simulation
        for item in items:
            node = simulation.cache.tree.at(item.path)
            simulation.wish(item.horizon, item.want, node, item.offset, item.length, item.generator, item.score)

    def _name_path(self, number: int, paths: list[list[object]]) -> None:
        """The recording's path and those above it, the highest first, as far as they were not named yet."""
        table = self.simulation.workload.recording.paths
        above = []
        while number not in self._named_paths:
            self._named_paths.add(number)
            above.append(number)
            number = table.parent(number)
        paths.extend([each, table.parent(each), table.name(each)] for each in reversed(above))

    def _tell_listing(self, node: Node) -> None:
        number = self.simulation.numbers.get(node.id)
        if number is None or node.listing is None:
            return
        names = [listed.name for listed in node.listing.names]
        kinds = [listed.kind >> 12 for listed in node.listing.names]
        paths: list[list[object]] = []
        self._name_path(number, paths)
        self.engine.observe(paths, [], self.simulation.workload.records[:0])
        self.engine.listing(number, names, kinds)

    def _score_all(self) -> None:
        self._take_scores(self.engine.scores())
        self.simulation.call_at(self.simulation.now_s + SCORES_S, self._score_all)

    def _take_scores(self, scores: Sequence[tuple[bytes, float]]) -> None:
        simulation = self.simulation
        for path, score in scores:
            node = simulation.cache.tree.at(path)
            simulation.scored(node, score, self._scores.get(node.id, 0.0))
            self._scores[node.id] = score


class RivalPlanner(NoPlanner):
    """A rival, beside the local rules: it hears and answers at once, which the predictor's process cannot."""

    def __init__(self, rival: Rival, rules: Predictor = Predictor.SEQUENTIAL) -> None:
        super().__init__(rules, rival.name)
        self._rival = rival
        self._listed: set[int] = set()

    def begin(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self._listed.clear()

    def accessed(self, index: int) -> None:
        simulation, workload = self.simulation, self.simulation.workload
        node = simulation.nodes[workload.path[index]]
        stream = workload.recording.streams[workload.stream[index]]
        op = workload.op[index]
        access = Access(
            op,
            node.id,
            stream.tgid,
            stream.command,
            workload.offset[index],
            workload.length[index],
            node.size if op in (Op.OPEN, Op.READ) else 0,
            int(simulation.now_s * 1e9),
        )
        for rank, wish in enumerate(self._rival.access(access)):
            wanted = simulation.cache.tree.nodes[wish.path]
            simulation.wish(rank, wish.want, wanted, wish.offset, wish.length, self.name, 1.0)

    def listed(self, node: Node) -> None:
        if node.id not in self._listed and node.listing is not None:
            self._listed.add(node.id)
            children = [listed.ino for listed in node.listing.names]
            nodes = self.simulation.cache.tree.nodes
            self._rival.listing(node.id, children, {child for child in children if nodes[child].is_folder})
