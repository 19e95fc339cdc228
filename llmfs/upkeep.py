"""What a person asks of the cache: have files in it, have them out of it, hold it against the source.

A file or all files below a directory, found by walking names as the mount knows them; links are not followed. Every
fetch and every look is made by the prefetch threads, so demand never queues behind it; a walk never holds more than a
listing for each level of the tree. Files that fail are counted, and the walk goes on.

Nothing here teaches the predictor: what is warmed is no program's access.
"""

import errno
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import trio

from llmfs.block_cache import BlockCache
from llmfs.blocks import BLOCK_BYTES, PAGE_BYTES, block_key, data_bytes
from llmfs.content import Content
from llmfs.inodes import FOREIGN, Inode, path_below
from llmfs.kernel import KernelCache
from llmfs.metadata import Metadata
from llmfs.profile import FILES_MAX, Used, taken
from llmfs.source import Source
from llmfs.workers import Workers

log = logging.getLogger(__name__)

CARRIERS = 16
"""Files at a time: as many as there are prefetch threads."""

WARMS_MAX = 8
"""Walks in the background that nobody waits for; another one is refused."""

SHOWN_MAX = 100
"""Files named in an answer; all of them are counted."""

NAP_BLOCKS = 256
"""Looks in the cache between two chances for others to run: a few milliseconds."""

Figures = dict[str, Any]

_NOTHING_WARMED = {"files": 0, "bytes": 0, "fetched_bytes": 0, "left_out": 0, "errors": 0}

Wish = tuple[tuple[bytes, ...], Used]
"""Names from the root on, and what to fetch of the file that they lead to."""


class Upkeep:
    """Carries out `warm`, `evict`, `check` and the replay of profiles. Handlers for `control_server.py`."""

    def __init__(
        self,
        source: Source,
        metadata: Metadata,
        content: Content,
        blocks: BlockCache,
        kernel: KernelCache,
        workers: Workers,
        nursery: trio.Nursery,
    ) -> None:
        self._source = source
        self._metadata = metadata
        self._content = content
        self._blocks = blocks
        self._kernel = kernel
        self._workers = workers
        self._nursery = nursery
        self._warms = 0
        self._unseen = dict(_NOTHING_WARMED)
        self._later: deque[Wish] = deque()

    # --- what is asked

    async def warm(self, request: Mapping[str, Any], figures: Figures, _: object) -> None:
        """Fetch a file or a tree; with `wait` false, go on after the answer. Raises OSError, ValueError.

        `before_bytes`: of what was asked for before and is to stay beside it.
        """
        inode = self.named(request)
        before_bytes = request.get("before_bytes", 0)
        if not isinstance(before_bytes, int) or before_bytes < 0:
            raise ValueError("that is no number of bytes")
        figures.update(_NOTHING_WARMED)
        if request.get("wait"):
            await self._warm(inode, figures, before_bytes)
        elif self._warms >= WARMS_MAX:
            raise ValueError(f"{WARMS_MAX} trees are being warmed already: wait, or use --wait")
        else:
            self._nursery.start_soon(self._warm_unseen, inode)

    async def evict(self, request: Mapping[str, Any], figures: Figures, _: object) -> None:
        """Drop what is cached of a file or a tree, here and in the kernel. Raises OSError, ValueError."""
        figures.update(files=0, blocks=0, bytes=0, errors=0)
        await self.walk(self.named(request), lambda inode: self._evict_file(inode, figures), figures)

    async def check(self, request: Mapping[str, Any], figures: Figures, _: object) -> None:
        """Compare what is cached of a file or a tree with the source; what differs is dropped. Raises OSError,
        ValueError.

        `changed` files are others than when they were cached, as their attributes tell: nothing of them is served any
        more. `differing` ones have cached bytes that are not the source's, though their attributes are the same.
        """
        figures.update(files=0, blocks=0, bytes=0, changed=0, differing=0, differ=[], errors=0)
        await self.walk(self.named(request), lambda inode: self._check_file(inode, figures), figures)

    async def replay(self, request: Mapping[str, Any], figures: Figures, _: object) -> None:
        """Fetch what a part of a profile names, in its order; with `wait` false, go on after the answer.

        Raises ValueError where it is none.
        """
        wishes = _wishes(request.get("files"))
        figures.update(files=0, fetched_bytes=0, missing=0, errors=0)
        if request.get("wait", True):
            await self._replay(iter(wishes), figures)
            return
        if len(self._later) + len(wishes) > FILES_MAX:
            raise ValueError(f"{len(self._later):,} files wait to be fetched already: wait, or use --wait")
        is_busy = bool(self._later)
        self._later.extend(wishes)
        if not is_busy:
            self._nursery.start_soon(self._replay_unseen)

    async def cached_bytes(self, inode: Inode) -> int:
        """How much of a file is in the cache, as its extended attribute tells."""
        total = 0
        for index, key in enumerate(_keys(inode)):
            resident = self._blocks.resident(key)
            if resident is not None:
                total += data_bytes(resident.size_bytes, min(BLOCK_BYTES, inode.size - index * BLOCK_BYTES))
            if index % NAP_BLOCKS == NAP_BLOCKS - 1:
                await trio.lowlevel.checkpoint()
        return total

    def named(self, request: Mapping[str, Any]) -> Inode:
        """The file or directory that a request names by its inode number. Raises OSError, ValueError."""
        number = request.get("inode")
        if not isinstance(number, int):
            raise ValueError("no file was named")
        inode = self._metadata.inodes.get(number)
        if inode is None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        if not inode.attributes.is_directory and not inode.attributes.is_regular:
            raise ValueError("it is neither a file nor a directory")
        return inode

    # --- warming

    async def _warm(self, inode: Inode, figures: Figures, before_bytes: int = 0) -> None:
        room_bytes = self._blocks.capacity_bytes - before_bytes
        await self.walk(inode, lambda file: self._warm_file(file, figures, room_bytes), figures)

    async def _warm_unseen(self, inode: Inode) -> None:
        if not self._warms:
            self._unseen = dict(_NOTHING_WARMED)  # of all that go on at a time, for they share the cache
        self._warms += 1
        try:
            await self._warm(inode, self._unseen)
        except OSError as error:
            log.info("warming %s failed: %s", _path(inode), error.strerror)
        except Exception:  # a bug of ours must not take the mount down
            log.exception("warming %s failed", _path(inode))
        finally:
            self._warms -= 1

    async def _warm_file(self, inode: Inode, figures: Figures, room_bytes: int) -> None:
        if figures["bytes"] + inode.size > room_bytes:
            figures["left_out"] += 1  # it would push out what was just warmed
            return
        figures["bytes"] += inode.size
        fetched = await self._content.prefetch(inode, 0, 0, None, self._workers)
        figures["fetched_bytes"] += fetched  # not in one line: what others added meanwhile would be lost
        figures["files"] += 1

    async def _replay(self, wishes: Iterator[Wish], figures: Figures) -> None:
        async def carry() -> None:
            for wish in wishes:
                try:
                    await self._replay_file(*wish, figures)
                except OSError:
                    figures["errors"] += 1

        async with trio.open_nursery() as nursery:
            for _ in range(CARRIERS):
                nursery.start_soon(carry)

    async def _replay_unseen(self) -> None:
        """What was asked for without waiting, until nothing is left of it."""
        figures = dict.fromkeys(("files", "fetched_bytes", "missing", "errors"), 0)
        try:
            await self._replay((self._later.popleft() for _ in iter(lambda: bool(self._later), False)), figures)
        except Exception:  # a bug of ours must not take the mount down
            log.exception("fetching what a profile names failed")

    async def _replay_file(self, path: tuple[bytes, ...], used: Used, figures: Figures) -> None:
        inode = await self._metadata.resolve(self._metadata.root, path, self._workers)
        if inode is None:
            figures["missing"] += 1
            return
        await self._metadata.attributes(inode, self._workers)
        if used.is_listed and inode.attributes.is_directory:
            await self._metadata.listing(inode, self._workers)
        if inode.attributes.is_regular:
            for offset, length in used.ranges:
                if length:
                    fetched = await self._content.prefetch(inode, offset, length, None, self._workers)
                    figures["fetched_bytes"] += fetched
        figures["files"] += 1

    # --- evicting

    async def _evict_file(self, inode: Inode, figures: Figures) -> None:
        for number, key in enumerate(_keys(inode)):
            resident = self._blocks.resident(key)
            if resident is not None:
                figures["blocks"] += 1
                figures["bytes"] += resident.size_bytes
            self._blocks.drop(key)
            if number % NAP_BLOCKS == NAP_BLOCKS - 1:
                await trio.lowlevel.checkpoint()
        self._drop_pages(inode)
        figures["files"] += 1

    def _drop_pages(self, inode: Inode) -> None:
        """Have the kernel forget what it holds of a file."""
        inode.kernel_generation = FOREIGN
        self._kernel.drop_data(inode.id)

    # --- checking

    async def _check_file(self, inode: Inode, figures: Figures) -> None:
        before = inode.generation
        await self._look_again(inode)
        if inode.generation != before and before and self._has_any(inode, before):
            figures["changed"] += 1
        await self._compare(inode, figures)
        figures["files"] += 1

    async def _look_again(self, inode: Inode) -> None:
        """Have the attributes from the source, whatever may be believed."""
        inode.checked_ns = 0
        await self._metadata.attributes(inode, self._workers)

    def _has_any(self, inode: Inode, generation: int) -> bool:
        return any(self._blocks.resident(key) is not None for key in _keys(inode, generation))

    async def _compare(self, inode: Inode, figures: Figures) -> None:
        generation = inode.generation
        differing = []
        for index, key in enumerate(_keys(inode)):
            if index % NAP_BLOCKS == NAP_BLOCKS - 1:
                await trio.lowlevel.checkpoint()
            block = self._blocks.get(key)
            if block is None:
                continue
            is_said = await self._workers.run(self._source.read, inode, index * BLOCK_BYTES, BLOCK_BYTES)
            if inode.generation != generation:
                break  # somebody writes to it: what was read is of another state than the block
            figures["blocks"] += 1
            figures["bytes"] += len(block.data)
            if any(is_said[page * PAGE_BYTES :][: len(data)] != data for page, data in block.pages()):
                differing.append((index, key))
        if not differing:
            return
        await self._look_again(inode)
        if inode.generation != generation:
            figures["changed"] += 1  # it changed while we looked, and its attributes tell
            return
        for _, key in differing:
            self._blocks.drop(key, "damaged")
        self._drop_pages(inode)
        figures["differing"] += 1
        if len(figures["differ"]) < SHOWN_MAX:
            figures["differ"].append({"path": _path(inode), "offsets": [index * BLOCK_BYTES for index, _ in differing]})

    # --- walking

    async def walk(self, start: Inode, visit: Callable[[Inode], Awaitable[None]], figures: Figures) -> None:
        """Visit `start`, or every regular file below it, `CARRIERS` at a time. OSErrors are counted."""
        if start.attributes.is_regular:
            await visit(start)
            return
        levels: list[tuple[Inode, Iterator[bytes]]] = []  # the deepest directory last: its names go first
        busy = 0
        changed = trio.Event()

        async def enter(directory: Inode) -> None:
            listing, _ = await self._metadata.listing(directory, self._workers)
            levels.append((directory, (listed.name for listed in listing.names)))

        async def step(directory: Inode, name: bytes) -> None:
            inode, _ = await self._metadata.lookup(directory, name, self._workers)
            if inode is None:
                return
            if inode.attributes.is_directory:
                await enter(inode)
            elif inode.attributes.is_regular:
                await visit(inode)

        async def carry() -> None:
            nonlocal busy, changed
            while levels or busy:
                if not levels:
                    await changed.wait()
                    continue
                directory, names = levels[-1]
                name = next(names, None)
                if name is None:
                    levels.pop()
                    continue
                busy += 1
                try:
                    await step(directory, name)
                except OSError:
                    figures["errors"] += 1
                finally:
                    busy -= 1
                    changed.set()
                    changed = trio.Event()

        await enter(start)
        async with trio.open_nursery() as nursery:
            for _ in range(CARRIERS):
                nursery.start_soon(carry)


def _keys(inode: Inode, generation: int | None = None) -> Iterator[bytes]:
    blocks = -(-inode.size // BLOCK_BYTES) if inode.attributes.is_regular else 0
    for index in range(blocks):
        yield block_key(inode.id, inode.generation if generation is None else generation, index)


def _path(inode: Inode) -> str:
    """The inode's path below the mount, as JSON can hold it: os.fsencode gives back its bytes."""
    return os.fsdecode(path_below(inode))


def _wishes(files: object) -> list[Wish]:
    """A part of a profile that came from outside: what is used of each path. Raises ValueError."""
    if not isinstance(files, list):
        raise ValueError("that is no part of a profile")
    return [(_names(path), used) for path, used in taken(files).items()]


def _names(path: str) -> tuple[bytes, ...]:
    names = tuple(name for name in os.fsencode(path).split(b"/") if name)
    if any(name in (b".", b"..") or b"\0" in name for name in names):
        raise ValueError("that is no part of a profile")
    return names
