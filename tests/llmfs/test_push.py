"""When a piece is pushed, and who waits for it, with a kernel that stores when the test says so."""

import stat
from collections.abc import Callable
from typing import Any

import pytest
import trio

from llmfs.attributes import Attributes
from llmfs.blocks import BLOCK_BYTES, PAGE_BYTES, Block, block_key, block_of
from llmfs.inodes import FOREIGN, Inode
from llmfs.policy.eviction import Resident
from llmfs.policy.pushing import HITS
from llmfs.push import Pusher

SIZE = 4 * BLOCK_BYTES
DATA = b"".join(bytes([page % 251]) * PAGE_BYTES for page in range(SIZE // PAGE_BYTES))


class Kernel:
    """Keeps stores until `carry`, as the thread does while a page is locked."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, int, bytes, Callable[[], bool], Callable[[bool | None], None]]] = []
        self.stored: list[tuple[int, int]] = []
        self.dropped: list[int] = []
        self.came = trio.Event()

    def store(self, *what: Any) -> None:
        self.waiting.append(what)
        self.came.set()

    def drop_data(self, inode_id: int) -> None:
        self.dropped.append(inode_id)

    def carry(self) -> None:
        _, offset, data, is_good, done = self.waiting.pop(0)
        if is_good():
            assert data == DATA[offset : offset + len(data)]
            self.stored.append((offset, len(data)))
        done(is_good())


class Blocks:
    def __init__(self) -> None:
        self.held = {block_key(7, 1, i): block_of(0, DATA[i * BLOCK_BYTES : (i + 1) * BLOCK_BYTES]) for i in range(4)}
        self.generator: str | None = None

    def resident(self, key: bytes) -> Resident | None:
        return Resident(BLOCK_BYTES, self.generator) if key in self.held else None

    def look(self, key: bytes) -> Block | None:
        return self.held[key]


class World:
    def __init__(self) -> None:
        blank = Attributes(stat.S_IFREG | 0o644, 1, 0, 0, 0, SIZE, 4096, 0, 0, 0, 0, 0, 7)
        self.inode = Inode(7, None, blank)
        self.inode.generation = self.inode.kernel_generation = 1
        self.inode.lookups = 1
        self.inode.told_sizes = (SIZE,)
        self.kernel, self.blocks = Kernel(), Blocks()
        self.is_held = False
        self.pushed_bytes = 0
        self.faults = 0
        self.pusher = Pusher(
            self.blocks,  # type: ignore[arg-type]
            self.kernel,  # type: ignore[arg-type]
            lambda: self.is_held,
            self._pushed,
            lambda was_used: None,
            self._fault,
        )

    def _pushed(self, size_bytes: int) -> None:
        self.pushed_bytes += size_bytes

    def _fault(self) -> None:
        self.faults += 1

    def hit_often(self, block: int = 0) -> None:
        for page in range(HITS):
            self.pusher.hit(self.inode, block * BLOCK_BYTES + page * PAGE_BYTES, PAGE_BYTES)


def run(test: Callable[[World], Any]) -> None:
    async def main() -> None:
        world = World()
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.pusher.run)
                await test(world)
                nursery.cancel_scope.cancel()

    trio.run(main)


async def until_idle() -> None:
    for _ in range(50):
        await trio.lowlevel.checkpoint()


def test_a_block_is_stored_once_it_was_hit_often() -> None:
    async def test(world: World) -> None:
        world.hit_often()
        await world.kernel.came.wait()
        world.kernel.carry()
        await until_idle()
        assert world.pushed_bytes >= BLOCK_BYTES - PAGE_BYTES
        assert all(offset < BLOCK_BYTES for offset, _ in world.kernel.stored)

    run(test)


def _open_for_writing(world: World) -> None:
    world.inode.writers = 1


def _another_generation(world: World) -> None:
    world.inode.generation = 2


def _pages_of_the_past(world: World) -> None:
    world.inode.kernel_generation = 99


def _doubted_pages(world: World) -> None:
    world.inode.kernel_generation = FOREIGN


def _another_size_was_told(world: World) -> None:
    world.inode.told_sizes = (SIZE - 1, SIZE)


def _forgotten(world: World) -> None:
    world.inode.lookups = 0


def _held(world: World) -> None:
    world.is_held = True


def _fetched_ahead_and_not_used(world: World) -> None:
    world.blocks.generator = "history"


@pytest.mark.parametrize(
    "why",
    [
        _open_for_writing,
        _another_generation,
        _pages_of_the_past,
        _doubted_pages,
        _another_size_was_told,
        _forgotten,
        _held,
        _fetched_ahead_and_not_used,
    ],
    ids=lambda why: why.__name__,
)
def test_nothing_is_stored(why: Callable[[World], None]) -> None:
    async def test(world: World) -> None:
        world.hit_often()
        why(world)
        await until_idle()
        assert not world.kernel.waiting

    run(test)


@pytest.mark.parametrize("change", [_open_for_writing, _another_generation], ids=lambda change: change.__name__)
def test_the_thread_looks_once_more_before_it_stores(change: Callable[[World], None]) -> None:
    async def test(world: World) -> None:
        world.hit_often()
        await world.kernel.came.wait()
        change(world)
        world.kernel.carry()
        await until_idle()
        assert not world.kernel.stored
        assert world.pushed_bytes == 0
        assert world.faults == 0

    run(test)


def test_who_opens_it_for_writing_waits_for_the_piece_that_is_on_its_way() -> None:
    async def test(world: World) -> None:
        is_settled = trio.Event()

        async def open_for_writing() -> None:
            world.inode.writers += 1
            await world.pusher.settle(world.inode)
            is_settled.set()

        world.hit_often()
        await world.kernel.came.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_for_writing)
            await until_idle()
            assert not is_settled.is_set()
            world.kernel.carry()
            await is_settled.wait()

    run(test)


def test_other_files_are_not_waited_for() -> None:
    async def test(world: World) -> None:
        world.hit_often()
        await world.kernel.came.wait()
        await world.pusher.settle(Inode(8, None, world.inode.attributes))
        await world.pusher.settle_past(world.inode)  # of the state that is being stored: nothing is wrong with it

    run(test)


def test_nobody_is_told_of_a_new_state_while_the_old_one_is_being_stored() -> None:
    async def test(world: World) -> None:
        is_settled = trio.Event()

        async def look() -> None:
            await world.pusher.settle_past(world.inode)
            is_settled.set()

        world.hit_often()
        await world.kernel.came.wait()
        world.inode.generation = 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await until_idle()
            assert not is_settled.is_set()
            world.kernel.carry()
            await is_settled.wait()

    run(test)


def test_what_became_of_the_past_while_it_was_stored_is_dropped() -> None:
    async def test(world: World) -> None:
        world.hit_often()
        await world.kernel.came.wait()
        is_good, done = world.kernel.waiting[0][3:]
        assert is_good()
        world.inode.generation = 2
        done(True)
        await until_idle()
        assert world.kernel.dropped == [7]
        assert world.inode.kernel_generation == FOREIGN

    run(test)


def test_a_refusal_of_the_kernel_is_counted_and_the_next_is_tried() -> None:
    async def test(world: World) -> None:
        world.hit_often()
        await world.kernel.came.wait()
        world.kernel.waiting.pop(0)[4](None)
        await until_idle()
        assert world.faults == 1
        world.hit_often(3)
        await until_idle()
        assert world.kernel.waiting

    run(test)


def test_a_block_is_not_pushed_again_at_once() -> None:
    async def test(world: World) -> None:
        for _ in range(2):
            world.hit_often()
            await until_idle()
            while world.kernel.waiting:
                world.kernel.carry()
                await until_idle()
        pages = [offset for offset, _ in world.kernel.stored]
        assert len(pages) == len(set(pages))

    run(test)
