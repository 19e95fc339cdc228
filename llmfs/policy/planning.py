"""What to fetch ahead next, and when to leave it be.

Wishes wait in bounded heaps, the one that will be used first on top; each is there once. One that is still waiting
when its time has passed is dropped, and one for what a program reads meanwhile is void. Bytes that were fetched ahead
and not used yet are bounded by a share of the cache: wishes for more of them wait until some were used. Names are
believed for seconds only, so none is looked at long before its use: how long that is in accesses, the pace of the
programs tells. When most of what was fetched lately was never used, only what is very likely is still taken in. A
controller may hold all of this back further, by choosing an arm.

Pure: the time comes in with each call. The mount's prefetcher and the offline replay drive this class.
"""

import dataclasses
import heapq
import itertools
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from predictor.control.arms import ARMS, SAFE
from predictor.plan import Want

Place = TypeVar("Place", bound=Hashable)

QUEUE_LIMIT = 8192
PATIENCE_S = 30.0
"""A wish that has waited so long is about a past that did not happen."""

UNUSED_SHARE = 0.25
"""Of the cache: what may lie there fetched ahead and unused,"""

UNUSED_SHARE_PROVEN = 0.5
"""and what may while nearly all of it is used in the end."""

GOOD_ACCURACY = 0.95

CARRIED_JOBS = 64
"""Over so many wishes for data it is known how much one brings."""

JUDGED_BYTES = 8 << 20
"""Prefetched bytes over which accuracy is judged."""

POOR_ACCURACY = 0.3
SURE_SCORE = 0.8

PACE_OVER_S = 0.5
"""Over which the pace of the programs is taken."""

PACE_LEAST = 400.0
"""Accesses a second: what a program that just begins is taken to make before long."""

REACH = 0.5
"""Of the time that a look at a name lasts: how long before its use, at most, it is made."""

STEP = 8
"""Accesses that the clock is put on or back when a name is asked for before or after its time: it settles where as many
are early as late, whatever single ones are."""

EXPECTED_LIMIT = 2 * QUEUE_LIMIT
"""Names whose time is known and that were not asked for yet."""

NAMES_AT_ONCE = 32
"""Names of one directory that are looked through for those that may be looked at together."""

_NEVER = 1 << 62


class Drop(StrEnum):
    """Why a wish is not carried out."""

    LATE = "late"  # it waited for too long
    FULL = "full"  # too many wait, and what is used before it
    DOUBTFUL = "doubtful"  # most of what was fetched lately was in vain, and it is not sure
    FAILED = "failed"  # the source has an error for it, or we have
    POLICY = "policy"  # a person said so


@dataclass(slots=True)
class Job(Generic[Place]):
    """One thing to have ready: at `path` below `place`. `offset` and `length` are bytes; a length of 0: to the end.

    `due` is the access at which it is used, as far as that is known; set when the wish is taken in. `is_void`: it came
    true while it waited.
    """

    want: Want
    place: Place
    path: tuple[bytes, ...]
    offset: int
    length: int
    generator: str
    queued_s: float
    score: float
    due: int = 0
    is_void: bool = False

    @property
    def key(self) -> tuple[int, Place, tuple[bytes, ...], int]:
        return (self.want, self.place, self.path, self.offset)


class Planning(Generic[Place]):
    """The wishes that wait, and the account of what became of the others."""

    def __init__(self, cache_bytes: Callable[[], int], on_dropped: Callable[[Drop, int], None]) -> None:
        """`cache_bytes()`: what the cache holds; `on_dropped(why, count)` hears of wishes that are not carried out."""
        self._cache_bytes = cache_bytes
        self._on_dropped = on_dropped
        self._names: list[tuple[int, int, Job[Place]]] = []  # of attributes and listings: (due, sequence, job)
        self._data: list[tuple[int, int, Job[Place]]] = []
        self._waiting: set[tuple[int, Place, tuple[bytes, ...], int]] = set()
        self._data_of: dict[tuple[Place, tuple[bytes, ...]], Job[Place]] = {}  # the latest that waits for each
        self._names_in: dict[Place, dict[bytes, Job[Place]]] = {}  # the first that waits for each
        self._expected: dict[tuple[Place, bytes], int] = {}  # names, and when the first use of each is due
        self._sequence = 0
        self._judged = [0, 0]  # bytes used, bytes never used, of late
        self._pace = 0.0  # accesses a second
        self._paced = (0, 0.0)  # accesses and time when that was taken
        self._held_until = _NEVER  # accesses at which the first name that is held back no longer is
        self.looks_last_s = 60.0  # how long names are believed once they were looked at, of late
        self.accesses = 0  # the clock: about as many as programs made
        self.unused_bytes = 0
        self.arm = ARMS[SAFE]
        self.running = 0
        self._running_data = 0
        self._carried = [0, 0]  # wishes for data that were carried out, and the bytes that came, of late

    def __len__(self) -> int:
        return len(self._names) + len(self._data)

    def accessed(self, place: Place | None = None, name: bytes = b"") -> bool:
        """A program asked for something: of the directory `place`, where it was a name. Whether a wish that was held
        back until now may be carried out.

        Horizons count what a program did the last time, and what the kernel answers by itself this time never gets
        here. So the clock follows the names whose time is known: each that is asked for puts it a little on or back.
        """
        self.accesses += 1
        if place is not None and (due := self._expected.pop((place, name), None)) is not None:
            self.accesses += STEP if due > self.accesses else -STEP
        if self.accesses < self._held_until:
            return False
        self._held_until = _NEVER
        return True

    def expect(self, place: Place, name: bytes, horizon: int) -> None:
        """A name of the directory `place` is asked for `horizon` accesses from now, by a count and not by a guess."""
        if len(self._expected) >= EXPECTED_LIMIT:
            del self._expected[next(iter(self._expected))]
        self._expected.setdefault((place, name), self.accesses + horizon)

    def lead_s(self, due: int, now_s: float) -> float:
        """In how many seconds, about, a thing is used that is used at the access `due`."""
        self._take_pace(now_s)
        return max(0, due - self.accesses) / max(self._pace, PACE_LEAST)

    def push(self, horizon: int, job: Job[Place], is_look: bool = False) -> bool:
        """Takes in a wish for what is used `horizon` accesses from now. False where it is known or not worth it.

        `is_look`: as far as is known the data of it is there, and has only to be found unchanged.
        """
        if job.want is Want.DATA and job.score < self.arm.min_score:
            job = dataclasses.replace(job, want=Want.ATTRIBUTES, offset=0, length=0)  # its name moves no bytes
        if job.key in self._waiting:
            return False
        job.due = self.accesses + horizon
        if len(self) >= QUEUE_LIMIT and not self._made_room(job.due):
            self._on_dropped(Drop.FULL, 1)
            return False
        if self.is_wasting and job.score < SURE_SCORE:
            self._on_dropped(Drop.DOUBTFUL, 1)
            return False
        self._waiting.add(job.key)
        self._sequence += 1
        heap = self._data if job.want is Want.DATA and not is_look else self._names
        heapq.heappush(heap, (job.due, self._sequence, job))
        if job.want is Want.DATA:
            self._data_of[job.place, job.path] = job
        if len(job.path) == 1:
            self._names_in.setdefault(job.place, {}).setdefault(job.path[0], job)
        return True

    def _made_room(self, due: int) -> bool:
        """The later half of the names goes, for what is used before: it may wait for a program that has ended."""
        self._names.sort()
        later = self._names[len(self._names) // 2 :]
        if not later or later[0][0] <= due:
            return False
        del self._names[len(self._names) // 2 :]
        for _, _, job in later:
            if not job.is_void:
                self._no_longer_waits(job)
        self._on_dropped(Drop.FULL, len(later))
        return True

    def pop(self, now_s: float) -> Job[Place] | None:
        """The wish to carry out next; None where there is none, or none that there is room for. It is running until
        `done` is called."""
        while heap := self._first(now_s):
            _, _, job = heapq.heappop(heap)
            if job.is_void:
                continue
            self._no_longer_waits(job)
            if now_s - job.queued_s <= PATIENCE_S:
                self.running += 1
                self._running_data += job.want is Want.DATA
                return job
            self._on_dropped(Drop.LATE, 1)
        return None

    def has_more(self, now_s: float) -> bool:
        """Whether `pop` would find something."""
        return bool(self._first(now_s))

    def _first(self, now_s: float) -> "list[tuple[int, int, Job[Place]]]":
        """The heap with the wish on top that is to be carried out next; an empty one where there is none."""
        if self.running >= self.arm.at_once:
            return []
        names = self._names
        if names and names[0][0] > self.accesses + (reach := self._reach(now_s)):
            self._held_until = min(self._held_until, names[0][0] - int(reach))
            names = []
        if self._data and self.has_room and not (names and names[0] < self._data[0]):
            return self._data
        return names

    def was_read(self, inode: Place, place: tuple[Place, bytes] | None, start: int, stop: int, size: int) -> None:
        """A program read bytes [start, stop) of `size` of a file, known by its place too: a wish for no more than that
        is void. Carried out when the cache has room again, it would bring back what was read and has gone since."""
        jobs = [self._data_of.get((inode, ()))]
        if place is not None:
            jobs.append(self._data_of.get((place[0], (place[1],))))
        for job in jobs:
            if job is None:
                continue
            end = min(job.offset + job.length, size) if job.length else size
            if start <= job.offset and end <= stop:
                self._no_longer_waits(job)
                job.is_void = True

    def _no_longer_waits(self, job: Job[Place]) -> None:
        self._waiting.discard(job.key)
        if self._data_of.get((job.place, job.path)) is job:
            del self._data_of[job.place, job.path]
        names = self._names_in.get(job.place)
        if names is not None and len(job.path) == 1:
            names.pop(job.path[0], None)
            if not names:
                del self._names_in[job.place]

    def names_in(self, place: Place, now_s: float) -> dict[bytes, str]:
        """Names wanted of a directory before long, in the order in which they were wished for, and who wishes."""
        latest = self.accesses + self._reach(now_s)
        waiting = itertools.islice(self._names_in.get(place, {}).items(), NAMES_AT_ONCE)
        return {name: job.generator for name, job in waiting if job.due <= latest}

    def _reach(self, now_s: float) -> float:
        """How many accesses before its use a name may be looked at."""
        self._take_pace(now_s)
        return REACH * self.looks_last_s * max(self._pace, PACE_LEAST)

    def _take_pace(self, now_s: float) -> None:
        accesses, taken_s = self._paced
        if now_s - taken_s >= PACE_OVER_S:
            self._pace = max((self.accesses - accesses) / (now_s - taken_s), self._pace / 2)
            self._paced = self.accesses, now_s

    def done(self, job: Job[Place]) -> None:
        """A wish that was popped has been carried out, or could not be."""
        self.running -= 1
        if job.want is Want.DATA:
            self._running_data -= 1
            self._carried[0] += 1
            if self._carried[0] > CARRIED_JOBS:
                self._carried = [value // 2 for value in self._carried]

    @property
    def has_room(self) -> bool:
        """Whether the cache has room for more that was not asked for."""
        used, wasted = self._judged
        is_proven = used + wasted > JUDGED_BYTES // 4 and used >= GOOD_ACCURACY * (used + wasted)
        share = UNUSED_SHARE_PROVEN if is_proven else UNUSED_SHARE
        jobs, came_bytes = self._carried
        coming_bytes = self._running_data * came_bytes / max(1, jobs)
        return self.unused_bytes + coming_bytes <= min(share * self._cache_bytes(), self.arm.ahead_bytes)

    def fetched(self, size_bytes: int) -> None:
        """So many bytes now lie in the cache ahead of their use."""
        self.unused_bytes += size_bytes
        self._carried[1] += size_bytes

    def used(self, size_bytes: int) -> None:
        """A program used bytes that were fetched ahead."""
        self.unused_bytes = max(0, self.unused_bytes - size_bytes)
        self._judge(0, size_bytes)

    def wasted(self, size_bytes: int) -> None:
        """Bytes that were fetched ahead left the cache unused."""
        self.unused_bytes = max(0, self.unused_bytes - size_bytes)
        self._judge(1, size_bytes)

    @property
    def is_wasting(self) -> bool:
        """Whether most of what was fetched ahead of late was in vain."""
        used, wasted = self._judged
        return used + wasted > JUDGED_BYTES // 4 and used < POOR_ACCURACY * (used + wasted)

    def _judge(self, side: int, size_bytes: int) -> None:
        self._judged[side] += size_bytes
        if sum(self._judged) > JUDGED_BYTES:
            self._judged = [value // 2 for value in self._judged]
