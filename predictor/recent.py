"""A map that forgets what was neither set nor asked for lately, in O(1) and without keeping a list of who was when.

Two dictionaries: new and asked-for entries go into one; when that is full it takes the other's place, and what the
other held is forgotten. A dictionary whose oldest entry is deleted again and again would have to be searched from its
front each time, past all that was deleted.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Keeps the last `capacity` keys that were set or asked for, at most twice as many. No value is None."""

    __slots__ = ("_capacity", "_new", "_old")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._new: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def __len__(self) -> int:
        """Entries in memory; one that was set twice may count twice."""
        return len(self._new) + len(self._old)

    def __setitem__(self, key: K, value: V) -> None:
        self._new[key] = value
        if len(self._new) >= self._capacity:
            self._old, self._new = self._new, {}

    def get(self, key: K) -> V | None:
        """The value, which counts as lately used from now on; None where there is none."""
        value = self._new.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self[key] = value
        return value

    def values(self) -> Iterator[V]:
        """All values in memory, one that was set twice perhaps twice."""
        yield from self._new.values()
        yield from self._old.values()
