"""What came next, by counts: after this path, after these two, and after this path in programs of this name.

Each context keeps at most four successors; a newcomer wears down the weakest until it takes its place (Misra and
Gries), so counts follow change. Contexts are bounded, and a flood of files that are used once must not wash away what
returns: of the contexts that were made first, one that came true again stays for another round, at half its counts.
"""

from collections import OrderedDict
from collections.abc import Iterator

SUCCESSORS = 4
CONTEXTS_MAX = 1 << 16

Counts = dict[int, int]


class Successors:
    """Bounded successor counts. Contexts are any hashable value's hash."""

    def __init__(self, contexts_max: int = CONTEXTS_MAX) -> None:
        self._contexts_max = contexts_max
        self._table: OrderedDict[int, Counts] = OrderedDict()

    def __len__(self) -> int:
        return len(self._table)

    def observe(self, context: int, path: int) -> None:
        """`path` followed `context`."""
        counts = self._table.get(context)
        if counts is None:
            if len(self._table) >= self._contexts_max:
                self._make_room()
            self._table[context] = {path: 1}
        elif path in counts:
            counts[path] += 1
        elif len(counts) < SUCCESSORS:
            counts[path] = 1
        else:
            weakest = min(counts, key=counts.__getitem__)
            counts[weakest] -= 1
            if counts[weakest] <= 0:
                del counts[weakest]
                counts[path] = 1

    def _make_room(self) -> None:
        """Halving ends: it takes back what observing gave, so a round costs O(1) for each that was observed."""
        while True:
            context, counts = self._table.popitem(last=False)
            again = {path: count // 2 for path, count in counts.items() if count > 1}
            if not again:
                return
            self._table[context] = again

    def paths(self) -> Iterator[int]:
        """All successors; one may come several times."""
        return (path for counts in self._table.values() for path in counts)

    def after(self, context: int) -> list[tuple[int, int, int]]:
        """(path, count, total of the context), the most frequent first."""
        counts = self._table.get(context)
        if not counts:
            return []
        total = sum(counts.values())
        return [(path, n, total) for path, n in sorted(counts.items(), key=lambda item: -item[1])]

    def rows(self) -> list[tuple[int, int, int]]:
        """(context, path, count), to be kept."""
        return [(context, path, n) for context, counts in self._table.items() for path, n in counts.items()]

    def load(self, rows: list[tuple[int, int, int]]) -> None:
        """Takes back what `rows` gave."""
        for context, path, n in rows:
            if context in self._table or len(self._table) < self._contexts_max:
                counts = self._table.setdefault(context, {})
                if len(counts) < SUCCESSORS:
                    counts[path] = n


def alone(path: int) -> int:
    return path


def pair(before: int, path: int) -> int:
    return _mix(1, before, path)


def within(command: int, path: int) -> int:
    return _mix(2, command, path)


def _mix(kind: int, one: int, other: int) -> int:
    """A 62-bit context, the same in every process (Python's hash of a tuple is no promise between versions)."""
    value = (one * 0x9E3779B97F4A7C15 + other * 0xC2B2AE3D27D4EB4F + kind * 0x165667B19E3779F9) & (2**64 - 1)
    return (value ^ value >> 29) & (2**62 - 1) | 1 << 61
