"""The blocks of files' data: in LMDB, a few of them in memory, at most as many as the limit allows.

Belongs to the event loop's thread. It decides nothing itself: `policy/eviction.py` says what goes, `store.py` keeps
what stays. Mounting does not wait for the index of what is already there; a thread reads the keys and the sizes,
not the blocks, and they join as they come. A block that is asked for before its key was read is found all the same.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

import trio

from llmfs.blocks import BLOCK_BYTES, Block, block_of, decode, disk_bytes
from llmfs.policy.eviction import Eviction, Resident, Score
from llmfs.policy.partition import Partition
from llmfs.policy.shares import Shares
from llmfs.store import Key, Store

log = logging.getLogger(__name__)

TABLE = "blocks"
FILL_SHARE = 0.9
"""Of the map: LMDB frees pages a transaction late and wants up to eight of them in a row (`bench.fill`)."""

RETREAT, ADVANCE = 0.95, 1.02
"""When the map was full after all less of it is used; more again each time that as much as it holds was stored."""

HOT_BLOCKS = 128
"""Decoded blocks kept in memory (16 MiB): a random reader with small requests does not verify 128 KiB for each."""

INDEX_BATCH = 2000


class BlockCache:
    """Blocks by key (`blocks.block_key`)."""

    def __init__(
        self,
        store: Store,
        limit_bytes: int,
        score: Score,
        on_evict: Callable[[bytes, Resident, str], None],
        on_corrupt: Callable[[], None],
        is_pinned: Callable[[bytes], bool] = lambda key: False,
        hot_blocks: int = HOT_BLOCKS,
        fill_share: float = FILL_SHARE,
    ) -> None:
        """`limit_bytes`: the store's; `fill_share`: how much of it is used while LMDB finds a place for all."""
        self._store = store
        self._most_bytes = int(limit_bytes * fill_share)
        self._policy = Eviction(self._most_bytes)
        self._stored_bytes = 0  # since the capacity was another
        self._score = score
        self._on_evict = on_evict
        self._on_corrupt = on_corrupt
        self._is_pinned = is_pinned
        self._hot_blocks = hot_blocks
        self._hot: OrderedDict[bytes, Block] = OrderedDict()
        self._shares = Shares()
        self._is_indexed = False

    def __len__(self) -> int:
        return len(self._policy)

    @property
    def used_bytes(self) -> int:
        return self._policy.used_bytes

    @property
    def capacity_bytes(self) -> int:
        return self._policy.capacity_bytes

    def load_index(self, token: trio.lowlevel.TrioToken) -> None:
        """Start reading what a former mount left: the keys, then the blocks into the kernel's page cache."""
        threading.Thread(target=self._read_index, args=(token,), name="block-index", daemon=True).start()

    def get(self, key: bytes) -> Block | None:
        """The block; None where it is not there or was not what was stored (which is counted, and it is dropped)."""
        block = self._hot.get(key)
        if block is not None:
            self._hot.move_to_end(key)
            return block
        if self._is_not_there(key):
            return None
        try:
            block = self._store.read(TABLE, key, decode)
        except ValueError:
            self._on_corrupt()
            self.drop(key, "damaged")
            return None
        if block is not None:
            self._heat(key, block)
        return block

    def look(self, key: bytes) -> Block | None:
        """As `get`, and nothing is moved, not even in memory."""
        block = self._hot.get(key)
        if block is not None or self._is_not_there(key):
            return block
        try:
            return self._store.read(TABLE, key, decode)
        except ValueError:
            return None

    def share_out(self, shares: Sequence[float]) -> None:
        """What each group may take of the cache, from group 1 on. What was used already joins none that is new."""
        self._shares = Shares(shares)

    def share_bytes(self, group: int) -> int:
        """Bytes that count for a group."""
        return self._shares.used_bytes(group)

    def divide(self) -> bool:
        """Judge anew what programs are to have of the cache; whether that is something else now."""
        return self._policy.divide()

    @property
    def partition(self) -> Partition:
        """What programs would gain from more of the cache, and the shares that are in force."""
        return self._policy.partition

    @property
    def held_bytes(self) -> Mapping[int, int]:
        """What each process group holds of what was used."""
        return self._policy.held_bytes

    def resident(self, key: bytes) -> Resident | None:
        """What the policy knows of a block; None where it is not there, or its key was not read yet."""
        return self._policy.get(key)

    def use(self, key: bytes, group: int = 0, program: int = 0) -> str | None:
        """A program of that group used the block; `program`: its process group.

        Returns who had fetched it ahead, the first time.
        """
        resident = self._policy.get(key)
        if resident is None:
            return None
        generator, resident.generator = resident.generator, None
        count = self._shares.use if resident.uses else self._shares.place
        self._policy.touch(key, program)
        count(key, resident.size_bytes, group)
        return generator

    def done_with(self, keys: Iterable[bytes]) -> None:
        """These are not used again before everything else is."""
        for key in keys:
            self._policy.done_with(key)

    def not_done_with(self, keys: Iterable[bytes]) -> None:
        """Takes `done_with` back."""
        for key in keys:
            self._policy.not_done_with(key)

    def unpinned(self) -> None:
        """What is pinned has changed: blocks that are not any more may go again."""
        self._policy.unpinned(self._is_pinned)

    def add(
        self, key: bytes, first_page: int, data: bytes, generator: str | None, group: int = 0, program: int = 0
    ) -> None:
        """Keep pages of a block, beside those of it that are there. `generator`: who had them fetched ahead.

        `group`: for whom it is, where some may not have all of the cache; `program`: the process group.
        """
        former = self._policy.get(key)
        count = self._shares.use if former is not None and former.uses else self._shares.place
        known = self.get(key) if former is not None else None
        block = known.merged(first_page, data) if known is not None else block_of(first_page, data)
        if not self._store.put(TABLE, key, block):
            self.drop(key, "lost")
            return
        self._heat(key, block)
        resident = self._policy.admit(key, disk_bytes(len(block.data)), generator, group=program)
        count(key, resident.size_bytes, group)
        self._stored_bytes += len(block.data)
        if self._stored_bytes > self._policy.capacity_bytes < self._most_bytes:
            self._aim_at(min(self._most_bytes, int(self._policy.capacity_bytes * ADVANCE)))
        self._make_room()

    def drop(self, key: bytes, reason: str = "asked") -> None:
        """Forget a block."""
        self._hot.pop(key, None)
        self._shares.forget(key)
        resident = self._policy.forget(key)
        if resident is not None:
            self._on_evict(key, resident, reason)
        self._store.delete(TABLE, key)

    def lost(self, keys: list[Key]) -> None:
        """The store could not keep these: its map was full, more so than our account of it. Aim lower for a while."""
        for _, key in keys:
            self._hot.pop(key, None)
            self._shares.forget(key)
            resident = self._policy.forget(key)
            if resident is not None:
                self._on_evict(key, resident, "lost")
        self._aim_at(max(int(self._policy.used_bytes * RETREAT), 4 * BLOCK_BYTES))
        self._make_room()

    def _aim_at(self, capacity_bytes: int) -> None:
        self._policy.capacity_bytes = capacity_bytes
        self._stored_bytes = 0

    def _make_room(self) -> None:
        for key in self._shares.over(self._policy.capacity_bytes):
            if not self._is_pinned(key):
                self.drop(key, "share")
        if self._policy.used_bytes <= self._policy.capacity_bytes:
            return
        for key, resident in self._policy.victims(self._score, self._is_pinned):
            self._hot.pop(key, None)
            self._shares.forget(key)
            self._store.delete(TABLE, key)
            self._on_evict(key, resident, "capacity" if resident.generator is None else "unused")

    def _is_not_there(self, key: bytes) -> bool:
        """Whether that is known without a look at the store: it lets go of the interpreter, which others then have."""
        return self._is_indexed and key not in self._policy

    def _heat(self, key: bytes, block: Block) -> None:
        self._hot[key] = block
        self._hot.move_to_end(key)
        if len(self._hot) > self._hot_blocks:
            self._hot.popitem(last=False)

    def _read_index(self, token: trio.lowlevel.TrioToken) -> None:
        batch: list[tuple[bytes, int]] = []
        try:
            for entry in self._store.index():
                batch.append(entry)
                if len(batch) >= INDEX_BATCH:
                    token.run_sync_soon(self._take_index, batch)
                    batch = []
            token.run_sync_soon(self._take_index, batch, self._store.was_listed)
        except trio.RunFinishedError:
            return
        self._store.read_in()

    def _take_index(self, batch: list[tuple[bytes, int]], is_all: bool = False) -> None:
        for key, size in batch:
            if key not in self._policy:
                self._policy.admit(key, disk_bytes(size - 16), is_old=True)
        self._make_room()
        self._is_indexed = self._is_indexed or is_all
