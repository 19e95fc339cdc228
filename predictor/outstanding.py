"""What was planned or used lately, so that it is not planned again for nothing.

A thing that was planned and not used yet may be planned again after `planned_again_ns`: the mount dropped it, or it was
evicted. A thing that was used is ready for at least `used_again_ns`. Bounded: the oldest plans are forgotten first.
"""

from collections import OrderedDict

from predictor import ranges as byte_ranges
from predictor.plan import Want
from predictor.ranges import Ranges


class Outstanding:
    """Remembers (path, want) with the byte ranges planned. Times are the accesses' own, nanoseconds."""

    def __init__(self, entries_max: int, planned_again_ns: int, used_again_ns: int) -> None:
        self._entries_max = entries_max
        self._planned_again_ns = planned_again_ns
        self._used_again_ns = used_again_ns
        self._entries: OrderedDict[int, tuple[int, Ranges, bool]] = OrderedDict()  # key -> (since, ranges, is used)

    def __len__(self) -> int:
        return len(self._entries)

    def is_planned(self, path: int, want: Want, ranges: Ranges, now_ns: int) -> bool:
        """Whether `admit` would refuse, for the same ranges as then."""
        known = self._entries.get(path * 4 + want)
        if known is None:
            return False
        since_ns, planned, is_used = known
        is_fresh = now_ns - since_ns < (self._used_again_ns if is_used else self._planned_again_ns)
        return is_fresh and (want is not Want.DATA or planned == ranges)

    def admit(self, path: int, want: Want, ranges: Ranges, now_ns: int) -> bool:
        """Whether this is worth planning now; if so it is remembered as planned."""
        key = path * 4 + want
        known = self._entries.get(key)
        if known is not None:
            since_ns, planned, is_used = known
            if now_ns - since_ns < (self._used_again_ns if is_used else self._planned_again_ns):
                if want is not Want.DATA:
                    return False
                both = byte_ranges.union(planned, ranges)
                if both == planned:
                    return False
                self._entries[key] = (since_ns, both, is_used)
                return True
        self._entries[key] = (now_ns, ranges, False)
        if len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)
        return True

    def used(self, path: int, now_ns: int) -> None:
        """A program used `path`: what was planned of it came true."""
        for want in Want:
            known = self._entries.get(path * 4 + want)
            if known is not None:
                self._entries[path * 4 + want] = (now_ns, known[1], True)

    def withdraw(self, path: int) -> None:
        """What was planned of `path` is void: it was changed, or dropped unused."""
        for want in Want:
            self._entries.pop(path * 4 + want, None)

    def clear(self) -> None:
        self._entries.clear()
