"""Which rule suits the stream: each is tried all the time, on a sample, without data.

For each rule a *ghost* of the cache is kept: a scaled-down cache of keys that are drawn by their hash, so that a ghost
of a hundredth of the size sees a hundredth of the keys and hits as often as the whole would (SHARDS, Waldspurger et
al., FAST 2015; miniature simulations, USENIX ATC 2017). All see the same requests, so their difference shows soon: the
live cache takes over the rule of the ghost that leads by more than a margin.

What this promises:

- Cost and memory do not grow with the cache: a ghost has at most `GHOST_BLOCKS` blocks. The sample is as thin from the
  beginning as a full cache of whole blocks needs it, for until it is full all rules hit alike, and is halved when the
  cache has more blocks than that. Small caches are simulated whole.
- No randomness: the sample is the keys' hash.
"""

from collections import OrderedDict

from llmfs.blocks import BLOCK_BYTES
from llmfs.policy.reuse import ReuseTable, cell_of
from llmfs.policy.segments import Resident, Rule, Segments

GHOST_BLOCKS = 512
"""Hits over some hundred blocks tell rules apart by a percent; more cost more."""

MEMORY_BLOCKS = 16 * GHOST_BLOCKS
"""Keys of the sample whose last use is remembered. More than all ghosts together hold of blocks of one size, for these
are kept."""

MEMORY_TURNS = 64
"""Hits are forgotten with a time constant of so many times the cache's blocks, in requests. With 16 the rules take
turns on a loop ten times the cache's size, each leading where its blocks come by. A change is followed sooner than
that: a rule that no longer suits the stream stops gaining at once."""

MARGIN = 0.005
"""Of the requests in memory: how far a rule must lead to take over. A change costs misses until the order is new."""

LRU_MARGIN = 0.002
"""For LRU less is enough: it is what no cache should be much worse than, and changing to it loses little."""

MEMORY_LEAST = 100
"""Requests: a ghost of a few blocks does not judge by a few requests."""

LRU = Rule("LRU", 1.0, 0.0)

LEARNED_RULES = (
    Rule("learned", 0.1, 1.0, is_learned=True),
    Rule("learned, no promotion", 0.01, 0.0, is_learned=True),
)

FIXED_RULES = (
    Rule("LIRS, window 10%", 0.1, 1.0),  # the first: what rules until something is known (why: MODEL_CARD.md)
    LRU,
    Rule("LIRS, window 1%", 0.01, 1.0),
    Rule("LIRS, window 30%", 0.3, 1.0),
    Rule("LIRS, window 70%", 0.7, 1.0),
    Rule("frequency", 0.01, 0.0, more_uses=1),
    Rule("frequency, no replacement of equals", 0.01, 0.0, more_uses=2),
)

RULES = FIXED_RULES + LEARNED_RULES


class Ghost:
    """One rule at work on the sample."""

    __slots__ = ("hits", "segments")

    def __init__(self, capacity_bytes: int, rule: Rule, table: ReuseTable) -> None:
        self.segments = Segments(capacity_bytes, rule, table)
        self.hits = 0.0


class Ghosts:
    """All rules at work, and the one that leads. What passes through teaches the table of reuse, too."""

    def __init__(self, capacity_bytes: int, rules: tuple[Rule, ...], table: ReuseTable) -> None:
        self.rule = rules[0]
        self._capacity_bytes = capacity_bytes
        self._shift = (max(0, capacity_bytes - 1) // (GHOST_BLOCKS * BLOCK_BYTES)).bit_length()
        self._mask = (1 << self._shift) - 1
        self._table = table
        self._ghosts = [Ghost(capacity_bytes >> self._shift, rule, table) for rule in rules]
        self._leader = self._ghosts[0]
        self._lru = next((ghost for ghost in self._ghosts if ghost.segments.rule is LRU), None)
        self._known: OrderedDict[bytes, tuple[Resident, int]] = OrderedDict()  # by key: what is known, the key's hash
        self._requests = 0.0

    def resize(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        for ghost in self._ghosts:
            ghost.segments.resize(capacity_bytes >> self._shift, ghost.segments.rule)

    def see(self, key: bytes, digest: int, size_bytes: int, now: int, blocks: int) -> None:
        """A program asked for a block. `digest`: the key's hash; `blocks`: how many the live cache has."""
        if digest & self._mask:
            return
        known = self._known.get(key)
        if known is None:
            resident, gap = Resident(size_bytes), 0
            self._known[key] = (resident, digest)
        else:
            resident = known[0]
            gap = now - resident.used_at
            self._known.move_to_end(key)
            self._grow(key, resident, size_bytes - resident.size_bytes)
        resident.uses += 1
        self._try(key, resident, gap, now, blocks)
        cell = cell_of(gap, resident.uses)
        self._table.learn(resident.cell, gap, cell, blocks)
        resident.cell = cell
        resident.used_at = now
        self._forget()
        while blocks > GHOST_BLOCKS << self._shift:
            self._thin()

    def halve_uses(self) -> None:
        for resident, _ in self._known.values():
            resident.uses = resident.uses + 1 >> 1

    def _try(self, key: bytes, resident: Resident, gap: int, now: int, blocks: int) -> None:
        keep = 1 - 1 / max(MEMORY_LEAST, MEMORY_TURNS * (blocks >> self._shift))
        self._requests = self._requests * keep + 1
        best = self._leader
        for ghost in self._ghosts:
            ghost.hits *= keep
            segments = ghost.segments
            if segments.use(key, gap, now):
                ghost.hits += 1
            else:
                segments.insert(key, resident, gap, now)
            while segments.used_bytes > segments.capacity_bytes:
                segments.evict(now)
            if ghost.hits > best.hits:
                best = ghost
        if best.hits > self._leader.hits + 1 + MARGIN * self._requests:
            self._follow(best)
        elif self._lru is not None and self._lru.hits > self._leader.hits + 1 + LRU_MARGIN * self._requests:
            self._follow(self._lru)

    def _grow(self, key: bytes, resident: Resident, more_bytes: int) -> None:
        """A block has more pages than when it was seen last."""
        if not more_bytes:
            return
        resident.size_bytes += more_bytes
        for ghost in self._ghosts:
            if ghost.segments.get(key) is not None:
                ghost.segments.grow(key, more_bytes)

    def _forget(self) -> None:
        """Keeps the memory within its bound: the keys go that were asked for longest ago.

        What a ghost holds comes round again, as a loop that is longer than this memory does: it stays. Where blocks are
        so small that the ghosts hold more of them than can be remembered, the sample is halved.
        """
        for _ in range(len(self._known)):
            if len(self._known) <= MEMORY_BLOCKS:
                return
            oldest, past = self._known.popitem(last=False)
            if any(ghost.segments.get(oldest) is not None for ghost in self._ghosts):
                self._known[oldest] = past
        while len(self._known) > MEMORY_BLOCKS:
            self._thin()

    def _follow(self, ghost: Ghost) -> None:
        self._leader = ghost
        self.rule = ghost.segments.rule

    def _thin(self) -> None:
        """Halve the sample, and the ghosts with it."""
        self._shift += 1
        self._mask = (1 << self._shift) - 1
        for key in [key for key, (_, digest) in self._known.items() if digest & self._mask]:
            del self._known[key]
            self._remove(key)
        self.resize(self._capacity_bytes)
        self._requests /= 2
        for ghost in self._ghosts:
            ghost.hits /= 2

    def _remove(self, key: bytes) -> None:
        for ghost in self._ghosts:
            ghost.segments.remove(key)
