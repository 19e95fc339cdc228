"""The predictor's core: told accesses, it answers plans. The live process and the offline replay drive this class.

    accesses -> visits -> history, successors, directories           (what is learned at once)
                       -> cursors that replay the past                (what is planned without further thought)
                       -> candidates -> prior or network -> scores    (what is ranked, where no cursor is sure)

An *access* is what the mount saw; a *visit* is a stream's stay at one path, however many accesses it takes. Learning by
tables happens on each visit, in O(1). `plan` is asked for once a batch: it answers what has come into the windows of
the cursors since, what sequential readers will need, and, for streams that no cursor is sure of, the best candidates.

What lives here is pure: no I/O, no clock (time comes in with the accesses), no randomness. Every table is bounded.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictor import ranges as byte_ranges
from predictor.candidates.cursor import Cursor
from predictor.candidates.directory import NAMES_MAX, Directories
from predictor.candidates.follower import Follower
from predictor.candidates.history import ABSENT, ATTRIBUTES, DATA, LISTING, OPENED, History
from predictor.candidates.successors import Successors, alone, pair, within
from predictor.candidates.usage import HEAD_BYTES, SMALL_BYTES
from predictor.events import ROOT, Op, PathTable
from predictor.examples import Examples
from predictor.features import extension_bucket, token
from predictor.outstanding import Outstanding
from predictor.plan import PlanItem, Want
from predictor.proposals import Proposer
from predictor.ranges import Ranges
from predictor.ranking import Ranker, Ranking
from predictor.snapshot import Arrays, give_back, take
from predictor.streams import CONTINUATIONS_MAX, StreamState
from predictor.tracker import HORIZONS, Cell, Group, Prediction, Prior, Tracker
from predictor.unseen import Proposal, Unseen


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of memory and of zeal."""

    history: int = 1 << 16  # visits remembered
    streams: int = 512
    groups: int = 256
    outstanding: int = 1 << 16  # planned things remembered, so that they are not planned twice
    plan_items: int = 2048  # answered at once
    min_score: float = 0.25  # below this a candidate is not worth a request for data
    min_score_unseen: float = 0.65  # nor for data of a file that was never seen: one byte in five may be in vain
    min_score_names: float = 0.1  # below this not even one for attributes or a listing, which move no bytes
    planned_again_ns: int = 30_000_000_000  # planned, not used: may be planned again after this
    used_again_ns: int = 2_000_000_000  # used: is ready for at least this long


AHEAD_SCORED = 1024
"""Visits of a cursor's window whose files are kept from eviction."""

_ATTRIBUTE_OPS = frozenset({Op.LOOKUP, Op.GETATTR, Op.READLINK, Op.XATTR})
_CHANGES = frozenset({Op.WRITE, Op.CREATE, Op.UNLINK, Op.RENAME, Op.RMDIR, Op.MKDIR, Op.LINK, Op.SETATTR})


class Engine:
    """Learns from accesses, plans what to have ready. Not thread-safe."""

    def __init__(self, limits: Limits | None = None, ranker: Ranker | None = None) -> None:
        self.limits = limits or Limits()
        self.ranker = ranker
        self.paths = PathTable()
        self.history = History(self.limits.history)
        self.successors = Successors()
        self.directories = Directories()
        self.prior = Prior()
        self.tracker = Tracker()
        self.examples = Examples()
        self.commands: dict[str, int] = {}
        self.counters: dict[str, int] = dict.fromkeys(
            ("events", "visits", "unknown", "items", "ranked", "in_time", "late", "unused"), 0
        )
        self._proposer = Proposer(self.paths, self.history, self.successors, self.directories)
        self._groups: OrderedDict[str, Group] = OrderedDict()
        self._streams: OrderedDict[tuple[int, str], StreamState] = OrderedDict()
        self._together = Follower(self.history, interleaved=True)
        self._touched: dict[int, StreamState] = {}
        self._waiting: deque[PlanItem] = deque(maxlen=4096)  # sequential ranges and footprints, ready to be answered
        self._outstanding = Outstanding(
            self.limits.outstanding, self.limits.planned_again_ns, self.limits.used_again_ns
        )
        self.sizes: dict[int, int] = {}
        self.uses: dict[int, tuple[int, int]] = {}  # path -> (visits, clock of the last)
        self._scored: OrderedDict[int, None] = OrderedDict()  # touched since scores() was asked
        self._ahead: dict[int, float] = {}  # expected by cursors when scores() was asked
        self.reuse: list[list[float]] = [[2.0, 1.0] for _ in range(8)]  # by log2 of visits: visits, visited again
        self._planned_by: OrderedDict[int, Sequence[Cell]] = OrderedDict()  # path of data -> cells of who planned it
        self._ranking = Ranking(
            self.paths, self._proposer, self.prior, self.tracker, self.examples, self.sizes, self.uses
        )
        self.unseen = Unseen(self.paths, self.history, self.directories, self.sizes, self.prior)
        self._now_ns = 0
        self.begin_session()

    # What the mount tells

    def begin_session(self) -> None:
        """A mount began: its path and stream ids start anew, nothing is under way, no stream goes on."""
        for stream in self._streams.values():
            self._settle(stream, 0)
        self.unseen.begin_session()
        self._streams.clear()
        self._touched.clear()
        self._waiting.clear()
        self._outstanding.clear()
        self._path_ids: dict[int, int] = {ROOT: ROOT}
        self._stream_ids: dict[int, StreamState] = {}
        self._stream_names: dict[int, tuple[int, str]] = {}

    def observe(
        self,
        paths: Iterable[Sequence[Any]],
        streams: Iterable[Sequence[Any]],
        records: npt.NDArray[np.void],
    ) -> None:
        """Learns from a batch: new `[id, parent, name]`, new `[id, tgid, command]`, an array of ACCESS."""
        for number, parent, name in paths:
            known = self._path_ids.get(parent)
            if known is not None:
                self._path_ids[number] = self.paths.intern(known, name)
        for number, tgid, command in streams:
            self._stream_names[number] = (tgid, command)
            self._stream_ids.pop(number, None)
        columns = [records[name].tolist() for name in ("time_ns", "offset", "length", "path", "stream", "op", "flags")]
        for time_ns, offset, length, session_path, session_stream, op, flags in zip(*columns, strict=True):
            self.counters["events"] += 1
            path = self._path_ids.get(session_path)
            stream = self._stream_ids.get(session_stream) or self._stream(session_stream)
            if path is None or stream is None:
                self.counters["unknown"] += 1  # the frame that named it was dropped
                continue
            if time_ns > self._now_ns:
                self._now_ns = time_ns
            self._access(stream, path, op, offset, length, flags, time_ns)

    def listing(self, path: int, names: Sequence[bytes], types: Sequence[int]) -> None:
        """The directory `path` (the mount's id) was listed: names and d_type values."""
        known = self._path_ids.get(path)
        if known is None:
            return
        directory = self.directories.get(known)
        children = [self.paths.intern(known, name) for name in names[:NAMES_MAX] if name not in (b".", b"..")]
        kinds = [kind for name, kind in zip(names, types, strict=False) if name not in (b".", b"..")]
        directory.folders = {child for child, kind in zip(children, kinds, strict=False) if kind == 4}
        directory.set_children(children)
        self._propose(self.unseen.listed(known), None)

    def outcomes(self, rows: Iterable[Sequence[Any]]) -> None:
        """What became of prefetches: `[path, generator, outcome]`."""
        names = {1: "in_time", 2: "late", 3: "unused"}
        for path, _generator, outcome in rows:
            self.counters[names.get(outcome, "unused")] += 1
            if outcome == 3:
                known = self._find(path)
                if known is not None:
                    self._outstanding.withdraw(known)
                    for cell in self._planned_by.pop(known, ()):
                        Prior.count(cell, None)  # it cost bytes and room: as bad as another one that did not come true

    def _find(self, path: bytes) -> int | None:
        current: int | None = ROOT
        for name in path.split(b"/"):
            if name and current is not None:
                current = self.paths.find(current, name)
        return current

    def _stream(self, session_stream: int) -> StreamState | None:
        name = self._stream_names.get(session_stream)
        if name is None:
            return None
        stream = self._streams.get(name)
        if stream is None:
            command = name[1]
            group = self._groups.get(command)
            if group is None:
                group = self._groups[command] = Group(command)
                if len(self._groups) > self.limits.groups:
                    self._groups.popitem(last=False)
            number = self.commands.setdefault(command, len(self.commands) + 1)
            stream = self._streams[name] = StreamState(self.history, group, number)
            if len(self._streams) > self.limits.streams:
                _, old = self._streams.popitem(last=False)
                self._settle(old, 0)
                self._stream_ids = {k: s for k, s in self._stream_ids.items() if s is not old}
        else:
            self._streams.move_to_end(name)
        self._stream_ids[session_stream] = stream
        return stream

    # Accesses become visits

    def _access(
        self, stream: StreamState, path: int, op: int, offset: int, length: int, flags: int, time_ns: int
    ) -> None:
        if op == Op.READ:
            if length:
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
            self._outstanding.withdraw(path)

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
        self.tracker.use(path)
        self._outstanding.used(path, self._now_ns)
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
        self._settle(stream, 32)
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
        visits, _ = self.uses.get(path, (0, 0))
        self._count_reuse(path, visits)
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
                extension_bucket(self.paths.name(path)),
            )
        )

    def _count_reuse(self, path: int, visits: int) -> None:
        if visits:
            self.reuse[min(7, visits.bit_length() - 1)][1] += 1
        self.reuse[min(7, (visits + 1).bit_length() - 1)][0] += 1
        self.uses.pop(path, None)
        self.uses[path] = (visits + 1, self.counters["visits"])
        if len(self.uses) > 2 * self.limits.history:
            del self.uses[next(iter(self.uses))]
        self._scored[path] = None
        self._scored.move_to_end(path)
        if len(self._scored) > 1024:
            self._scored.popitem(last=False)

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
            parent = self.paths.parent(path)
            self.directories.get(parent).use(path)
            self._touched[id(stream)] = stream
            self._propose(self.unseen.read(stream, path), stream.group)
        state = stream.readahead(path, self.sizes.get(path, 0))
        for start, count in state.observe(offset, length):
            self._waiting.append(
                PlanItem(Want.DATA, self.paths.path(path), start, count, 0.9, HORIZONS[0], "sequential")
            )

    def _opened(self, stream: StreamState, path: int, position: int) -> None:
        """A file was opened: what was read of it last time will be read again."""
        if position in stream.matched or self.history.ranges[position % self.history.capacity]:
            return
        for place in self.history.latest(path)[1:]:
            slot = place % self.history.capacity
            if self.history.flags[slot] & DATA:
                self._ready(path, DATA, self.history.ranges[slot], 0.8, HORIZONS[0], "footprint", self._waiting)
                break

    def _propose(self, proposals: Iterable[Proposal], group: Group | None) -> None:
        """Plans what is expected of names that were never seen, and watches what becomes of it."""
        for path, flags, ranges, probability, generator, cell in proposals:
            cells = [] if cell is None else [cell]
            is_new = self._ready(path, flags, ranges, probability, HORIZONS[1], generator, self._waiting, cells)
            if is_new and cells and group is not None:
                self.tracker.expect(Prediction(path, group, cells, None))

    # What the mount asks

    def plan(self) -> list[PlanItem]:
        """What should be ready and was not planned yet, the nearest first; at most `plan_items`."""
        items: deque[PlanItem] = deque(self._waiting)
        self._waiting.clear()
        touched = list(self._touched.values())
        self._touched.clear()
        limit = self.limits.plan_items
        for stream in touched:
            for cursor in stream.follower.cursors[: 1 if stream.follower.is_confident else 2]:
                self._from_cursor(cursor, stream.group, items, limit - len(items))
        if touched:
            for cursor in self._together.cursors[:1]:
                self._from_cursor(cursor, touched[-1].group, items, limit - len(items))
        for stream in touched:
            if not stream.follower.is_confident and stream.visits - stream.ranked_at >= 1 and stream.path >= 0:
                stream.ranked_at = stream.visits
                self._rank(stream, items)
        while len(items) > limit:
            items.pop()
        self.counters["items"] += len(items)
        return list(items)

    def _from_cursor(self, cursor: Cursor, group: Group, items: deque[PlanItem], limit: int) -> None:
        if not cursor.has_fresh or limit <= 0 or cursor.streak > 4:
            return
        confidence = cursor.confidence
        if self._cursor_probability(cursor, 16) < self.limits.min_score:
            return
        history = self.history
        chances: dict[int, float] = {}  # by bucket: most of a window shares a few
        for distance, position in cursor.take_fresh(limit):
            if position not in history:
                continue
            slot = position % history.capacity
            path = history.path[slot]
            octave = distance.bit_length()
            probability = chances.get(octave)
            if probability is None:
                probability = chances[octave] = self._cursor_probability(cursor, distance)
            horizon = next((h for h in HORIZONS if distance * 2 <= h), HORIZONS[-1])
            flags, ranges = history.flags[slot], history.ranges[slot]
            cells = [self.prior.cell("cursor", _cursor_bucket(cursor.hits, confidence, distance))]
            if self._ready(path, flags, ranges, probability, horizon, "history", items, cells):
                self.tracker.expect(Prediction(path, group, cells, None))

    def _cursor_probability(self, cursor: Cursor, distance: int) -> float:
        """Half what cursors like it achieved, half what this one did: a class that did badly must get a hearing."""
        cell = self.prior.cell("cursor", _cursor_bucket(cursor.hits, cursor.confidence, distance))
        achieved = (cell[3] + 4 * cursor.confidence) / (cell[0] + 4)
        return (achieved + cursor.confidence) / 2

    def _rank(self, stream: StreamState, items: deque[PlanItem]) -> None:
        ranked = self._ranking.rank(stream, self.ranker, self.counters["visits"])
        self.counters["ranked"] += bool(ranked)
        for candidate, score, horizon in ranked:
            if score < self.limits.min_score_names:
                continue
            flags, ranges = self._proposer.footprint(candidate.path, stream.path)
            is_unseen = not self.history.latest(candidate.path)
            least = self.limits.min_score_unseen if is_unseen else self.limits.min_score
            largest = max(self.sizes.get(candidate.path, 0), self.sizes.get(stream.path, 0))
            if is_unseen and flags & DATA and largest > SMALL_BYTES:
                ranges = ((0, HEAD_BYTES),)  # as large as its sibling, perhaps: its head tells
            if score < least and flags & DATA:
                flags, ranges = ATTRIBUTES, ()  # not sure enough for its bytes: the name at least
            best = min(candidate.generators, key=lambda name: candidate.generators[name][0])
            cells = self._ranking.cells(candidate)
            self._ready(candidate.path, flags, ranges, score, horizon, best, items, cells)

    def _ready(
        self,
        path: int,
        flags: int,
        ranges: Ranges,
        score: float,
        horizon: int,
        generator: str,
        items: deque[PlanItem],
        cells: Sequence[Cell] = (),
    ) -> bool:
        """Adds what `flags` and `ranges` say of `path` to `items`, unless it was planned or used just now.

        `cells`: what counts whether such plans come true.
        """
        want = Want.DATA if flags & DATA and ranges else Want.LISTING if flags & LISTING else Want.ATTRIBUTES
        if not self._outstanding.admit(path, want, ranges, self._now_ns):
            return False
        name = self.paths.path(path)
        if want is Want.DATA:
            if cells:
                self._planned_by[path] = cells
                if len(self._planned_by) > self.limits.outstanding:
                    self._planned_by.popitem(last=False)
            for start, end in ranges:
                items.append(PlanItem(want, name, start, max(0, end - start), score, horizon, generator))
        else:
            items.append(PlanItem(want, name, 0, 0, score, horizon, generator))
        return True

    def scores(self) -> list[tuple[bytes, float]]:
        """(path, probability of reuse) for eviction: of what was touched since the last call, and of what comes next.

        What a cursor expects scores as high as the cursor is sure: it was planned, and must be there when it is used.
        What it expects no longer is scored anew.
        """
        ahead: dict[int, float] = {}
        for stream in self._streams.values():
            for cursor in stream.follower.cursors[:1]:
                if cursor.is_confident:
                    for position in cursor.upcoming(AHEAD_SCORED):
                        path = self.history.path[position % self.history.capacity]
                        ahead[path] = max(ahead.get(path, 0.0), cursor.confidence)
            if len(ahead) >= 2 * AHEAD_SCORED:
                break
        new = {path: score for path, score in ahead.items() if path not in self._ahead}
        for path in self._ahead.keys() - ahead.keys():
            self._scored[path] = None
        self._ahead = ahead
        found = [(self.paths.path(path), score) for path, score in new.items()]
        while self._scored:
            path, _ = self._scored.popitem(last=False)
            if path not in new:
                found.append((self.paths.path(path), max(self._reuse_of(path), ahead.get(path, 0.0))))
        return found

    def _reuse_of(self, path: int) -> float:
        visits, _ = self.uses.get(path, (0, 0))
        seen, again = self.reuse[min(7, max(0, visits.bit_length() - 1))]
        score = min(1.0, again / seen)
        directory = self.directories.find(self.paths.parent(path))
        if directory is not None and directory.is_set and path in directory.read:
            score *= len(directory.read) / (1 + len(directory.read) + len(directory.unread))
        return score

    # What outlives the process

    def snapshot(self, visits: int, with_examples: bool = True) -> Arrays:
        """All that was learned, as arrays, with the latest `visits` visits."""
        self.unseen.settle()
        for stream in self._streams.values():
            for position, old in stream.matched.items():
                if position in self.history:
                    self.history.inherit(position, old)
        return take(self, visits, with_examples)

    def restore(self, arrays: Arrays) -> None:
        """Takes a snapshot back into an empty engine. Raises ValueError or KeyError for what is none."""
        give_back(self, arrays)


def _cursor_bucket(hits: int, confidence: float, distance: int) -> int:
    """Cursors that have proved themselves, and what is near, are another class than guesses and what is far."""
    return min(3, (hits + 2).bit_length() // 2) * 64 + min(3, int(confidence * 4)) * 16 + min(9, distance.bit_length())
