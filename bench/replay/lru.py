"""The rival in eviction: what most caches do."""

from collections import OrderedDict
from collections.abc import Callable

from llmfs.policy.eviction import Resident


class Lru:
    """Drops the block that was used least recently. What the predictor says of blocks is passed over."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self.residents: OrderedDict[bytes, Resident] = OrderedDict()  # the least recently used first

    def get(self, key: bytes) -> Resident | None:
        return self.residents.get(key)

    def admit(self, key: bytes, size_bytes: int, generator: str | None = None, *, group: int = 0) -> Resident:
        """Takes in a block, or changes its size."""
        resident = self.residents.setdefault(key, Resident(0, generator))
        self.used_bytes += size_bytes - resident.size_bytes
        resident.size_bytes = size_bytes
        return resident

    def touch(self, key: bytes, group: int = 0) -> Resident | None:
        """The block was used."""
        resident = self.residents.get(key)
        if resident is not None:
            self.residents.move_to_end(key)
        return resident

    def forget(self, key: bytes) -> Resident | None:
        """The block is gone."""
        resident = self.residents.pop(key, None)
        if resident is not None:
            self.used_bytes -= resident.size_bytes
        return resident

    def done_with(self, key: bytes) -> None:
        """The predictor does not expect it for long."""

    def not_done_with(self, key: bytes) -> None:
        """It does after all."""

    def next_victim(self) -> bytes:
        """The key of the block to drop first. There is one."""
        return next(iter(self.residents))

    def victims(self, score: Callable[[bytes], float]) -> list[tuple[bytes, Resident]]:
        """Those to drop so that the rest fits; they are forgotten here."""
        gone = []
        while self.used_bytes > self.capacity_bytes:
            key = self.next_victim()
            resident = self.forget(key)
            assert resident is not None
            gone.append((key, resident))
        return gone
