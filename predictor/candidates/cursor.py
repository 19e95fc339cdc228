"""Temporal streaming: what followed here last time will follow again.

A `Cursor` replays an old part of the history beside a running stream. It holds the next visits in a window. An access
that is in the window moves it on, over skipped ones: the kernel's caches hide accesses from us. One that is not leaves
it where it is and costs confidence. Each hit doubles the window, from 8 or 32 visits to 512 and more, so that the
start of a program is planned much faster than the program runs.

The idea is that of temporal streaming in processors (Wenisch et al., ISCA 2005), with files for cache lines.

Never does: I/O, clocks, more than `WINDOW_PROVEN` visits a cursor.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice

from predictor.candidates.history import History

WINDOW_MAX = 512
WINDOW_PROVEN = 2048
PROVEN_HITS = 24
"""After so many hits with hardly a miss it looks further ahead still: large files need the time."""

WINDOW_START = 32
WINDOW_UNSURE = 8

JUMP = 32
"""Visits that one hit may skip at once. A longer jump needs a second hit near the first to be believed."""


class Cursor:
    """Replays the ring from one position on, beside a running stream.

    `interleaved` follows the ring's own order, all streams together; otherwise it follows the stream's links.
    """

    __slots__ = (
        "_again",
        "_ahead",
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
        self._fresh: deque[tuple[int, int, int]] = deque(maxlen=WINDOW_PROVEN)  # of `_pending`, not taken yet
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
        history, pending, fresh, ahead = self._history, self._pending, self._fresh, self._ahead
        first, end, capacity = history.first, history.end, history.capacity
        tail, ordinal = self._tail, self._ordinal
        for _ in range(self.window - len(pending)):
            if not first <= tail < end:
                break
            following = tail + 1 if self._interleaved else history.next[tail % capacity]
            if not first <= following < end:
                break
            tail = following
            ordinal += 1
            path = history.path[following % capacity]
            entry = (ordinal, following, path)
            pending.append(entry)
            fresh.append(entry)
            if ahead.setdefault(path, ordinal) != ordinal:
                self._again.setdefault(path, ordinal)
        self._tail, self._ordinal = tail, ordinal

    def take_fresh(self) -> Iterator[tuple[int, int, int]]:
        """(distance in visits, position, path) of what came into the window and was not taken, the nearest first."""
        before = self._pending[0][0] - 1 if self._pending else self._ordinal
        fresh = self._fresh
        while fresh:
            ordinal, position, path = fresh.popleft()
            if ordinal > before:
                yield ordinal - before, position, path

    def upcoming(self, limit: int) -> list[int]:
        """The next positions in the window."""
        return [position for _, position, _ in islice(self._pending, limit)]

    @property
    def has_fresh(self) -> bool:
        return bool(self._fresh)
