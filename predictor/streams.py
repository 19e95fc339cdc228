"""A running stream's state: where it is, which past it replays, how it reads its files. O(1) memory each."""

from collections import OrderedDict, deque
from collections.abc import Iterator

from predictor.baselines.readahead import Readahead
from predictor.candidates.derived import Split
from predictor.candidates.follower import Follower
from predictor.candidates.history import History
from predictor.features import TOKENS, Proposals
from predictor.tracker import Group

RECENT = 32
"""Visits of a stream that are still open: using one of these paths again goes on with the visit."""

FILES = 32
"""Files of a stream whose reads are followed for readahead."""

UNRANKED = 4
"""Visits of one batch whose directories are asked for candidates: the last few of many."""

CONTINUATIONS_MAX = 64
"""Visits that one stay at a file may be split into, when it is read in more places than one visit holds."""


class StreamState:
    """One process."""

    __slots__ = (
        "before",
        "command",
        "continuations",
        "files",
        "follower",
        "group",
        "matched",
        "path",
        "previous",
        "proposals",
        "ranked_at",
        "reading",
        "recent",
        "step",
        "step_repeats",
        "time_ns",
        "tokens",
        "trail",
        "unranked",
        "visits",
    )

    def __init__(self, history: History, group: Group, command: int) -> None:
        self.group = group
        self.command = command  # the group's number
        self.follower = Follower(history)
        self.previous = 0  # position of the last visit in the history
        self.path = -1  # of the last visit
        self.reading = -1  # path of the file that it began to read last
        self.before = -1  # of the one before it
        self.recent: OrderedDict[int, int] = OrderedDict()  # path -> position
        self.matched: dict[int, int] = {}  # position -> the old position it repeats
        self.files: OrderedDict[int, Readahead] = OrderedDict()
        self.continuations: dict[int, int] = {}
        self.tokens: deque[list[float]] = deque(maxlen=TOKENS)
        self.proposals: dict[int, Proposals] = {}  # by path, from the last ranking
        self.trail: deque[tuple[int, Split]] = deque()  # (command, name) of the last few visits
        self.time_ns = 0
        self.step = 0  # from the number in the last name but one to that in the last, in the same directory
        self.step_repeats = 0
        self.visits = 0
        self.ranked_at = -1
        self.unranked: deque[int] = deque(maxlen=UNRANKED)  # paths visited since the last ranking, the last one too

    def paths(self) -> Iterator[int]:
        """The paths whose names it may ask for."""
        yield from self.recent
        yield from self.unranked
        yield from (path for _, (path, *_) in self.trail)
        yield from (path for path in (self.path, self.before, self.reading) if path >= 0)

    def readahead(self, path: int, size: int) -> Readahead:
        """The readahead state of one of its files."""
        state = self.files.get(path)
        if state is None:
            state = self.files[path] = Readahead(size or 1 << 62)
            if len(self.files) > FILES:
                self.files.popitem(last=False)
        else:
            self.files.move_to_end(path)
            if size:
                state.size = size
        return state
