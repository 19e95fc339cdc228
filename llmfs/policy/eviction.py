"""Which blocks stay when the cache is full.

No order of eviction is best for all that programs do: a loop longer than the cache gets nothing from LRU and nearly
everything possible from LIRS, a compiler's short-lived files the other way round. So the order is chosen by what the
stream shows. Four parts, a file each:

- `segments.py`: two queues and a rule, which together are LRU, LIRS, W-TinyLFU or a learned ranking;
- `ghosts.py`: all rules tried at once on a sample of the keys; the live cache follows the one that hits most;
- `reuse.py`: the table, learned from the same sample, that the learned rules rank by;
- `history.py`: what is remembered of blocks that left.

Where programs compete, `partition.py` says how much of the cache is kept for whom. A block whose turn it is stays for
another one if its program has less than that, and a block of a program that holds more than it should goes.

Two more things are added here. What was fetched ahead waits in a queue of its own that has a bounded share of a full
cache and expires: a prefetch that nobody uses displaces nothing that is in use. And of those that would leave first,
the ones go that the predictor's scores call least likely to be used again, as in HALP (Song et al., NSDI 2023); what it
says is done with, such as a file of a data set that was read in this epoch, goes before all others.

Pure: no clock but the count of requests, no randomness. A request costs the same whatever the cache's size.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping

import xxhash

from llmfs.policy.ghosts import RULES, Ghosts
from llmfs.policy.history import History, Past
from llmfs.policy.partition import Partition
from llmfs.policy.reuse import ReuseTable, cell_of
from llmfs.policy.segments import NOMINEES, Resident, Rule, Score, Segments

__all__ = ["AHEAD_SHARE", "Eviction", "Resident", "Score"]

AHEAD_SHARE = 0.55
"""Of a full cache, for what was fetched ahead and was not used yet. `planning.py` lets in no more than half of it while
that proves right, and a quarter otherwise."""

AHEAD_TURNS = 2
"""A prefetch that was not used for so many requests a resident block has missed its time, whatever the share says."""

EXPECTED_SCORE = 0.75
"""A prefetch of such a score has not missed its time yet: the predictor knows that it is to come, as of a file of a
data set that was not read in this epoch. It waits as long again."""

AGING_TURNS = 10
"""Uses are halved each time that so many requests a resident block have passed (W-TinyLFU's sample) and 1000 more: a
cache of a few blocks does not forget at once."""


class Eviction:
    """Keeps the blocks' total size at or below `capacity_bytes`, as long as `victims` is called after `admit`.

    `rules`: what may be followed; one alone is that policy, several are tried against each other, the first one rules
    until something is known.
    """

    def __init__(self, capacity_bytes: int, rules: tuple[Rule, ...] = RULES) -> None:
        self.used_bytes = 0
        self._capacity_bytes = capacity_bytes
        self._table = ReuseTable()
        self._segments = Segments(capacity_bytes, rules[0], self._table)
        self._ghosts = Ghosts(capacity_bytes, rules, self._table)
        self._history = History()
        self._partition = Partition(capacity_bytes)
        self._held: dict[int, int] = {}  # bytes of used blocks, by the group that used them last
        self._ahead: OrderedDict[bytes, Resident] = OrderedDict()
        self._ahead_bytes = 0
        self._done: OrderedDict[bytes, Resident] = OrderedDict()
        self._pinned: OrderedDict[bytes, Resident] = OrderedDict()
        self._now = 0  # requests by programs
        self._aged_at = 0

    def __len__(self) -> int:
        return len(self._segments) + len(self._ahead) + len(self._done) + len(self._pinned)

    def __contains__(self, key: bytes) -> bool:
        return self.get(key) is not None

    @property
    def capacity_bytes(self) -> int:
        return self._capacity_bytes

    @capacity_bytes.setter
    def capacity_bytes(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._segments.resize(capacity_bytes, self.rule)
        self._ghosts.resize(capacity_bytes)
        self._partition.capacity_bytes = capacity_bytes

    @property
    def partition(self) -> Partition:
        """Who would gain from how much of the cache, and the shares that are in force."""
        return self._partition

    @property
    def held_bytes(self) -> Mapping[int, int]:
        """What each group of programs holds of what was used."""
        return self._held

    def divide(self) -> bool:
        """Judge anew how the cache is to be divided; whether the shares are others now."""
        return self._partition.look(self._held)

    @property
    def rule(self) -> Rule:
        """What is followed now."""
        return self._segments.rule

    def get(self, key: bytes) -> Resident | None:
        return self._segments.get(key) or self._ahead.get(key) or self._done.get(key) or self._pinned.get(key)

    def admit(
        self, key: bytes, size_bytes: int, generator: str | None = None, is_old: bool = False, group: int = 0
    ) -> Resident:
        """Take in a block that a program asked for or, with a `generator`, that was fetched ahead.

        A block that is there changes its size, and is used if a program asked for it. `is_old`: it was in the cache
        before the mount. `group`: of the program, 0 where that is not known.
        """
        resident = self.get(key)
        if resident is not None:
            self._grow(key, resident, size_bytes - resident.size_bytes)
            if generator is None and not is_old:
                self.touch(key, group)
            return resident
        resident = Resident(size_bytes, generator, used_at=self._now)
        self.used_bytes += size_bytes
        if is_old:
            self._segments.insert(key, resident, 0, self._now)
        elif generator is not None:
            self._ahead[key] = resident
            self._ahead_bytes += size_bytes
        else:
            self._enter(key, resident, group)
        return resident

    def touch(self, key: bytes, group: int = 0) -> Resident | None:
        """A program of `group` used the block.

        The first use of one that was fetched ahead is what it came for, no reuse.
        """
        resident = self._segments.get(key)
        if resident is not None:
            self._tick()
            gap = self._now - resident.used_at
            self._segments.use(key, gap, self._now)
            self._used(key, _digest(key), resident, gap, group)
            return resident
        resident = self._ahead.pop(key, None)
        if resident is not None:
            self._ahead_bytes -= resident.size_bytes
            resident.generator = None
            self._enter(key, resident, group)
            return resident
        resident = self._done.pop(key, None)
        if resident is not None:
            self._put_back(key, resident)
            return self.touch(key, group)
        return self._pinned.get(key)  # it has no turn to lose or win

    def done_with(self, key: bytes) -> None:
        """A block that is not used again before everything else is: it goes first (drop behind)."""
        resident = self._segments.remove(key)
        if resident is not None:
            self._done[key] = resident

    def not_done_with(self, key: bytes) -> None:
        """Takes `done_with` back."""
        resident = self._done.pop(key, None)
        if resident is not None:
            self._put_back(key, resident)

    def _put_back(self, key: bytes, resident: Resident) -> None:
        self._segments.insert(key, resident, 0, self._now)

    def forget(self, key: bytes) -> Resident | None:
        """The block is gone for another reason than eviction."""
        resident = self._ahead.pop(key, None)
        if resident is not None:
            self._ahead_bytes -= resident.size_bytes
        else:
            resident = self._done.pop(key, None) or self._pinned.pop(key, None) or self._segments.remove(key)
        if resident is not None:
            self.used_bytes -= resident.size_bytes
            self._owned_by(resident, 0)
        return resident

    def unpinned(self, is_pinned: Callable[[bytes], bool]) -> None:
        """Some blocks may not be pinned any more: those have a turn again."""
        for key in [key for key in self._pinned if not is_pinned(key)]:
            self._put_back(key, self._pinned.pop(key))

    def victims(
        self, score: Score | None = None, is_pinned: Callable[[bytes], bool] | None = None
    ) -> list[tuple[bytes, Resident]]:
        """The blocks to drop now, so that the rest fits. They are forgotten here.

        A block whose turn it is and that `is_pinned` is put aside instead, so each is asked about once. If nothing else
        is left they go all the same: the limit holds, whatever is pinned.
        """
        gone: list[tuple[bytes, Resident]] = []
        while self.used_bytes > self._capacity_bytes:
            was_ahead = False
            if self._done:
                key, resident = self._done.popitem(last=False)
            elif was_ahead := self._is_ahead_due(score):
                key, resident = self._ahead.popitem(last=False)
                self._ahead_bytes -= resident.size_bytes
            elif len(self._segments):
                key, resident = self._segments.evict(self._now, score)
                if (other := self._in_place_of(resident.group)) is not None:
                    key, resident = other, self._segments.take_for(other, key, resident)
            else:
                key, resident = self._pinned.popitem(last=False)
                is_pinned = None
            if is_pinned is not None and is_pinned(key):
                self._pinned[key] = resident
                continue
            if not was_ahead:
                self._remember(key, resident)
            self.used_bytes -= resident.size_bytes
            self._owned_by(resident, 0)
            gone.append((key, resident))
        return gone

    def _in_place_of(self, group: int) -> bytes | None:
        """A block that goes in place of one of this group, for which more is kept than it has; None: its own goes."""
        other = self._partition.gives_way_to(group, self._held)
        return self._segments.first_of(other) if other else None

    def _remember(self, key: bytes, resident: Resident) -> None:
        self._history.put(_digest(key), Past(resident.used_at, resident.uses, resident.cell))

    def _is_ahead_due(self, score: Score | None) -> bool:
        """Whether the oldest of what was fetched ahead goes next. What is expected still is not the oldest any more."""
        if not self._ahead or not len(self._segments):
            return bool(self._ahead)
        if self._ahead_bytes > AHEAD_SHARE * self._capacity_bytes:
            return True
        for _ in range(NOMINEES):
            key, oldest = next(iter(self._ahead.items()))
            if self._now - oldest.used_at <= AHEAD_TURNS * len(self):
                return False
            if score is None or score(key) < EXPECTED_SCORE:
                return True
            oldest.used_at = self._now
            self._ahead.move_to_end(key)
        return False

    def _enter(self, key: bytes, resident: Resident, group: int) -> None:
        """The first use of a block since it came."""
        self._tick()
        digest = _digest(key)
        past = self._history.take(digest, self._now)
        gap = 0
        if past is not None:
            gap = self._now - past.used_at
            resident.uses = past.uses
        self._segments.insert(key, resident, gap, self._now)
        self._used(key, digest, resident, gap, group)

    def _used(self, key: bytes, digest: int, resident: Resident, gap: int, group: int) -> None:
        """Note a use, and have the ghosts see it. The rule that leads now is followed from here on."""
        resident.uses += 1
        resident.cell = cell_of(gap, resident.uses)
        resident.used_at = self._now
        if group:
            self._owned_by(resident, group)
            self._partition.see(group, digest, resident.size_bytes)
        self._ghosts.see(key, digest, resident.size_bytes, self._now, len(self._segments))
        if self._ghosts.rule is not self.rule:
            self._segments.resize(self._capacity_bytes, self._ghosts.rule)

    def _tick(self) -> None:
        self._now += 1
        if self._now - self._aged_at > AGING_TURNS * len(self._segments) + 1000:
            self._aged_at = self._now
            for resident in self._segments.residents():
                resident.uses = resident.uses + 1 >> 1
            self._history.fit(len(self._segments))
            self._history.halve_uses()
            self._ghosts.halve_uses()
            self._partition.age()

    def _owned_by(self, resident: Resident, group: int) -> None:
        """It counts for this group from here on; 0: for none."""
        former = resident.group
        if former == group:
            return
        resident.group = group
        if former:
            self._held[former] -= resident.size_bytes
            if not self._held[former]:
                del self._held[former]
        if group:
            self._held[group] = self._held.get(group, 0) + resident.size_bytes

    def _grow(self, key: bytes, resident: Resident, more_bytes: int) -> None:
        resident.size_bytes += more_bytes
        self.used_bytes += more_bytes
        if resident.group:
            self._held[resident.group] += more_bytes
        if key in self._ahead:
            self._ahead_bytes += more_bytes
        elif key not in self._done and key not in self._pinned:
            self._segments.grow(key, more_bytes)


def _digest(key: bytes) -> int:
    return xxhash.xxh3_64_intdigest(key)
