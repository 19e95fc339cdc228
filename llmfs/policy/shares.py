"""Bounds what some files may take of the cache: each group of blocks has a share of it, and over that its own go first.

A block belongs to the group of the program that used it first, whoever had it fetched. Who uses it after that and may
have more of the cache takes it over, and who may have less does not: what a backup reads in passing stays with the
program that needs it. A share is a bound and no promise: within it, and for blocks of no group, `eviction.py` decides
alone. In a group the least recently used goes first; whatever is limited like this is worth no better order.

Pure. What a block costs is constant, and nothing at all where no group was set up.
"""

from collections import OrderedDict
from collections.abc import Sequence


class Shares:
    """Blocks by group, numbered from 1; group 0 is all the others, which are not remembered here."""

    def __init__(self, shares: Sequence[float] = ()) -> None:
        """`shares` of the cache's capacity, of group 1, 2..."""
        self._shares = shares
        self._blocks: list[OrderedDict[bytes, int]] = [OrderedDict() for _ in shares]
        self._bytes = [0] * len(shares)
        self._group_of: dict[bytes, int] = {}

    def used_bytes(self, group: int) -> int:
        return self._bytes[group - 1]

    def place(self, key: bytes, size_bytes: int, group: int) -> None:
        """A block came, or was used for the first time, under `group`."""
        if not self._shares or (not group and key not in self._group_of):
            return
        self.forget(key)
        if 0 < group <= len(self._shares):
            self._group_of[key] = group
            self._blocks[group - 1][key] = size_bytes
            self._bytes[group - 1] += size_bytes

    def use(self, key: bytes, size_bytes: int, group: int) -> None:
        """A block was used again, or grew, under `group`."""
        former = self._group_of.get(key)
        if former is not None:
            self.place(key, size_bytes, group if self._share(group) > self._share(former) else former)

    def _share(self, group: int) -> float:
        return self._shares[group - 1] if 0 < group <= len(self._shares) else float("inf")

    def forget(self, key: bytes) -> None:
        """A block left the cache."""
        group = self._group_of.pop(key, 0)
        if group:
            self._bytes[group - 1] -= self._blocks[group - 1].pop(key)

    def over(self, capacity_bytes: int) -> list[bytes]:
        """The keys that have to go for each group to keep to its share. They are forgotten here."""
        gone = []
        for number, (share, blocks) in enumerate(zip(self._shares, self._blocks, strict=True)):
            while blocks and self._bytes[number] > share * capacity_bytes:
                key = next(iter(blocks))
                self.forget(key)
                gone.append(key)
        return gone
