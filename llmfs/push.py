"""Puts what is cached and about to be read into the kernel's page cache: a pushed byte is a native byte.

What is worth it `policy/pushing.py` says. One piece is on its way at a time, carried by the thread that also tells the
kernel what to drop (`kernel.py`), in the order in which it was told.

Why nothing stale is ever pushed:

- *Our own writes.* The kernel has a program's bytes in its pages before it tells us of the write; a store beside it
  would undo it. So nothing is pushed to a file that is open for writing (`Inode.writers`), and a request that opens one
  for writing, or sets a size, waits for the piece that is on its way (`settle`) before it is answered or carried out.
  It holds no page, so the piece cannot be waiting for it; it can be waiting for a read, which we answer without it. A
  file that was mapped for writing counts as open until the mapping is gone, for only then the kernel releases it.
- *Changes by others.* A piece is of the generation that it was cut under, and the thread looks once more before it
  stores. What became of the past while the store ran is dropped right after it, for the drop is in the same queue
  (`mount.py: _changed`); opening, looking up and listing wait for that piece, so that nobody is told of the new
  state before the old pages are gone.
- *Pages of an earlier state* that the kernel may still hold: only a file is pushed to whose pages are of this
  generation (`Inode.kernel_generation`), or that has none. What was doubted is `FOREIGN` until the next open drops it.
- *Sizes.* A store beyond what the kernel takes for the end would move the end. So the size has to be the one that it
  was told last.

Bytes that were fetched ahead and not used yet are not pushed: their first use is to be seen, for it is what prefetching
is judged by.
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import trio

from llmfs.block_cache import BlockCache
from llmfs.blocks import BLOCK_BYTES, BLOCK_PAGES, PAGE_BYTES, Block, block_key
from llmfs.inodes import FOREIGN, Inode
from llmfs.kernel import KernelCache
from llmfs.policy.pushing import SmallHits, is_held_back

log = logging.getLogger(__name__)

QUEUE_LIMIT = 4096
"""Blocks that wait."""

PIECE_BLOCKS = 8
SAMPLED_LIMIT = 65_536
PUSHED_LIMIT = 65_536
PUSHED_AGAIN_S = 10.0
"""When a block may be pushed again, if the kernel has dropped it since."""

SETTLE_S = 5.0
"""How long a request waits for a piece that waits for a page that a read holds."""


class _Piece(NamedTuple):
    """Blocks [first, stop) of a file in the state `generation`."""

    inode: Inode
    generation: int
    first: int
    stop: int


class Pusher:
    """Stores cached pages in the kernel. Belongs to the event loop's thread."""

    def __init__(
        self,
        blocks: BlockCache,
        kernel: KernelCache,
        is_held: Callable[[], bool],
        on_pushed: Callable[[int], None],
        on_sampled: Callable[[bool], None],
        on_fault: Callable[[], None],
    ) -> None:
        """Nothing is pushed while `is_held()`: somebody wants to see every read.

        `on_pushed(bytes)` hears of what the kernel now has. `on_sampled(was_used)`: a page was held back (False), one
        of these was then asked for (True).
        """
        self._blocks = blocks
        self._kernel = kernel
        self._is_held = is_held
        self._on_pushed = on_pushed
        self._on_sampled = on_sampled
        self._on_fault = on_fault
        self._hits = SmallHits()
        self._queue: deque[_Piece] = deque()
        self._pushed: OrderedDict[bytes, float] = OrderedDict()
        self._sampled: OrderedDict[tuple[int, int, int], None] = OrderedDict()
        self._work = trio.Event()
        self._storing: Inode | None = None
        self._stored = trio.Event()
        self._under = 0

    def hit(self, inode: Inode, offset: int, length: int) -> None:
        """The cache answered a read request."""
        if self._sampled:
            self._look_for_sampled(inode, offset, length)
        wanted = self._hits.hit(inode.id, inode.generation, offset, length)
        for first in wanted[::PIECE_BLOCKS]:
            if len(self._queue) * PIECE_BLOCKS >= QUEUE_LIMIT:
                return
            self._queue.append(_Piece(inode, inode.generation, first, min(first + PIECE_BLOCKS, wanted.stop)))
            self._work.set()

    async def settle(self, inode: Inode) -> None:
        """Wait until nothing is being stored in the file. For requests that hold none of its pages."""
        while self._storing is inode:
            with trio.move_on_after(SETTLE_S) as waiting:
                await self._stored.wait()
            if waiting.cancelled_caught:  # the read that it waits for hangs: what it stores is dropped after it
                self._kernel.drop_data(inode.id)
                return

    def is_settled(self, inode: Inode) -> bool:
        """Whether nothing is being stored in the file that is of another state than it is."""
        return self._storing is not inode or self._under == inode.generation

    async def settle_past(self, inode: Inode) -> None:
        """As `settle`, where what is being stored is of another state than the file's."""
        if not self.is_settled(inode):
            await self.settle(inode)

    async def run(self) -> None:
        """Push what is wanted until cancelled."""
        token = trio.lowlevel.current_trio_token()
        while True:
            if not self._queue:
                self._work = trio.Event()
                await self._work.wait()
                continue
            try:
                await self._push(self._queue.popleft(), token)
            except Exception:  # a bug of ours in what nobody asked for must not take the mount down
                log.exception("a push failed")
                self._on_fault()

    async def _push(self, piece: _Piece, token: trio.lowlevel.TrioToken) -> None:
        await trio.lowlevel.checkpoint()
        if self._may_push(piece):
            for offset, data in self._cut(piece):
                if not self._may_push(piece):
                    break
                await self._store(piece, offset, data, token)

    def _may_push(self, piece: _Piece) -> bool:
        inode = piece.inode
        return (
            not self._is_held()
            and inode.generation == piece.generation
            and inode.lookups > 0
            and not inode.writers
            and inode.kernel_generation in (0, piece.generation)
            and inode.told_sizes[:1] == (inode.size,)
        )

    def _cut(self, piece: _Piece) -> Iterator[tuple[int, bytes]]:
        """What the cache has of a piece, as long runs of (offset, bytes), without the pages that are held back."""
        inode = piece.inode
        start, run = 0, bytearray()
        for index in range(piece.first, min(piece.stop, -(-inode.size // BLOCK_BYTES))):
            block = self._proven(block_key(inode.id, piece.generation, index))
            for inner in range(BLOCK_PAGES):
                page = index * BLOCK_PAGES + inner
                data = None
                if block is not None and block.bitmap >> inner & 1:
                    end = min((page + 1) * PAGE_BYTES, inode.size)
                    data = block.cut(inner * PAGE_BYTES, end - index * BLOCK_BYTES)
                    if data and is_held_back(inode.id, page):
                        self._hold_back(inode, page)
                        data = None
                if data:
                    start = start if run else page * PAGE_BYTES
                    run += data
                elif run:
                    yield start, bytes(run)
                    run.clear()
        if run:
            yield start, bytes(run)

    def _proven(self, key: bytes) -> Block | None:
        """A block that a program has used, if the kernel was not given it just now."""
        now_s = trio.current_time()
        resident = self._blocks.resident(key)
        if resident is None or resident.generator is not None or now_s - self._pushed.get(key, -1e9) < PUSHED_AGAIN_S:
            return None
        self._pushed[key] = now_s
        self._pushed.move_to_end(key)
        if len(self._pushed) > PUSHED_LIMIT:
            self._pushed.popitem(last=False)
        return self._blocks.look(key)

    async def _store(self, piece: _Piece, offset: int, data: bytes, token: trio.lowlevel.TrioToken) -> None:
        inode = piece.inode
        inode.kernel_generation = piece.generation
        self._storing, self._under, self._stored = inode, piece.generation, trio.Event()

        def is_good() -> bool:
            return inode.generation == piece.generation and not inode.writers

        outcome: list[bool | None] = []

        def done(is_stored: bool | None) -> None:
            outcome.append(is_stored)
            token.run_sync_soon(self._stored.set)

        self._kernel.store(inode.id, offset, data, is_good, done)
        await self._stored.wait()
        self._storing = None
        if inode.generation != piece.generation and inode.kernel_generation == piece.generation:
            inode.kernel_generation = FOREIGN
            self._kernel.drop_data(inode.id)
        if outcome[0]:
            self._on_pushed(len(data))
        elif outcome[0] is None:
            self._on_fault()

    # --- the sample

    def _hold_back(self, inode: Inode, page: int) -> None:
        key = (inode.id, inode.generation, page)
        if key not in self._sampled:
            self._sampled[key] = None
            self._on_sampled(False)
            if len(self._sampled) > SAMPLED_LIMIT:
                self._sampled.popitem(last=False)

    def _look_for_sampled(self, inode: Inode, offset: int, length: int) -> None:
        for page in range(offset // PAGE_BYTES, -(-(offset + length) // PAGE_BYTES)):
            key = (inode.id, inode.generation, page)
            if key in self._sampled:
                del self._sampled[key]
                self._on_sampled(True)
