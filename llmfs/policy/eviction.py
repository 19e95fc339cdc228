"""Which blocks stay when the cache is full: S3-FIFO nominates, the predictor's scores decide.

S3-FIFO (Yang et al., SOSP 2023) is three queues: newcomers wait in a small one (a tenth of the space) and are dropped
from there unless they are asked for again; the main queue gives a block another round for each recent use; the ghost
queue remembers the keys of dropped newcomers, so that one that returns goes to the main queue at once. Scans and
unused prefetches pass through the small queue without touching what is in use.

On top of it, as in HALP (Song et al., NSDI 2023), a nominee is not simply dropped: up to `NOMINEES` of them are
ranked by the predicted probability of reuse, and the least likely go first. Without scores all are equal and S3-FIFO
stands.
"""

from collections import OrderedDict
from collections.abc import Callable

NOMINEES = 8
SMALL_SHARE = 0.1
MAX_USES = 3

Score = Callable[[bytes], float]
"""The predicted probability that a block, by its key, is used again."""


class Resident:
    """What is known of a block in the cache."""

    __slots__ = ("generator", "is_small", "size_bytes", "uses")

    def __init__(self, size_bytes: int, generator: str | None) -> None:
        self.size_bytes = size_bytes
        self.uses = 0
        self.is_small = True
        self.generator = generator  # who had it fetched ahead; None once used, or when a program asked for it


class Eviction:
    """Keeps the blocks' total size at or below `capacity_bytes`."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self._small_bytes = 0
        self._small: OrderedDict[bytes, Resident] = OrderedDict()
        self._main: OrderedDict[bytes, Resident] = OrderedDict()
        self._ghost: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._small) + len(self._main)

    def __contains__(self, key: bytes) -> bool:
        return key in self._main or key in self._small

    def get(self, key: bytes) -> Resident | None:
        return self._main.get(key) or self._small.get(key)

    def admit(self, key: bytes, size_bytes: int, generator: str | None = None, is_old: bool = False) -> Resident:
        """Take in a block, or change the size of one that is there. `is_old`: it was in the cache before the mount."""
        resident = self.get(key)
        if resident is not None:
            self._grow(resident, size_bytes - resident.size_bytes)
            return resident
        resident = Resident(size_bytes, generator)
        if is_old or self._ghost.pop(key, self) is None:
            resident.is_small = False
            self._main[key] = resident
        else:
            self._small[key] = resident
            self._small_bytes += size_bytes
        self.used_bytes += size_bytes
        return resident

    def touch(self, key: bytes) -> Resident | None:
        """A program used the block."""
        resident = self.get(key)
        if resident is not None and resident.uses < MAX_USES:
            resident.uses += 1
        return resident

    def forget(self, key: bytes) -> Resident | None:
        """The block is gone for another reason than eviction."""
        resident = self._small.pop(key, None) or self._main.pop(key, None)
        if resident is not None:
            self.used_bytes -= resident.size_bytes
            if resident.is_small:
                self._small_bytes -= resident.size_bytes
        return resident

    def victims(self, score: Score) -> list[tuple[bytes, Resident]]:
        """The blocks to drop now, so that the rest fits. They are forgotten here."""
        gone: list[tuple[bytes, Resident]] = []
        while self.used_bytes > self.capacity_bytes and (self._small or self._main):
            if self._small and (self._small_bytes > SMALL_SHARE * self.capacity_bytes or not self._main):
                gone += self._evict_small(score)
            else:
                gone += self._evict_main(score)
        return gone

    def _evict_small(self, score: Score) -> list[tuple[bytes, Resident]]:
        nominees: list[tuple[bytes, Resident]] = []
        while self._small and len(nominees) < NOMINEES:
            key, resident = self._small.popitem(last=False)
            if resident.uses > 1 or (resident.uses and resident.generator is None and score(key) > 0.5):
                self._small_bytes -= resident.size_bytes
                resident.is_small = False
                resident.uses = 0
                self._main[key] = resident
            else:
                nominees.append((key, resident))
        return self._drop(nominees, self._small, score)

    def _evict_main(self, score: Score) -> list[tuple[bytes, Resident]]:
        nominees: list[tuple[bytes, Resident]] = []
        while self._main and len(nominees) < NOMINEES:
            key, resident = self._main.popitem(last=False)
            if resident.uses:
                resident.uses -= 1
                self._main[key] = resident
            else:
                nominees.append((key, resident))
        return self._drop(nominees, self._main, score)

    def _drop(
        self, nominees: list[tuple[bytes, Resident]], queue: OrderedDict[bytes, Resident], score: Score
    ) -> list[tuple[bytes, Resident]]:
        """Drop the least likely of the nominees until the rest fits; put the others back where they came from."""
        ranked = sorted(nominees, key=lambda nominee: score(nominee[0]))
        gone: list[tuple[bytes, Resident]] = []
        for key, resident in ranked:
            if self.used_bytes <= self.capacity_bytes:
                break
            gone.append((key, resident))
            self.used_bytes -= resident.size_bytes
            if resident.is_small:
                self._small_bytes -= resident.size_bytes
                self._ghost[key] = None
        dropped = {key for key, _ in gone}
        for key, resident in reversed(nominees):
            if key not in dropped:
                queue[key] = resident
                queue.move_to_end(key, last=False)
        while len(self._ghost) > max(len(self._main), 1024):
            self._ghost.popitem(last=False)
        return gone

    def _grow(self, resident: Resident, more_bytes: int) -> None:
        resident.size_bytes += more_bytes
        self.used_bytes += more_bytes
        if resident.is_small:
            self._small_bytes += more_bytes
