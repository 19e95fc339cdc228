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
from predictor.plan import PlanItem, Want

ITEMS = 5


class Hanging:
    """Metadata that never answers, and counts who asked."""

    root = object()

    def __init__(self) -> None:
        self.asked = 0
        self.answer = trio.Event()

    def known_at(self, path: bytes) -> None:
        """Nothing is known."""

    async def resolve(self, *_: Any) -> None:
        self.asked += 1
        await self.answer.wait()


async def _run() -> list[int]:
    metadata, counts = Hanging(), []
    workers = Workers("prefetch", 16)
    prefetcher = Prefetcher(
        cast("Any", metadata),
        cast("Content", None),
        workers,
        lambda: 1 << 30,
        lambda count: None,
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
    """Metadata that knows of two files, and content that has the first."""

    root = object()

    def __init__(self) -> None:
        self.looked_for: list[bytes] = []
        self.walked_to: list[bytes] = []
        self.answer = trio.Event()
        self.files = {}
        for number, name in enumerate((b"there", b"lacking", b"bypassed"), 2):
            inode = self.files[name] = Inode(number, None, Attributes(0o100644, 1, 0, 0, 0, 9, 4096, 0, 0, 0, 0, 0, 7))
            inode.treatment = Treatment(is_prefetched=name != b"bypassed")
        self.directory = Inode(9, None, Attributes(0o040755, 2, 0, 0, 0, 9, 4096, 0, 0, 0, 0, 0, 7))

    def known_at(self, path: bytes) -> Inode | None:
        self.walked_to.append(path)
        return self.directory if path == b"a/d" else None

    def known(self, directory: Inode, name: bytes) -> Inode | None:
        return self.files.get(name)

    def has_look(self, directory: Inode, name: bytes) -> bool:
        return name == b"came along"

    async def resolve(self, place: object, names: list[bytes], *_: Any) -> Inode:
        return self.directory

    async def look_around(self, directory: Inode, name: bytes, *_: Any) -> None:
        self.looked_for.append(name)
        await self.answer.wait()

    def has(self, inode: Inode, offset: int, length: int) -> bool:
        return inode is self.files[b"there"]


def test_what_is_planned_and_there_is_not_looked_for() -> None:
    async def main() -> Ready:
        ready = Ready()
        prefetcher = Prefetcher(
            cast("Any", ready), cast("Any", ready), Workers("prefetch", 16), lambda: 1 << 30, lambda count: None,
            lambda: None, lambda inode, generator: None,
        )  # fmt: skip
        wishes = [
            (Want.DATA, b"a/d/there"), (Want.ATTRIBUTES, b"a/d/there"), (Want.ATTRIBUTES, b"a/d/lacking"),
            (Want.ATTRIBUTES, b"a/d/came along"), (Want.DATA, b"a/d/lacking"), (Want.DATA, b"a/d/came along"),
            (Want.DATA, b"a/d/bypassed"), (Want.ATTRIBUTES, b"elsewhere/there"), (Want.LISTING, b"a/d/there"),
        ]  # fmt: skip
        async with trio.open_nursery() as nursery:
            nursery.start_soon(prefetcher.run)
            prefetcher.take_plan([PlanItem(want, path, 0, 0, 1.0, 0, "history") for want, path in wishes])
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return ready

    ready = trio.run(main)
    assert sorted(ready.looked_for) == [b"bypassed", b"came along", b"lacking", b"there", b"there"]
    assert ready.walked_to == [b"a/d", b"elsewhere"]  # once for all items of a directory
