"""The prefetcher goes by the arm that is in force, and takes up at once what another one allows."""

from typing import Any, cast

import trio
import trio.testing

from llmfs.attributes import Attributes
from llmfs.content import Content
from llmfs.inodes import Inode
from llmfs.policy.rules import Treatment
from llmfs.prefetcher import Prefetcher
from llmfs.workers import Workers
from predictor.control.arms import ARMS, SAFE, Arm
from predictor.events import Tier
from predictor.plan import PlanItem, Want

ITEMS = 5


class Hanging:
    """Metadata that never answers, and counts who asked."""

    looks_last_s = 60.0
    root = Inode(1, None, Attributes(0o040755, 2, 0, 0, 0, 9, 4096, 0, 0, 0, 0, 0, 7))

    def __init__(self) -> None:
        self.root.children = {}
        self.asked = 0
        self.answer = trio.Event()

    def remembered_at(self, path: bytes) -> Inode:
        return self.root

    def remembered(self, *_: Any) -> None:
        """Nothing is known."""

    known = has_look = remembered

    async def resolve(self, *_: Any) -> Inode:
        return self.root

    async def look_around(self, *_: Any) -> None:
        self.asked += 1
        await self.answer.wait()

    async def lookup(self, *_: Any) -> tuple[None, Tier]:
        return None, Tier.SOURCE


async def _run() -> list[int]:
    metadata, counts = Hanging(), []
    workers = Workers("prefetch", 16)
    prefetcher = Prefetcher(
        cast("Any", metadata),
        cast("Content", None),
        workers,
        lambda: 1 << 30,
        lambda why, count: None,
        lambda: None,
        lambda inode, generator: None,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(prefetcher.run)
        prefetcher.steer(Arm("two", 0.0, 2, 1 << 40))
        prefetcher.take_plan([PlanItem(Want.DATA, b"%d" % number, 0, 1, 1.0, 0, "history") for number in range(ITEMS)])
        await trio.testing.wait_all_tasks_blocked()
        counts += [metadata.asked, prefetcher.running]
        prefetcher.steer(ARMS[SAFE])
        await trio.testing.wait_all_tasks_blocked()
        counts += [metadata.asked, prefetcher.running]
        metadata.answer.set()
        await trio.testing.wait_all_tasks_blocked()
        counts += [metadata.asked, prefetcher.running]
        nursery.cancel_scope.cancel()
    return counts


def test_what_an_arm_held_back_runs_as_soon_as_another_lets_it() -> None:
    assert trio.run(_run) == [2, 2, ITEMS, ITEMS, ITEMS, 0]


class Ready:
    """Metadata that knows of some files and remembers others, and content that has the data of some."""

    looks_last_s = 60.0
    root = object()

    def __init__(self) -> None:
        self.looked_for: list[bytes] = []
        self.walked_to: list[bytes] = []
        self.fetched: list[bytes] = []
        self.answer = trio.Event()
        self.files = {}
        for number, name in enumerate((b"there", b"lacking", b"bypassed", b"doubtful"), 2):
            place = (cast("Inode", None), name)
            inode = self.files[name] = Inode(number, place, Attributes(0o100644, 1, 0, 0, 0, 9, 4096, 0, 0, 0, 0, 0, 7))
            inode.treatment = Treatment(is_prefetched=name != b"bypassed")
        self.directory = Inode(9, None, Attributes(0o040755, 2, 0, 0, 0, 9, 4096, 0, 0, 0, 0, 0, 7))
        self.directory.children = {}
        self.is_doubtful = True

    def remembered_at(self, path: bytes) -> Inode | None:
        self.walked_to.append(path)
        return self.directory if path == b"a/d" else None

    def remembered(self, directory: Inode, name: bytes) -> Inode | None:
        return self.files.get(name)

    def known(self, directory: Inode, name: bytes, lead_ns: int = 0) -> Inode | None:
        return None if name == b"doubtful" and self.is_doubtful else self.files.get(name)

    def has_look(self, directory: Inode, name: bytes, lead_ns: int = 0) -> bool:
        return name == b"came along"

    async def resolve(self, place: object, names: list[bytes], *_: Any) -> Inode:
        return self.directory

    async def look_around(self, directory: Inode, wanted: dict[bytes, str], *_: Any) -> None:
        self.looked_for.append(next(iter(wanted)))
        await self.answer.wait()

    async def lookup(self, directory: Inode, name: bytes, *_: Any) -> tuple[Inode | None, object]:
        return self.files.get(name), None

    async def attributes(self, *_: Any) -> None:
        """They are as they were."""

    def has(self, inode: Inode, offset: int, length: int) -> bool:
        return inode in (self.files[b"there"], self.files[b"doubtful"])

    async def prefetch(self, inode: Inode, *_: Any) -> None:
        assert inode.place is not None
        self.fetched.append(inode.place[1])


def _prefetcher(ready: Ready) -> Prefetcher:
    return Prefetcher(
        cast("Any", ready), cast("Any", ready), Workers("prefetch", 16), lambda: 1 << 30, lambda why, count: None,
        lambda: None, lambda inode, generator: None,
    )  # fmt: skip


def _plan(wishes: list[tuple[Want, bytes]]) -> list[PlanItem]:
    return [PlanItem(want, path, 0, 0, 1.0, 0, "history") for want, path in wishes]


def test_what_is_planned_and_there_is_not_looked_for() -> None:
    async def main() -> Ready:
        ready = Ready()
        ready.is_doubtful = False
        prefetcher = _prefetcher(ready)
        wishes = [
            (Want.DATA, b"a/d/there"), (Want.ATTRIBUTES, b"a/d/there"), (Want.ATTRIBUTES, b"a/d/lacking"),
            (Want.ATTRIBUTES, b"a/d/came along"), (Want.DATA, b"a/d/lacking"), (Want.DATA, b"a/d/came along"),
            (Want.DATA, b"a/d/bypassed"), (Want.ATTRIBUTES, b"elsewhere/there"), (Want.LISTING, b"a/d/there"),
        ]  # fmt: skip
        async with trio.open_nursery() as nursery:
            nursery.start_soon(prefetcher.run)
            prefetcher.take_plan(_plan(wishes))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return ready

    ready = trio.run(main)
    assert sorted(ready.looked_for) == [b"bypassed", b"came along", b"lacking", b"there", b"there"]
    assert ready.walked_to == [b"a/d", b"elsewhere"]  # once for all items of a directory


def test_data_that_is_there_has_only_to_be_found_unchanged() -> None:
    async def main() -> Ready:
        ready = Ready()
        prefetcher = _prefetcher(ready)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(prefetcher.run)
            prefetcher.take_plan(_plan([(Want.DATA, b"a/d/doubtful"), (Want.DATA, b"a/d/lacking")]))
            await trio.testing.wait_all_tasks_blocked()
            ready.is_doubtful = False
            ready.answer.set()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return ready

    ready = trio.run(main)
    assert sorted(ready.looked_for) == [b"doubtful", b"lacking"]
    assert ready.fetched == [b"lacking"]
