"""What to expect of names that were never seen: by their class, their templates, and the company they lie in.

Tables of what followed what say nothing on a first run. Four sources do, each learned online from other names:

    class     a file like those that such programs read whole is looked up      -> its bytes
    derived   `x.py` is visited, and `__pycache__/x.cpython-311.pyc` came after  -> that name, and its bytes
              its like
    cohort    the first modules of a package are read, of such packages most     -> the others, and the names that are
              modules are read                                                      asked for on the way to them
    run       a directory is walked in order                                     -> the names to come, and the bytes of
                                                                                    files if files are read

They propose directly, beside the ranked candidates, because they come in dozens. How often each source's proposals of
that probability came true in fact is counted (predictor.tracker) and taken for half of the probability: a source that
does not work out falls silent. Whether the files are then read, too, is counted for each program (predictor.guesses).
While a stream repeats its past they are not asked at all.
"""

from collections.abc import Callable, Iterator

from predictor.candidates.cohort import FOLDERS, Cohorts
from predictor.candidates.derived import Derived
from predictor.candidates.directory import Directories, extension_of
from predictor.candidates.history import ABSENT, ATTRIBUTES, DATA, LISTING, History
from predictor.candidates.runs import Runs
from predictor.candidates.usage import HEAD_BYTES, Usage
from predictor.events import PathTable
from predictor.guesses import Guesses
from predictor.ranges import Ranges
from predictor.recent import Recent
from predictor.streams import StreamState
from predictor.tracker import Cell, Prior

CLASS_MIN = 0.6
DERIVED_MIN = 0.7
COHORT_MIN = 0.7
"""Below this share a cohort's other files would be fetched in vain too often: one byte in five is what is allowed."""

GUESS_MIN = 0.6
"""Of a guess at data, after correction by what became of such guesses (predictor.guesses)."""

COMPANION_MIN = 0.6
LISTING_MIN = 0.4
"""A listing is one request and no bytes, and answers for all the names that are looked for there in vain."""
RUN_BELIEVED = 0.85
RUN_MIN = 0.6
WALK_MIN = 0.3
WAITING_MAX = 256
UNLISTED_MAX = 4096
LISTED = -1
"""Stands for a first name where the listing was asked for."""

Proposal = tuple[int, int, Ranges, float, str, Cell | None]
"""(path, flags, ranges, probability, generator, the cell that counts whether it came true)."""


class Unseen:
    """The four sources together."""

    def __init__(
        self,
        paths: PathTable,
        history: History,
        directories: Directories,
        sizes: dict[int, int],
        prior: Prior,
        guesses: Guesses,
    ) -> None:
        self.usage = Usage()
        self.derived = Derived(paths)
        self.cohorts = Cohorts(paths, directories)
        self.runs = Runs(paths, directories)
        self.guesses = guesses
        self._paths = paths
        self._history = history
        self._directories = directories
        self._sizes = sizes
        self._prior = prior
        self._waiting: dict[int, tuple[StreamState, int]] = {}  # directory being listed -> for whom, the file read
        self._listing: dict[int, StreamState] = {}  # directory that a program lists -> the program
        self._first: Recent[int, int] = Recent(UNLISTED_MAX)  # directory -> the name visited first, or LISTED

    def begin_session(self) -> None:
        """Nothing is under way."""
        self.cohorts.settle()
        self.runs.clear()
        self.guesses.clear()
        self._first = Recent(UNLISTED_MAX)
        self._waiting.clear()
        self._listing.clear()

    def paths(self) -> Iterator[int]:
        """The paths whose names it may ask for."""
        return (path for _, path in self._waiting.values())

    def settle(self) -> None:
        """Counts what is under way, so that it can be kept."""
        self.cohorts.settle(keep=True)

    def ended(self, stream: StreamState, position: int, read_bytes: int) -> None:
        """A visit ended: what was done with the name."""
        slot = position % self._history.capacity
        path, flags = self._history.path[slot], self._history.flags[slot]
        extension = extension_of(self._paths.name(path))
        if flags & ABSENT:
            self.usage.count_absent(stream.command, extension)
        elif not flags & LISTING:
            self.usage.count(stream.command, extension, self._sizes.get(path, 0), read_bytes)

    def visited(self, stream: StreamState, path: int, flags: int) -> Iterator[Proposal]:
        """A visit began."""
        is_absent = bool(flags & ABSENT)
        self.derived.observe(stream.trail, stream.command, path, is_absent)
        if flags & LISTING and path:
            self.cohorts.use(stream.command, stream.group.visits, path, FOLDERS)
            self._listing[path] = stream
            if len(self._listing) > WAITING_MAX:
                del self._listing[next(iter(self._listing))]
        if stream.follower.is_confident:
            return
        if not flags & ABSENT and path:
            yield from self._list_early(path)
            yield from self._run(stream, path, self.runs.visit(path), is_read=False)
        if not flags & (ABSENT | LISTING):
            yield from self._by_class(stream, path)
        for other, chance in self.derived.after(stream.command, path, is_absent, DERIVED_MIN):
            if other in stream.recent or not self._may_exist(other):
                continue
            cell, chance = self._judged("derived", chance)
            if chance >= DERIVED_MIN:
                yield (other, *self._footprint(stream, other, chance), chance, "derived", cell)

    def read(self, stream: StreamState, path: int) -> Iterator[Proposal]:
        """A file was read, for the first time in its visit."""
        self.cohorts.use(stream.command, stream.group.visits, path)
        if stream.follower.is_confident and self._was_read(stream, path):
            return
        if self.cohorts.needs_listing(stream.command, path):
            parent = self._paths.parent(path)
            self._waiting[parent] = stream, path
            if len(self._waiting) > WAITING_MAX:
                del self._waiting[next(iter(self._waiting))]
            yield parent, LISTING, (), CLASS_MIN, "cohort", None
        yield from self._cohort(stream, path)
        yield from self._run(stream, path, self.runs.read(path), is_read=True)

    def listed(self, directory: int) -> Iterator[Proposal]:
        """A directory's names are known."""
        waiting = self._waiting.pop(directory, None)
        if waiting is not None:
            yield from self._cohort(*waiting)
        stream = self._listing.pop(directory, None)
        if stream is not None and not stream.follower.is_confident:
            folders, chance = self.cohorts.folders(stream.command, directory, LISTING_MIN)
            if folders:
                cell, chance = self._judged("folders", chance)
                if chance >= LISTING_MIN:
                    for folder in folders:
                        yield folder, LISTING, (), chance, "cohort", cell

    def _was_read(self, stream: StreamState, path: int) -> bool:
        """Whether the past that the stream repeats read this file too: it may only have looked at it."""
        old = stream.matched.get(stream.recent.get(path, 0))
        if old is None or old not in self._history:
            return True
        return bool(self._history.flags[old % self._history.capacity] & DATA)

    def _list_early(self, path: int) -> Iterator[Proposal]:
        """With the second of its names a directory is worth its listing: what is absent, and what comes next."""
        parent = self._paths.parent(path)
        directory = self._directories.find(parent)
        if directory is not None and directory.listed:
            return
        first = self._first.get(parent)
        if first is None:
            self._first[parent] = path
        elif first not in (path, LISTED):
            self._first[parent] = LISTED
            yield parent, LISTING, (), CLASS_MIN, "walk", None

    def _run(self, stream: StreamState, path: int, ahead: list[int], is_read: bool) -> Iterator[Proposal]:
        """What a walk comes to: bytes of files where files are read, names where they are looked at."""
        if not ahead:
            return
        kind = "run" if is_read else "walk"
        cell, chance = self._judged(kind, RUN_BELIEVED)
        if chance < (RUN_MIN if is_read else WALK_MIN):
            return
        directory = self._directories.find(self._paths.parent(path))
        is_whole = directory is not None and directory.whole > 0
        for other in ahead:
            if other in stream.recent:
                continue
            ranges: Ranges = ()
            if is_read:
                ranges = self._last_read(other) or ((0, 0 if is_whole else HEAD_BYTES),)
                ranges = self._guessed(stream, other, ranges, chance, kind)
            yield other, DATA if ranges else ATTRIBUTES, ranges, chance, kind, cell

    def _by_class(self, stream: StreamState, path: int) -> Iterator[Proposal]:
        chance = self.usage.chance(stream.command, extension_of(self._paths.name(path)))
        if chance >= CLASS_MIN and len(self._history.latest(path)) <= 1:
            ranges = self._guessed(stream, path, self._ranges(stream.command, path), chance, "class")
            if ranges:
                yield path, DATA, ranges, chance, "class", None

    def _cohort(self, stream: StreamState, path: int) -> Iterator[Proposal]:
        files, chance = self.cohorts.rest(stream.command, stream.group.visits, path, COHORT_MIN)
        if not files:
            return
        cell, chance = self._judged("cohort", chance)
        if chance < COHORT_MIN:
            return
        for other in files:
            if other in stream.recent:
                continue
            for companion, share in self.derived.before(stream.command, other, COMPANION_MIN):
                if companion not in stream.recent and self._may_exist(companion):
                    yield companion, ATTRIBUTES, (), chance * share, "derived", None
            ranges = self._guessed(stream, other, self._ranges(stream.command, other), chance, "cohort")
            yield other, DATA if ranges else ATTRIBUTES, ranges, chance, "cohort", cell

    def _guessed(self, stream: StreamState, path: int, ranges: Ranges, chance: float, generator: str) -> Ranges:
        """What is worth fetching of these, where nobody has read them: nothing, if such guesses were wrong."""
        if not ranges or self._last_read(path):
            return ranges
        self.guesses.watch(path, stream.group, generator, stream.command, chance)
        return ranges if self.guesses.corrected(generator, stream.command, chance) >= GUESS_MIN else ()

    def _footprint(self, stream: StreamState, path: int, chance: float) -> tuple[int, Ranges]:
        """Its bytes where it will exist and be read, as far as its class tells; else the name."""
        directory = self._directories.find(self._paths.parent(path))
        is_there = directory is not None and path in directory.place
        extension = extension_of(self._paths.name(path))
        share = self.usage.chance(stream.command, extension, may_be_absent=not is_there)
        ranges = self._ranges(stream.command, path) if chance >= CLASS_MIN and share >= CLASS_MIN else ()
        ranges = self._guessed(stream, path, ranges, chance, "derived")
        return (DATA if ranges else ATTRIBUTES), ranges

    def _ranges(self, command: int, path: int) -> Ranges:
        """What was read of it last, or else what is read of its like."""
        extension = extension_of(self._paths.name(path))
        return self._last_read(path) or self.usage.ranges(command, extension, self._sizes.get(path, 0))

    def _last_read(self, path: int) -> Ranges:
        for place in self._history.latest(path):
            slot = place % self._history.capacity
            if self._history.flags[slot] & DATA:
                return self._history.ranges[slot]
        return ()

    def _may_exist(self, path: int) -> bool:
        """False where its directory's listing says that it does not."""
        directory = self._directories.find(self._paths.parent(path))
        return directory is None or not directory.listed or path in directory.place

    def _judged(self, source: str, chance: float) -> tuple[Cell, float]:
        cell = self._prior.cell(source, int(chance * 8))
        achieved = (cell[3] + 4 * chance) / (cell[0] + 4)
        return cell, (achieved + chance) / 2

    def tables(self) -> dict[str, "Table"]:
        """Those that are kept, by name."""
        return {
            "usage": (self.usage.rows, self.usage.load, 6),
            "derived": (self.derived.rows, self.derived.load, 5),
            "cohort": (self.cohorts.rows, self.cohorts.load, 4),
            "guess": (self.guesses.rows, self.guesses.load, 3),
        }


Table = tuple[
    Callable[[], tuple[list[bytes], list[tuple[float, ...]]]],
    Callable[[list[bytes], list[list[float]]], None],
    int,
]
"""(names and numbers, taking them back, numbers a row)."""
