"""Carries out plans: what the predictor or a local rule wants ready is fetched, under a budget, in the order of its
use.

A plan's items wait in a bounded heap, the one that will be used first on top; each is there once. A fixed number of
carriers take from it, so at most so many fetches run at a time, in threads of their own (`workers.py`): demand never
queues behind them. An item that is still waiting when its time has passed is dropped. Bytes that were fetched ahead and
not used yet are bounded by a share of the cache; when most of what was fetched lately was never used, only what is very
likely is still fetched. A fetch that fails is counted and forgotten: the program that wants the data will hear the
source's error itself.
"""

import heapq
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import trio

from llmfs.content import Content
from llmfs.inodes import Inode
from llmfs.metadata import Metadata
from llmfs.workers import Workers
from predictor.plan import PlanItem, Want

log = logging.getLogger(__name__)

QUEUE_LIMIT = 8192
PATIENCE_S = 10.0
"""An item that has waited so long is about a past that did not happen."""

UNUSED_SHARE = 0.25
"""Of the cache: what may lie there fetched ahead and unused."""

JUDGED_BYTES = 8 << 20
"""Prefetched bytes over which accuracy is judged."""

POOR_ACCURACY = 0.3
SURE_SCORE = 0.8


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to have ready: below `inode`, at `path`."""

    want: Want
    inode: Inode
    path: tuple[bytes, ...]
    offset: int
    length: int
    generator: str
    queued_s: float
    score: float

    @property
    def key(self) -> tuple[int, int, tuple[bytes, ...], int]:
        return (self.want, self.inode.id, self.path, self.offset)


class Prefetcher:
    """Fetches ahead of demand."""

    def __init__(
        self,
        metadata: Metadata,
        content: Content,
        workers: Workers,
        cache_bytes: Callable[[], int],
        on_dropped: Callable[[int], None],
        on_listing: Callable[[Inode], None],
    ) -> None:
        self._metadata = metadata
        self._content = content
        self._workers = workers
        self._cache_bytes = cache_bytes
        self._on_dropped = on_dropped
        self._on_listing = on_listing
        self._heap: list[tuple[int, int, Job]] = []
        self._waiting: set[tuple[int, int, tuple[bytes, ...], int]] = set()
        self._sequence = 0
        self._work = trio.Event()
        self._judged = [0, 0]  # bytes used, bytes never used, of late
        self.accesses = 0
        self.unused_bytes = 0

    def __len__(self) -> int:
        return len(self._heap)

    # --- what to do

    def take_plan(self, items: list[PlanItem]) -> None:
        """A plan of the predictor's: item i is used `horizon` accesses from now."""
        root = self._metadata.root
        now_s = time.monotonic()
        for item in items:
            path = tuple(name for name in item.path.split(b"/") if name)
            job = Job(item.want, root, path, item.offset, item.length, item.generator, now_s, item.score)
            self._push(item.horizon, job)

    def have_ready(self, want: Want, inode: Inode, offset: int = 0, length: int = 0, generator: str = "rule") -> None:
        """A local rule's wish: soon."""
        self._push(0, Job(want, inode, (), offset, length, generator, time.monotonic(), 1.0))

    def have_names_ready(self, directory: Inode, names: list[bytes]) -> None:
        """A local rule's wish: the attributes of these names of a directory, in this order."""
        now_s = time.monotonic()
        for position, name in enumerate(names):
            self._push(position, Job(Want.ATTRIBUTES, directory, (name,), 0, 0, "scan", now_s, 1.0))

    def _push(self, horizon: int, job: Job) -> None:
        if job.key in self._waiting:
            return
        if len(self._heap) >= QUEUE_LIMIT or (self._is_wasting and job.score < SURE_SCORE):
            self._on_dropped(1)
            return
        self._waiting.add(job.key)
        self._sequence += 1
        heapq.heappush(self._heap, (self.accesses + horizon, self._sequence, job))
        self._work.set()

    # --- what became of it

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

    def _judge(self, side: int, size_bytes: int) -> None:
        self._judged[side] += size_bytes
        if sum(self._judged) > JUDGED_BYTES:
            self._judged = [value // 2 for value in self._judged]

    @property
    def _is_wasting(self) -> bool:
        used, wasted = self._judged
        return used + wasted > JUDGED_BYTES // 4 and used < POOR_ACCURACY * (used + wasted)

    # --- doing it

    async def run(self) -> None:
        """Carry out plans until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(self._workers.limit):
                nursery.start_soon(self._carry)

    async def _carry(self) -> None:
        while True:
            while not self._heap:
                if self._work.is_set():
                    self._work = trio.Event()
                await self._work.wait()
            _, _, job = heapq.heappop(self._heap)
            self._waiting.discard(job.key)
            if time.monotonic() - job.queued_s > PATIENCE_S:
                self._on_dropped(1)
                continue
            try:
                await self._fetch(job)
            except OSError as error:
                log.debug("prefetch of %s failed: %s", job.path, error)
                self._on_dropped(1)
            except Exception:  # a bug of ours in what nobody asked for must not take the mount down
                log.exception("prefetch of %s failed", job.path)
                self._on_dropped(1)

    async def _fetch(self, job: Job) -> None:
        inode = job.inode
        for name in job.path:
            if inode.children is None:
                return
            child, _ = await self._metadata.lookup(inode, name, self._workers, is_prefetch=True)
            if child is None:
                return  # that it is absent is known now, which may be what was wanted
            inode = child
        if job.want is Want.LISTING and inode.attributes.is_directory:
            await self._metadata.listing(inode, self._workers, is_prefetch=True)
            self._on_listing(inode)
        elif job.want is not Want.LISTING:
            await self._metadata.attributes(inode, self._workers, is_prefetch=True)
            if job.want is Want.DATA and inode.attributes.is_regular:
                await self._fetch_data(inode, job)

    async def _fetch_data(self, inode: Inode, job: Job) -> None:
        if self.unused_bytes > UNUSED_SHARE * self._cache_bytes():
            self._on_dropped(1)
            return
        await self._content.prefetch(inode, job.offset, job.length, job.generator, self._workers)
