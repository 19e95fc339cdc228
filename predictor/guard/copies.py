"""New files of what may be ciphertext that wait for the loss of their originals, found by size.

Bounded, and not a queue: who first copies everything and then removes it in the same order would have made a queue
forget the copies whose originals go first. What is dropped is spread evenly over all of them.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

COPIES_MAX = 1024
"""A loss is held against all that fit it in size: a millisecond where that is all of them."""

COPY_LIVES_S = 3600.0
"""A slow attack removes what it copied within so long."""

SIZE_RATIO = (0.9, 1.5)
SIZE_SLACK_BYTES = 8192
"""A copy's size against its original's: headers and keys make it larger, base64 by a third; compressors, smaller."""

OVERHEAD_BYTES = 1024
BASE64_RATIO = (4 / 3, 1.37)
"""What encryption adds to a file, and base64 makes of it: padding, a wrapped key, line ends. Nothing else does."""

_SPREAD = 2654435761
"""Knuth's: successive numbers, as inodes have, come to lie far from each other."""


class Copy(NamedTuple):
    """A new file, and who wrote it."""

    time_s: float
    file: int
    name: bytes
    opened: tuple[int, ...]  # files that its writer had opened last
    group: int
    cgroup: int


class Copies:
    """Copies by file and by size."""

    def __init__(self) -> None:
        self._copies: dict[int, tuple[Copy, int]] = {}
        self._by_size: list[tuple[int, int]] = []  # sizes and files, sorted

    def add(self, copy: Copy, size_bytes: int) -> None:
        """Take in a copy that is not there yet."""
        if len(self._copies) >= COPIES_MAX:
            self.remove(next(islice(self._copies, copy.file * _SPREAD % 2**32 % COPIES_MAX, None)))
        self._copies[copy.file] = copy, size_bytes
        insort(self._by_size, (size_bytes, copy.file))

    def __contains__(self, file: int) -> bool:
        return file in self._copies

    def sized(self, file: int, size_bytes: int) -> None:
        """How large a file is by now, if it is one of them."""
        if file in self._copies:
            copy = self.remove(file)
            self.add(copy, size_bytes)

    def size_bytes(self, file: int) -> int | None:
        """How large one of them is; None: it is none."""
        return self._copies[file][1] if file in self._copies else None

    def remove(self, file: int) -> Copy:
        """It has its original, or is gone itself."""
        copy, size_bytes = self._copies.pop(file)
        del self._by_size[bisect_left(self._by_size, (size_bytes, file))]
        return copy

    def fitting(self, original_bytes: int, time_s: float) -> Iterator[Copy]:
        """Those that may be of an original of this size."""
        low = SIZE_RATIO[0] * original_bytes
        for size_bytes, file in islice(self._by_size, bisect_left(self._by_size, (low, 0)), None):
            if not fits(original_bytes, size_bytes):
                return
            copy = self._copies[file][0]
            if time_s - copy.time_s <= COPY_LIVES_S:
                yield copy


def fits(original_bytes: int, copy_bytes: int) -> bool:
    """Whether a copy as ciphertext may be so large."""
    low, high = SIZE_RATIO
    return low * original_bytes <= copy_bytes <= high * original_bytes + SIZE_SLACK_BYTES


def fits_closely(original_bytes: int, copy_bytes: int) -> bool:
    """Whether a copy is as large as ciphertext, or base64 of it, is."""
    low, high = BASE64_RATIO
    is_plain = original_bytes <= copy_bytes <= original_bytes + OVERHEAD_BYTES
    return is_plain or low * original_bytes <= copy_bytes <= high * original_bytes + OVERHEAD_BYTES
