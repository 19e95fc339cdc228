"""Names, attributes and listings: asked for once, believed as long as allowed, never older than our own changes.

The source is a plain directory that counts what it is asked; the clock is ours.
"""

import contextlib
import errno
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from llmfs.config import Consistency
from llmfs.inodes import ASKED_SINGLY, Inode, InodeTable
from llmfs.metadata import ASKED_AHEAD, UNCOUNTED, Metadata
from llmfs.records import RECORDS, TABLES, Records
from llmfs.source import SLOW_LISTINGS, SLOW_LOOKS, TRY_EVERY_S, Source
from llmfs.store import Store, boot_id
from predictor.events import Tier

S = 1_000_000_000
LONG_AGO = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.ns = time.time_ns() + 10 * S  # beyond the granularity of what the test makes

    def __call__(self) -> int:
        return self.ns


class Calls:
    """Stands in for the threads: makes calls here, notes them, and can hold their answers back."""

    limit = 4
    is_inline = False

    def __init__(self) -> None:
        self.made: list[tuple[str, Any]] = []
        self.gate = trio.Event()
        self.gate.set()

    async def run(self, call: Callable[..., Any], *args: Any) -> Any:
        self.made.append((call.__name__, args[-1] if isinstance(args[-1], bytes) else None))
        gate = self.gate
        answer, failure = None, None
        try:
            answer = call(*args)
        except OSError as error:
            failure = error
        await trio.lowlevel.checkpoint()
        await gate.wait()  # the answer is on its way
        if failure is not None:
            raise failure
        return answer

    run_short = run

    def take(self) -> list[tuple[str, Any]]:
        made, self.made = self.made, []
        return made


class World:
    def __init__(
        self, root: Path, consistency: Consistency = Consistency.CLOSE_TO_OPEN, limit_bytes: int = 8 << 20
    ) -> None:
        self.at = root / "source"
        self.at.mkdir(exist_ok=True)
        self.clock = Clock()
        self.calls = Calls()
        self.changed: list[int] = []
        self.revalidated: list[tuple[str, str]] = []
        self.in_vain: list[tuple[str, str]] = []
        self._consistency = consistency
        self._limit_bytes = limit_bytes
        self._store_path = str(root / "meta")
        self._open()

    def _open(self) -> None:
        self._store = Store(self._store_path, TABLES, self._limit_bytes, expendable=RECORDS)
        self.source = Source(self.at, 100, lambda *_: None)
        self.metadata = Metadata(
            self.source,
            Records(self._store),
            InodeTable(1000),
            self._consistency,
            lambda inode: self.changed.append(inode.id),
            on_revalidated=lambda kind, outcome: self.revalidated.append((kind, outcome)),
            now_ns=self.clock,
            on_in_vain=lambda kind, generator: self.in_vain.append((kind, generator)),
        )
        self.root = self.metadata.root

    def remount(self) -> None:
        self.close()
        self._open()
        self.calls.take()

    def die(self) -> None:
        """Remount after the process was killed: what was written then is there, what waited is lost."""
        self._store.close()
        with open(f"{self._store_path}/open", "w") as marker:
            marker.write(boot_id())
        self._open()
        self.calls.take()

    def close(self) -> None:
        self._store.close()

    def old(self, name: str, data: bytes = b"old") -> Path:
        """A file that has been as it is for long, as far as the clock tells."""
        path = self.at / name
        path.write_bytes(data)
        return path

    async def lookup(self, name: str, directory: Inode | None = None) -> Inode | None:
        inode, self.tier = await self.metadata.lookup(directory or self.root, name.encode(), self.calls)  # type: ignore[arg-type]
        return inode

    async def attributes(self, inode: Inode) -> Any:
        found, self.tier = await self.metadata.attributes(inode, self.calls)  # type: ignore[arg-type]
        return found

    async def names(self, directory: Inode | None = None) -> set[bytes]:
        listing, self.tier = await self.metadata.listing(directory or self.root, self.calls)  # type: ignore[arg-type]
        return {listed.name for listed in listing.names}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        with trio.fail_after(10):
            await test()

    trio.run(main)


def test_name_is_asked_once_until_its_time_is_up(world: World) -> None:
    async def test() -> None:
        world.old("f")
        inode = await world.lookup("f")
        assert inode is not None and inode.attributes.size == 3 and world.tier is Tier.SOURCE
        world.clock.ns += 2 * S
        assert await world.lookup("f") is inode and world.tier is Tier.CACHE
        assert world.calls.take() == [("lookup", b"f")]
        world.clock.ns += 2 * S
        assert await world.lookup("f") is inode
        assert world.calls.take() != []

    run(test)


def test_absent_names_are_answered_by_one_stat_of_their_directory(world: World) -> None:
    async def test() -> None:
        for name in ("a", "b", "c"):
            assert await world.lookup(name) is None
        assert len(world.calls.take()) == 3
        await world.attributes(world.root)
        world.clock.ns += 70 * S
        for name in ("a", "b", "c"):
            assert await world.lookup(name) is None
        assert world.calls.take() == [("attributes", None)]

    run(test)


def test_listing_answers_for_names_that_are_not_in_it(world: World) -> None:
    async def test() -> None:
        world.old("f")
        assert await world.names() == {b"f"}
        world.calls.take()
        assert await world.lookup("absent") is None and world.tier is Tier.CACHE
        assert await world.names() == {b"f"} and world.tier is Tier.CACHE
        assert world.calls.take() == []

    run(test)


def test_what_was_known_is_known_after_a_remount(world: World) -> None:
    async def test() -> None:
        (world.at / "d").mkdir()
        world.old("d/f")
        directory = await world.lookup("d")
        assert directory is not None
        first = await world.lookup("f", directory)
        assert await world.names(directory) == {b"f"} and first is not None
        assert await world.lookup("absent", directory) is None
        world.remount()
        directory = await world.lookup("d")
        assert directory is not None
        again = await world.lookup("f", directory)
        assert again is not None and again is not first
        assert (again.id, again.generation, again.attributes) == (first.id, first.generation, first.attributes)
        assert await world.names(directory) == {b"f"}
        assert await world.lookup("absent", directory) is None
        assert world.calls.take() == []

    run(test)


def test_change_of_the_root_between_mounts_is_seen_at_once(world: World) -> None:
    async def test() -> None:
        assert await world.names() == set()
        assert await world.lookup("f") is None
        world.old("f")
        world.remount()
        assert await world.names() == {b"f"}

    run(test)


def test_change_of_another_gives_a_new_generation_and_is_told(world: World) -> None:
    async def test() -> None:
        path = world.old("f")
        inode = await world.lookup("f")
        assert inode is not None
        before = inode.generation
        world.changed.clear()
        path.write_bytes(b"not as long as it was: longer")
        world.clock.ns += 70 * S
        assert (await world.attributes(inode)).size == 29
        assert inode.generation != before and inode.id in world.changed

    run(test)


def test_replaced_file_is_stale_and_the_name_has_the_new_one(world: World) -> None:
    async def test() -> None:
        world.old("f")
        inode = await world.lookup("f")
        world.old("g", b"another")
        os.rename(world.at / "g", world.at / "f")
        world.clock.ns += 70 * S
        assert inode is not None
        with pytest.raises(OSError, match=r"[Ss]tale"):
            await world.attributes(inode)
        new = await world.lookup("f")
        assert new is not None and new is not inode and new.attributes.size == 7

    run(test)


def test_requests_for_the_same_share_one_look(world: World) -> None:
    async def test() -> None:
        world.old("f")
        world.calls.gate = gate = trio.Event()
        found: list[Inode | None] = []

        async def ask() -> None:
            found.append(await world.lookup("f"))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
        assert len(set(map(id, found))) == 1 and found[0] is not None
        assert len(world.calls.take()) == 1

    run(test)


def test_who_joined_a_look_that_was_given_up_asks_anew(world: World) -> None:
    async def test() -> None:
        world.old("f")
        world.calls.gate = gate = trio.Event()
        killed = trio.CancelScope()
        found: list[Inode | None] = []

        async def doomed() -> None:
            with killed:
                await world.lookup("f")

        async def ask() -> None:
            found.append(await world.lookup("f"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(doomed)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ask)
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            killed.cancel()
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
        assert [inode is not None for inode in found] == [True, True]
        assert len(world.calls.take()) == 2

    run(test)


async def _while_on_its_way(world: World, ask: Callable[[], Awaitable[Any]], change: Callable[[], None]) -> None:
    """`change` happens after the source was asked and before its answer is here."""
    world.calls.gate = gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        world.calls.gate = trio.Event()
        world.calls.gate.set()
        change()
        gate.set()


def test_stat_on_its_way_does_not_undo_our_write(world: World) -> None:
    async def test() -> None:
        path = world.old("f")
        inode = await world.lookup("f")
        assert inode is not None
        world.clock.ns += 70 * S

        def write() -> None:
            path.write_bytes(b"our own")
            inode.attributes = inode.attributes._replace(size=7)
            world.metadata.own_change(inode)

        await _while_on_its_way(world, lambda: world.attributes(inode), write)
        assert (await world.attributes(inode)).size == 7
        world.remount()
        again = await world.lookup("f")
        assert again is not None and again.attributes.size == 7

    run(test)


def test_listing_on_its_way_does_not_hide_what_we_made(world: World) -> None:
    async def test() -> None:
        world.old("f")

        def make() -> None:
            path = world.at / "made"
            path.write_bytes(b"")
            made = world.source.lookup(world.root, b"made")
            world.metadata.made(world.root, b"made", made)

        await _while_on_its_way(world, world.names, make)
        assert await world.names() == {b"f", b"made"}
        assert await world.lookup("made") is not None
        world.remount()
        assert await world.names() == {b"f", b"made"}

    run(test)


def test_lookup_on_its_way_does_not_bring_back_what_we_removed_nor_hide_what_we_made(world: World) -> None:
    async def test() -> None:
        path = world.old("f")

        def remove() -> None:
            path.unlink()
            world.metadata.removed(world.root, b"f", None)

        def make() -> None:
            path.write_bytes(b"new")
            world.metadata.made(world.root, b"f", world.source.lookup(world.root, b"f"))

        await _while_on_its_way(world, lambda: world.lookup("f"), remove)
        assert await world.lookup("f") is None
        world.clock.ns += 70 * S
        await _while_on_its_way(world, lambda: world.lookup("f"), make)
        assert await world.lookup("f") is not None

    run(test)


def test_rename_takes_the_inode_along_and_leaves_nothing(world: World) -> None:
    async def test() -> None:
        path = world.old("f")
        inode = await world.lookup("f")
        os.rename(path, world.at / "g")
        world.metadata.renamed(world.root, b"f", inode, world.root, b"g", None, False)
        assert await world.lookup("g") is inode
        assert await world.lookup("f") is None
        world.remount()
        assert await world.lookup("f") is None and await world.lookup("g") is not None

    run(test)


def test_answer_that_took_longer_than_it_may_be_believed_is_not_believed(world: World) -> None:
    async def test() -> None:
        world.old("f")

        def wait() -> None:
            world.clock.ns += 70 * S

        await _while_on_its_way(world, lambda: world.lookup("f"), wait)
        world.calls.take()
        await world.lookup("f")
        assert world.calls.take() != []

    run(test)


@pytest.mark.parametrize("consistency", [Consistency.CLOSE_TO_OPEN, Consistency.IMMUTABLE])
def test_nothing_is_believed_unasked_after_the_mount_was_killed(tmp_path: Path, consistency: Consistency) -> None:
    world = World(tmp_path, consistency)

    async def test() -> None:
        world.old("f")
        assert await world.lookup("f") is not None
        assert await world.lookup("g") is None
        for kill in (world.die, world.remount):  # nor by the mount after it, of what that one did not look at
            kill()
        # As if our own change of both had been among what was lost.
        world.clock.ns += S // 10
        (world.at / "f").write_bytes(b"newer")
        (world.at / "g").write_bytes(b"new")
        f, g = await world.lookup("f"), await world.lookup("g")
        assert f is not None
        assert g is not None
        assert f.attributes.size == 5
        world.calls.take()
        await world.lookup("f")
        assert world.calls.take() == []

    run(test)
    world.close()


def test_clock_that_was_set_back_makes_us_ask(world: World) -> None:
    async def test() -> None:
        world.old("f")
        await world.lookup("f")
        world.calls.take()
        world.clock.ns -= 100 * S
        await world.lookup("f")
        assert world.calls.take() != []

    run(test)


def test_clock_that_was_set_back_gives_the_kernel_no_more_time(world: World) -> None:
    async def test() -> None:
        inode = await world.lookup(world.old("f").name)
        assert inode is not None
        assert await world.lookup("absent") is None
        world.clock.ns -= 3600 * S
        assert world.metadata.time_to_live_s(inode) == 0
        assert world.metadata.name_time_to_live_s(world.root, b"f") == 0
        assert world.metadata.name_time_to_live_s(world.root, b"absent") == 0
        await world.names()  # the directory is good again, and vouches for its names; not for longer than it is good
        await world.lookup("f")
        for name in (b"f", b"absent"):
            assert world.metadata.name_time_to_live_s(world.root, name) <= 60
        assert world.metadata.time_to_live_s(inode) <= 60

    run(test)


@pytest.mark.parametrize("jump_s", [-3600, 3600])
def test_source_that_was_gone_is_asked_again_whatever_the_clock_did(
    world: World, monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    async def test() -> None:
        path = world.old("f")
        inode = await world.lookup("f")
        assert inode is not None
        world.clock.ns += 70 * S
        with monkeypatch.context() as gone:
            gone.setattr(world.source, "attributes", _unreachable)
            assert (await world.attributes(inode)).size == 3 and world.tier is Tier.CACHE
        path.write_bytes(b"newer")
        world.clock.ns += jump_s * S
        assert (await world.attributes(inode)).size == 5

    run(test)


def _unreachable(*_: object) -> None:
    raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))


@pytest.mark.parametrize("consistency", [Consistency.CLOSE_TO_OPEN, Consistency.IMMUTABLE])
@pytest.mark.parametrize("jump_s", [-3600, 3600])
def test_nothing_is_believed_after_the_mount_was_killed_whatever_the_clock_did(
    tmp_path: Path, consistency: Consistency, jump_s: int
) -> None:
    world = World(tmp_path, consistency)

    async def test() -> None:
        path = world.old("f")
        assert await world.lookup("f") is not None
        assert await world.lookup("g") is None
        world.clock.ns += jump_s * S
        world.die()
        world.clock.ns -= jump_s * S  # and is right again when it is asked
        path.write_bytes(b"newer")
        (world.at / "g").write_bytes(b"new")
        f, g = await world.lookup("f"), await world.lookup("g")
        assert f is not None and f.attributes.size == 5
        assert g is not None

    run(test)
    world.close()


def test_what_is_doubted_gets_no_time_in_immutable_mode_either(tmp_path: Path) -> None:
    world = World(tmp_path, Consistency.IMMUTABLE)

    async def test() -> None:
        world.old("f")
        await world.lookup("f")
        await world.names()
        world.die()
        listing, _ = await world.metadata.listing(world.root, world.calls)  # type: ignore[arg-type]
        inode = world.metadata.listed(world.root, listing.names[0], True)
        assert inode is not None
        assert world.metadata.time_to_live_s(inode) == 0

    run(test)
    world.close()


@pytest.mark.parametrize("consistency", [Consistency.STRICT, Consistency.IMMUTABLE])
def test_strict_always_asks_and_immutable_never_again(tmp_path: Path, consistency: Consistency) -> None:
    world = World(tmp_path, consistency)

    async def test() -> None:
        world.old("f")
        for _ in range(3):
            await world.lookup("f")
            await world.names()
            await world.lookup("absent")
        calls = world.calls.take()
        assert len(calls) >= 9 if consistency is Consistency.STRICT else len(calls) <= 3
        world.clock.ns += 10**6 * S
        await world.lookup("f")
        assert bool(world.calls.take()) == (consistency is Consistency.STRICT)

    run(test)
    world.close()


def test_listing_brings_attributes_along_that_are_believed_as_long_as_others(world: World) -> None:
    async def test() -> None:
        world.old("f")
        assert await world.names() == {b"f"}
        world.calls.take()
        assert world.metadata.has_look(world.root, b"f")
        inode = await world.lookup("f")
        assert inode is not None and inode.attributes.size == 3 and world.tier is Tier.CACHE
        assert world.calls.take() == [] and not world.metadata.has_look(world.root, b"f")
        world.clock.ns += 4 * S
        await world.lookup("f")
        assert world.calls.take() == [("lookup", b"f")]

    run(test)


def test_attributes_that_came_along_are_told_with_the_names(world: World) -> None:
    async def test() -> None:
        world.old("f")
        listing, _ = await world.metadata.listing(world.root, world.calls)  # type: ignore[arg-type]
        world.calls.take()
        inode = world.metadata.listed(world.root, listing.names[0], True)
        assert inode is not None and inode.attributes.size == 3 and world.metadata.time_to_live_s(inode) > 0
        assert (await world.attributes(inode)).size == 3 and world.calls.take() == []

    run(test)


def test_attributes_that_came_along_are_not_believed_when_their_time_is_up(world: World) -> None:
    async def test() -> None:
        path = world.old("f")
        await world.names()
        path.write_bytes(b"newer")
        world.clock.ns += 4 * S
        inode = await world.lookup("f")
        assert inode is not None and inode.attributes.size == 5

    run(test)


@pytest.mark.parametrize("is_forgotten", [False, True], ids=["in-memory", "forgotten"])
def test_attributes_that_came_along_never_undo_a_change_of_ours_by_another_name(
    world: World, is_forgotten: bool
) -> None:
    async def test() -> None:
        path = world.old("f")
        (world.at / "d").mkdir()
        os.link(path, world.at / "d/g")
        directory = await world.lookup("d")
        assert directory is not None
        await world.names()
        inode = await world.lookup("g", directory)
        assert inode is not None
        path.write_bytes(b"newer")  # as a write of ours through d/g does
        world.metadata.own_change(inode)
        if is_forgotten:
            world.metadata.inodes.remove(inode)
            world.metadata.dismissed(inode)
        again = await world.lookup("f")
        assert again is not None and again.attributes.size == 5

    run(test)


def test_attributes_that_came_along_are_void_when_the_directory_is_seen_changed(world: World) -> None:
    async def test() -> None:
        world.old("f")
        await world.names()
        (world.at / "f").unlink()
        (world.at / "g").write_bytes(b"")
        world.clock.ns += 4 * S
        await world.attributes(world.root)
        world.calls.take()
        assert await world.lookup("f") is None and world.calls.take() == [("lookup", b"f")]

    run(test)


async def look_ahead(world: World, names: int, generator: str) -> None:
    """As the prefetcher does it (`_fetch`), one name of the root after the other."""
    for number in range(names):
        name = b"%d" % number
        await world.metadata.look_around(world.root, {name: generator}, 0.0, world.calls)  # type: ignore[arg-type]
        if not world.metadata.has_look(world.root, name):
            await world.metadata.lookup(world.root, name, world.calls, generator)  # type: ignore[arg-type]


def test_several_names_of_a_directory_are_looked_at_again_by_one_listing(world: World) -> None:
    async def test() -> None:
        for number in range(8):
            world.old(str(number))
        await world.names()
        for number in range(8):
            await world.lookup(str(number))
        world.remount()
        world.clock.ns += 70 * S
        await look_ahead(world, 8, "scan")
        assert [call for call, _ in world.calls.take()] == ["lookup"] * (ASKED_SINGLY - 1) + ["names"]
        assert await world.lookup("7") is not None and world.tier is Tier.CACHE and world.calls.take() == []
        assert world.metadata.has_look(world.root, b"6")
        world.clock.ns += 70 * S  # what came along is as old as anything
        assert not world.metadata.has_look(world.root, b"6")

    run(test)


def test_a_directory_that_was_never_listed_is_for_the_third_name_that_is_planned(world: World) -> None:
    async def test() -> None:
        for number in range(8):
            world.old(str(number))
        await look_ahead(world, 8, "history")
        assert [call for call, _ in world.calls.take()] == ["lookup"] * (ASKED_AHEAD - 1) + ["names"]

    run(test)


async def look_together(world: World, *names: str, lead_s: float = 0.0) -> None:
    """As the prefetcher does it where several names of the root wait."""
    wanted = {name.encode(): "history" for name in names}
    await world.metadata.look_around(world.root, wanted, lead_s, world.calls)  # type: ignore[arg-type]


def test_names_that_are_wanted_of_a_directory_are_looked_at_together(world: World) -> None:
    async def test() -> None:
        for name in ("f", "g", "other"):
            world.old(name)
        await look_together(world, "f", "none")
        assert world.calls.take() == [("looks", None)]
        f = await world.lookup("f")
        assert f is not None and f.prefetched_by == "history" and await world.lookup("none") is None
        assert world.calls.take() == []
        await look_together(world, "f", "g")
        assert world.calls.take() == []  # the first is known, and somebody will ask for the other

    run(test)


def test_looks_at_what_was_known_are_told_by_what_they_found(world: World) -> None:
    async def test() -> None:
        for name in ("same", "changed", "gone"):
            world.old(name)
        inodes = {name: await world.lookup(name) for name in ("same", "changed", "gone", "none")}
        await world.names()
        assert world.revalidated == [], "nothing was known of them"

        def later() -> list[tuple[str, str]]:
            world.clock.ns += 100 * S
            told, world.revalidated = world.revalidated, []
            return told

        later()
        (world.at / "changed").write_bytes(b"other")
        (world.at / "gone").unlink()
        for name in ("same", "changed", "gone"):
            await world.lookup(name)
        assert later() == [("name", "same"), ("name", "changed"), ("name", "gone")]
        same, changed = inodes["same"], inodes["changed"]
        assert same is not None and changed is not None
        (world.at / "changed").write_bytes(b"yet another")
        await world.attributes(same)
        await world.attributes(changed)
        assert later() == [("attributes", "same"), ("attributes", "changed")]
        (world.at / "changed").unlink()
        with pytest.raises(OSError, match=r"No such file|Stale"):
            await world.attributes(changed)
        assert later() == [("attributes", "gone")]
        await world.names()
        assert ("listing", "changed") in later()
        world.metadata.own_change(same)
        await world.attributes(same)
        assert later() == [], "we changed it ourselves"

    run(test)


def test_attributes_that_were_fetched_ahead_and_looked_at_anew_or_let_go_of_were_in_vain(world: World) -> None:
    async def test() -> None:
        world.old("f")
        f = await world.lookup("f")
        assert f is not None
        for turn in range(3):
            world.clock.ns += 100 * S
            await world.metadata.attributes(f, world.calls, "history")  # type: ignore[arg-type]
            assert world.in_vain == turn * [("attributes", "history")]
        world.metadata.dismissed(f)
        assert world.in_vain == 3 * [("attributes", "history")]

    run(test)


def test_listing_that_was_fetched_ahead_and_replaced_or_let_go_of_was_in_vain(world: World) -> None:
    async def test() -> None:
        (world.at / "d").mkdir()
        d = await world.lookup("d")
        assert d is not None

        async def ahead() -> None:
            await world.metadata.listing(d, world.calls, "descent")  # type: ignore[arg-type]

        await ahead()
        assert world.in_vain == []
        world.metadata.let_go_of_listing(d)
        assert world.in_vain == [("listing", "descent")]
        world.metadata.made(d, b"x", d.attributes)
        await ahead()
        world.metadata.made(d, b"y", d.attributes)
        assert world.in_vain == 2 * [("listing", "descent")]
        await ahead()
        listing, _ = await world.metadata.listing(d, world.calls)  # type: ignore[arg-type]
        world.metadata.listing_used(d, listing)
        world.metadata.dismissed(d)
        assert world.in_vain == 2 * [("listing", "descent")], "the last one was used"

    run(test)


def test_a_name_that_will_not_last_until_its_use_is_looked_at_again(world: World) -> None:
    async def test() -> None:
        world.old("f")
        await world.lookup("f")
        world.clock.ns += 2 * S
        world.calls.take()
        for lead_s, calls in ((0.5, []), (2.0, [("looks", None)]), (2.0, [])):
            await look_together(world, "f", lead_s=lead_s)
            assert world.calls.take() == calls

    run(test)


def test_looks_made_together_never_undo_what_we_did_meanwhile(world: World) -> None:
    async def test() -> None:
        for name in ("f", "g"):
            world.old(name)

        def remove() -> None:
            (world.at / "f").unlink()
            world.metadata.removed(world.root, b"f", None)

        await _while_on_its_way(world, lambda: look_together(world, "f", "g"), remove)
        assert await world.lookup("f") is None

    run(test)


def test_a_program_does_not_wait_for_looks_that_are_made_together(world: World) -> None:
    async def test() -> None:
        path = world.old("f")
        world.calls.gate = gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look_together, world, "f", "g")
            await trio.testing.wait_all_tasks_blocked()
            world.calls.gate = trio.Event()
            world.calls.gate.set()
            path.write_bytes(b"newer")
            found = await world.lookup("f")
            assert found is not None and found.attributes.size == 5
            gate.set()
        found = await world.lookup("f")  # the older look came later
        assert found is not None and found.attributes.size == 5

    run(test)


def test_what_a_path_led_to_is_remembered_over_remounts(world: World) -> None:
    async def test() -> None:
        (world.at / "d").mkdir()
        world.old("d/f")
        assert world.metadata.remembered_at(b"d/f") is None
        directory = await world.lookup("d")
        assert directory is not None
        found = await world.lookup("f", directory)
        assert found is not None and world.metadata.remembered_at(b"d/f") is found
        assert world.metadata.remembered_at(b"d/f/g") is None and world.metadata.remembered_at(b"") is world.root
        world.clock.ns += 70 * S
        assert world.metadata.remembered_at(b"d/f") is found and world.metadata.known(directory, b"f") is None
        world.remount()
        again = world.metadata.remembered_at(b"d/f")
        assert again is not None and again.id == found.id

    run(test)


def test_attributes_that_came_along_are_bounded(world: World) -> None:
    async def test() -> None:
        world.metadata._looks_kept = 5
        for name in ("d", "e"):
            (world.at / name).mkdir()
            for number in range(4):
                world.old(f"{name}/{number}")
        d, e = await world.lookup("d"), await world.lookup("e")
        assert d is not None and e is not None
        await world.names(d)
        await world.names(e)
        assert not world.metadata.has_look(d, b"0") and world.metadata.has_look(e, b"0")

    run(test)


def test_no_more_names_are_looked_at_where_that_is_slow(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        world.old(str(number))

    def looks() -> int:
        return len(world.source.names(world.root)[2])

    is_slow = {"source": True, "threads": True}
    clock = SimpleNamespace(now_s=100.0, monotonic=lambda: clock.now_s, perf_counter=time.perf_counter)
    monkeypatch.setattr("llmfs.source.time", clock)
    monkeypatch.setattr("llmfs.source._takes_long", lambda call: [call(), is_slow[_subject(call)]][1])
    assert looks() == 20  # everything takes long here: it says nothing of the source
    is_slow["threads"] = False
    assert [looks() for _ in range(SLOW_LISTINGS - 1)] == [SLOW_LOOKS] * (SLOW_LISTINGS - 1)
    is_slow["source"] = False
    assert looks() == 20  # it only seemed so
    is_slow["source"] = True
    assert [looks() for _ in range(SLOW_LISTINGS + 2)] == [SLOW_LOOKS] * SLOW_LISTINGS + [0, 0]
    assert not world.source.sends_attributes_with_names
    clock.now_s += TRY_EVERY_S
    assert [looks(), looks()] == [SLOW_LOOKS, 0]
    clock.now_s += TRY_EVERY_S
    is_slow["source"] = False
    assert [looks(), looks()] == [20, 20]


def _subject(call: Callable[[], object]) -> str:
    """What a call of `Source.names` times: a look at a name, or what it is compared with."""
    return "source" if call.__name__ == "look" else "threads"


def test_two_names_of_a_file_are_one_inode(world: World) -> None:
    async def test() -> None:
        path = world.old("f")
        os.link(path, world.at / "g")
        assert await world.lookup("f") is await world.lookup("g")

    run(test)


@pytest.mark.parametrize("is_same_name", [True, False], ids=["same-name", "another-name"])
@pytest.mark.parametrize("is_held", [True, False], ids=["held", "not-held"])
def test_directory_that_got_the_inode_number_of_another_shows_its_names_no_longer_than_any_change(
    world: World, is_same_name: bool, is_held: bool
) -> None:
    async def test() -> None:
        (world.at / "d").mkdir()
        world.old("d/a")
        old = await world.lookup("d")
        assert old is not None
        assert await world.lookup("a", old) is not None and await world.names(old) == {b"a"}
        number = old.attributes.ino
        if not is_held:
            world.metadata.dismissed(old)  # what is open keeps its number
            world.remount()
        (world.at / "d" / "a").unlink()
        (world.at / "d").rmdir()
        name = "d" if is_same_name else "e"
        (world.at / name).mkdir()
        if not is_held:
            for _ in range(500):  # descriptors are closed by a thread
                if os.stat(world.at / name).st_ino == number:
                    break
                await trio.sleep(0.001)
                (world.at / name).rmdir()
                (world.at / name).mkdir()
            else:
                pytest.skip("this file system does not give out numbers again at once")
        world.clock.ns += 3 * S  # the time that the name of a new directory may be believed
        with contextlib.suppress(OSError):
            await world.lookup(name)
        new = await world.lookup(name)
        assert new is not None
        assert await world.names(new) == set()
        world.clock.ns += 60 * S
        assert await world.lookup("a", new) is None
        (world.at / name / "b").touch()
        world.clock.ns += 60 * S
        assert await world.names(new) == {b"b"} and await world.lookup("b", new) is not None

    run(test)


def test_source_without_stable_inodes_keeps_the_ids_it_was_given(world: World) -> None:
    async def test() -> None:
        world.source.has_stable_inodes = False
        world.old("f")
        world.old("g")
        ids = [inode.id for name in ("f", "g") if (inode := await world.lookup(name))]
        assert len(set(ids)) == 2 and min(ids) >= 1 << 62
        world.remount()
        world.source.has_stable_inodes = False
        world.old("h")
        again = [inode.id for name in ("f", "g", "h") if (inode := await world.lookup(name))]
        assert again[:2] == ids and again[2] not in ids

    run(test)


@pytest.mark.parametrize("asker", [UNCOUNTED, None])
def test_a_walk_in_passing_leaves_the_records_of_others_and_another_may_not(tmp_path: Path, asker: str | None) -> None:
    world = World(tmp_path, limit_bytes=512 << 10)

    async def test() -> None:
        for name in (f"work-{number}" for number in range(50)):
            world.old(name)
            await world.lookup(name)
        for number in range(1500):  # records of 600 KB and more
            name = f"{number:04}-{'x' * 200}"
            world.old(name)
            await world.metadata.lookup(world.root, name.encode(), world.calls, asker)  # type: ignore[arg-type]
            if number % 200 == 0:
                await trio.sleep(0.1)  # the store writes behind

    run(test)
    world.remount()
    root = world.root.id
    kept = [world.metadata._records.entry(root, b"work-%d" % number) is not None for number in range(50)]
    assert all(kept) if asker == UNCOUNTED else not any(kept)
    world.close()
