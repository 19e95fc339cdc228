"""Temporal streaming: what followed here last time will follow again.

`History` is a ring of *visits*: a program's stay at one path, with what it used there (attributes, absence, the listing,
byte ranges). Visits are linked in the order of their stream and stand in the order of all streams together. An index
leads from a path, and from a pair of paths visited one after the other, to the latest places where they occurred.

`Cursor` replays an old part of that ring beside a running stream. It holds the next visits in a window; an access that
is in the window moves it on (over skipped ones: the kernel's caches hide accesses from us), an access that is not
leaves it where it is and costs confidence. Each hit widens the window, from 8 or 32 visits to 512, so that a
program's start is planned much faster than the program runs.

What is skipped because it was prefetched so well that the kernel answered must not be forgotten: `History.assume`
copies such visits into the new run, a limited number of times in a row.

Never does: I/O, clocks, more than `capacity` visits, more than `WINDOW_PROVEN` visits a cursor.
"""

from array import array
from collections import deque
from itertools import islice

from predictor.ranges import Ranges, add, union

ATTRIBUTES = 1
ABSENT = 2
LISTING = 4
DATA = 8
OPENED = 16

POSITIONS_PER_PATH = 4
"""Places remembered for a path alone; the pair index finds the others."""

ASSUMED_MAX = 8
"""Runs in a row that a visit may be assumed without being seen. A kernel that answers everything hides a good plan's
visits for ever, a program that changed does not use them any more: this is how long we cannot tell."""

WINDOW_MAX = 512
WINDOW_PROVEN = 2048
PROVEN_HITS = 64
"""After so many hits with hardly a miss it looks further ahead still: large files need the time."""

WINDOW_START = 32
WINDOW_UNSURE = 8

JUMP = 32
"""Visits that one hit may skip at once. A longer jump needs a second hit near the first to be believed."""

MATCH_MAX = 16
"""Visits compared backwards when places compete."""


class History:
    """A bounded ring of visits. A position is a sequence number; `first <= position < end` are there."""

    def __init__(self, capacity: int = 1 << 16) -> None:
        self.capacity = capacity
        self.end = 1  # 0 means: no position
        self.path = array("q", bytes(8 * capacity))
        self.next = array("q", bytes(8 * capacity))
        self.previous = array("q", bytes(8 * capacity))
        self.command = array("q", bytes(8 * capacity))
        self.flags = bytearray(capacity)
        self.assumed = bytearray(capacity)
        self.ranges: list[Ranges] = [()] * capacity
        self._pair = array("q", bytes(8 * capacity))
        self._by_path: dict[int, tuple[int, ...]] = {}
        self._by_pair: dict[int, int] = {}

    @property
    def first(self) -> int:
        return max(1, self.end - self.capacity)

    def __contains__(self, position: int) -> bool:
        return self.first <= position < self.end

    def append(self, path: int, flags: int, command: int, previous: int) -> int:
        """Adds a visit that follows `previous` (0: it starts its stream) and returns its position."""
        position = self.end
        slot = position % self.capacity
        if position > self.capacity:
            self._forget(position - self.capacity, slot)
        self.end += 1
        self.path[slot] = path
        self.flags[slot] = flags
        self.assumed[slot] = 0
        self.command[slot] = command
        self.next[slot] = 0
        self.ranges[slot] = ()
        if previous and previous in self:
            self.next[previous % self.capacity] = position
            before = self.path[previous % self.capacity]
        else:
            previous, before = 0, -1
        self.previous[slot] = previous
        pair = hash((before, path, command if before < 0 else 0))
        self._pair[slot] = pair
        self._by_pair[pair] = position
        known = self._by_path.get(path, ())
        self._by_path[path] = (position, *known[: POSITIONS_PER_PATH - 1])
        return position

    def _forget(self, position: int, slot: int) -> None:
        pair = self._pair[slot]
        if self._by_pair.get(pair) == position:
            del self._by_pair[pair]
        path = self.path[slot]
        kept = tuple(place for place in self._by_path.get(path, ()) if place != position)
        if kept:
            self._by_path[path] = kept
        else:
            self._by_path.pop(path, None)

    def fill(
        self,
        paths: list[int],
        commands: list[int],
        following: list[int],
        previous: list[int],
        flags: list[int],
        assumed: list[int],
        ranges: list[Ranges],
    ) -> None:
        """Takes back visits into an empty ring, the first at position 1; links are positions, 0 is none."""
        for position, path in enumerate(paths, 1):
            before = previous[position - 1]
            self.append(path, flags[position - 1], commands[position - 1], before)
            slot = position % self.capacity
            self.next[slot] = following[position - 1]
            self.assumed[slot] = assumed[position - 1]
            self.ranges[slot] = ranges[position - 1]

    def note(self, position: int, flags: int) -> None:
        """The visit at `position` also used `flags`."""
        self.flags[position % self.capacity] |= flags

    def read(self, position: int, start: int, end: int) -> bool:
        """The visit read [start, end). False where it has too many intervals already: begin another visit."""
        slot = position % self.capacity
        merged = add(self.ranges[slot], start, end)
        if merged is None:
            return False
        self.ranges[slot] = merged
        self.flags[slot] |= DATA
        self.assumed[slot] = 0
        return True

    def inherit(self, position: int, old: int) -> None:
        """The visit at `position` repeats the one at `old`: what it read there is assumed again until reads are seen."""
        if old not in self:
            return
        slot, source = position % self.capacity, old % self.capacity
        if self.path[slot] != self.path[source] or self.assumed[source] >= ASSUMED_MAX:
            return
        if self.flags[source] & DATA and not self.flags[slot] & ABSENT:
            self.ranges[slot] = union(self.ranges[source], self.ranges[slot])
            if not self.flags[slot] & DATA:
                self.assumed[slot] = self.assumed[source] + 1
            self.flags[slot] |= DATA

    def assume(self, old: int, command: int, previous: int) -> int:
        """Repeats the visit at `old` unseen after `previous`; returns its position, or `previous` when it is too old."""
        if old not in self:
            return previous
        source = old % self.capacity
        if self.assumed[source] >= ASSUMED_MAX:
            return previous
        flags, ranges, assumed = self.flags[source], self.ranges[source], self.assumed[source]
        position = self.append(self.path[source], flags, command, previous)
        slot = position % self.capacity
        self.ranges[slot] = ranges
        self.assumed[slot] = assumed + 1
        return position

    def places(self, path: int, before: int, command: int) -> list[int]:
        """Positions where `path` was visited, those after `before` (-1: at a stream's start) first."""
        found = []
        pair = self._by_pair.get(hash((before, path, command if before < 0 else 0)))
        if pair is not None and self.path[pair % self.capacity] == path:
            found.append(pair)
        found += [place for place in self._by_path.get(path, ()) if place != pair]
        return found

    def latest(self, path: int) -> tuple[int, ...]:
        """The latest positions of `path`, newest first."""
        return self._by_path.get(path, ())

    def match(self, one: int, other: int) -> int:
        """How many visits back from two positions agree along their streams, themselves included, one skip a side."""
        length = 0
        skips = 2
        while length < MATCH_MAX and one in self and other in self and one and other:
            a, b = one % self.capacity, other % self.capacity
            if self.path[a] == self.path[b]:
                length += 1
                one, other = self.previous[a], self.previous[b]
                continue
            if not skips:
                break
            skips -= 1
            before_one, before_other = self.previous[a], self.previous[b]
            if before_one in self and self.path[before_one % self.capacity] == self.path[b]:
                one = before_one
            elif before_other in self and self.path[before_other % self.capacity] == self.path[a]:
                other = before_other
            else:
                one, other = before_one, before_other
        return length


class Cursor:
    """Replays the ring from one position on, beside a running stream.

    `interleaved` follows the ring's own order, all streams together; otherwise it follows the stream's links.
    """

    __slots__ = (
        "_ahead",
        "_again",
        "_fresh",
        "_history",
        "_interleaved",
        "_ordinal",
        "_passed",
        "_pending",
        "_tail",
        "_tentative",
        "hits",
        "misses",
        "position",
        "streak",
        "strength",
        "window",
    )

    def __init__(self, history: History, position: int, strength: int, interleaved: bool = False) -> None:
        self._history = history
        self._interleaved = interleaved
        self.position = position
        self.strength = strength
        self.hits = 0
        self.misses = 0
        self.streak = 0  # misses in a row
        self.window = WINDOW_START if strength >= 2 else WINDOW_UNSURE
        self._tail = position
        self._ordinal = 0
        self._tentative = 0
        self._pending: deque[tuple[int, int, int]] = deque()  # (ordinal, position, path)
        self._ahead: dict[int, int] = {}  # path -> the first ordinal at which it is due
        self._again: dict[int, int] = {}  # path -> the second one
        self._passed: dict[int, None] = {}  # skipped lately: a reordered access is no miss
        self._fresh: list[tuple[int, int]] = []  # (ordinal, position), not proposed yet
        self._extend()

    @property
    def confidence(self) -> float:
        """Between 0 and 1: how far its predictions came true, recent misses weighing double."""
        right = self.hits + min(self.strength, 4) * 0.5
        return right / (right + self.misses + self.streak + 0.5)

    @property
    def is_confident(self) -> bool:
        return self.hits >= 4 and self.confidence > 0.7

    @property
    def is_lost(self) -> bool:
        return self.streak > 4 + min(self.hits, 60) // 4

    @property
    def is_at_end(self) -> bool:
        return not self._pending

    def covers(self, position: int) -> bool:
        """Whether it will come by `position` within its window."""
        if self.position == position:
            return True
        path = self._history.path[position % self._history.capacity]
        ordinal = self._ahead.get(path)
        return ordinal is not None and any(place == position for _, place, _ in self._pending)

    def advance(self, path: int) -> list[int] | None:
        """An access to `path`: the positions skipped to get there, or None where it was not expected (yet)."""
        ordinal = self._ahead.get(path)
        if ordinal is None:
            if path in self._passed:
                del self._passed[path]
                return None
            self.misses += 1
            self.streak += 1
            return None
        gap = ordinal - self._pending[0][0]
        if gap > JUMP and not 0 <= ordinal - self._tentative <= JUMP:
            self._tentative = ordinal
            self.streak += 1
            return None
        skipped = []
        while self._pending:
            number, position, passed = self._pending.popleft()
            if self._ahead.get(passed) == number:
                del self._ahead[passed]
                again = self._again.pop(passed, None)
                if again is not None:
                    self._ahead[passed] = again
            if number == ordinal:
                self.position = position
                break
            skipped.append(position)
            self._passed[passed] = None
        while len(self._passed) > 2 * JUMP:
            del self._passed[next(iter(self._passed))]
        self.hits += 1
        self.streak = 0
        if self.confidence > 0.6:
            limit = WINDOW_MAX if self.hits < PROVEN_HITS or self.confidence < 0.9 else WINDOW_PROVEN
            self.window = max(self.window, min(limit, max(WINDOW_START, 2 * self.window)))
        elif self.confidence < 0.4:
            self.window = max(WINDOW_UNSURE, self.window // 2)
        self._extend()
        return skipped

    def _extend(self) -> None:
        history = self._history
        while len(self._pending) < self.window:
            if self._tail not in history:
                break
            following = self._tail + 1 if self._interleaved else history.next[self._tail % history.capacity]
            if not following or following not in history:
                break
            self._tail = following
            self._ordinal += 1
            path = history.path[following % history.capacity]
            self._pending.append((self._ordinal, following, path))
            self._fresh.append((self._ordinal, following))
            if path not in self._ahead:
                self._ahead[path] = self._ordinal
            else:
                self._again.setdefault(path, self._ordinal)

    def take_fresh(self, limit: int) -> list[tuple[int, int]]:
        """(distance in visits, position) of what came into the window since the last call, nearest first."""
        if not self._fresh:
            return []
        reached = self._pending[0][0] if self._pending else self._ordinal + 1
        taken = [(max(1, o - reached + 1), p) for o, p in self._fresh[:limit] if o >= reached]
        del self._fresh[:limit]
        return taken

    def upcoming(self, limit: int) -> list[int]:
        """The next positions in the window."""
        return [position for _, position, _ in islice(self._pending, limit)]

    @property
    def has_fresh(self) -> bool:
        return bool(self._fresh)
