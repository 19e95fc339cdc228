"""One run of a workload through a cache, under a virtual clock.

Everything that decides is the mount's own: `LocalRules`, `Planning`, `pages_to_fetch`, `Eviction`, and whatever planner
sits where the predictor does. What is modelled here is what `metadata.py`, `content.py` and `prefetcher.py` do between
them: names and blocks are known or asked of the source, each once at a time (single flight); prefetches are carried out
by as many carriers as the mount has threads; a hit takes no time. Consistency takes none either: nobody else changes
the source.

Bytes of a prefetch count as used page by page, when a program reads them. The mount's own account, on which it stops
what is in vain, is kept beside it block by block, as in the mount.
"""

import heapq
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llmfs.blocks import BLOCK_BYTES, BLOCK_PAGES, PAGE_BYTES
from llmfs.config import Predictor
from llmfs.content import PREFETCH_FLIGHTS
from llmfs.inodes import ListedName
from llmfs.local_rules import GUESS_SCORE, LocalRules
from llmfs.policy.eviction import Resident
from llmfs.policy.fetching import pages_to_fetch
from llmfs.policy.line import PIECE_BYTES_MAX, Line, Need
from llmfs.policy.namesakes import Namesakes
from llmfs.policy.planning import Drop, Job, Planning
from llmfs.policy.regions import PROGRAM, Regions
from llmfs.replay.outcome import Outcome
from llmfs.replay.source import Arrival, Model, ModelledSource
from llmfs.replay.tree import Flight, Node, Tree, listing_of, mask, pieces, runs
from llmfs.replay.workload import Workload
from predictor.baselines.readahead import Readahead
from predictor.control.arms import Arm
from predictor.events import FLAG_WRITE, Op, Tier
from predictor.plan import Want

_NAME_OPS = frozenset({Op.LOOKUP, Op.GETATTR, Op.OPEN, Op.READLINK, Op.XATTR})
CHANGES = frozenset({Op.WRITE, Op.CREATE, Op.UNLINK, Op.RENAME, Op.SETATTR, Op.MKDIR, Op.RMDIR, Op.LINK})
_FLIGHT_PAGES = PIECE_BYTES_MAX // PAGE_BYTES

_ISSUE, _CALL = range(2)

Steps = Generator[Arrival, None, None]


class Eviction(Protocol):
    """What decides which blocks stay (`llmfs.policy.eviction.Eviction`, or a rival or bound in its place)."""

    used_bytes: int
    capacity_bytes: int

    def admit(self, key: bytes, size_bytes: int, generator: str | None = None, *, group: int = 0) -> Resident: ...

    def touch(self, key: bytes, group: int = 0) -> Resident | None: ...

    def get(self, key: bytes) -> Resident | None: ...

    def forget(self, key: bytes) -> Resident | None: ...

    def victims(self, score: Callable[[bytes], float]) -> list[tuple[bytes, Resident]]: ...

    def done_with(self, key: bytes) -> None: ...

    def not_done_with(self, key: bytes) -> None: ...


class Planner(Protocol):
    """Who sits where the predictor does."""

    name: str
    rules: Predictor
    """Which local rules are at work beside it."""

    def begin(self, simulation: "Simulation") -> None:
        """A run begins."""

    def accessed(self, index: int) -> None:
        """The access was answered."""

    def listed(self, node: Node) -> None:
        """A directory's names are known now."""

    def became(self, node: Node, generator: str, was_used: bool, was_late: bool) -> None:
        """What became of data that was fetched ahead."""

    def score(self, key: bytes) -> float:
        """The predicted probability that a block is used again."""


@dataclass(slots=True)
class Cache:
    """What lasts from run to run: the files, and which of their blocks are resident."""

    tree: Tree
    eviction: Eviction
    places: dict[bytes, tuple[Node, int]]
    run: int = 0

    @classmethod
    def empty(cls, eviction: Eviction) -> "Cache":
        return cls(Tree(), eviction, {})

    def clear(self) -> None:
        """Empties it; what is known of the files' names goes too."""
        for key in self.places:
            self.eviction.forget(key)
        self.places.clear()
        self.tree.forget_cached()


class _Reader:
    """A file opened by a process."""

    __slots__ = ("inode", "readahead", "regions")

    def __init__(self, inode: Node) -> None:
        self.inode = inode
        self.readahead: Readahead | None = None
        self.regions: Regions | None = None


class Simulation:
    """Runs a workload. One object a run."""

    def __init__(
        self, workload: Workload, cache: Cache, planner: Planner, model: Model, tells_programs: bool = True
    ) -> None:
        """`tells_programs`: apart, so that each has its part of a crowded line."""
        self.workload = workload
        self.cache = cache
        self.planner = planner
        self.now_s = 0.0
        self.issued = -1
        """The latest access of the recording that was made: how far the programs have come."""
        self.outcome = Outcome(workload.recording.name, planner.name)
        self.planning: Planning[Node] = Planning(lambda: cache.eviction.capacity_bytes, self._dropped)
        self.rules: LocalRules[Node] = LocalRules(
            self, planner.rules, self._rules_listed, Namesakes(), child=self.cache.tree.child
        )
        self.source = ModelledSource(model, self.call_at)
        self.line = Line()
        self._tells_programs = tells_programs
        self._under_way: dict[Flight, None] = {}  # the oldest first
        self._held: list[tuple[Flight, int, Need, int]] = []  # wait for their turn on the line: bytes, program
        cache.run += 1
        self.nodes = cache.tree.take(workload.recording)
        """By the recording's path ids."""
        self.numbers = {node.id: number for number, node in enumerate(self.nodes)}
        """The recording's path ids by those of the nodes."""
        self._events: list[tuple[float, int, int, Any]] = []
        self._sequence = 0
        self._waits_for = list(workload.depends_on)
        self._ready_s = [0.0] * len(workload)
        self.issued_s = [0.0] * len(workload)
        self._readers: dict[tuple[int, int], _Reader] = {}
        self._carriers = model.prefetch_limit
        self._is_handing_out = False
        self._displaced: set[bytes] = set()  # evicted to make room for a prefetch

    # --- the clock

    def run(self) -> Outcome:
        """All accesses, to the end."""
        workload = self.workload
        self.planner.begin(self)
        if len(workload):
            self._push(workload.start_s[0], _ISSUE, 0)  # all others follow on something
        events = self._events
        left = len(workload)
        done = self.outcome
        while events and done.events < left:
            self.now_s, _, kind, what = heapq.heappop(events)
            if kind == _ISSUE:
                self._issue(what)
            else:
                what()
        done.virtual_s = self.now_s
        done.requests = list(self.source.requests)
        done.bytes_fetched = list(self.source.bytes)
        for node in self.cache.tree.nodes.values():
            for bitmap in node.ahead.values():
                done.bytes_unused += bitmap.bit_count() * PAGE_BYTES
            node.ahead.clear()
            node.name_ahead = False
            node.listing_ahead = None
        self.cache.tree.settle()
        return done

    def call_at(self, time_s: float, what: Callable[[], None]) -> None:
        """Has `what` called at that virtual time."""
        self._push(time_s, _CALL, what)

    def _push(self, time_s: float, kind: int, what: Any) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (time_s, self._sequence, kind, what))

    def _finish(self, arrival: Arrival, seconds: float) -> None:
        arrival.is_done = True
        if isinstance(arrival, Flight):
            self._land(arrival)
        else:
            self.line.called(seconds)
        for steps in arrival.waiters:
            self._go_on(steps)

    def _go_on(self, steps: Any) -> None:
        """Lets a course of steps go on until it waits again."""
        for arrival in steps:
            if not arrival.is_done:
                arrival.waiters.append(steps)
                return

    def _ask(self, arrival: Arrival, size_bytes: int) -> Arrival:
        self.source.ask(self.now_s, arrival, size_bytes, self._finish)
        return arrival

    def scored(self, node: Node, score: float, before: float) -> None:
        """The predictor has a score of a file, which was `before`."""
        if score < 0 or before < 0:
            tell = self.cache.eviction.done_with if score < 0 else self.cache.eviction.not_done_with
            for block in node.blocks:
                tell(node.key(block))

    # --- programs

    def _issue(self, index: int) -> None:
        workload = self.workload
        if index > self.issued:
            self.issued = index
        self.issued_s[index] = self.now_s
        op = workload.op[index]
        node = self.nodes[workload.path[index]]
        if op == Op.READ:
            length = workload.length[index]
            if not length:
                self._answered(index, 0.0)
                return
            if (
                node.is_known
                and not node.name_ahead
                and self._read_at_once(index, node, workload.offset[index], length)
            ):
                return
            self._go_on(self._read(index, node, workload.offset[index], length))
        elif op in _NAME_OPS:
            if op == Op.OPEN:
                self._readers[workload.stream[index], node.id] = _Reader(node)
                if not node.exists and workload.flags[index] & FLAG_WRITE:
                    self._go_on(self._change(index, node, Op.CREATE))
                    return
            if node.is_known and not node.name_ahead:
                self._looked_up(node, Tier.CACHE)
                self._answered(index, 0.0)
            else:
                self._go_on(self._look_up(index, node))
        elif op == Op.ABSENT:
            self._go_on(self._miss(index, node))
        elif op == Op.READDIR:
            self._go_on(self._list(index, node))
        elif op in CHANGES:
            self._go_on(self._change(index, node, op))
        else:
            self._answered(index, 0.0)

    def _answered(self, index: int, stall_s: float, is_seen: bool = True) -> None:
        """The access is done; who waited for it may go on. `is_seen`: the mount saw it, not the kernel alone."""
        workload = self.workload
        node = self.nodes[workload.path[index]]
        self.outcome.answered(workload.op[index], stall_s, node.touched_in_run, self.cache.run)
        node.touched_in_run = self.cache.run
        if is_seen:
            self.planner.accessed(index)
        done_s, ended_s = self.now_s, workload.end_s[index]
        following = workload.following[index]
        if following >= 0:
            self._depends(following, done_s, ended_s)
        for other in workload.awaited_by.get(index, ()):
            self._depends(other, done_s, ended_s)

    def _depends(self, index: int, done_s: float, ended_s: float) -> None:
        thinking_s = self.workload.start_s[index] - ended_s
        ready_s = done_s + thinking_s if thinking_s > 0 else done_s
        if ready_s > self._ready_s[index]:
            self._ready_s[index] = ready_s
        self._waits_for[index] -= 1
        if not self._waits_for[index]:
            self._push(self._ready_s[index], _ISSUE, index)

    def _stalled(self, index: int) -> None:
        self._answered(index, self.now_s - self.issued_s[index])

    def _look_up(self, index: int, node: Node) -> Steps:
        tier = yield from self._name(node)
        self._looked_up(node, tier)
        self._stalled(index)

    def _looked_up(self, node: Node, tier: Tier) -> None:
        if node.parent is not None:
            self.rules.looked_up(node.parent, node.name, node, tier)

    def _miss(self, index: int, node: Node) -> Steps:
        parent = node.parent
        tier = Tier.CACHE
        if parent is not None and parent.listing is not None:
            yield from self._name(parent)
            self._listing_used(parent)
            node.is_known = True
        else:
            tier = yield from self._name(node)
        if parent is not None:
            if tier is Tier.SOURCE:
                parent.misses += 1
            self.rules.absent(parent, tier)
        self._stalled(index)

    def _list(self, index: int, node: Node) -> Steps:
        yield from self._name(node)
        if node.listing is not None:
            self._listing_used(node)
        else:
            self.outcome.names[2 if node.listing_flight is None else 1] += 1
            yield from self._listing(node, None)
        self.rules.listed(node)
        self._stalled(index)

    def _change(self, index: int, node: Node, op: int) -> Steps:
        """Written through; what was cached of a changed file is out of reach."""
        if node.parent is not None:
            yield from self._name(node.parent)
        yield self._ask(Arrival(), 0)
        if op in (Op.CREATE, Op.MKDIR, Op.LINK):
            node.exists = node.is_known = True
            node.is_made = op == Op.CREATE
        elif op in (Op.UNLINK, Op.RMDIR, Op.RENAME):
            node.exists, node.is_known = False, True
            node.is_made = False
        if op in (Op.WRITE, Op.UNLINK, Op.RENAME):
            node.generation += 1
            for block in list(node.blocks):
                self._forget(node, block)
            self._written(index, node, op)
        self._answered(index, 0.0)

    def _written(self, index: int, node: Node, op: int) -> None:
        """The kernel keeps the pages that a program wrote, for as long as the file is there."""
        if op != Op.WRITE:
            node.kernel.clear()
            return
        offset, length = self.workload.offset[index], self.workload.length[index]
        first_page, stop_page = -(-offset // PAGE_BYTES), -(-(offset + length) // PAGE_BYTES)
        if stop_page > first_page:
            for block, bitmap in pieces(first_page, stop_page):
                node.kernel[block] = node.kernel.get(block, 0) | bitmap

    def _read_at_once(self, index: int, node: Node, offset: int, length: int) -> bool:
        """The common case: all of it is cached, in one block."""
        first_page, stop_page = offset // PAGE_BYTES, -(-min(offset + length, node.size) // PAGE_BYTES)
        if stop_page <= first_page:
            return False
        block = first_page // BLOCK_PAGES
        base = block * BLOCK_PAGES
        if stop_page > base + BLOCK_PAGES:
            return False
        wanted = ((1 << (stop_page - first_page)) - 1) << (first_page - base)
        if node.written(block) & wanted == wanted:
            self._answered(index, 0.0, is_seen=False)
            return True
        if node.held(block) & wanted != wanted:
            return False
        self.rules.read(self._reader(index, node), offset, length, is_cached=True)
        if offset == 0:
            self.rules.was_read(self._reader(index, node), 0, Tier.CACHE, _head_of(node.name))
        self._use(node, block, wanted, self._group(index))
        self._answered(index, 0.0)
        return True

    def _read(self, index: int, node: Node, offset: int, length: int) -> Steps:
        yield from self._name(node)
        is_sequential = self.rules.read(self._reader(index, node), offset, length)
        first_page, stop_page = offset // PAGE_BYTES, -(-min(offset + length, node.size) // PAGE_BYTES)
        if stop_page > first_page:
            flights = self._flights_over(node, first_page, stop_page)
            ahead = 0
            for flight in flights:
                flight.was_joined = True
                flight.group = self._group(index)
                ahead |= _blocks_mask(flight.first, flight.stop) if flight.generator is not None else 0
            for block, wanted in pieces(first_page, stop_page):
                there = node.held(block) & wanted
                if there:
                    self._use(node, block, there, self._group(index))
                if there != wanted:
                    self.outcome.blocks[1 if ahead >> block & 1 else 2] += 1
                    if node.key(block) in self._displaced:
                        self._displaced.discard(node.key(block))
                        self.outcome.pollution += 1
            launched = self._launch_missing(node, first_page, stop_page, is_sequential, self._group(index))
            for flight in (*flights, *launched):
                if not flight.is_done:
                    yield flight
            if offset == 0:
                tier = Tier.SOURCE if launched else Tier.JOINED if flights else Tier.CACHE
                self.rules.was_read(self._reader(index, node), 0, tier, _head_of(node.name))
        self._stalled(index)

    def _launch_missing(
        self, node: Node, first_page: int, stop_page: int, is_sequential: bool, group: int
    ) -> "list[Flight]":
        launched = []
        need = Need.RUN if is_sequential and first_page else Need.LEAP
        for first, stop in self._missing(node, first_page, stop_page):
            more_first, more_stop = pages_to_fetch(first, stop, node.size, is_sequential)
            for run_first, run_stop in self._missing(node, more_first, more_stop):
                if run_first <= first < run_stop:
                    first, stop = run_first, max(stop, run_stop)
                    break
            launched += self._launch(node, first, stop, None, need, group)
        return launched

    def _reader(self, index: int, node: Node) -> _Reader:
        key = (self.workload.stream[index], node.id)
        reader = self._readers.get(key)
        if reader is None:
            reader = self._readers[key] = _Reader(node)
        return reader

    # --- names and blocks

    def _name(self, node: Node, generator: str | None = None) -> Generator[Arrival, None, Tier]:
        """Has the node's name known, those above it first. Returns who had it."""
        tier = Tier.CACHE
        above = [node]
        while above[-1].parent is not None and not above[-1].parent.is_known:
            above.append(above[-1].parent)
        for each in reversed(above):
            tier = Tier.CACHE
            if each.is_known:
                if each.name_ahead and generator is None:
                    each.name_ahead = False
                    self.outcome.names[0] += 1
                continue
            flight = each.flight
            if flight is not None:
                tier = Tier.JOINED
                if generator is None and flight.generator is not None:
                    self.outcome.names[1] += 1
                    flight.generator = ""  # used: not fetched ahead for nothing
                yield flight
                continue
            tier = Tier.SOURCE
            if generator is None:
                self.outcome.names[2] += 1
            else:
                self.outcome.names_ahead += 1
            flight = each.flight = Arrival(generator)
            yield self._ask(flight, 0)
            each.flight = None
            each.is_known = True
            each.name_ahead = bool(flight.generator)
        return tier

    def _listing(self, node: Node, generator: str | None) -> Steps:
        flight = node.listing_flight
        if flight is not None:
            if generator is None:
                flight.generator = flight.generator and ""
            yield flight
            return
        flight = node.listing_flight = Arrival(generator)
        yield self._ask(flight, 0)
        node.listing_flight = None
        node.listing = listing_of(node)
        node.listing_ahead = flight.generator or None
        node.misses = 0
        if generator is not None:
            self.outcome.names_ahead += 1
            self.rules.listed_ahead(node, node.name, generator)
        self.planner.listed(node)

    def _listing_used(self, node: Node) -> None:
        """A program was served from a listing."""
        if node.listing_ahead is not None:
            self.rules.listing_used(node, node.name, node.listing_ahead)
            node.listing_ahead = None
            self.outcome.names[0] += 1

    def _group(self, index: int) -> int:
        """The programs that an access is of."""
        return self.workload.recording.streams[self.workload.stream[index]].tgid

    def _use(self, node: Node, block: int, wanted: int, group: int) -> None:
        """A program used pages of a block that are cached."""
        ahead = node.ahead.get(block)
        if ahead:
            used = ahead & wanted
            self.outcome.bytes_used += used.bit_count() * PAGE_BYTES
            node.ahead[block] = ahead & ~used
        key = node.key(block)
        resident = self.cache.eviction.get(key)
        if resident is None:
            return
        generator, resident.generator = resident.generator, None
        self.cache.eviction.touch(key, group)
        if generator is None:
            self.outcome.block_hits += 1
            return
        self.outcome.blocks[0] += 1
        self.outcome.blocks_ahead_used += 1
        self.planning.used(resident.size_bytes)
        self.rules.data_used(node, generator, block * BLOCK_BYTES, resident.size_bytes)
        self.planner.became(node, generator, True, False)
        self._hand_out()

    def _missing(self, node: Node, first_page: int, stop_page: int) -> list[tuple[int, int]]:
        """The ranges of pages that are neither cached nor under way."""
        flights = self._flights_over(node, first_page, stop_page)
        found: list[tuple[int, int]] = []
        for block, wanted in pieces(first_page, stop_page):
            lacking = wanted & ~node.held(block)
            base = block * BLOCK_PAGES
            for flight in flights:
                low, high = max(flight.first - base, 0), min(flight.stop - base, BLOCK_PAGES)
                if low < high:
                    lacking &= ~(((1 << (high - low)) - 1) << low)
            for first, stop in runs(lacking):
                if found and found[-1][1] == base + first:
                    found[-1] = (found[-1][0], base + stop)
                else:
                    found.append((base + first, base + stop))
        return found

    def _flights_over(self, node: Node, first_page: int, stop_page: int) -> "list[Flight]":
        return [
            flight
            for flight in node.flights
            if flight.first < stop_page and first_page < flight.stop and flight.generation == node.generation
        ]

    def _launch(
        self, node: Node, first: int, stop: int, generator: str | None, need: Need, group: int = 0
    ) -> "list[Flight]":
        flights = []
        at_once = _FLIGHT_PAGES
        program = group if self._tells_programs else 0
        if need is not Need.AHEAD:
            at_once = min(at_once, self.line.part_piece_bytes(self.now_s, program) // PAGE_BYTES)
        for start in range(first, stop, at_once):
            last = min(stop, start + at_once)
            size_bytes = max(0, min(last * PAGE_BYTES, node.size) - start * PAGE_BYTES)
            flight = Flight(node, start, last, generator, group)
            node.flights.append(flight)
            flights.append(flight)
            if need is Need.AHEAD or self.line.has_turn(self.now_s, program, size_bytes):
                self._admit(flight, size_bytes, need, program)
            else:
                self._held.append((flight, size_bytes, need, program))
        return flights

    def _admit(self, flight: Flight, size_bytes: int, need: Need, program: int) -> None:
        """It is this one's turn on the line."""
        flight.request = self.line.begin(self.now_s, flight.node.id, size_bytes, need, program)
        self._under_way[flight] = None
        self._ask(flight, size_bytes)

    def _land(self, flight: Flight) -> None:
        """What arrived goes into the cache, unless the file was changed meanwhile."""
        node = flight.node
        node.flights.remove(flight)
        del self._under_way[flight]
        assert flight.request is not None
        self.line.end(self.now_s, flight.request, flight.request.size_bytes)
        for held in tuple(self._held):
            _, size_bytes, _, program = held
            if self.line.has_turn(self.now_s, program, size_bytes):
                self._held.remove(held)
                self._admit(*held)
        if flight.generation == node.generation:
            for block, bitmap in pieces(flight.first, flight.stop):
                self._add(node, block, bitmap, flight)

    def _add(self, node: Node, block: int, bitmap: int, flight: Flight) -> None:
        generator = flight.generator
        if generator is not None:
            fresh = bitmap & ~node.blocks.get(block, 0)
            size_bytes = fresh.bit_count() * PAGE_BYTES
            self.outcome.blocks_ahead += 1
            self.planning.fetched(size_bytes)
            self.rules.data_fetched(node, generator, size_bytes)
            if flight.was_joined:
                self.outcome.blocks_ahead_used += 1
                self.planning.used(size_bytes)
                self.rules.data_used(node, generator, block * BLOCK_BYTES, size_bytes)
                self.planner.became(node, generator, True, True)
                self.outcome.bytes_used += size_bytes
                generator = None
            else:
                node.ahead[block] = node.ahead.get(block, 0) | fresh
        held = node.blocks[block] = node.blocks.get(block, 0) | bitmap
        key = node.key(block)
        self.cache.places[key] = (node, block)
        eviction = self.cache.eviction
        eviction.admit(key, held.bit_count() * PAGE_BYTES, generator, group=flight.group)
        if eviction.used_bytes > eviction.capacity_bytes:
            for victim, resident in eviction.victims(self.planner.score):
                self._evicted(victim, resident, flight.generator is not None)

    def _evicted(self, key: bytes, resident: Resident, for_prefetch: bool) -> None:
        node, block = self.cache.places.pop(key)
        node.blocks.pop(block, None)
        self.outcome.evictions += 1
        self.outcome.bytes_unused += node.ahead.pop(block, 0).bit_count() * PAGE_BYTES
        if resident.generator is not None:
            self.planning.wasted(resident.size_bytes)
            self.planner.became(node, resident.generator, False, False)
            self._hand_out()
        elif for_prefetch:
            self._displaced.add(key)

    def _forget(self, node: Node, block: int) -> None:
        node.blocks.pop(block, None)
        self.outcome.bytes_unused += node.ahead.pop(block, 0).bit_count() * PAGE_BYTES
        key = node.key(block)
        self.cache.places.pop(key, None)
        resident = self.cache.eviction.forget(key)
        if resident is not None and resident.generator is not None:
            self.planning.wasted(resident.size_bytes)

    # --- prefetches: what the rules and the planner wish for

    def accessed(self, directory: Node | None = None, name: bytes = b"") -> None:
        self.planning.accessed()

    def was_read(self, inode: Node, start: int, stop: int) -> None:
        self.planning.was_read(inode, inode.place, start, stop, inode.size)

    def have_ready(self, want: Want, inode: Node, offset: int = 0, length: int = 0, generator: str = "rule") -> None:
        """A rule's wish: soon."""
        self.wish(0, want, inode, offset, length, generator, 1.0)

    def have_names_ready(self, directory: Node, names: Sequence[bytes]) -> None:
        """A rule's wish: the attributes of these names."""
        for position, name in enumerate(names):
            node = self.cache.tree.child(directory, name)
            self.planning.push(position, Job(Want.ATTRIBUTES, node, (), 0, 0, "scan", self.now_s, 1.0))
        self._hand_out()

    def have_looks_ready(self, directory: Node) -> None:
        """Names are known for good here."""

    def have_listings_ready(self, directory: Node, names: Sequence[bytes], generator: str) -> None:
        """A rule's wish: the listings of these directories."""
        for position, name in enumerate(names):
            node = self.cache.tree.child(directory, name)
            self.planning.push(position, Job(Want.LISTING, node, (), 0, 0, generator, self.now_s, 1.0))
        self._hand_out()

    def have_files_ready(
        self, directory: Node, names: Sequence[bytes], length: int, generator: str, first: int = 0
    ) -> None:
        """A rule's wish: so much of these files, after `first` others."""
        for position, name in enumerate(names, first):
            node = self.cache.tree.child(directory, name)
            job = Job(Want.DATA, node, (), 0, length, generator, self.now_s, GUESS_SCORE)
            self.planning.push(position, job)
        self._hand_out()

    def wish(
        self, horizon: int, want: Want, node: Node, offset: int, length: int, generator: str, score: float
    ) -> None:
        """Has something ready that is used `horizon` accesses from now."""
        self.planning.push(horizon, Job(want, node, (), offset, length, generator, self.now_s, score))
        self._hand_out()

    def steer(self, arm: Arm) -> None:
        """How eager to be from now on (predictor/control)."""
        self.planning.arm = arm
        self._hand_out()

    def _hand_out(self) -> None:
        if self._is_handing_out:
            return
        self._is_handing_out = True
        while self._carriers:
            job = self.planning.pop(self.now_s)
            if job is None:
                break
            self._carriers -= 1
            self._go_on(self._carry(job))
        self._is_handing_out = False

    def _carry(self, job: Job[Node]) -> Steps:
        yield from self._fetch(job)
        self.planning.done(job)
        self._carriers += 1
        self._hand_out()

    def _fetch(self, job: Job[Node]) -> Steps:
        node = job.place
        yield from self._name(node, job.generator)
        if not node.exists:
            return
        if job.want is Want.LISTING:
            if node.is_folder and node.listing is None:
                yield from self._listing(node, job.generator)
        elif job.want is Want.DATA and not node.is_folder:
            stop = min(job.offset + job.length, node.size) if job.length else node.size
            lacking = deque(self._missing(node, job.offset // PAGE_BYTES, -(-stop // PAGE_BYTES)))
            flights: deque[Flight] = deque()
            while lacking:
                first, last = lacking.popleft()
                piece_stop = min(last, first + self.line.piece_bytes(self.now_s) // PAGE_BYTES)
                if piece_stop < last:
                    lacking.appendleft((piece_stop, last))
                while not self.line.has_room(self.now_s, (piece_stop - first) * PAGE_BYTES):
                    yield next(iter(self._under_way))
                for part in self._missing(node, first, piece_stop):  # a program may have read on meanwhile
                    flights.extend(self._launch(node, *part, job.generator, Need.AHEAD))
                while len(flights) >= PREFETCH_FLIGHTS:
                    if not (flight := flights.popleft()).is_done:
                        yield flight
            for flight in flights:
                if not flight.is_done:
                    yield flight

    def _dropped(self, why: Drop, count: int) -> None:
        self.outcome.dropped += count

    def _rules_listed(self, node: Node, names: list[ListedName]) -> None:
        self.planner.listed(node)


def _blocks_mask(first_page: int, stop_page: int) -> int:
    """The bitmap of the blocks that have pages of [first_page, stop_page)."""
    return mask(first_page // BLOCK_PAGES, (stop_page - 1) // BLOCK_PAGES + 1)


def _head_of(name: bytes) -> bytes:
    """How a file begins, as far as its name tells: a recording has no contents."""
    return PROGRAM if name.endswith(b".so") or b".so." in name else b""
