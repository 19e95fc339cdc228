"""The bytes of files: from the cache, from a fetch that is already under way, or from the source.

A request is cut at block boundaries. Pages that the cache lacks become *flights*, ranges of pages that one call
fetches; whoever needs a page of a flight waits for it instead of asking again (single flight).

Why a fill can never bring back the past. Blocks are kept under the file's generation. A write of ours gives the file a
new, never repeated generation before it goes out and another one when it is done; a change that somebody else made
gives it a new one when we learn of it. A flight remembers the generation that it started under: if the file has another
one when it lands, its bytes go to those who were waiting, as any read that runs beside a write may, and not into the
cache. Nobody can join it either, for flights are found by generation.

A prefetch never hurts a reader: one that fails is asked for again by the program that wanted it, and reads beyond the
cache's faults go to the source. It does not keep others waiting either: what is under way ahead of need has a window.
Nor does a reader that is killed hurt: a flight that was given up is nobody's answer, and those who waited for it fetch
anew.
"""

import errno
import logging
import os
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import trio
import xxhash

from llmfs.block_cache import BlockCache
from llmfs.blocks import BLOCK_BYTES, BLOCK_PAGES, PAGE_BYTES, Block, block_key, data_bytes
from llmfs.inodes import Inode
from llmfs.policy.fetching import pages_to_fetch
from llmfs.policy.line import Line, Need, Request
from llmfs.policy.rules import ORDINARY, Treatment
from llmfs.source import Source
from llmfs.workers import Workers
from predictor.events import Tier

log = logging.getLogger(__name__)

PREFETCH_FLIGHTS = 8
"""Pieces of one prefetch that are under way together: the other carriers want threads too."""

HELD_S = 0.25
"""No program's request waits longer for others' to be over: what it waits for may hang."""


def now(call: Callable[..., object], *arguments: object) -> None:
    """What `afterwards` is where no request waits for its answer."""
    call(*arguments)


class Held:
    """A program's request that waits for its turn on the line."""

    __slots__ = ("came", "file", "need", "program", "request", "since_s", "size_bytes")

    def __init__(self, since_s: float, file: int, size_bytes: int, need: Need, program: int) -> None:
        self.since_s = since_s
        self.file = file
        self.size_bytes = size_bytes
        self.need = need
        self.program = program
        self.came = trio.Event()
        self.request: Request | None = None


class Flight:
    """Pages [first, stop) of a file, on their way from the source."""

    __slots__ = ("data", "done", "error", "first", "generator", "reader", "request", "stop", "was_joined")

    def __init__(self, first: int, stop: int, generator: str | None, reader: Treatment) -> None:
        self.first = first
        self.stop = stop
        self.reader = reader
        self.generator = generator  # None: a program asked for it
        self.was_joined = False
        self.request: Request | Held | None = None  # to the line; a part of another flight comes with that
        self.done = trio.Event()
        self.data: bytes | None = None  # neither data nor error when done: it was given up
        self.error: OSError | None = None

    def length(self, inode: Inode) -> int:
        """Bytes, within the file."""
        return max(0, min(self.stop * PAGE_BYTES, inode.attributes.size) - self.first * PAGE_BYTES)


class Content:
    """Reads file data through the cache, and keeps it true when files change."""

    def __init__(
        self,
        source: Source,
        cache: BlockCache,
        nursery: trio.Nursery,
        on_fetched: Callable[[Inode, str | None, int, int], None],
        on_used: Callable[[Inode, str, bool, int, int, bool], None],
        is_bypassed: Callable[[], bool] = lambda: False,
        afterwards: Callable[..., None] = now,
        line: Line | None = None,
        on_held: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`on_fetched(inode, generator, offset, bytes)` hears of each piece of a block that was fetched, by whom where
        it was ahead of its use; `on_used(inode, generator, was_late, offset, bytes, is_heard)` of each such block that
        a program used; where that is not heard of, nothing else may be fetched for it.

        While `is_bypassed()`, the source is as fast as the cache would be: programs' reads go straight to it.
        `afterwards(call, *arguments)` makes a call when the request is answered that is being answered. `line`: what
        may be under way to the source; `on_held(seconds)` hears of programs' requests that waited for their turn on it.
        """
        self._source = source
        self._cache = cache
        self._nursery = nursery
        self._on_fetched = on_fetched
        self._on_used = on_used
        self._is_bypassed = is_bypassed
        self._afterwards = afterwards
        self._flights: dict[tuple[int, int], list[Flight]] = {}
        self._changes = 0
        self._salt = os.urandom(8)
        self._line = line or Line()
        self._on_held = on_held
        self._waiting = trio.lowlevel.ParkingLot()  # prefetches, for room on the line
        self._held: list[Held] = []  # the oldest first

    @property
    def bytes_in_flight(self) -> int:
        """On their way from the source."""
        return self._line.bytes

    def at_once(self, inode: Inode, offset: int, length: int, reader: Treatment = ORDINARY) -> bytes | None:
        """The bytes of the range that lie within the file if the cache has them all, for a program; else None.

        `reader`: how the program is treated, which may have a share of the cache, or not be heard of.
        """
        stop = min(offset + length, inode.attributes.size)
        if offset >= stop:
            return b""
        if self._is_bypassed():
            return None
        data = _from_blocks(inode, offset, stop, self._cache.get)
        if data is not None:
            first, last = offset // BLOCK_BYTES, (stop - 1) // BLOCK_BYTES
            self._afterwards(self._used, inode, inode.generation, first, last, reader)
        return data

    async def complete(
        self,
        inode: Inode,
        offset: int,
        length: int,
        is_sequential: bool,
        workers: Workers,
        reader: Treatment = ORDINARY,
    ) -> tuple[bytes | bytearray, Tier]:
        """The bytes of a range that is not all there `at_once`, and who had them. Raises OSError of the source."""
        stop = min(offset + length, inode.attributes.size)
        if self._is_bypassed():
            known = self._source.read_now(inode, offset, stop - offset, may_open=workers.is_inline)
            if known is None:
                return await workers.run(self._source.read, inode, offset, stop - offset), Tier.SOURCE
            return known, Tier.SOURCE
        return await self._assemble(inode, offset, stop, is_sequential, workers, reader)

    async def read_bypassing(
        self, inode: Inode, offset: int, length: int, is_sequential: bool, workers: Workers, reader: Treatment
    ) -> bytes | bytearray:
        """The bytes of the range, and the cache is left as it was: what it has is served, what it lacks is not kept.

        Raises OSError of the source.
        """
        stop = min(offset + length, inode.attributes.size)
        if offset >= stop:
            return b""
        cached = _from_blocks(inode, offset, stop, self._cache.look)
        if cached is not None:
            return cached
        known = self._source.read_now(inode, offset, stop - offset, may_open=workers.is_inline)
        if known is not None:
            return known
        parts: list[bytes] = []
        need = _need(offset, is_sequential)
        for start, end in self._in_pieces(offset, stop, reader):
            request = self._ask(inode, end - start, need, reader)
            parts.append(await self._asked(request, workers, inode, start, end - start))
            if len(parts[-1]) < end - start:
                break
        return b"".join(parts)

    async def prefetch(self, inode: Inode, offset: int, length: int, generator: str | None, workers: Workers) -> int:
        """Have the range in the cache. Returns the bytes that had to be fetched. Raises OSError of the source.

        Without a `generator` it counts as asked for by a program: it was a person who asked.
        """
        stop = min(offset + length, inode.attributes.size) if length else inode.attributes.size
        first_page, stop_page = offset // PAGE_BYTES, -(-stop // PAGE_BYTES)
        lacking = deque(self._missing(inode, first_page, stop_page))
        under_way: deque[Flight] = deque()
        fetched = 0
        while lacking:
            first, last = lacking.popleft()
            piece_stop = min(last, first + self._line.piece_bytes(time.monotonic()) // PAGE_BYTES)
            if piece_stop < last:
                lacking.appendleft((piece_stop, last))
            has_waited = await self._turn((piece_stop - first) * PAGE_BYTES)
            if first * PAGE_BYTES >= inode.attributes.size:
                break  # it has shrunk meanwhile
            # A program may have read on.
            parts = self._missing(inode, first, piece_stop) if has_waited or under_way else [(first, piece_stop)]
            generation = inode.generation
            for part in parts:
                flight = self._register(inode, *part, generator, inode.treatment, Need.AHEAD)
                under_way.append(flight)
                if lacking or part != parts[-1]:
                    self._nursery.start_soon(self._fly, inode, generation, flight, workers)
                else:
                    await self._fly(inode, generation, flight, workers)  # the usual one needs no task of its own
            self._waiting.unpark()
            while len(under_way) >= PREFETCH_FLIGHTS:
                fetched += await _landed(under_way.popleft())
        for flight in under_way:
            fetched += await _landed(flight)
        return fetched

    def has(self, inode: Inode, offset: int, length: int) -> bool:
        """Whether the cache has all of the range. Nothing is read for it, so of blocks only that are there in whole."""
        stop = min(offset + length, inode.size) if length else inode.size
        for index in range(offset // BLOCK_BYTES, -(-stop // BLOCK_BYTES)):
            resident = self._cache.resident(block_key(inode.id, inode.generation, index))
            extent = min(BLOCK_BYTES, inode.size - index * BLOCK_BYTES)
            if resident is None or data_bytes(resident.size_bytes, extent) < extent:
                return False
        return True

    def at_hand(self, inode: Inode, offset: int, length: int) -> bytes | None:
        """The bytes of a range that lie in the file, if the cache has them all."""
        stop = min(offset + length, inode.size)
        return _from_blocks(inode, offset, stop, self._cache.look) if offset < stop else None

    def changed(self, inode: Inode) -> None:
        """Our own change of the file's content begins or ends: what was cached or is in flight is out of reach."""
        self._changes += 1
        fresh = xxhash.xxh3_64_intdigest(struct.pack("<QQ", inode.id, self._changes) + self._salt) or 1
        if inode.kernel_generation == inode.generation:
            inode.kernel_generation = fresh  # the kernel's pages saw the same change
        inode.generation = fresh

    # --- looking in the cache

    def _used(self, inode: Inode, generation: int, first: int, last: int, reader: Treatment) -> None:
        """A program was given something of the blocks first to last, of that state of the file."""
        for index in range(first, last + 1):
            key = block_key(inode.id, generation, index)
            generator = self._cache.use(key, reader.group, reader.program)
            if generator is not None:
                block = self._cache.get(key)
                size_bytes = len(block.data) if block is not None else 0
                self._on_used(inode, generator, False, index * BLOCK_BYTES, size_bytes, reader.is_prefetched)

    def _missing(self, inode: Inode, first_page: int, stop_page: int) -> list[tuple[int, int]]:
        """The ranges of pages of [first_page, stop_page) that are neither in the cache nor in flight."""
        lacking: list[tuple[int, int]] = []
        for base in range(first_page - first_page % BLOCK_PAGES, stop_page, BLOCK_PAGES):
            first, stop = max(first_page - base, 0), min(stop_page - base, BLOCK_PAGES)
            block = self._cache.get(block_key(inode.id, inode.generation, base // BLOCK_PAGES))
            for low, high in block.lacking(first, stop) if block is not None else ((first, stop),):
                if lacking and lacking[-1][1] == base + low:
                    lacking[-1] = (lacking[-1][0], base + high)
                else:
                    lacking.append((base + low, base + high))
        flights = self._flights_over(inode, first_page, stop_page)
        return [part for pages in lacking for part in _not_on(flights, *pages)]

    # --- going to the source

    async def _assemble(
        self, inode: Inode, offset: int, stop: int, is_sequential: bool, workers: Workers, reader: Treatment
    ) -> tuple[bytes, Tier]:
        """Launch what is missing, wait, and put the pieces together."""
        pieces = self._pieces(inode, offset, stop, reader)  # held on to: blocks can be evicted while we wait
        gaps = [(start // PAGE_BYTES, -(-end // PAGE_BYTES)) for start, end, piece in pieces if piece is None]
        joined, parts_of_long = self._join(inode, gaps)
        need = _need(offset, is_sequential)
        launched = [
            self._register(inode, *piece, None, reader, need)
            for gap in gaps
            for part in _not_on((*joined, *parts_of_long), *gap)
            for piece in self._in_pieces(*self._widened(inode, *part, is_sequential), reader, PAGE_BYTES)
        ]
        generation = inode.generation
        for flight in launched[1:]:
            self._nursery.start_soon(self._fly, inode, generation, flight, workers, self._afterwards)
        for flight in parts_of_long[0 if launched else 1 :]:
            self._nursery.start_soon(self._bring, inode, flight, workers)
        if launched:
            # The usual one needs no task of its own.
            await self._fly(inode, generation, launched[0], workers, self._afterwards)
        elif parts_of_long:
            await self._bring(inode, parts_of_long[0], workers)
        flights = (*joined, *parts_of_long, *launched)
        for flight in flights:
            if not flight.done.is_set():
                await flight.done.wait()
            if flight.error is not None:
                if flight.generator is None:
                    raise flight.error
                return await workers.run(self._source.read, inode, offset, stop - offset), Tier.SOURCE
            if flight.data is None:
                return await self._assemble(inode, offset, stop, is_sequential, workers, reader)
        tier = Tier.SOURCE if launched else Tier.JOINED if gaps else Tier.CACHE
        parts: list[bytes] = []
        for start, end, piece in pieces:
            part = piece if piece is not None else _from_flights(start, end, flights)
            parts.append(part)
            if len(part) < end - start:
                break  # the file has shrunk: what the cache has of it further on is of the past
        return b"".join(parts), tier

    def _join(self, inode: Inode, gaps: Sequence[tuple[int, int]]) -> tuple[list[Flight], list[Flight]]:
        """The flights to wait for that bring pages of the gaps, and parts of others to be read beside these.

        A long prefetch is not waited for: the kernel has each of its pages as it comes, and asks for none twice.
        """
        joined: list[Flight] = []
        parts: list[Flight] = []
        for flight in self._flights_over(inode, gaps[0][0], gaps[-1][1]) if gaps else ():
            flight.was_joined = True
            if flight.generator is None or flight.stop - flight.first <= BLOCK_PAGES or flight.done.is_set():
                joined.append(flight)
                continue
            overlaps = ((max(first, flight.first), min(stop, flight.stop)) for first, stop in gaps)
            parts += [Flight(first, stop, None, flight.reader) for first, stop in overlaps if first < stop]
        return joined, parts

    def _pieces(self, inode: Inode, offset: int, stop: int, reader: Treatment) -> list[tuple[int, int, bytes | None]]:
        """The range cut at page boundaries where need be: what the cache has, None where a flight brings it."""
        pieces: list[tuple[int, int, bytes | None]] = []

        def lacks(start: int, end: int) -> None:
            if pieces and pieces[-1][2] is None:
                pieces[-1] = (pieces[-1][0], end, None)
            else:
                pieces.append((start, end, None))

        for base in range(offset - offset % BLOCK_BYTES, stop, BLOCK_BYTES):
            index = base // BLOCK_BYTES
            start, end = max(offset, base), min(base + BLOCK_BYTES, stop)
            block = self._cache.get(block_key(inode.id, inode.generation, index))
            if block is None:
                lacks(start, end)
                continue
            piece = block.cut(start - base, end - base)
            if piece is not None:
                pieces.append((start, end, piece))
                self._afterwards(self._used, inode, inode.generation, index, index, reader)
                continue
            while start < end:
                page_end = min((start // PAGE_BYTES + 1) * PAGE_BYTES, end)
                piece = block.cut(start - base, page_end - base)
                if piece is None:
                    lacks(start, page_end)
                else:
                    pieces.append((start, page_end, piece))
                start = page_end
        return pieces

    def _flights_over(self, inode: Inode, first_page: int, stop_page: int) -> list[Flight]:
        return [
            flight
            for flight in self._flights.get((inode.id, inode.generation), ())
            if flight.first < stop_page and first_page < flight.stop
        ]

    def _widened(self, inode: Inode, first: int, stop: int, is_sequential: bool) -> tuple[int, int]:
        """The missing pages [first, stop) with those around them that the policy wants and that are missing too."""
        more = pages_to_fetch(first, stop, inode.attributes.size, is_sequential)
        if more == (first, stop):
            return more
        for run_first, run_stop in self._missing(inode, *more):
            if run_first <= first < run_stop:
                return run_first, run_stop
        return first, stop

    def _register(
        self, inode: Inode, first: int, stop: int, generator: str | None, reader: Treatment, need: Need
    ) -> Flight:
        """A flight that others can join; `_fly` has to follow."""
        flight = Flight(first, stop, generator, reader)
        flight.request = self._ask(inode, flight.length(inode), need, reader)
        self._flights.setdefault((inode.id, inode.generation), []).append(flight)
        return flight

    async def _fly(
        self, inode: Inode, generation: int, flight: Flight, workers: Workers, then: Callable[..., None] = now
    ) -> None:
        """Bring a flight's data and keep it, which `then` calls: whoever waits for the data has it before."""
        try:
            length = await self._bring(inode, flight, workers)
        except BaseException:
            self._retire(inode.id, generation, flight)
            raise
        then(self._arrived, inode, generation, flight, length)

    async def _bring(self, inode: Inode, flight: Flight, workers: Workers) -> int:
        """Have the flight's data, or its error. Returns the bytes that were asked for."""
        offset, length = flight.first * PAGE_BYTES, flight.length(inode)
        try:
            flight.data = await self._asked(flight.request, workers, inode, offset, length)
        except OSError as error:
            flight.error = error
        except Exception:
            log.exception("a fetch failed")
            flight.error = OSError(errno.EIO, os.strerror(errno.EIO))
        finally:
            flight.done.set()
        return length

    # --- whose turn it is on the line

    def _in_pieces(self, start: int, stop: int, reader: Treatment, unit_bytes: int = 1) -> Iterator[tuple[int, int]]:
        """The range, of so many units, in parts of which one is asked for at once for that reader."""
        piece = self._line.part_piece_bytes(time.monotonic(), reader.program) // unit_bytes
        while start < stop:
            yield start, min(start + piece, stop)
            start += piece

    def _ask(self, inode: Inode, size_bytes: int, need: Need, reader: Treatment) -> Request | Held:
        """Room on the line, or a place in the queue for it. `_asked` has to follow."""
        now_s = time.monotonic()
        if need is Need.AHEAD or self._line.has_turn(now_s, reader.program, size_bytes):
            is_opening = inode.reader_fd is None
            return self._line.begin(now_s, inode.id, size_bytes, need, reader.program, is_opening)
        held = Held(now_s, inode.id, size_bytes, need, reader.program)
        self._held.append(held)
        return held

    async def _asked(
        self, request: Request | Held | None, workers: Workers, inode: Inode, offset: int, length: int
    ) -> bytes:
        """The bytes of the range, as the source has them, when it is their turn. Raises its OSError."""
        data = b""
        try:
            if isinstance(request, Held):
                with trio.move_on_after(HELD_S):
                    await request.came.wait()
                self._admit(request)
            data = await workers.run(self._source.read, inode, offset, length, self._line.turns.is_crowded)
        finally:
            if isinstance(request, Held):
                self._admit(request)
                request = request.request
            if request is not None:
                self._line.end(time.monotonic(), request, len(data))
                self._hand_on()
        return data

    def _admit(self, held: Held) -> None:
        """It is this one's turn, if it was not before."""
        if held.request is None:
            now_s = time.monotonic()
            self._held.remove(held)
            held.request = self._line.begin(now_s, held.file, held.size_bytes, held.need, held.program)
            held.came.set()
            self._on_held(now_s - held.since_s)

    def _hand_on(self) -> None:
        """Something is over: let others have the line."""
        self._waiting.unpark()
        if self._held:
            now_s = time.monotonic()
            for held in tuple(self._held):
                if self._line.has_turn(now_s, held.program, held.size_bytes):
                    self._admit(held)

    async def _turn(self, size_bytes: int) -> bool:
        """Wait until the line has room for a piece that was not asked for by a program; whether that took time."""
        has_waited = False
        while not self._line.has_room(time.monotonic(), size_bytes):
            has_waited = True
            await self._waiting.park()
        return has_waited

    def _arrived(self, inode: Inode, generation: int, flight: Flight, length: int) -> None:
        """A flight is over: keep what it brought, of `length` bytes that were asked for."""
        try:
            if flight.data is None or inode.generation != generation:
                return
            if len(flight.data) == length:
                self._land(inode, flight, flight.data)
            else:
                inode.checked_ns = 0  # the file is shorter than we knew: look again before the next open
        except Exception:
            log.exception("what was fetched could not be kept")
        finally:
            self._retire(inode.id, generation, flight)

    def _land(self, inode: Inode, flight: Flight, fetched: bytes) -> None:
        """Put the fetched pages into the cache, block by block."""
        page = flight.first
        while page < flight.stop:
            index = page // BLOCK_PAGES
            block_stop = min((index + 1) * BLOCK_PAGES, flight.stop)
            base = flight.first
            data = fetched[(page - base) * PAGE_BYTES : (block_stop - base) * PAGE_BYTES]
            generator = flight.generator
            self._on_fetched(inode, generator, page * PAGE_BYTES, len(data))
            if generator is not None and flight.was_joined:
                self._on_used(inode, generator, True, page * PAGE_BYTES, len(data), True)
                generator = None
            key = block_key(inode.id, inode.generation, index)
            reader = flight.reader
            self._cache.add(key, page - index * BLOCK_PAGES, data, generator, reader.group, reader.program)
            page = block_stop

    def _retire(self, inode_id: int, generation: int, flight: Flight) -> None:
        flights = self._flights[inode_id, generation]
        flights.remove(flight)
        if not flights:
            del self._flights[inode_id, generation]


def _need(offset: int, is_sequential: bool) -> Need:
    return Need.RUN if is_sequential and offset else Need.LEAP


def _from_blocks(inode: Inode, offset: int, stop: int, find: Callable[[bytes], Block | None]) -> bytes | None:
    """The byte range of the file from its blocks, where `find` has all of it."""
    parts: list[bytes] = []
    for index in range(offset // BLOCK_BYTES, -(-stop // BLOCK_BYTES)):
        base = index * BLOCK_BYTES
        block = find(block_key(inode.id, inode.generation, index))
        part = block.cut(max(offset - base, 0), min(stop - base, BLOCK_BYTES)) if block is not None else None
        if part is None:
            return None
        parts.append(part)
    return b"".join(parts)  # of one part, which is the usual case, that part


async def _landed(flight: Flight) -> int:
    """The bytes that a flight has brought, when it is over. Raises its OSError."""
    if not flight.done.is_set():
        await flight.done.wait()
    if flight.error is not None:
        raise flight.error
    return len(flight.data or b"")


def _not_on(flights: Sequence[Flight], first: int, stop: int) -> list[tuple[int, int]]:
    """The ranges of pages of [first, stop) that none of the flights brings."""
    ranges = [(first, stop)]
    for flight in flights:
        ranges = [
            part
            for low, high in ranges
            for part in ((low, min(high, flight.first)), (max(low, flight.stop), high))
            if part[0] < part[1]
        ]
    return ranges


def _from_flights(start: int, stop: int, flights: Sequence[Flight]) -> bytes:
    """The byte range from the flights that bring it; short at the end of a file that has shrunk."""
    parts: list[bytes] = []
    while start < stop:
        page = start // PAGE_BYTES
        flight = next((each for each in flights if each.first <= page < each.stop), None)
        if flight is None or flight.data is None:
            break
        base, end = flight.first * PAGE_BYTES, min(stop, flight.stop * PAGE_BYTES)
        parts.append(flight.data[start - base : end - base])
        if len(parts[-1]) < end - start:
            break
        start = end
    return b"".join(parts)
