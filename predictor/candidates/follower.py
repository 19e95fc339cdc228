"""The best few replays of one stream: which cursor to believe, and where to set down a new one.

A stream (or all streams together) keeps up to `CURSORS` cursors in its past. While the best one predicts well nothing
else is looked for. When it misses, the places where the current path was visited before are compared by how many
visits backwards agree, and a cursor is set down at the best of them. Cursors that are lost are dropped.
"""

from predictor.candidates.cursor import Cursor
from predictor.candidates.history import History

CURSORS = 3


class Follower:
    """Cursors of one stream, the most credible first."""

    __slots__ = ("_history", "_interleaved", "cursors")

    def __init__(self, history: History, interleaved: bool = False) -> None:
        self._history = history
        self._interleaved = interleaved
        self.cursors: list[Cursor] = []

    @property
    def best(self) -> Cursor | None:
        return self.cursors[0] if self.cursors else None

    @property
    def is_confident(self) -> bool:
        return bool(self.cursors) and self.cursors[0].is_confident and self.cursors[0].streak == 0

    def visit(self, path: int, previous: int, command: int) -> tuple[int, list[int]]:
        """A visit that is about to be appended after `previous`: (the old position it repeats or 0, those skipped)."""
        matched, skipped = 0, list[int]()
        for cursor in self.cursors:
            passed = cursor.advance(path)
            if passed is not None and not matched:
                matched, skipped = cursor.position, passed
        cursors = self.cursors
        if matched and len(cursors) > 1 and self.is_confident:
            cursors = self.cursors = cursors[:1]  # it needs no rivals
        if len(cursors) > 1 or (cursors and cursors[0].is_lost):
            cursors = self.cursors = [cursor for cursor in cursors if not cursor.is_lost]
            cursors.sort(key=_credit, reverse=True)
        if not matched and self._should_look():
            self._set_down(path, previous, command)
            if self.cursors and self._history.path[self.cursors[0].position % self._history.capacity] == path:
                matched = self.cursors[0].position
        return matched, skipped

    def _should_look(self) -> bool:
        best = self.best
        if best is None or best.is_at_end:
            return True
        return best.streak >= 2 if self._interleaved or best.is_confident else best.streak >= 1

    def _set_down(self, path: int, previous: int, command: int) -> None:
        history = self._history
        before = history.path[previous % history.capacity] if previous in history and previous else -1
        best_place, best_strength = 0, 0
        for place in history.places(path, before, command):
            if place not in history:
                continue
            slot = place % history.capacity
            strength = 1 + (history.command[slot] == command)
            if self._interleaved:
                strength += self._agreement(previous, place - 1)
            elif before < 0:
                strength += 2 * (history.previous[slot] == 0)
            else:
                strength += history.match(previous, history.previous[slot])
            if strength > best_strength:
                best_place, best_strength = place, strength
        if not best_place or any(cursor.position == best_place for cursor in self.cursors):
            return
        self.cursors.append(Cursor(history, best_place, best_strength, self._interleaved))
        self.cursors.sort(key=_credit, reverse=True)
        del self.cursors[CURSORS:]

    def _agreement(self, one: int, other: int) -> int:
        history = self._history
        length = 0
        while length < 8 and one in history and other in history:
            if history.path[one % history.capacity] != history.path[other % history.capacity]:
                break
            length += 1
            one, other = one - 1, other - 1
        return length


def _credit(cursor: Cursor) -> float:
    return cursor.confidence * min(cursor.hits + cursor.strength, 16) - cursor.streak
