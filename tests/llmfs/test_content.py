"""Reads of file data: once from the source, joined by others, and right whatever happens to those who wait."""

import errno
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
import trio.testing

from llmfs.attributes import Attributes
from llmfs.blocks import BLOCK_BYTES, PAGE_BYTES, Block, block_of, disk_bytes
from llmfs.content import HELD_S, PREFETCH_FLIGHTS, Content
from llmfs.inodes import Inode
from llmfs.policy.eviction import Eviction
from llmfs.policy.line import START_BYTES, Line, Need
from llmfs.policy.rules import ORDINARY, Treatment
from llmfs.policy.turns import PART_BYTES_MIN
from predictor.events import Tier

SIZE = 3 * BLOCK_BYTES + 5000
PIECE_BYTES = Line().piece_bytes(0.0)
FIRST_ROUND_BYTES = min(PREFETCH_FLIGHTS * PIECE_BYTES, START_BYTES)


class Blocks:
    """A block cache in memory."""

    def __init__(self) -> None:
        self.blocks: dict[bytes, Block] = {}
        self.policy = Eviction(1 << 40)

    def get(self, key: bytes) -> Any:
        return self.blocks.get(key)

    look = get

    def resident(self, key: bytes) -> Any:
        return self.policy.get(key)

    def use(self, key: bytes, group: int = 0, program: int = 0) -> str | None:
        resident = self.policy.get(key)
        if resident is None:
            return None
        generator, resident.generator = resident.generator, None
        return generator

    def add(
        self, key: bytes, first_page: int, data: bytes, generator: str | None, group: int = 0, program: int = 0
    ) -> None:
        known = self.blocks.get(key)
        self.blocks[key] = known.merged(first_page, data) if known else block_of(first_page, data)
        self.policy.admit(key, disk_bytes(len(self.blocks[key].data)), generator)


class FakeSource:
    """A file in memory. Reads of it wait while `gate` is closed."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads: list[tuple[int, int]] = []
        self.exact_reads = 0
        self.reads_now = 0
        self.failures = 0
        self.gate = trio.Event()
        self.gate.set()

    def read(self, inode: Inode, offset: int, length: int, is_exact: bool = False) -> bytes:
        self.exact_reads += is_exact
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EIO, "broken")
        return self.data[offset : offset + length]

    def read_now(self, *_: object, **__: object) -> None:
        self.reads_now += 1


class FakeWorkers:
    """Makes the call on the event loop, once the gate is open."""

    limit = 4
    is_inline = False

    def __init__(self, source: FakeSource) -> None:
        self._source = source

    async def run(self, call: Callable[..., Any], *args: Any) -> Any:
        self._source.reads.append(args[1:3])
        gate = self._source.gate
        await trio.lowlevel.checkpoint()
        await gate.wait()
        return call(*args)


class World:
    def __init__(self, nursery: trio.Nursery, data: bytes) -> None:
        self.source = FakeSource(data)
        self.workers = FakeWorkers(self.source)
        self.fetched: list[tuple[str, int]] = []
        self.used: list[tuple[str, bool, int]] = []
        self.heard: list[bool] = []
        self.line = Line()
        self.held_s: list[float] = []
        self.content = Content(
            self.source,  # type: ignore[arg-type]
            Blocks(),  # type: ignore[arg-type]
            nursery,
            lambda inode, generator, offset, size: generator and self.fetched.append((generator, size)),
            self._on_used,
            line=self.line,
            on_held=self.held_s.append,
        )
        self.inode = Inode(7, None, attributes(len(data)))
        self.inode.generation = 99

    def _on_used(self, inode: Inode, generator: str, late: bool, offset: int, size: int, is_heard: bool) -> None:
        self.used.append((generator, late, size))
        self.heard.append(is_heard)

    async def read(
        self, offset: int, length: int, is_sequential: bool = False, reader: Treatment = ORDINARY
    ) -> tuple[bytes, Tier]:
        """As a request does it."""
        data = self.content.at_once(self.inode, offset, length, reader)
        if data is not None:
            return data, Tier.CACHE
        wanted = (self.inode, offset, length, is_sequential, self.workers, reader)
        found, tier = await self.content.complete(*wanted)  # type: ignore[arg-type]
        return bytes(found), tier

    async def prefetch(self, offset: int, length: int) -> int:
        return await self.content.prefetch(self.inode, offset, length, "guess", self.workers)  # type: ignore[arg-type]

    @property
    def flights(self) -> int:
        return len(self.content._flights)


def attributes(size: int) -> Attributes:
    return Attributes(0o100644, 1, 0, 0, 0, size, 4096, 0, 0, 0, 0, 0, 7)


def in_world(test: Callable[[World], Any], data: bytes | None = None) -> None:
    content = random.Random(1).randbytes(SIZE) if data is None else data

    async def main() -> None:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                world = World(nursery, content)
                await test(world)
                assert world.content.bytes_in_flight == 0 and world.flights == 0
                nursery.cancel_scope.cancel()

    trio.run(main)


async def _settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


def test_random_ranges_are_right_and_come_from_the_source_once() -> None:
    async def test(world: World) -> None:
        rng = random.Random(3)
        for _ in range(300):
            offset = rng.randrange(SIZE + 1000)
            length = rng.choice((1, 100, 4096, 5000, 70_000, 200_000, SIZE))
            data, _ = await world.read(offset, length, rng.random() < 0.5)
            assert data == world.source.data[offset : offset + length]
        assert sum(length for _, length in world.source.reads) == SIZE
        world.source.reads.clear()
        assert (await world.read(0, SIZE)) == (world.source.data, Tier.CACHE)
        assert world.source.reads == []

    in_world(test)


def test_random_reader_gets_only_the_pages_it_asked_for() -> None:
    async def test(world: World) -> None:
        assert (await world.read(BLOCK_BYTES + 10, 100))[1] is Tier.SOURCE
        assert world.source.reads == [(BLOCK_BYTES, PAGE_BYTES)]
        await world.read(0, 10, is_sequential=True)
        assert world.source.reads[1:] == [(0, BLOCK_BYTES)]

    in_world(test)


def test_what_is_there_in_whole_blocks_is_said_to_be_there() -> None:
    async def test(world: World) -> None:
        def has(offset: int, length: int) -> bool:
            return world.content.has(world.inode, offset, length)

        assert not has(0, 0) and not has(0, 1)
        await world.read(BLOCK_BYTES, BLOCK_BYTES)
        await world.read(0, 10)
        assert has(BLOCK_BYTES, BLOCK_BYTES) and has(BLOCK_BYTES + 5, 10)
        assert not has(0, 10)  # of a block that is there in part it is not said
        assert not has(BLOCK_BYTES, BLOCK_BYTES + 1)
        await world.read(0, SIZE)
        assert has(0, 0) and has(0, SIZE + 100) and has(3 * BLOCK_BYTES, 0)
        world.content.changed(world.inode)
        assert not has(BLOCK_BYTES, BLOCK_BYTES)

    in_world(test)


def test_readers_join_the_fetch_under_way() -> None:
    async def test(world: World) -> None:
        world.source.gate = gate = trio.Event()
        answers: list[tuple[bytes, Tier]] = []

        async def reader(offset: int) -> None:
            answers.append(await world.read(offset, 1000))

        async with trio.open_nursery() as nursery:
            for offset in (0, 0, 500, 100):
                nursery.start_soon(reader, offset)
            await _settled()
            assert len(world.source.reads) == 1
            gate.set()
        assert sorted(tier for _, tier in answers) == [Tier.JOINED] * 3 + [Tier.SOURCE]

    in_world(test)


def test_reader_joins_a_prefetch_and_it_counts_as_late() -> None:
    async def test(world: World) -> None:
        world.source.gate = gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.prefetch, 0, BLOCK_BYTES)
            await _settled()
            nursery.start_soon(world.read, 0, 4096)
            await _settled()
            gate.set()
        assert len(world.source.reads) == 1
        assert world.fetched == [("guess", BLOCK_BYTES)] and world.used == [("guess", True, BLOCK_BYTES)]

    in_world(test)


def test_a_part_of_a_long_prefetch_is_read_beside_it() -> None:
    """Who needs a page of a mebibyte on its way does not wait for all of it."""

    async def test(world: World) -> None:
        world.source.gate = held = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.prefetch, 0, 3 * BLOCK_BYTES)
            await trio.testing.wait_all_tasks_blocked()
            world.source.gate = trio.Event()
            world.source.gate.set()
            with trio.fail_after(5):
                data, tier = await world.read(BLOCK_BYTES, 5000)
            assert (data, tier) == (world.source.data[BLOCK_BYTES : BLOCK_BYTES + 5000], Tier.JOINED)
            assert not held.is_set()
            held.set()
        assert world.source.reads == [(0, 3 * BLOCK_BYTES), (BLOCK_BYTES, 2 * PAGE_BYTES)]
        assert {late for _, late, _ in world.used} == {True}  # it came too late, and is in the cache now
        assert await world.read(0, 100) == (world.source.data[:100], Tier.CACHE)

    in_world(test)


def test_what_a_program_uses_that_is_not_heard_of_is_used_and_leads_to_nothing() -> None:
    async def test(world: World) -> None:
        await world.prefetch(0, 2 * BLOCK_BYTES)
        for index, reader in enumerate((Treatment(is_prefetched=False), ORDINARY)):
            await world.read(index * BLOCK_BYTES, 100, reader=reader)
        assert len(world.used) == 2 and world.heard == [False, True]

    in_world(test)


def test_prefetched_block_is_used_in_time_once() -> None:
    async def test(world: World) -> None:
        assert await world.prefetch(0, 0) == SIZE
        for _ in range(2):
            data, tier = await world.read(0, BLOCK_BYTES)
            assert (data, tier) == (world.source.data[:BLOCK_BYTES], Tier.CACHE)
        assert world.used == [("guess", False, BLOCK_BYTES)]
        assert await world.prefetch(0, 0) == 0

    in_world(test)


def test_killed_reader_does_not_fail_those_who_joined_it() -> None:
    async def test(world: World) -> None:
        world.source.gate = gate = trio.Event()
        answers: list[tuple[bytes, Tier]] = []
        killed = trio.CancelScope()

        async def doomed() -> None:
            with killed:
                await world.read(0, 4096)

        async def reader() -> None:
            answers.append(await world.read(0, 4096))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(doomed)
            await _settled()
            nursery.start_soon(reader)
            nursery.start_soon(reader)
            await _settled()
            killed.cancel()
            await _settled()
            assert answers == []
            gate.set()
        assert [data for data, _ in answers] == [world.source.data[:4096]] * 2
        assert len(world.source.reads) == 2  # one of them asked anew, the other joined him

    in_world(test)


def test_failed_prefetch_is_asked_for_again_by_the_reader() -> None:
    async def test(world: World) -> None:
        world.source.gate = gate = trio.Event()
        world.source.failures = 1

        async def prefetch() -> None:
            with pytest.raises(OSError, match="broken"):
                await world.prefetch(0, BLOCK_BYTES)

        async def reader() -> None:
            assert (await world.read(0, 100))[0] == world.source.data[:100]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(prefetch)
            await _settled()
            nursery.start_soon(reader)
            await _settled()
            gate.set()

    in_world(test)


def test_error_of_the_source_reaches_all_who_wait_and_is_not_kept() -> None:
    async def test(world: World) -> None:
        world.source.gate = gate = trio.Event()
        world.source.failures = 1
        failed: list[int | None] = []

        async def reader() -> None:
            with pytest.raises(OSError, match="broken") as caught:
                await world.read(0, 4096)
            failed.append(caught.value.errno)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader)
            nursery.start_soon(reader)
            await _settled()
            gate.set()
        assert failed == [errno.EIO] * 2 and len(world.source.reads) == 1
        assert (await world.read(0, 4096))[0] == world.source.data[:4096]

    in_world(test)


def test_fill_that_began_before_a_write_does_not_land() -> None:
    async def test(world: World) -> None:
        world.source.gate = gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.prefetch, 0, SIZE)
            await _settled()
            world.content.changed(world.inode)
            gate.set()
        world.source.data = b"n" * SIZE
        world.content.changed(world.inode)
        assert (await world.read(0, SIZE))[0] == b"n" * SIZE

    in_world(test)


def test_read_over_a_file_that_shrank_never_shifts_what_the_cache_has_further_on() -> None:
    async def test(world: World) -> None:
        await world.read(BLOCK_BYTES, BLOCK_BYTES)  # the second block is cached
        whole = world.source.data
        world.source.data = whole[:1000]  # another client truncates
        data, _ = await world.read(0, 2 * BLOCK_BYTES)
        assert data == whole[:1000]
        assert world.inode.checked_ns == 0

    in_world(test)


def test_long_prefetch_is_cut_into_pieces() -> None:
    async def test(world: World) -> None:
        assert await world.prefetch(0, 0) == 3 * PIECE_BYTES + 1
        assert max(length for _, length in world.source.reads) == PIECE_BYTES

    in_world(test, bytes(3 * PIECE_BYTES + 1))


def test_long_prefetch_leaves_out_what_a_program_has_read_meanwhile() -> None:
    async def test(world: World) -> None:
        world.source.gate = gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.prefetch, 0, 0)
            await trio.testing.wait_all_tasks_blocked()
            world.source.gate = trio.Event()
            world.source.gate.set()
            await world.read(FIRST_ROUND_BYTES, 2 * PIECE_BYTES)
            gate.set()
        assert sum(length for _, length in world.source.reads) == FIRST_ROUND_BYTES + 3 * PIECE_BYTES

    in_world(test, bytes(FIRST_ROUND_BYTES + 3 * PIECE_BYTES))


def test_bug_in_a_fetch_is_an_error_of_the_read_and_no_end_of_the_mount() -> None:
    async def test(world: World) -> None:
        def read(*_: object) -> bytes:
            raise RuntimeError("a bug")

        world.source.read = read  # type: ignore[method-assign,assignment]
        with pytest.raises(OSError) as caught:
            await world.read(0, 4096)
        assert caught.value.errno == errno.EIO

    in_world(test)


READER, OTHER = Treatment(program=1), Treatment(program=2)


def test_beside_another_program_a_long_read_asks_for_its_part_of_the_line_and_waits_its_turn() -> None:
    async def test(world: World) -> None:
        world.source.gate = gate = trio.Event()
        answers: list[bytes] = []

        async def reader() -> None:
            answers.append((await world.read(0, 256 << 10, reader=READER))[0])

        with crowded(world.line):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reader)
                await trio.testing.wait_all_tasks_blocked()
                assert sum(length for _, length in world.source.reads) == PART_BYTES_MIN
                gate.set()
        assert answers == [world.source.data[: 256 << 10]]
        assert sum(length for _, length in world.source.reads) == 256 << 10
        assert len(world.held_s) == len(world.source.reads) - 2
        assert world.source.exact_reads == len(world.source.reads)

    in_world(test)


def test_nobody_waits_for_long_behind_what_hangs() -> None:
    async def test(world: World) -> None:
        with crowded(world.line):
            stuck = world.line.begin(time.monotonic(), 1, PART_BYTES_MIN, Need.RUN, READER.program)
            data, _ = await world.read(0, PAGE_BYTES, reader=READER)
            assert data == world.source.data[:PAGE_BYTES]
            assert world.held_s[0] >= HELD_S
            world.line.end(time.monotonic(), stuck, 0)

    in_world(test)


def test_a_read_past_the_cache_has_its_part_of_the_line_too() -> None:
    async def test(world: World) -> None:
        with crowded(world.line):
            reading = (world.inode, 0, 256 << 10, True, world.workers, READER)
            data = await world.content.read_bypassing(*reading)  # type: ignore[arg-type]
        assert data == world.source.data[: 256 << 10]
        assert len(world.source.reads) == 4

    in_world(test)


def test_a_read_past_the_cache_behind_the_end_of_the_file_brings_nothing() -> None:
    async def test(world: World) -> None:
        reading = (world.inode, SIZE + PAGE_BYTES, PAGE_BYTES, False, world.workers, READER)
        assert await world.content.read_bypassing(*reading) == b""  # type: ignore[arg-type]
        assert world.source.reads == [] and world.source.reads_now == 0

    in_world(test)


@contextmanager
def crowded(line: Line) -> Iterator[None]:
    """Another program reads, over 25 MB/s, and the two waited for each other before."""
    now_s = time.monotonic()
    line.end(now_s - 1, line.begin(now_s - 1.08, 1, 2_000_000, Need.AHEAD), 2_000_000)
    line.turns.is_crowded = True
    request = line.begin(now_s, 2, PAGE_BYTES, Need.LEAP, OTHER.program)
    yield
    line.end(time.monotonic(), request, 0)
