"""Puts back what `undo.py` kept of a group: the newest change first, so that the oldest state is what remains.

A file that was removed is made anew under its name, with its mode, owner and time of change; new files that the group
made are left where they are, for they may be all that there is of what was not kept. What cannot be put back is counted
and its entry stays.
"""

import errno
import logging
import os
from collections.abc import Mapping
from typing import Any

from llmfs.content import Content
from llmfs.guard.undo import Entry, Kept
from llmfs.guard.watch import Guard
from llmfs.inodes import FOREIGN, Inode
from llmfs.kernel import KernelCache
from llmfs.metadata import Metadata
from llmfs.source import Source
from llmfs.workers import Workers

log = logging.getLogger(__name__)

_RENAME_NOREPLACE = 1
FAILED_MAX = 100
"""Files named in an answer; all of them are counted."""


class Restorer:
    """Carries out `llmfs guard restore`. A handler for `control_server.py`."""

    def __init__(
        self,
        guard: Guard | None,
        source: Source,
        metadata: Metadata,
        content: Content,
        kernel: KernelCache,
        workers: Workers,
    ) -> None:
        self._guard = guard
        self._undo = guard.undo if guard is not None else None
        self._source = source
        self._metadata = metadata
        self._content = content
        self._kernel = kernel
        self._workers = workers

    async def restore(self, request: Mapping[str, Any], figures: dict[str, Any], _: object) -> None:
        """Undo what is kept of a group. Raises ValueError where nothing is."""
        if self._guard is None or self._undo is None:
            raise ValueError("nothing is kept: it takes a mount with --guard throttle or protect")
        entries = self._undo.of(self._guard.wanted(str(request.get("id"))))
        if not entries:
            raise ValueError("nothing is kept of such a group: see llmfs guard list")
        figures.update(files=0, bytes=0, errors=0, failed=[])
        restored: set[int] = set()
        for number, entry in entries:
            try:
                figures["bytes"] += await self._undone(number, entry)
            except (OSError, ValueError) as error:
                figures["errors"] += 1
                log.warning("%s was not put back: %s", os.fsdecode(entry.path), error)
                if len(figures["failed"]) < FAILED_MAX:
                    figures["failed"].append(os.fsdecode(entry.path))
                continue
            restored.add(entry.inode)
            figures["files"] = len(restored)
            self._undo.drop([number])

    async def _undone(self, number: int, entry: Entry) -> int:
        """Undo one entry; the bytes written. Raises OSError, ValueError."""
        assert self._undo is not None
        if entry.kind is Kept.RENAME:
            await self._rename_back(entry)
            return 0
        data = await self._workers.run(self._undo.data, number)
        inode = await self._find(entry.path)
        if inode is None:
            if entry.kind is Kept.RANGE:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            inode = await self._make(entry)
        elif not inode.attributes.is_regular:
            raise ValueError("it is no file any more")
        offset = entry.offset if entry.kind is Kept.RANGE else 0
        self._content.changed(inode)
        try:
            await self._workers.run(self._write, inode, entry, offset, data)
        finally:
            inode.attributes = inode.attributes._replace(size=entry.size_bytes)
            inode.told_sizes = (entry.size_bytes,)
            self._content.changed(inode)
            self._metadata.own_change(inode)
            inode.kernel_generation = FOREIGN
            self._kernel.drop_data(inode.id)
        return len(data)

    def _write(self, inode: Inode, entry: Entry, offset: int, data: bytes) -> None:
        fd = self._source.open(inode, os.O_WRONLY, None)
        try:
            if data:
                self._source.write(fd, offset, data)
            self._source.set_size(inode, fd, entry.size_bytes, None)
        finally:
            self._source.descriptors.close(fd)
        self._source.set_times(inode, None, entry.mtime_ns, None)

    async def _make(self, entry: Entry) -> Inode:
        above, _, name = entry.path.rpartition(b"/")
        directory = await self._find(above)
        if directory is None or not directory.attributes.is_directory:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        flags = os.O_WRONLY | os.O_EXCL
        fd, attributes = await self._workers.run(self._source.create, directory, name, flags, entry.mode, None)
        self._source.descriptors.close(fd)
        inode = self._metadata.made(directory, name, attributes)
        await self._workers.run(self._source.set_owner, inode, entry.uid, entry.gid, None)
        self._metadata.own_change(inode)
        return inode

    async def _rename_back(self, entry: Entry) -> None:
        above, _, old_name = entry.path.rpartition(b"/")
        new_above, _, new_name = entry.new_path.rpartition(b"/")
        directory, new_directory = await self._find(above), await self._find(new_above)
        inode = await self._find(entry.new_path)
        if directory is None or new_directory is None or inode is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        if inode.id != entry.inode:
            raise ValueError("its name is another file's by now")
        await self._workers.run(
            self._source.rename, new_directory, new_name, directory, old_name, _RENAME_NOREPLACE, None, None
        )
        self._metadata.renamed(new_directory, new_name, inode, directory, old_name, None, False)

    async def _find(self, path: bytes) -> Inode | None:
        names = [name for name in path.split(b"/") if name]
        inode = await self._metadata.resolve(self._metadata.root, names, self._workers)
        if inode is not None:
            await self._metadata.attributes(inode, self._workers)
        return inode
