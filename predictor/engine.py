"""The predictor's core: told accesses, it answers plans. The live process and the offline replay drive this class.

    accesses -> visits -> history, successors, directories           (what is learned at once)
                       -> cursors that replay the past                (what is planned without further thought)
                       -> candidates -> prior or network -> scores    (what is ranked, where no cursor is sure)

An *access* is what the mount saw; a *visit* is a stream's stay at one path, however many accesses it takes. This module
makes visits of accesses and has everything learn from each, by tables, in O(1). What is planned is predictor.planner's
to say, what is worth keeping predictor.reuse's.

What lives here is pure: no I/O, no clock (time comes in with the accesses), no randomness. Every table is bounded.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from predictor import ranges as byte_ranges
from predictor.candidates.directory import NAMES_MAX, Directories, extension_of
from predictor.candidates.follower import Follower
from predictor.candidates.history import ABSENT, ATTRIBUTES, DATA, LISTING, OPENED, History
from predictor.candidates.successors import Successors, alone, pair, within
from predictor.events import ROOT, Op, PathTable
from predictor.examples import Examples
from predictor.features import extension_bucket, token
from predictor.guesses import Guesses
from predictor.limits import Limits
from predictor.plan import COUNTS, LEARNED, RULES, Outcome, PlanItem
from predictor.planner import Planner
from predictor.processes import Processes
from predictor.proposals import Proposer
from predictor.ranking import Ranker, Ranking
from predictor.reuse import Reuse
from predictor.session import Session
from predictor.snapshot import Arrays, give_back, take
from predictor.streams import CONTINUATIONS_MAX, RECENT, StreamState
from predictor.tracker import HORIZONS, Group, Prediction, Prior, Tracker
from predictor.unseen import Proposal, Unseen

_ATTRIBUTE_OPS = frozenset({Op.LOOKUP, Op.GETATTR, Op.READLINK, Op.XATTR})
_CHANGES = frozenset({Op.WRITE, Op.CREATE, Op.UNLINK, Op.RENAME, Op.RMDIR, Op.MKDIR, Op.LINK, Op.SETATTR})


class Engine:
    """Learns from accesses, plans what to have ready. Not thread-safe."""

    def __init__(self, limits: Limits | None = None, ranker: Ranker | None = None) -> None:
        self.limits = limits or Limits()
        self.ranker = ranker
        self.network = LEARNED  # what the ranker is called in plans
        self.paths = PathTable()
        self.history = History(self.limits.history)
        self.successors = Successors(self.limits.contexts)
        self.directories = Directories(self.limits.names)
        self.prior = Prior()
        self.tracker = Tracker()
        self.examples = Examples(self.limits.examples)
        self.processes = Processes(self.history, self.tracker, self.limits)
        self.reuse = Reuse(self.paths, self.history, self.directories, self.limits.uses)
        self.sizes: dict[int, int] = {}
        self.guesses = Guesses()
        self.unseen = Unseen(self.paths, self.history, self.directories, self.sizes, self.prior, self.guesses)
        self.counters: dict[str, int] = dict.fromkeys(
            ("events", "visits", "unknown", "planned_items", "ranked", "in_time", "late", "unused"), 0
        )
        self._proposer = Proposer(self.paths, self.history, self.successors, self.directories)
        self._planner = Planner(
            self.limits,
            self.paths,
            self.history,
            self.prior,
            self.tracker,
            self.guesses,
            self._proposer,
            Ranking(self.paths, self._proposer, self.prior, self.tracker, self.examples, self.sizes, self.reuse.uses),
            self.sizes,
            self.counters,
        )
        self._together = Follower(self.history, interleaved=True)
        self._touched: dict[int, StreamState] = {}  # by identity: those that made visits since the last plan
        self._session = Session(self.paths, self.limits.paths_in_use)
        self._paths_max = self.limits.paths

    # What the mount tells

    def begin_session(self, paths_in_use: int = 0) -> None:
        """A mount began: its path and stream ids start anew, nothing is under way, no stream goes on.

        `paths_in_use`: how many path ids stay good at least, for a recording whose ids all do.
        """
        for stream in self.processes:
            self._settle(stream, 0)
        self.unseen.begin_session()
        self.processes.clear()
        self._touched.clear()
        self._planner.begin_session()
        self._session = Session(self.paths, max(paths_in_use, self.limits.paths_in_use))

    def observe(
        self,
        paths: Iterable[Sequence[Any]],
        streams: Iterable[Sequence[Any]],
        records: npt.NDArray[np.void],
    ) -> None:
        """Learns from a batch: new `[id, parent, name]`, new `[id, tgid, command]`, an array of ACCESS."""
        self._make_room()
        for number, parent, name in paths:
            self._session.name_path(number, parent, name)
        for number, tgid, command in streams:
            self._session.name_process(number, tgid, command)
        columns = [records[name].tolist() for name in ("time_ns", "offset", "length", "path", "stream", "op", "flags")]
        for time_ns, offset, length, session_path, session_stream, op, flags in zip(*columns, strict=True):
            self.counters["events"] += 1
            path = self._session.path(session_path)
            stream = self._session.stream(session_stream) or self._stream(session_stream)
            if path is None or stream is None:
                self.counters["unknown"] += 1  # the frame that named it was dropped
                continue
            self._planner.now_ns = max(self._planner.now_ns, time_ns)
            self._access(stream, path, op, offset, length, flags, time_ns)

    def listing(self, path: int, names: Sequence[bytes], types: Sequence[int]) -> None:
        """The directory `path` (the mount's id) was listed: names and d_type values."""
        known = self._session.path(path)
        if known is None:
            return
        self._make_room()
        children = [self.paths.intern(known, name) for name in names[:NAMES_MAX] if name not in (b".", b"..")]
        kinds = [kind for name, kind in zip(names, types, strict=False) if name not in (b".", b"..")]
        folders = {child for child, kind in zip(children, kinds, strict=False) if kind == 4}
        self.directories.listed(known, children, folders)
        self._propose(self.unseen.listed(known), None)

    def outcomes(self, rows: Iterable[Sequence[Any]]) -> None:
        """What became of prefetches: `[path, generator, outcome]`."""
        self._planner.told()
        for path, generator, number in rows:
            outcome = Outcome(number)
            self.counters[outcome.name.lower()] += 1
            known = self._find(path)
            if known is not None:
                self._planner.became(known, generator, outcome)

    def _find(self, path: bytes) -> int | None:
        current: int | None = ROOT
        for name in path.split(b"/"):
            if name and current is not None:
                current = self.paths.find(current, name)
        return current

    def _stream(self, session_stream: int) -> StreamState | None:
        process = self._session.process(session_stream)
        if process is None:
            return None
        stream, forgotten = self.processes.stream(*process)
        if forgotten is not None:
            self._settle(forgotten, 0)
            self._session.untie(forgotten)
        self._session.tie(session_stream, stream)
        return stream

    # Accesses become visits

    def _access(
        self, stream: StreamState, path: int, op: int, offset: int, length: int, flags: int, time_ns: int
    ) -> None:
        if op == Op.READ:
            if length:
                self._planner.was_read(length)
                self._read(stream, path, offset, length, time_ns)
            elif offset:
                self.sizes[path] = offset  # the end of the file was read
        elif op == Op.ABSENT:
            self._visit(stream, path, ABSENT, time_ns)
        elif op == Op.READDIR:
            self._visit(stream, path, LISTING, time_ns)
        elif op == Op.OPEN:
            if offset:
                self.sizes[path] = offset
            position = self._visit(stream, path, ATTRIBUTES | OPENED, time_ns)
            if not flags & 1:
                self._opened(stream, path, position)
        elif op in _ATTRIBUTE_OPS:
            if offset and op != Op.READLINK:
                self.sizes[path] = offset
            self._visit(stream, path, ATTRIBUTES, time_ns)
        elif op in _CHANGES:
            self._planner.withdraw(path)

    def _visit(self, stream: StreamState, path: int, flags: int, time_ns: int) -> int:
        """`stream` used `path` in the way of `flags`: the position of the visit, new or continued."""
        history = self.history
        position = stream.recent.get(path)
        if position is not None and position in history:
            if history.flags[position % history.capacity] | flags != history.flags[position % history.capacity]:
                history.note(position, flags)
            return position
        return self._begin_visit(stream, path, flags, time_ns)

    def _begin_visit(self, stream: StreamState, path: int, flags: int, time_ns: int) -> int:
        history = self.history
        self.counters["visits"] += 1
        self.tracker.tick(stream.group)
        self.guesses.tick(stream.group)
        self.tracker.use(path)
        self._planner.used(path)
        matched, skipped = stream.follower.visit(path, stream.previous, stream.command)
        self._together.visit(path, history.end - 1, stream.command)
        for old in skipped[-64:]:
            ghost = history.assume(old, stream.command, stream.previous)
            if ghost != stream.previous:
                stream.previous = ghost
                stream.recent[history.path[ghost % history.capacity]] = ghost
        position = history.append(path, flags, stream.command, stream.previous)
        if matched:
            stream.matched[position] = matched
        stream.previous = position
        stream.recent[path] = position
        stream.recent.move_to_end(path)
        self._settle(stream, RECENT)
        self._learn(stream, path, flags, time_ns)
        stream.before, stream.path, stream.time_ns = stream.path, path, time_ns
        stream.visits += 1
        stream.unranked.append(path)
        self._touched[id(stream)] = stream
        self._propose(self.unseen.visited(stream, path, flags), stream.group)
        return position

    def _settle(self, stream: StreamState, keep: int) -> None:
        """Ends the oldest open visits of a stream beyond `keep`."""
        while len(stream.recent) > keep:
            path, position = stream.recent.popitem(last=False)
            old = stream.matched.pop(position, None)
            if old is not None and position in self.history:
                self.history.inherit(position, old)
            stream.continuations.pop(path, None)
            if position not in self.history:
                continue
            read = self.history.ranges[position % self.history.capacity]
            self.unseen.ended(stream, position, byte_ranges.total(read))
            directory = self.directories.find(self.paths.parent(path))
            if directory is not None:
                size = self.sizes.get(path, 0)
                if size and read:
                    is_whole = byte_ranges.total(read) * 2 >= size
                    directory.whole = max(-8, min(8, directory.whole + (1 if is_whole else -1)))

    def _learn(self, stream: StreamState, path: int, flags: int, time_ns: int) -> None:
        """The tables and the token, before the stream's state moves on."""
        before = stream.path
        visits = self.reuse.visits(path)
        self.reuse.visit(path, self.counters["visits"])
        parent = self.paths.parent(path)
        directory = self.directories.find(parent)
        sibling_step = number_step = 0
        relation = 0
        if before >= 0:
            self.successors.observe(pair(stream.before, before), path)
            self.successors.observe(within(stream.command, before), path)
            self.successors.observe(alone(before), path)
            before_parent = self.paths.parent(before)
            relation = 1 if parent == before_parent else 2 if path == before_parent else 3 if parent == before else 0
            if relation == 1 and directory is not None and not flags & ABSENT:
                directory.walked(path, before)
                here, there = directory.place.get(before), directory.place.get(path)
                if here is not None and there is not None:
                    sibling_step = there - here
            if relation == 1:
                one, other = self._proposer.number(before), self._proposer.number(path)
                if one is not None and other is not None:
                    number_step = other - one
            if number_step or relation == 0:
                stream.step_repeats = stream.step_repeats + 1 if number_step == stream.step else 0
                stream.step = number_step
        stream.tokens.append(
            token(
                flags,
                relation,
                self.sizes.get(path, 0),
                0,
                time_ns - stream.time_ns if stream.time_ns else 0,
                sibling_step,
                number_step,
                visits > 0,
                stream.proposals.get(path),
                extension_bucket(extension_of(self.paths.name(path))),
            )
        )

    def _read(self, stream: StreamState, path: int, offset: int, length: int, time_ns: int) -> None:
        position = self._visit(stream, path, ATTRIBUTES, time_ns)
        is_first = not self.history.flags[position % self.history.capacity] & DATA
        if not self.history.read(position, offset, offset + length):
            parts = stream.continuations.get(path, 0)
            if parts < CONTINUATIONS_MAX:
                stream.continuations[path] = parts + 1
                del stream.recent[path]
                position = self._begin_visit(stream, path, ATTRIBUTES, time_ns)
                self.history.read(position, offset, offset + length)
        if is_first:
            self.guesses.read(path)
            if stream.reading >= 0:
                self.reuse.read_past(stream.reading)
            stream.reading = path
            if self.directories.used(self.paths.parent(path), path):
                self.reuse.epoch_began(self.paths.parent(path))
            self._touched[id(stream)] = stream
            self._propose(self.unseen.read(stream, path), stream.group)
        state = stream.readahead(path, self.sizes.get(path, 0))
        for start, count in state.observe(offset, length):
            self._planner.read_on(path, start, count)

    def _opened(self, stream: StreamState, path: int, position: int) -> None:
        """A file was opened: what was read of it last time will be read again."""
        if position in stream.matched or self.history.ranges[position % self.history.capacity]:
            return
        for place in self.history.latest(path)[1:]:
            slot = place % self.history.capacity
            if self.history.flags[slot] & DATA:
                self._planner.expect(path, DATA, self.history.ranges[slot], 0.8, HORIZONS[0], "footprint", RULES)
                break

    def _propose(self, proposals: Iterable[Proposal], group: Group | None) -> None:
        """Plans what is expected of names that were never seen, and watches what becomes of it."""
        for path, flags, ranges, probability, generator, cell in proposals:
            cells = [] if cell is None else [cell]
            is_new = self._planner.expect(path, flags, ranges, probability, HORIZONS[1], generator, COUNTS, cells)
            if is_new and cells and group is not None:
                self.tracker.expect(Prediction(path, group, cells, None))

    # What the mount asks

    def plan(self) -> list[PlanItem]:
        """What should be ready and was not planned yet, the nearest first; at most `plan_items`."""
        touched = list(self._touched.values())
        self._touched.clear()
        return self._planner.plan(touched, self._together, self.ranker, self.network)

    def scores(self) -> list[tuple[bytes, float]]:
        """(path, probability of reuse), for eviction: of what was used since the last call, and of what comes next."""
        return self.reuse.scores(cursor for stream in self.processes for cursor in stream.follower.cursors[:1])

    def turned(self) -> list[tuple[bytes, float]]:
        """(path, probability of reuse) where a data set's order of things has changed it since the last call."""
        return self.reuse.turned()

    # What is forgotten

    def _make_room(self) -> None:
        """Keeps the path table within its limit: what nothing refers to is forgotten.

        Takes half a second at most, once in some hundred thousand new paths (`bench.scale`). Where what is referred to
        leaves too little room for that, older references are given up.
        """
        if len(self.paths) <= self._paths_max:
            return
        self.paths.keep(self._referred_to())
        for _ in range(4):
            if len(self.paths) <= self.limits.paths * 7 // 8:
                break
            self.directories.forget_older_half()
            self.reuse.forget_older_half()
            self.paths.keep(self._referred_to())
        for path in [path for path in self.sizes if path not in self.paths]:
            del self.sizes[path]
        self._paths_max = max(self.limits.paths, len(self.paths) + self.limits.paths // 8)

    def _referred_to(self) -> Iterator[int]:
        """The paths whose names may be asked for. *Invariant*: nothing else asks the table for one it was not given."""
        yield from self.history.paths()
        yield from self.successors.paths()
        yield from self.directories.paths()
        yield from self.reuse.paths()
        yield from self.unseen.paths()
        yield from self._session.paths()
        for stream in self.processes:
            yield from stream.paths()

    # What outlives the process

    def snapshot(self, visits: int, with_examples: bool = True) -> Arrays:
        """All that was learned, as arrays, with the latest `visits` visits."""
        self.unseen.settle()
        for stream in self.processes:
            for position, old in stream.matched.items():
                if position in self.history:
                    self.history.inherit(position, old)
        return take(self, visits, with_examples)

    def restore(self, arrays: Arrays) -> None:
        """Takes a snapshot back into an empty engine. Raises ValueError or KeyError for what is none."""
        give_back(self, arrays)
