"""Two segments that, by one rule or another, behave as LRU, LIRS, W-TinyLFU or a learned policy.

A *window* takes the newcomers, a *main* segment what has proved itself; both are ordered by last use. Four numbers make
the rule:

- how much of the space the window has: all of it is LRU;
- when a block that is used again moves to the main segment: when the gap between its uses is shorter than `promote`
  times the age of the main segment's oldest. With 1 this is LIRS (Jiang & Zhang, SIGMETRICS 2002): a gap that is
  shorter than the oldest's age is what "being within the stack" means, so no stack is kept;
- how many more uses a block that leaves the window must have than the main segment's oldest, to take its place, as in
  W-TinyLFU (Einziger et al., TOS 2017); more than one keeps what is there where all are used equally often;
- whether those at the ends of both segments are ranked by what `reuse.py` learned (relaxed Belady, as in LRB, Song et
  al., NSDI 2020).

All rules read the same two queues, so that a cache can change its rule at any time and loses nothing: while the main
segment is larger than the new rule allows, of the two oldest the older one goes.

Invariant: a key is in at most one of the segments, and the bytes of each are those of its blocks.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from llmfs.policy.reuse import ReuseTable

Score = Callable[[bytes], float]
"""The predicted probability that a block, by its key, is used again."""

NOMINEES = 8
"""From so many of the oldest the predictor's scores choose. HALP (NSDI 2023) found little above four."""

LEARNED_NOMINEES = 4
"""Of each segment. Each costs some 0.5 us."""

OF_GROUP_WITHIN = 64
"""Of each segment's oldest, among which one of a group of programs is looked for. Where there is none, it holds what is
newer than what everybody has, and order is left to itself."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What makes a policy of the two segments; see the module's head."""

    name: str
    window_share: float
    promote: float
    more_uses: int = 0
    is_learned: bool = False


class Resident:
    """What is known of a block in the cache."""

    __slots__ = ("cell", "generator", "group", "size_bytes", "used_at", "uses")

    def __init__(
        self, size_bytes: int, generator: str | None = None, used_at: int = 0, uses: int = 0, cell: int = 0
    ) -> None:
        self.size_bytes = size_bytes
        self.generator = generator  # who had it fetched ahead; None once used, or when a program asked for it
        self.used_at = used_at  # requests, of the cache's clock
        self.uses = uses  # halved now and then
        self.cell = cell  # of the table in `reuse.py`
        self.group = 0  # of the programs that used it last (`partition.py`); 0: nobody's


class Segments:
    """Blocks in the order in which a rule would have them leave. Evicts when told to, never by itself."""

    def __init__(self, capacity_bytes: int, rule: Rule, table: ReuseTable) -> None:
        self.window: OrderedDict[bytes, Resident] = OrderedDict()
        self.main: OrderedDict[bytes, Resident] = OrderedDict()
        self.used_bytes = 0
        self._main_bytes = 0
        self._table = table
        self.resize(capacity_bytes, rule)

    def __len__(self) -> int:
        return len(self.window) + len(self.main)

    def resize(self, capacity_bytes: int, rule: Rule) -> None:
        """Change what is allowed. Nothing moves yet."""
        self.capacity_bytes = capacity_bytes
        self.rule = rule
        self._main_limit = int(capacity_bytes * (1 - rule.window_share))

    def residents(self) -> Iterator[Resident]:
        yield from self.window.values()
        yield from self.main.values()

    def get(self, key: bytes) -> Resident | None:
        return self.main.get(key) or self.window.get(key)

    def use(self, key: bytes, gap: int, now: int) -> bool:
        """A block was used, `gap` requests after its last use. False where it is not here.

        Called before its `used_at` becomes `now`.
        """
        if key in self.main:
            self.main.move_to_end(key)
            return True
        resident = self.window.get(key)
        if resident is None:
            return False
        if self._is_promoted(resident.size_bytes, gap, now):
            del self.window[key]
            self._promote(key, resident)
        else:
            self.window.move_to_end(key)
        return True

    def insert(self, key: bytes, resident: Resident, gap: int, now: int) -> None:
        """A block that is not here comes in. `gap`: the requests since its last use, 0 where none is known."""
        size_bytes = resident.size_bytes
        self.used_bytes += size_bytes
        if gap and self._is_promoted(size_bytes, gap, now):
            self._promote(key, resident)
        elif self.used_bytes <= self.capacity_bytes and self._main_bytes + size_bytes <= self._main_limit:
            self.main[key] = resident  # there is room still
            self._main_bytes += size_bytes
        else:
            self.window[key] = resident

    def grow(self, key: bytes, more_bytes: int) -> None:
        """The size of a block that is here has changed already, by so much."""
        self.used_bytes += more_bytes
        if key in self.main:
            self._main_bytes += more_bytes

    def remove(self, key: bytes) -> Resident | None:
        resident = self.window.pop(key, None)
        if resident is None:
            resident = self.main.pop(key, None)
            if resident is None:
                return None
            self._main_bytes -= resident.size_bytes
        self.used_bytes -= resident.size_bytes
        return resident

    def evict(self, now: int, score: Score | None = None) -> tuple[bytes, Resident]:
        """Take one block out. With a score the least likely goes of those that the rule would have leave first."""
        queue = self._losing(now)
        key = next(iter(queue))
        if score is not None:
            nominees = islice(queue, NOMINEES)
            key = min(nominees, key=score)  # the first one where all are equal
        resident = queue.pop(key)
        self.used_bytes -= resident.size_bytes
        if queue is self.main:
            self._main_bytes -= resident.size_bytes
        return key, resident

    def take_for(self, other: bytes, key: bytes, resident: Resident) -> Resident:
        """Take out the block `other`. The block `key`, which was evicted, has its place, as the newest there."""
        is_main = other in self.main
        gone = self.remove(other)
        assert gone is not None
        self.used_bytes += resident.size_bytes
        if is_main:
            self.main[key] = resident
            self._main_bytes += resident.size_bytes
        else:
            self.window[key] = resident
        return gone

    def first_of(self, group: int) -> bytes | None:
        """A block of a group, of those that would leave soon; None where there is none."""
        for queue in (self.window, self.main):
            for key, resident in islice(queue.items(), OF_GROUP_WITHIN):
                if resident.group == group:
                    return key
        return None

    def _is_promoted(self, size_bytes: int, gap: int, now: int) -> bool:
        if self._main_bytes + size_bytes <= self._main_limit:
            return True
        if size_bytes > self._main_limit or not self.main:
            return False
        return gap < self.rule.promote * (now - next(iter(self.main.values())).used_at)

    def _promote(self, key: bytes, resident: Resident) -> None:
        """To the main segment; its oldest make room, at most as many as keep it from growing.

        Those become the window's newest, as in LIRS; where they are too many by a new rule, its next to go.
        """
        is_shrinking = self._main_bytes > self._main_limit
        room = max(self._main_limit, self._main_bytes)
        self.main[key] = resident
        self._main_bytes += resident.size_bytes
        while self._main_bytes > room:
            oldest, demoted = self.main.popitem(last=False)
            self._main_bytes -= demoted.size_bytes
            self.window[oldest] = demoted
            if is_shrinking:
                self.window.move_to_end(oldest, last=False)

    def _losing(self, now: int) -> "OrderedDict[bytes, Resident]":
        """The segment whose oldest block goes. A block of the window that wins against it takes its place."""
        if not self.window:
            return self.main
        if not self.main:
            return self.window
        newcomer, oldest = next(iter(self.window.values())), next(iter(self.main.values()))
        if self._main_bytes > self._main_limit:
            return self.main if oldest.used_at < newcomer.used_at else self.window
        more_uses = newcomer.uses - oldest.uses
        if not (self._rank(now) if self.rule.is_learned else 0 < self.rule.more_uses <= more_uses):
            return self.window
        key, newcomer = self.window.popitem(last=False)
        self.main[key] = newcomer
        self._main_bytes += newcomer.size_bytes
        return self.main

    def _rank(self, now: int) -> bool:
        """Bring the least valuable nominee to its segment's end; whether that is the main one."""
        lowest, victim, losing = float("inf"), b"", self.window
        rank = self._table.rank
        for queue in (self.window, self.main):
            for key, resident in islice(queue.items(), LEARNED_NOMINEES):
                value = rank(resident.cell, now - resident.used_at)
                if value < lowest:
                    lowest, victim, losing = value, key, queue
        losing.move_to_end(victim, last=False)
        return losing is self.main
