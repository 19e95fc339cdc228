"""What was planned or used lately, so that it is not planned again for nothing.

A thing that was planned and not used yet may be planned again after `planned_again_ns`: the mount dropped it, or it was
evicted. A thing that was used is ready for at least `used_again_ns`, or until `used_again_bytes` more were read, which
may have taken its place: an epoch over a data set that is larger than the cache can be a matter of seconds. Bounded:
the oldest plans are forgotten first.
"""

from collections import OrderedDict

from predictor import ranges as byte_ranges
from predictor.plan import Want
from predictor.ranges import Ranges

_END = 1 << 62
"""Of a whole file, whatever its size."""


_WANTS = tuple(int(want) for want in Want)
_DATA = Want.DATA  # looking a member up takes longer than what is decided by it


class _Entry:
    __slots__ = ("bytes", "is_used", "ranges", "since_bytes", "since_ns")

    def __init__(self, since_ns: int, ranges: Ranges, size_bytes: int) -> None:
        self.since_ns = since_ns
        self.since_bytes = 0
        self.ranges = ranges
        self.bytes = size_bytes
        self.is_used = False


class Outstanding:
    """Remembers (path, want) with the byte ranges planned. Times are the accesses' own, nanoseconds."""

    def __init__(self, entries_max: int, planned_again_ns: int, used_again_ns: int, used_again_bytes: int) -> None:
        self._entries_max = entries_max
        self._planned_again_ns = planned_again_ns
        self._used_again_ns = used_again_ns
        self._used_again_bytes = used_again_bytes
        self._read_bytes = 0
        self._entries: OrderedDict[int, _Entry] = OrderedDict()  # by path and want, the longest planned first
        self.bytes = 0
        """Planned, neither used nor given up yet."""

    def __len__(self) -> int:
        return len(self._entries)

    def is_planned(self, path: int, want: Want, ranges: Ranges, now_ns: int) -> bool:
        """Whether `admit` would refuse, for the same ranges as then."""
        known = self._entries.get(path * 4 + want)
        if known is None:
            return False
        if ranges and want is _DATA and known.ranges != _spelled_out(ranges):
            return False
        return self._is_fresh(known, now_ns)

    def admit(self, path: int, want: Want, ranges: Ranges, size_bytes: int, now_ns: int) -> bool:
        """Whether this is worth planning now; if so it is remembered as planned. `size_bytes`: of the ranges."""
        key = path * 4 + want
        ranges = _spelled_out(ranges)
        known = self._entries.get(key)
        if known is not None:
            if self._is_fresh(known, now_ns):
                if want is not Want.DATA:
                    return False
                both = byte_ranges.union(known.ranges, ranges)
                if both == known.ranges:
                    return False
                ranges = both
            self._forget(key)
        self._entries[key] = _Entry(now_ns, ranges, size_bytes)
        self.bytes += size_bytes
        self._give_up(now_ns)
        return True

    def read(self, size_bytes: int) -> None:
        """Programs have read so much more."""
        self._read_bytes += size_bytes

    def used(self, path: int, now_ns: int) -> None:
        """A program used `path`: what was planned of it came true."""
        entries = self._entries
        for want in _WANTS:
            key = path * 4 + want
            known = entries.get(key)
            if known is not None:
                self.bytes -= known.bytes
                known.bytes, known.since_ns, known.is_used = 0, now_ns, True
                known.since_bytes = self._read_bytes
                entries.move_to_end(key)

    def withdraw(self, path: int) -> None:
        """What was planned of `path` is void: it was changed, or dropped unused."""
        for want in Want:
            if path * 4 + want in self._entries:
                self._forget(path * 4 + want)

    def clear(self) -> None:
        self._entries.clear()
        self.bytes = 0

    def _is_fresh(self, entry: _Entry, now_ns: int) -> bool:
        if not entry.is_used:
            return now_ns - entry.since_ns < self._planned_again_ns
        is_recent = now_ns - entry.since_ns < self._used_again_ns
        return is_recent and self._read_bytes - entry.since_bytes < self._used_again_bytes

    def _forget(self, key: int) -> None:
        self.bytes -= self._entries.pop(key).bytes

    def _give_up(self, now_ns: int) -> None:
        """Forgets what was planned too long ago, and the oldest where there is too much."""
        while self._entries:
            key, oldest = next(iter(self._entries.items()))
            if len(self._entries) <= self._entries_max and now_ns - oldest.since_ns < self._planned_again_ns:
                return
            self._forget(key)


def _spelled_out(ranges: Ranges) -> Ranges:
    """An end of 0 stands for that of the file."""
    for _, end in ranges:
        if not end:
            break
    else:
        return ranges
    return tuple((start, end or _END) for start, end in ranges)
