"""Carries out `llmfs pin` and `unpin`, and looks the pins over: handlers for `control_server.py`.

What is pinned is fetched and then never evicted (`policy/eviction.py`), as long as the cache can hold it: no more than
`SHARE_MAX` of it may be pinned, so that something is left for what is not, and the cache's limit goes before any pin.

At the beginning of a mount and once an hour all pins are looked over by the prefetch threads: files that came into a
pinned directory join, those that are gone leave, what has changed is fetched anew. Between two such looks a file that
was replaced by another (rename) is pinned under its old id only.
"""

import logging
import os
from collections.abc import Mapping
from typing import Any

import trio

from llmfs.block_cache import BlockCache
from llmfs.content import Content
from llmfs.inodes import Inode, path_below
from llmfs.metadata import Metadata
from llmfs.pins import FILES_MAX, PINS_MAX, Pin, Pins
from llmfs.settings import format_size
from llmfs.upkeep import Figures, Upkeep
from llmfs.workers import Workers

log = logging.getLogger(__name__)

SHARE_MAX = 0.5
"""Of the blocks' capacity. With more, what is not pinned would find no room to prove itself."""

LOOK_OVER_S = 3600.0


class Pinning:
    """Pins files and trees of one mount, and keeps them whole."""

    def __init__(
        self,
        pins: Pins,
        upkeep: Upkeep,
        metadata: Metadata,
        content: Content,
        blocks: BlockCache,
        workers: Workers,
    ) -> None:
        self._pins = pins
        self._upkeep = upkeep
        self._metadata = metadata
        self._content = content
        self._blocks = blocks
        self._workers = workers

    async def pin(self, request: Mapping[str, Any], figures: Figures, _: object) -> None:
        """Pin a file or a tree, and fetch what is missing of it. Raises OSError, ValueError where it is too large."""
        inode = self._upkeep.named(request)
        path = os.fsdecode(path_below(inode))
        figures.update(files=0, bytes=0, fetched_bytes=0, errors=0)
        above = self._pins.above(path)
        if above is not None and above.path != path:
            raise ValueError(f"it is pinned already, with all of {above.path or 'the mount'}")
        found = await self._found(inode, figures)
        pin = _pin(path, found)
        self._refuse_what_is_too_much(pin)
        self._pins.put(pin)
        await self._fetch(found, figures)

    async def unpin(self, request: Mapping[str, Any], figures: Figures, _: object) -> None:
        """Let go of what is pinned at a path and below it. Raises OSError, ValueError."""
        path = os.fsdecode(path_below(self._upkeep.named(request)))
        figures.update(pins=0, files=0, bytes=0)
        gone = self._pins.remove(path)
        if not gone:
            above = self._pins.above(path)
            raise ValueError(
                f"it is pinned with all of {above.path or 'the mount'}: unpin that" if above else "it is not pinned"
            )
        figures["pins"] = len(gone)
        for pin in gone:
            figures["files"] += len(pin.ids)
            figures["bytes"] += pin.size_bytes
        self._blocks.unpinned()

    async def run(self) -> None:
        """Look the pins over, now and once an hour, until cancelled."""
        while True:
            for pin in self._pins:
                try:
                    await self._look_over(pin)
                except OSError as error:
                    log.info("what is pinned at %s stays as it is: %s", pin.path, error.strerror)
                except Exception:  # a bug of ours must not take the mount down
                    log.exception("looking over what is pinned failed")
            await trio.sleep(LOOK_OVER_S)

    async def _look_over(self, pin: Pin) -> None:
        names = tuple(name for name in os.fsencode(pin.path).split(b"/") if name)
        inode = await self._metadata.resolve(self._metadata.root, names, self._workers)
        if inode is None:
            log.info("unpinned, for it is gone: %s", pin.path)
            self._pins.remove(pin.path)
            self._blocks.unpinned()
            return
        figures = {"errors": 0, "fetched_bytes": 0, "files": 0, "bytes": 0}
        try:
            found = await self._found(inode, figures)
            if figures["errors"]:
                return  # some could not be looked at: what is pinned stays as it is
            now = _pin(pin.path, found)
            self._refuse_what_is_too_much(now)
        except ValueError as error:
            log.warning("what is pinned at %s has grown: %s", pin.path, error)
            return
        if now != pin and self._pins.above(pin.path) == pin:  # nobody unpinned it meanwhile
            self._pins.put(now)
            self._blocks.unpinned()
        await self._fetch(found, figures)

    async def _found(self, inode: Inode, figures: Figures) -> list[Inode]:
        """The file, or the files below the directory. Raises OSError, ValueError where they are too many."""
        found: list[Inode] = []

        async def take(file: Inode) -> None:
            if len(found) <= FILES_MAX:
                await self._metadata.attributes(file, self._workers)
                found.append(file)

        await self._upkeep.walk(inode, take, figures)
        if len(found) > FILES_MAX:
            raise ValueError(f"there are more than {FILES_MAX:,} files: pin the ones that matter")
        return found

    def _refuse_what_is_too_much(self, pin: Pin) -> None:
        """Raises ValueError."""
        others = [each for each in self._pins if not pin.is_above(each.path)]
        size_bytes = pin.size_bytes + sum(each.size_bytes for each in others)
        limit_bytes = int(SHARE_MAX * self._blocks.capacity_bytes)
        if size_bytes > limit_bytes:
            already = f" with the {format_size(size_bytes - pin.size_bytes)} that are pinned already" if others else ""
            raise ValueError(
                f"{format_size(pin.size_bytes)}{already} is more than half of what the cache holds,"
                f" {format_size(limit_bytes)}: unpin something, or mount with a larger --cache-size"
            )
        if len(others) >= PINS_MAX or len(pin.ids) + sum(len(each.ids) for each in others) > FILES_MAX:
            raise ValueError(
                f"no more than {PINS_MAX:,} paths with {FILES_MAX:,} files can be pinned: pin directories, or less"
            )

    async def _fetch(self, found: list[Inode], figures: Figures) -> None:
        waiting = iter(found)

        async def carry() -> None:
            for inode in waiting:
                try:
                    fetched = await self._content.prefetch(inode, 0, 0, None, self._workers)
                    figures["fetched_bytes"] += fetched
                    figures["files"] += 1
                    figures["bytes"] += inode.size
                except OSError:
                    figures["errors"] += 1

        async with trio.open_nursery() as nursery:
            for _ in range(self._workers.limit):
                nursery.start_soon(carry)


def _pin(path: str, found: list[Inode]) -> Pin:
    sizes = {inode.id: inode.size for inode in found}
    return Pin(path, frozenset(sizes), sum(sizes.values()))
