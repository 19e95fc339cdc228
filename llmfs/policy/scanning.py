"""Stat-ahead: who walks a listing and asks for each name's attributes is served the next ones before he asks.

`ls -l`, find, rsync and git status read a directory and then stat its names in the listing's order, one after the
other. A walker shows by two steps forward; the window ahead of him doubles from 16 to 512 names. Random stats show
nothing.
"""

FIRST_WINDOW = 16
LAST_WINDOW = 512
STRIDE = 4
"""Names that a walker may skip: those he wants no attributes of, and those the kernel knew."""


class Scan:
    """How far the walk through one directory's listing has come."""

    __slots__ = ("_ahead", "_last", "_steps", "_window")

    def __init__(self) -> None:
        self._last = -1 - STRIDE
        self._steps = 0
        self._window = FIRST_WINDOW
        self._ahead = 0

    def begin(self, count: int) -> tuple[int, int]:
        """Who walked another directory begins this one, of `count` names: the positions [first, stop) to stat ahead."""
        self._last, self._steps, self._window = -1, 2, LAST_WINDOW
        first, self._ahead = self._ahead, min(count, LAST_WINDOW)
        return min(first, self._ahead), self._ahead

    def observe(self, position: int, count: int) -> tuple[int, int] | None:
        """The name at `position` of `count` was asked for: the positions [first, stop) to stat ahead, if any."""
        if 0 < position - self._last <= STRIDE:
            self._steps += 1
        elif position != self._last:
            self._steps, self._window, self._ahead = 0, FIRST_WINDOW, position + 1
        self._last = position
        if self._steps < 2 or self._ahead - position > self._window // 2:
            return None
        first, stop = max(self._ahead, position + 1), min(count, position + 1 + self._window)
        self._window = min(2 * self._window, LAST_WINDOW)
        if first >= stop:
            return None
        self._ahead = stop
        return first, stop
