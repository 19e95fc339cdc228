"""The past: a bounded ring of visits, and an index to where a path was visited before.

A *visit* is a program's stay at one path, with what it used there (attributes, absence, the listing, byte ranges).
Visits are linked in the order of their stream and stand in the order of all streams together. The index leads from a
path, and from a pair of paths visited one after the other, to the latest places where they occurred.

What is skipped because it was prefetched so well that the kernel answered must not be forgotten: `History.assume`
copies such visits into the new run, a limited number of times in a row.

Never does: I/O, clocks, more than `capacity` visits.
"""

from array import array

from predictor.ranges import Ranges, add, union

ATTRIBUTES = 1
ABSENT = 2
LISTING = 4
DATA = 8
OPENED = 16

POSITIONS_PER_PATH = 4
"""Places remembered for a path alone; the pair index finds the others."""

ASSUMED_MAX = 8
"""Runs in a row that a visit may be assumed without being seen. A kernel that answers everything hides a good plan's
visits for ever, a program that changed does not use them any more: this is how long we cannot tell."""

MATCH_MAX = 16
"""Visits compared backwards when places compete."""


class History:
    """A bounded ring of visits. A position is a sequence number; `first <= position < end` are there."""

    def __init__(self, capacity: int = 1 << 16) -> None:
        self.capacity = capacity
        self.first = 1  # 0 means: no position
        self.end = 1
        self.path = array("q", bytes(8 * capacity))
        self.next = array("q", bytes(8 * capacity))
        self.previous = array("q", bytes(8 * capacity))
        self.command = array("q", bytes(8 * capacity))
        self.flags = bytearray(capacity)
        self.assumed = bytearray(capacity)
        self.ranges: list[Ranges] = [()] * capacity
        self._pair = array("q", bytes(8 * capacity))
        self._by_path: dict[int, tuple[int, ...]] = {}
        self._by_pair: dict[int, int] = {}

    def __contains__(self, position: int) -> bool:
        return self.first <= position < self.end

    def append(self, path: int, flags: int, command: int, previous: int) -> int:
        """Adds a visit that follows `previous` (0: it starts its stream) and returns its position."""
        position = self.end
        slot = position % self.capacity
        if position > self.capacity:
            self._forget(position - self.capacity, slot)
            self.first += 1
        self.end += 1
        self.path[slot] = path
        self.flags[slot] = flags
        self.assumed[slot] = 0
        self.command[slot] = command
        self.next[slot] = 0
        self.ranges[slot] = ()
        if previous and previous in self:
            self.next[previous % self.capacity] = position
            before = self.path[previous % self.capacity]
        else:
            previous, before = 0, -1
        self.previous[slot] = previous
        pair = hash((before, path, command if before < 0 else 0))
        self._pair[slot] = pair
        self._by_pair[pair] = position
        known = self._by_path.get(path, ())
        self._by_path[path] = (position, *known[: POSITIONS_PER_PATH - 1])
        return position

    def _forget(self, position: int, slot: int) -> None:
        pair = self._pair[slot]
        if self._by_pair.get(pair) == position:
            del self._by_pair[pair]
        path = self.path[slot]
        kept = tuple(place for place in self._by_path.get(path, ()) if place != position)
        if kept:
            self._by_path[path] = kept
        else:
            self._by_path.pop(path, None)

    def fill(
        self,
        paths: list[int],
        commands: list[int],
        following: list[int],
        previous: list[int],
        flags: list[int],
        assumed: list[int],
        ranges: list[Ranges],
    ) -> None:
        """Takes back visits into an empty ring, the first at position 1; links are positions, 0 is none."""
        for position, path in enumerate(paths, 1):
            before = previous[position - 1]
            self.append(path, flags[position - 1], commands[position - 1], before)
            slot = position % self.capacity
            self.next[slot] = following[position - 1]
            self.assumed[slot] = assumed[position - 1]
            self.ranges[slot] = ranges[position - 1]

    def note(self, position: int, flags: int) -> None:
        """The visit at `position` also used `flags`."""
        self.flags[position % self.capacity] |= flags

    def read(self, position: int, start: int, end: int) -> bool:
        """The visit read [start, end). False where it has too many intervals already: begin another visit."""
        slot = position % self.capacity
        merged = add(self.ranges[slot], start, end)
        if merged is None:
            return False
        self.ranges[slot] = merged
        self.flags[slot] |= DATA
        self.assumed[slot] = 0
        return True

    def inherit(self, position: int, old: int) -> None:
        """The visit at `position` repeats the one at `old`: what was read there is assumed until reads are seen."""
        if old not in self:
            return
        slot, source = position % self.capacity, old % self.capacity
        if self.path[slot] != self.path[source] or self.assumed[source] >= ASSUMED_MAX:
            return
        if self.flags[source] & DATA and not self.flags[slot] & ABSENT:
            self.ranges[slot] = union(self.ranges[source], self.ranges[slot])
            if not self.flags[slot] & DATA:
                self.assumed[slot] = self.assumed[source] + 1
            self.flags[slot] |= DATA

    def assume(self, old: int, command: int, previous: int) -> int:
        """Repeats the visit at `old`, unseen, after `previous`: its position, or `previous` when it is too old."""
        if old not in self:
            return previous
        source = old % self.capacity
        if self.assumed[source] >= ASSUMED_MAX:
            return previous
        flags, ranges, assumed = self.flags[source], self.ranges[source], self.assumed[source]
        position = self.append(self.path[source], flags, command, previous)
        slot = position % self.capacity
        self.ranges[slot] = ranges
        self.assumed[slot] = assumed + 1
        return position

    def places(self, path: int, before: int, command: int) -> list[int]:
        """Positions where `path` was visited, those after `before` (-1: at a stream's start) first."""
        found = []
        pair = self._by_pair.get(hash((before, path, command if before < 0 else 0)))
        if pair is not None and self.path[pair % self.capacity] == path:
            found.append(pair)
        found += [place for place in self._by_path.get(path, ()) if place != pair]
        return found

    def paths(self) -> set[int]:
        """All paths that were visited."""
        return set(self._by_path)

    def latest(self, path: int) -> tuple[int, ...]:
        """The latest positions of `path`, newest first."""
        return self._by_path.get(path, ())

    def match(self, one: int, other: int) -> int:
        """How many visits back from two positions agree along their streams, themselves included, one skip a side."""
        length = 0
        skips = 2
        while length < MATCH_MAX and one in self and other in self and one and other:
            a, b = one % self.capacity, other % self.capacity
            if self.path[a] == self.path[b]:
                length += 1
                one, other = self.previous[a], self.previous[b]
                continue
            if not skips:
                break
            skips -= 1
            before_one, before_other = self.previous[a], self.previous[b]
            if before_one in self and self.path[before_one % self.capacity] == self.path[b]:
                one = before_one
            elif before_other in self and self.path[before_other % self.capacity] == self.path[a]:
                other = before_other
            else:
                one, other = before_one, before_other
        return length
