"""What to fetch ahead next, and when to leave it be.

Wishes wait in bounded heaps, the one that will be used first on top; each is there once. One that is still waiting
when its time has passed is dropped. Bytes that were fetched ahead and not used yet are bounded by a share of the cache:
wishes for more of them wait until some were used. When most of what was fetched lately was never used, only what is
very likely is still taken in. A controller may hold all of this back further, by choosing an arm.

Pure: the time comes in with each call. The mount's prefetcher and the offline replay drive this class.
"""

import dataclasses
import heapq
from collections.abc import Callable, Hashable
from dataclasses import dataclass
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

JUDGED_BYTES = 8 << 20
"""Prefetched bytes over which accuracy is judged."""

POOR_ACCURACY = 0.3
SURE_SCORE = 0.8


@dataclass(frozen=True, slots=True)
class Job(Generic[Place]):
    """One thing to have ready: at `path` below `place`. `offset` and `length` are bytes; a length of 0: to the end."""

    want: Want
    place: Place
    path: tuple[bytes, ...]
    offset: int
    length: int
    generator: str
    queued_s: float
    score: float

    @property
    def key(self) -> tuple[int, Place, tuple[bytes, ...], int]:
        return (self.want, self.place, self.path, self.offset)


class Planning(Generic[Place]):
    """The wishes that wait, and the account of what became of the others."""

    def __init__(self, cache_bytes: Callable[[], int], on_dropped: Callable[[int], None]) -> None:
        """`cache_bytes()`: what the cache holds; `on_dropped(count)` hears of wishes that are not carried out."""
        self._cache_bytes = cache_bytes
        self._on_dropped = on_dropped
        self._names: list[tuple[int, int, Job[Place]]] = []  # of attributes and listings: (due, sequence, job)
        self._data: list[tuple[int, int, Job[Place]]] = []
        self._waiting: set[tuple[int, Place, tuple[bytes, ...], int]] = set()
        self._sequence = 0
        self._judged = [0, 0]  # bytes used, bytes never used, of late
        self.accesses = 0
        self.unused_bytes = 0
        self.arm = ARMS[SAFE]
        self.running = 0

    def __len__(self) -> int:
        return len(self._names) + len(self._data)

    def push(self, horizon: int, job: Job[Place]) -> bool:
        """Takes in a wish for what is used `horizon` accesses from now. False where it is known or not worth it."""
        if job.want is Want.DATA and job.score < self.arm.min_score:
            job = dataclasses.replace(job, want=Want.ATTRIBUTES, offset=0, length=0)  # its name moves no bytes
        if job.key in self._waiting:
            return False
        if len(self) >= QUEUE_LIMIT or (self.is_wasting and job.score < SURE_SCORE):
            self._on_dropped(1)
            return False
        self._waiting.add(job.key)
        self._sequence += 1
        heap = self._data if job.want is Want.DATA else self._names
        heapq.heappush(heap, (self.accesses + horizon, self._sequence, job))
        return True

    def pop(self, now_s: float) -> Job[Place] | None:
        """The wish to carry out next; None where there is none, or none that there is room for. It is running until
        `done` is called."""
        while self.running < self.arm.at_once:
            heap = self._names
            if self._data and self.has_room and not (heap and heap[0] < self._data[0]):
                heap = self._data
            if not heap:
                return None
            _, _, job = heapq.heappop(heap)
            self._waiting.discard(job.key)
            if now_s - job.queued_s <= PATIENCE_S:
                self.running += 1
                return job
            self._on_dropped(1)
        return None

    def done(self) -> None:
        """A wish that was popped has been carried out, or could not be."""
        self.running -= 1

    @property
    def has_room(self) -> bool:
        """Whether the cache has room for more that was not asked for."""
        used, wasted = self._judged
        is_proven = used + wasted > JUDGED_BYTES // 4 and used >= GOOD_ACCURACY * (used + wasted)
        share = UNUSED_SHARE_PROVEN if is_proven else UNUSED_SHARE
        return self.unused_bytes <= min(share * self._cache_bytes(), self.arm.ahead_bytes)

    def fetched(self, size_bytes: int) -> None:
        """So many bytes now lie in the cache ahead of their use."""
        self.unused_bytes += size_bytes

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
