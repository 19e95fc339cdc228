"""Carries out plans: what the predictor or a local rule wants ready is fetched, under a budget, in the order of its
use.

What is fetched next is decided in `policy/planning.py`. A fixed number of carriers ask it, so at most so many fetches
run at a time, in threads of their own (`workers.py`): demand never queues behind them. Who looks at a name looks at
those with it that are wanted of the same directory. A fetch that fails is dropped, which is counted, and forgotten: the
program that wants the data will hear the source's error itself.
"""

import logging
import time
from collections.abc import Callable, Sequence

import trio

from llmfs.content import Content
from llmfs.inodes import Inode
from llmfs.local_rules import DESCENT, GUESS_SCORE, REMEMBERED, STALE
from llmfs.metadata import Metadata
from llmfs.policy.planning import Drop, Job, Planning
from llmfs.workers import Workers
from predictor.control.arms import Arm
from predictor.events import Tier
from predictor.plan import PlanItem, Want, origin

log = logging.getLogger(__name__)


class Prefetcher:
    """Fetches ahead of demand."""

    def __init__(
        self,
        metadata: Metadata,
        content: Content,
        workers: Workers,
        cache_bytes: Callable[[], int],
        on_dropped: Callable[[Drop, int], None],
        on_fault: Callable[[], None],
        on_listing: Callable[[Inode, str], None],
    ) -> None:
        self._metadata = metadata
        self._content = content
        self._workers = workers
        self._on_dropped = on_dropped
        self._on_fault = on_fault
        self._on_listing = on_listing
        self._idle = trio.lowlevel.ParkingLot()  # carriers; one that is woken and finds more to do wakes the next
        self._planning: Planning[Inode] = Planning(cache_bytes, on_dropped)

    def __len__(self) -> int:
        return len(self._planning)

    # --- what to do

    def take_plan(self, items: list[PlanItem]) -> None:
        """A plan of the predictor's: item i is used `horizon` accesses from now."""
        now_s = time.monotonic()
        planning = self._planning
        directories: dict[bytes, Inode | None] = {}  # that were walked to: most items are of a few
        for item in items:
            above, _, name = item.path.rpartition(b"/")
            if above not in directories:
                directories[above] = self._metadata.remembered_at(above)
            directory = directories[above]
            if directory is None or directory.children is None or not name:
                place, path = self._metadata.root, tuple(part for part in item.path.split(b"/") if part)
            else:
                place, path = directory, (name,)
                if item.generator in REMEMBERED:
                    planning.expect(directory, name, item.horizon)
            who = origin(item.generator, item.model)
            job = Job(item.want, place, path, item.offset, item.length, who, now_s, item.score)
            if not self._is_ready(job, planning.lead_s(planning.accesses + item.horizon, now_s)):
                self._push(item.horizon, job)

    def have_ready(self, want: Want, inode: Inode, offset: int = 0, length: int = 0, generator: str = "rule") -> None:
        """A local rule's wish: soon."""
        self._push(0, Job(want, inode, (), offset, length, generator, time.monotonic(), 1.0))

    def have_names_ready(self, directory: Inode, names: Sequence[bytes]) -> None:
        """A local rule's wish: the attributes of these names of a directory, in this order."""
        now_s = time.monotonic()
        for position, name in enumerate(names):
            self._push(position, Job(Want.ATTRIBUTES, directory, (name,), 0, 0, "scan", now_s, 1.0))

    def have_looks_ready(self, directory: Inode) -> None:
        """A local rule's wish: the attributes of all names of a directory, if its listing brings them along."""
        self._push(0, Job(Want.LISTING, directory, (), 0, 0, STALE, time.monotonic(), 1.0))

    def have_listings_ready(self, directory: Inode, names: Sequence[bytes], generator: str) -> None:
        """A local rule's wish: the listings of these directories in a directory, in this order."""
        now_s = time.monotonic()
        for position, name in enumerate(names):
            self._push(position, Job(Want.LISTING, directory, (name,), 0, 0, generator, now_s, 1.0))

    def have_files_ready(
        self, directory: Inode, names: Sequence[bytes], length: int, generator: str, first: int = 0
    ) -> None:
        """A local rule's wish: so much of these files of a directory, in this order, after `first` others."""
        now_s = time.monotonic()
        for position, name in enumerate(names, first):
            self._push(position, Job(Want.DATA, directory, (name,), 0, length, generator, now_s, GUESS_SCORE))

    def fetched(self, size_bytes: int) -> None:
        """So many bytes now lie in the cache ahead of their use."""
        self._planning.fetched(size_bytes)

    def used(self, size_bytes: int) -> None:
        """A program used bytes that were fetched ahead: there is room for others."""
        self._planning.used(size_bytes)
        self._idle.unpark()

    def wasted(self, size_bytes: int) -> None:
        """Bytes that were fetched ahead left the cache unused."""
        self._planning.wasted(size_bytes)
        self._idle.unpark()

    def steer(self, arm: Arm) -> None:
        """How eager to be from now on."""
        self._planning.arm = arm
        self._idle.unpark()

    @property
    def running(self) -> int:
        """Fetches under way."""
        return self._planning.running

    def accessed(self, directory: Inode | None = None, name: bytes = b"") -> None:
        """A program asked for something, of a directory where it was a name: the clock of the plans' horizons."""
        if self._planning.accessed(directory, name):
            self._idle.unpark()

    def was_read(self, inode: Inode, start: int, stop: int) -> None:
        """A program reads bytes [start, stop) of the file, the end of it at most."""
        self._planning.was_read(inode, inode.place, start, stop, inode.size)

    def _push(self, horizon: int, job: Job[Inode]) -> None:
        if self._planning.push(horizon, job, self._has_former(job)):
            self._idle.unpark()

    def _is_ready(self, job: Job[Inode], lead_s: float) -> bool:
        """Whether what is wanted of a name is there already and will be in `lead_s` seconds, for all that can be said
        at once.

        Where all is cached that is most of what is planned, and a carrier's way to the same answer is a long one.
        """
        if job.want is Want.LISTING or len(job.path) != 1 or job.place.children is None:
            return False
        lead_ns = int(1e9 * lead_s)
        inode = self._metadata.known(job.place, job.path[0], lead_ns)
        if inode is None:
            return job.want is Want.ATTRIBUTES and self._metadata.has_look(job.place, job.path[0], lead_ns)
        return job.want is Want.ATTRIBUTES or not isinstance(inode, Inode) or self._has_data(inode, job)

    def _has_data(self, inode: Inode, job: Job[Inode]) -> bool:
        is_data = inode.attributes.is_regular and inode.treatment.is_prefetched
        return is_data and self._content.has(inode, job.offset, job.length)

    def _has_former(self, job: Job[Inode]) -> bool:
        """Whether the data is there, of the file as it was when it was last looked at."""
        if job.want is not Want.DATA or len(job.path) != 1 or job.place.children is None:
            return False
        inode = self._metadata.remembered(job.place, job.path[0])
        return inode is not None and self._has_data(inode, job)

    # --- doing it

    async def run(self) -> None:
        """Carry out plans until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(self._workers.limit):
                nursery.start_soon(self._carry)

    async def _carry(self) -> None:
        while True:
            now_s = time.monotonic()
            self._planning.looks_last_s = self._metadata.looks_last_s
            job = self._planning.pop(now_s)
            if job is None:
                await self._idle.park()
                continue
            if self._is_ready(job, self._planning.lead_s(job.due, now_s)):  # another's look brought it
                self._planning.done(job)
                await trio.lowlevel.checkpoint()
                continue
            if self._planning.has_more(now_s):
                self._idle.unpark()
            try:
                await self._fetch(job)
            except OSError as error:
                log.debug("prefetch of %s failed: %s", job.path, error)
                self._on_dropped(Drop.FAILED, 1)
            except Exception:  # a bug of ours in what nobody asked for must not take the mount down
                log.exception("prefetch of %s failed", job.path)
                self._on_fault()
                self._on_dropped(Drop.FAILED, 1)
            finally:
                self._planning.done(job)

    async def _fetch(self, job: Job[Inode]) -> None:
        inode: Inode | None = job.place
        if job.path:
            *above, name = job.path
            inode = await self._metadata.resolve(job.place, above, self._workers, job.generator)
            if inode is None or inode.children is None:
                return
            now_s = time.monotonic()
            wanted = {name: job.generator} | self._planning.names_in(inode, now_s)
            await self._metadata.look_around(inode, wanted, self._planning.lead_s(job.due, now_s), self._workers)
            if job.want is Want.ATTRIBUTES and self._metadata.has_look(inode, name):
                return  # it is taken in when it is asked for
            inode, _ = await self._metadata.lookup(inode, name, self._workers, job.generator)
        if inode is None:
            return  # that it is absent is known now, which may be what was wanted
        if job.generator == STALE:
            await self._metadata.look_at_names(inode, self._workers, job.generator)
            return
        if job.want is Want.LISTING and inode.attributes.is_directory:
            _, tier = await self._metadata.listing(inode, self._workers, job.generator)
            if tier is Tier.SOURCE or job.generator != DESCENT:  # else it was told already
                self._on_listing(inode, job.generator)
        elif job.want is not Want.LISTING:
            await self._metadata.attributes(inode, self._workers, job.generator)
            if not inode.treatment.is_prefetched:
                self._on_dropped(Drop.POLICY, 1)
            elif job.want is Want.DATA and inode.attributes.is_regular and not self._has_data(inode, job):
                await self._content.prefetch(inode, job.offset, job.length, job.generator, self._workers)
