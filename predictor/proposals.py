"""Gathers one stream's candidates from all sources, with the numbers by which they are ranked.

Never more than `CANDIDATES_MAX`; dictionary work only. What each candidate would be used for (attributes, the listing,
which bytes) is answered by `Footprints`, from what it was used for last.
"""

from collections.abc import Callable

from predictor.candidates.directory import Directories, extension_of, neighbours, trailing_number
from predictor.candidates.history import ABSENT, ATTRIBUTES, DATA, LISTING, History
from predictor.candidates.successors import Successors, alone, pair, within
from predictor.events import PathTable
from predictor.features import Candidate
from predictor.ranges import Ranges
from predictor.streams import StreamState

CANDIDATES_MAX = 64
CHILDREN = 8
HISTORY_RANKED = 16
"""Visits of a cursor that is not believed on its own, taken as candidates."""

TYPICAL_BYTES = 128 << 10
"""What is fetched of a file about which nothing is known, when its siblings are not read to their end."""


Propose = Callable[[str, int, int, float], None]
"""(generator, path, rank, confidence)."""


class Proposer:
    """The candidate sources, seen from one stream at a time."""

    def __init__(self, paths: PathTable, history: History, successors: Successors, directories: Directories) -> None:
        self._paths = paths
        self._history = history
        self._successors = successors
        self._directories = directories

    def candidates(self, stream: StreamState) -> list[Candidate]:
        """What may follow the stream's last visit. Beside each generator: rank and confidence."""
        found: dict[int, Candidate] = {}
        path, before = stream.path, stream.before

        def propose(generator: str, other: int, rank: int, confidence: float) -> None:
            if other in stream.recent:
                return
            candidate = found.get(other)
            if candidate is None:
                if len(found) >= CANDIDATES_MAX:
                    return
                candidate = found[other] = Candidate(other)
            if generator not in candidate.generators:
                candidate.generators[generator] = (rank, confidence)

        for cursor in stream.follower.cursors:
            for rank, position in enumerate(cursor.upcoming(HISTORY_RANKED)):
                propose("history", self._history.path[position % self._history.capacity], rank, cursor.confidence)
        contexts = (
            ("successor2", pair(before, path)),
            ("successor", within(stream.command, path)),
            ("global", alone(path)),
        )
        for generator, context in contexts:
            for rank, (other, count, total) in enumerate(self._successors.after(context)):
                propose(generator, other, rank, count / (total + 1))
        for visited in dict.fromkeys((path, *reversed(stream.unranked))):
            self._from_directory(stream, visited, propose)
        stream.unranked.clear()
        return list(found.values())

    def _from_directory(self, stream: StreamState, path: int, propose: Propose) -> None:
        position = stream.recent.get(path, 0)
        flags = self._history.flags[position % self._history.capacity] if position in self._history else 0
        if flags & ABSENT:
            return
        if flags & LISTING:
            own = self._directories.find(path)
            if own is not None:
                for rank, child in enumerate(own.listed[:CHILDREN]):
                    propose("children", child, rank, 1 / (1 + len(own.listed)))
        if not path:
            return
        directory = self._directories.get(self._paths.parent(path))
        name = self._paths.name(path)
        if stream.step and stream.step_repeats and path == stream.path:
            for rank, neighbour in enumerate(neighbours(name, stream.step)):
                known = self._paths.find(self._paths.parent(path), neighbour)
                if known is None and not directory.listed:
                    known = self._paths.intern(self._paths.parent(path), neighbour)
                if known is not None:
                    propose("numbered", known, rank, min(4, stream.step_repeats) / 4)
        for rank, child in enumerate(directory.siblings(path, self._paths)):
            propose("sibling", child, rank, directory.walk)
        if flags & DATA:
            unread = directory.unread_ones(path, extension_of(name), self._paths)
            share = len(directory.read) / (1 + len(directory.read) + len(directory.unread))
            for rank, child in enumerate(unread):
                propose("unread", child, rank, share)

    def reading(self, directory: int) -> tuple[float, bool, int]:
        """(share not read in this epoch, is a set, files read): how the files of `directory` are read."""
        state = self._directories.find(directory)
        if state is None:
            return 0.0, False, 0
        known = len(state.unread) + len(state.read)
        return len(state.unread) / known if known else 0.0, state.is_set, state.reads

    def footprint(self, path: int, stream: StreamState) -> tuple[int, Ranges]:
        """What `path` was used for last: flags, and the ranges that were read. Where it was never read, what its
        sibling that `stream` visited last was used for: a length of 0 stands for the whole file. Was that only looked
        up so far, as it is when a ranking follows at once, the one before it counts if it is of the same kind."""
        history = self._history
        flags: int = 0
        for place in history.latest(path):
            slot = place % history.capacity
            flags = flags or history.flags[slot]
            if history.flags[slot] & DATA:
                return flags | DATA, history.ranges[slot]
        if flags & (ABSENT | LISTING):
            return flags, ()
        directory = self._directories.find(self._paths.parent(path))
        if directory is None:
            return flags or ATTRIBUTES, ()
        names, kind = self._paths, extension_of(self._paths.name(path))
        for like in (stream.path, stream.before):
            if like < 0 or names.parent(like) != names.parent(path):
                continue
            if like == stream.before and extension_of(names.name(like)) != kind:
                continue
            for place in history.latest(like):
                seen = history.flags[place % history.capacity]
                if seen & DATA and path not in directory.folders:
                    return DATA, ((0, 0 if directory.whole > 0 else TYPICAL_BYTES),)
                if seen & LISTING and path in directory.folders:
                    return LISTING, ()
        return flags or ATTRIBUTES, ()

    def last_flags(self, path: int) -> int:
        """What the last visit to `path` that is remembered was for; 0 for none."""
        for place in self._history.latest(path):
            return self._history.flags[place % self._history.capacity]
        return 0

    def number(self, path: int) -> int | None:
        """The number in a path's name."""
        return trailing_number(self._paths.name(path))
