"""What is likely to be used again: the scores by which the mount evicts.

A score between 0 and 1 is the probability that a path is visited again at all: how often paths that were visited n
times were visited once more, by log2 of n. A score from 1 to 2 says that a cursor expects it, and how soon: the sooner,
the higher. Below 0: a file of a data set that was read in this epoch, where each is read once an epoch, is done with
until the others were read; the more of these, the lower.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import islice

from predictor.candidates.cursor import Cursor
from predictor.candidates.directory import Directories
from predictor.candidates.history import History
from predictor.events import PathTable

AHEAD_SCORED = 1024
"""Visits of a cursor's window whose files are kept from eviction."""

AHEAD_OCTAVES = AHEAD_SCORED.bit_length()

SET_SCORED_MAX = 8192
"""Files of sets that wait to be scored anew, for an epoch began or they were read in it."""

UNREAD_SCORE = 0.95

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
        self._turned: dict[int, None] = {}  # files of sets, since turned() was asked
        self.uses: OrderedDict[int, tuple[int, int]] = OrderedDict()  # path -> (visits, when last)
        self.counts: list[list[float]] = [[2.0, 1.0] for _ in range(8)]  # by log2 of visits: visits, visited again

    def paths(self) -> Iterator[int]:
        """The paths that are remembered."""
        yield from self.uses
        yield from self._touched
        yield from self._turned
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
        """(path, score): of what was touched since the last call, and of what `cursors` expect.

        What a cursor expects no longer is scored anew.
        """
        ahead: dict[int, float] = {}
        for cursor in cursors:
            if cursor.is_confident:
                visited, capacity = self._history.path, self._history.capacity
                sure = round(8 * cursor.confidence) / 8  # in steps, so that little changes from call to call
                by_octave = [1 + sure * (1 - octave / AHEAD_OCTAVES) for octave in range(AHEAD_OCTAVES + 1)]
                for distance, position in enumerate(cursor.upcoming(AHEAD_SCORED)):
                    path = visited[position % capacity]
                    score = by_octave[distance.bit_length()]
                    if score > ahead.get(path, 0.0):
                        ahead[path] = score
            if len(ahead) >= 2 * AHEAD_SCORED:
                break
        for path in self._ahead.keys() - ahead.keys():
            self._touched[path] = None
        before, self._ahead = self._ahead, ahead
        found = [(self._paths.path(path), score) for path, score in ahead.items() if before.get(path) != score]
        while self._touched:
            path, _ = self._touched.popitem(last=False)
            if path not in ahead:
                found.append((self._paths.path(path), self._probability(path)))
        return found

    def epoch_began(self, directory: int) -> None:
        """All files of a set are to be read once more."""
        state = self._directories.find(directory)
        if state is not None:
            self._turned.update(dict.fromkeys(islice(state.unread, max(0, SET_SCORED_MAX - len(self._turned)))))

    def read_past(self, path: int) -> None:
        """A program that read `path` reads on elsewhere: if it is of a set, it is done with for this epoch."""
        state = self._directories.find(self._paths.parent(path))
        if state is not None and state.epochs and len(self._turned) < SET_SCORED_MAX:
            self._turned[path] = None

    def turned(self) -> list[tuple[bytes, float]]:
        """(path, score) of files of sets that were read, or are to be read anew, since the last call: what is done with
        is of no use to a cache, and what is to be read anew must not go for it."""
        turned, self._turned = self._turned, {}
        return [(self._paths.path(path), self._probability(path)) for path in turned if path not in self._ahead]

    def _probability(self, path: int) -> float:
        directory = self._directories.find(self._paths.parent(path))
        if directory is not None and directory.epochs:
            if path in directory.unread:
                return UNREAD_SCORE
            if path in directory.read and directory.unread:
                return -len(directory.unread) / (len(directory.read) + len(directory.unread))
        seen, again = self.counts[_class_of(self.visits(path))]
        return min(UNREAD_SCORE, again / seen)


def _class_of(visits: int) -> int:
    return min(7, max(0, visits.bit_length() - 1))
