"""The prefetcher goes by the arm that is in force, and takes up at once what another one allows."""

from typing import Any, cast

import trio
import trio.testing

from llmfs.content import Content
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
