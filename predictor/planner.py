"""What to have ready: gathered from cursors, readers, proposals and rankings into one plan, nothing twice.

A plan answers what has come into the windows of the cursors since the last one, what was proposed meanwhile, and, for
streams that no cursor is sure of, the best candidates. Each item is watched (predictor.tracker), so that whoever
planned it learns whether it came true.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence

from predictor.candidates.cursor import Cursor
from predictor.candidates.follower import Follower
from predictor.candidates.history import ATTRIBUTES, DATA, LISTING, History
from predictor.candidates.usage import HEAD_BYTES, SMALL_BYTES
from predictor.events import PathTable
from predictor.features import GENERATORS
from predictor.guesses import Guesses
from predictor.limits import Limits
from predictor.outstanding import Outstanding
from predictor.plan import COUNTS, Outcome, PlanItem, Want
from predictor.proposals import Proposer
from predictor.ranges import Ranges
from predictor.ranking import Ranker, Ranking, cells
from predictor.streams import StreamState
from predictor.tracker import HORIZONS, Cell, Group, Prediction, Prior, Tracker

WAITING_MAX = 4096
"""Items that wait for the next plan: a mount that asks for none loses the oldest."""

ACCESSES_PER_VISIT = 2
"""A visit is a look-up and a read, or more."""

DECISIVE_TRUST = 0.5
"""From here on the network weighs more in a ranking than the counts (tracker.Group.trust)."""

STREAK_MAX = 4
"""A cursor that missed more often in a row plans nothing more until it hits."""


_ATTRIBUTES, _LISTING, _DATA = Want  # looking a member up takes longer than what is decided by it


class Planner:
    """Collects plan items. `sizes`: bytes, by path; `counters`: where "ranked" and "planned_items" are counted."""

    def __init__(
        self,
        limits: Limits,
        paths: PathTable,
        history: History,
        prior: Prior,
        tracker: Tracker,
        guesses: Guesses,
        proposer: Proposer,
        ranking: Ranking,
        sizes: dict[int, int],
        counters: dict[str, int],
    ) -> None:
        self._limits = limits
        self._paths = paths
        self._history = history
        self._prior = prior
        self._tracker = tracker
        self._guesses = guesses
        self._proposer = proposer
        self._ranking = ranking
        self._sizes = sizes
        self._counters = counters
        self._waiting: deque[PlanItem] = deque(maxlen=WAITING_MAX)
        self._outstanding = Outstanding(
            limits.outstanding, limits.planned_again_ns, limits.used_again_ns, limits.ahead_bytes
        )
        self._planned_by: OrderedDict[int, Sequence[Cell]] = OrderedDict()  # path of data -> cells of who planned it
        self._ranked_for: OrderedDict[int, Group] = OrderedDict()  # path of data -> the program it was ranked for
        self._is_told = False  # what becomes of plans: nobody tells an evaluation
        self.now_ns = 0
        """The time of the latest access."""

    def begin_session(self) -> None:
        """Nothing is planned or under way."""
        self._waiting.clear()
        self._outstanding.clear()

    # What becomes of what was planned

    def used(self, path: int) -> None:
        """A program used `path`."""
        self._outstanding.used(path, self.now_ns)

    def was_read(self, size_bytes: int) -> None:
        """A program read so much, of whatever."""
        self._outstanding.read(size_bytes)

    def withdraw(self, path: int) -> None:
        """What was planned of `path` is void: it was changed."""
        self._outstanding.withdraw(path)

    def became(self, path: int, generator: str, outcome: Outcome) -> None:
        """Data of `path` that `generator`, one of ours or of the mount's own rules, had fetched came to this."""
        if outcome is Outcome.UNUSED:
            self._outstanding.withdraw(path)
            for cell in self._planned_by.pop(path, ()):
                Prior.count(cell, None)  # as bad as another plan that did not come true
        group = self._ranked_for.pop(path, None)
        if group is not None and generator in GENERATORS:
            group.pace.used(outcome)

    def told(self) -> None:
        """The mount says what becomes of plans, so that it can be seen what rankings are worth."""
        self._is_told = True

    # What is to be planned

    def read_on(self, path: int, start: int, count: int) -> None:
        """A sequential reader of `path` will want these bytes."""
        self._waiting.append(PlanItem(Want.DATA, self._paths.path(path), start, count, 0.9, HORIZONS[0], "sequential"))

    def expect(
        self,
        path: int,
        flags: int,
        ranges: Ranges,
        score: float,
        horizon: int,
        generator: str,
        model: str,
        cells: Sequence[Cell] = (),
    ) -> bool:
        """Has what `flags` and `ranges` say of `path` in the next plan. False: it was planned or used just now."""
        return self._add(path, flags, ranges, score, horizon, generator, model, self._waiting, cells)

    def plan(
        self, touched: Sequence[StreamState], together: Follower, ranker: Ranker | None, network: str
    ) -> list[PlanItem]:
        """What should be ready and was not planned yet, the nearest first; at most `plan_items`.

        `touched`: the streams that made visits since the last plan; `together`: all streams, as they interleave;
        `network`: what the ranker is called.
        """
        items: deque[PlanItem] = deque(self._waiting)
        self._waiting.clear()
        limit = self._limits.plan_items
        for stream in touched:
            for cursor in stream.follower.cursors[: 1 if stream.follower.is_confident else 2]:
                self._replay(cursor, stream.group, items, limit - len(items))
        if touched:
            for cursor in together.cursors[:1]:
                self._replay(cursor, touched[-1].group, items, limit - len(items))
        for stream in touched:
            if not stream.follower.is_confident and stream.path >= 0 and self._is_due(stream):
                stream.ranked_at = stream.visits
                self._rank(stream, ranker, network, items)
        while len(items) > limit:
            items.pop()
        self._counters["planned_items"] += len(items)
        return list(items)

    def _replay(self, cursor: Cursor, group: Group, items: deque[PlanItem], limit: int) -> None:
        outstanding, most_bytes = self._outstanding, self._limits.ahead_bytes
        if not cursor.has_fresh or limit <= 0 or cursor.streak > STREAK_MAX or outstanding.bytes >= most_bytes:
            return
        confidence = cursor.confidence
        if self._chance(cursor, 16) < self._limits.min_score:
            return
        history = self._history
        first, end, capacity = history.first, history.end, history.capacity
        most = len(items) + limit
        is_planned, now_ns = outstanding.is_planned, self.now_ns
        chances: dict[int, tuple[float, list[Cell]]] = {}  # by bucket: most of a window shares a few
        for distance, position, path in cursor.take_fresh():
            if not first <= position < end:
                continue
            slot = position % capacity
            flags, ranges = history.flags[slot], history.ranges[slot]
            if is_planned(path, _want(flags, ranges), ranges, now_ns):
                continue
            octave = distance.bit_length()
            known = chances.get(octave)
            if known is None:
                cell = self._prior.cell("cursor", _cursor_bucket(cursor.hits, confidence, distance))
                known = chances[octave] = (self._chance(cursor, distance), [cell])
            probability, cells = known
            horizon = max(HORIZONS[0], ACCESSES_PER_VISIT * distance)
            if self._add(path, flags, ranges, probability, horizon, "history", COUNTS, items, cells):
                self._tracker.expect(Prediction(path, group, cells, None))
                if len(items) >= most or outstanding.bytes >= most_bytes:
                    break

    def _chance(self, cursor: Cursor, distance: int) -> float:
        """Half what cursors like it achieved, half what this one did: a class that did badly must get a hearing."""
        cell = self._prior.cell("cursor", _cursor_bucket(cursor.hits, cursor.confidence, distance))
        achieved = (cell[3] + 4 * cursor.confidence) / (cell[0] + 4)
        return (achieved + cursor.confidence) / 2

    def _is_due(self, stream: StreamState) -> bool:
        return stream.visits - stream.ranked_at >= stream.group.pace.visits

    def _rank(self, stream: StreamState, ranker: Ranker | None, network: str, items: deque[PlanItem]) -> None:
        model = network if ranker is not None and stream.group.trust >= DECISIVE_TRUST else COUNTS
        ranked = self._ranking.rank(stream, ranker, self._counters["visits"])
        self._counters["ranked"] += bool(ranked)
        if self._is_told:
            stream.group.pace.ranked()
        for candidate, score, horizon in ranked:
            if score < self._limits.min_score_names:
                continue
            flags, ranges = self._proposer.footprint(candidate.path, stream)
            best = min(candidate.generators, key=lambda name: candidate.generators[name][0])
            is_unseen = not self._history.latest(candidate.path)
            least, sure = self._limits.min_score, score
            if is_unseen and flags & DATA:
                self._guesses.watch(candidate.path, stream.group, best, stream.command, candidate.probability[1])
                least = self._limits.min_score_unseen
                sure = self._guesses.corrected(best, stream.command, score)
            largest = max(self._sizes.get(candidate.path, 0), self._sizes.get(stream.path, 0))
            if is_unseen and flags & DATA and largest > SMALL_BYTES:
                ranges = ((0, HEAD_BYTES),)  # as large as its sibling, perhaps: its head tells
            is_full = self._outstanding.bytes >= self._limits.ahead_bytes
            if flags & DATA and (sure < least or is_full):
                flags, ranges = ATTRIBUTES, ()  # not sure enough for its bytes: the name at least
            if self._outstanding.is_planned(candidate.path, _want(flags, ranges), ranges, self.now_ns):
                continue  # as most are: a ranking finds what the one before found
            watched = cells(candidate)
            if self._add(candidate.path, flags, ranges, score, horizon, best, model, items, watched) and ranges:
                self._ranked_for[candidate.path] = stream.group
                if len(self._ranked_for) > self._limits.outstanding:
                    self._ranked_for.popitem(last=False)

    def _add(
        self,
        path: int,
        flags: int,
        ranges: Ranges,
        score: float,
        horizon: int,
        generator: str,
        model: str,
        items: deque[PlanItem],
        cells: Sequence[Cell],
    ) -> bool:
        want = _want(flags, ranges)
        size_bytes = self._bytes(path, ranges) if want is Want.DATA else 0
        if not self._outstanding.admit(path, want, ranges, size_bytes, self.now_ns):
            return False
        name = self._paths.path(path)
        if want is not Want.DATA:
            items.append(PlanItem(want, name, 0, 0, score, horizon, generator, model))
            return True
        if cells:
            self._planned_by[path] = cells
            if len(self._planned_by) > self._limits.outstanding:
                self._planned_by.popitem(last=False)
        for start, end in ranges:
            items.append(PlanItem(want, name, start, max(0, end - start), score, horizon, generator, model))
        return True

    def _bytes(self, path: int, ranges: Ranges) -> int:
        """How much that is; an end of 0 is the file's."""
        size = self._sizes.get(path, HEAD_BYTES)
        return sum((end or max(size, start)) - start for start, end in ranges)


def _want(flags: int, ranges: Ranges) -> Want:
    if flags & DATA and ranges:
        return _DATA
    return _LISTING if flags & LISTING else _ATTRIBUTES


def _cursor_bucket(hits: int, confidence: float, distance: int) -> int:
    """Cursors that have proved themselves, and what is near, are another class than guesses and what is far."""
    return min(3, (hits + 2).bit_length() // 2) * 64 + min(3, int(confidence * 4)) * 16 + min(9, distance.bit_length())
