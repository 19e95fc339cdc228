"""The rival in eviction: what most caches do."""

from collections import OrderedDict
from collections.abc import Callable

from llmfs.policy.eviction import Resident


class Lru:
    """Drops the block that was used least recently."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self._resident: OrderedDict[bytes, Resident] = OrderedDict()

    def get(self, key: bytes) -> Resident | None:
        return self._resident.get(key)

    def admit(self, key: bytes, size_bytes: int, generator: str | None = None) -> Resident:
        """Takes in a block, or changes its size."""
        resident = self._resident.setdefault(key, Resident(0, generator))
        self.used_bytes += size_bytes - resident.size_bytes
        resident.size_bytes = size_bytes
        return resident

    def touch(self, key: bytes) -> Resident | None:
        """The block was used."""
        self._resident.move_to_end(key)
        return self._resident[key]

    def forget(self, key: bytes) -> Resident | None:
        resident = self._resident.pop(key, None)
        if resident is not None:
            self.used_bytes -= resident.size_bytes
        return resident

    def done_with(self, key: bytes) -> None:
        """Is not told."""

    def not_done_with(self, key: bytes) -> None:
        """Is not told."""

    def victims(self, score: Callable[[bytes], float]) -> list[tuple[bytes, Resident]]:
        """Those to drop so that the rest fits."""
        gone = []
        while self.used_bytes > self.capacity_bytes and self._resident:
            key, resident = self._resident.popitem(last=False)
            self.used_bytes -= resident.size_bytes
            gone.append((key, resident))
        return gone
