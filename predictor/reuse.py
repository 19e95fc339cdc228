"""What is likely to be used again: the scores by which the mount evicts.

Two things tell. How often paths that were visited n times were visited once more, by log2 of n; less so for a file of a
directory that is read as a set, once it was read in this epoch. And what the cursors expect: it was planned, and must
be there when it is used.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from predictor.candidates.cursor import Cursor
from predictor.candidates.directory import Directories
from predictor.candidates.history import History
from predictor.events import PathTable

AHEAD_SCORED = 1024
"""Visits of a cursor's window whose files are kept from eviction."""

SCORED_MAX = 1024
"""Paths touched between two questions that are scored: the last ones."""


class Reuse:
    """Counts visits, scores paths."""

    def __init__(self, paths: PathTable, history: History, directories: Directories, uses_max: int) -> None:
        self._paths = paths
        self._history = history
        self._directories = directories
        self._uses_max = uses_max
        self._touched: OrderedDict[int, None] = OrderedDict()  # since scores() was asked
        self._ahead: dict[int, float] = {}  # expected by cursors when scores() was asked
        self.uses: OrderedDict[int, tuple[int, int]] = OrderedDict()  # path -> (visits, when last)
        self.counts: list[list[float]] = [[2.0, 1.0] for _ in range(8)]  # by log2 of visits: visits, visited again

    def paths(self) -> Iterator[int]:
        """The paths that are remembered."""
        yield from self.uses
        yield from self._touched
        yield from self._ahead

    def forget_older_half(self) -> None:
        """Forgets those that were visited longest ago."""
        for _ in range(len(self.uses) // 2):
            self.uses.popitem(last=False)

    def visits(self, path: int) -> int:
        """How often `path` was visited, as far as is remembered."""
        return self.uses.get(path, (0, 0))[0]

    def visit(self, path: int, clock: int) -> None:
        """`path` is visited at `clock`, the number of visits so far."""
        visits = self.visits(path)
        if visits:
            self.counts[_class_of(visits)][1] += 1
        self.counts[_class_of(visits + 1)][0] += 1
        self.uses[path] = (visits + 1, clock)
        self.uses.move_to_end(path)
        if len(self.uses) > self._uses_max:
            self.uses.popitem(last=False)
        self._touched[path] = None
        self._touched.move_to_end(path)
        if len(self._touched) > SCORED_MAX:
            self._touched.popitem(last=False)

    def scores(self, cursors: Iterable[Cursor]) -> list[tuple[bytes, float]]:
        """(path, probability of reuse): of what was touched since the last call, and of what `cursors` expect.

        What a cursor expects scores as high as the cursor is sure. What it expects no longer is scored anew.
        """
        ahead: dict[int, float] = {}
        for cursor in cursors:
            if cursor.is_confident:
                for position in cursor.upcoming(AHEAD_SCORED):
                    path = self._history.path[position % self._history.capacity]
                    ahead[path] = max(ahead.get(path, 0.0), cursor.confidence)
            if len(ahead) >= 2 * AHEAD_SCORED:
                break
        new = {path: score for path, score in ahead.items() if path not in self._ahead}
        for path in self._ahead.keys() - ahead.keys():
            self._touched[path] = None
        self._ahead = ahead
        found = [(self._paths.path(path), score) for path, score in new.items()]
        while self._touched:
            path, _ = self._touched.popitem(last=False)
            if path not in new:
                found.append((self._paths.path(path), max(self._probability(path), ahead.get(path, 0.0))))
        return found

    def _probability(self, path: int) -> float:
        seen, again = self.counts[_class_of(self.visits(path))]
        score = min(1.0, again / seen)
        directory = self._directories.find(self._paths.parent(path))
        if directory is not None and directory.is_set and path in directory.read:
            score *= len(directory.read) / (1 + len(directory.read) + len(directory.unread))
        return score


def _class_of(visits: int) -> int:
    return min(7, max(0, visits.bit_length() - 1))
