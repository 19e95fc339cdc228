"""The requests of the kernel as `llmfs/operations.py` answers them, with the guard before those that change something.

Each handler asks whether who makes the request is held up, tells the guard what is about to be lost or was made, and
leaves the rest to the handler that it overrides. What the guard raises is passed over, but for EROFS: the mount works
without it.
"""

import errno
import os
import time
from collections.abc import Callable
from typing import Any

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, RequestContext

from llmfs.guard.actors import Actor
from llmfs.guard.undo import BLOCK_BYTES, Entry, Kept
from llmfs.guard.watch import Guard, Writing, place
from llmfs.inodes import Inode
from llmfs.operations import Operations
from predictor.guard.decisions import Level
from predictor.guard.events import Kind, extension
from predictor.guard.looks import SAMPLE_BYTES, Look, look

THROTTLE_S = 0.25
"""How long each change of a throttled group waits: four a second are enough for a person, and little for an attack."""

_RENAME_EXCHANGE = 2


class GuardedOperations(Operations):
    """pyfuse3's view of a mount that has a guard."""

    def __init__(
        self, guard: Guard, peek: Callable[[Inode, int, int], bytes | bytearray | None], *args: Any, **kwargs: Any
    ) -> None:
        """`peek(inode, offset, length)`: bytes of a file if they are at hand, without waiting; the rest as
        Operations."""
        super().__init__(*args, **kwargs)
        self._guard = guard
        self._peek = peek
        self._writings: dict[int, Writing] = {}  # by handle

    # --- files

    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        is_changing = flags & os.O_ACCMODE != os.O_RDONLY or bool(flags & os.O_TRUNC)
        if not is_changing:
            info = await super().open(inode, flags, ctx)
            self._note_open(inode, ctx)
            return info
        actor = await self._admit(ctx.pid)
        if flags & os.O_TRUNC:
            await self._losing(Kind.TRUNCATE, actor, self._metadata.inodes.get(inode))
        info = await super().open(inode, flags, ctx)
        self._note_open(inode, ctx)
        self._begin(info.fh, actor)
        return info

    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        actor = await self._admit(ctx.pid)
        info, entry = await super().create(parent_inode, name, mode, flags, ctx)
        self._made_new(actor, entry.st_ino, parent_inode, name)
        self._begin(info.fh, actor)
        return info, entry

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        writing = self._writings.get(fh)
        if writing is None or self._guard.is_down:
            return await super().write(fh, off, buf)
        actor = writing.actor
        if actor.level or actor.cgroup.level:
            await self._hold_up(actor, self._handles[fh].pid)
        if self._guard.undo is not None and not writing.is_new:
            await self._keep_blocks(writing, off, len(buf))
        if off == writing.next_offset and writing.pending is None and writing.written < writing.sample_at:
            writing.next_offset += len(buf)  # it goes on with a run that was looked at: the common case, without a call
            writing.written += len(buf)
            return await super().write(fh, off, buf)
        try:
            self._guard.wrote(writing, off, buf, self._peek)
        except Exception:
            self._guard.fault()
        if actor.level is Level.DENIED or actor.cgroup.level is Level.DENIED:  # this very write was one too many
            self._refuse()
        return await super().write(fh, off, buf)

    async def release(self, fh: int) -> None:
        writing = self._writings.pop(fh, None)
        if writing is not None:
            try:
                self._guard.closed(writing)
            except Exception:
                self._guard.fault()
        await super().release(fh)

    async def setattr(
        self, inode: int, attr: EntryAttributes, fields: pyfuse3.SetattrFields, fh: int | None, ctx: RequestContext
    ) -> EntryAttributes:
        actor = await self._admit(ctx.pid)
        node = self._metadata.inodes.get(inode)
        if fields.update_size and node is not None and attr.st_size < node.size:
            await self._losing(Kind.TRUNCATE, actor, node)
        return await super().setattr(inode, attr, fields, fh, ctx)

    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        fh = await super().opendir(inode, ctx)
        self._note_open(inode, ctx)
        return fh

    # --- names

    async def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        actor = await self._admit(ctx.pid)
        victim = await self._victim(parent_inode, name)
        if victim is not None and victim.attributes.nlink < 2:
            await self._losing(Kind.UNLINK, actor, victim, (parent_inode, name))
        await super().unlink(parent_inode, name, ctx)

    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        actor = await self._admit(ctx.pid)
        if actor is not None and not flags & _RENAME_EXCHANGE:
            await self._renaming(actor, (parent_inode_old, name_old), (parent_inode_new, name_new))
        await super().rename(parent_inode_old, name_old, parent_inode_new, name_new, flags, ctx)

    async def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext) -> EntryAttributes:
        actor = await self._admit(ctx.pid)
        entry = await super().mkdir(parent_inode, name, mode, ctx)
        self._tell(Kind.MKDIR, actor, entry.st_ino, parent_inode, name)
        return entry

    async def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._admit(ctx.pid)
        await super().rmdir(parent_inode, name, ctx)

    async def mknod(self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext) -> EntryAttributes:
        actor = await self._admit(ctx.pid)
        entry = await super().mknod(parent_inode, name, mode, rdev, ctx)
        self._made_new(actor, entry.st_ino, parent_inode, name)
        return entry

    async def symlink(self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext) -> EntryAttributes:
        await self._admit(ctx.pid)
        return await super().symlink(parent_inode, name, target, ctx)

    async def link(self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext) -> EntryAttributes:
        await self._admit(ctx.pid)
        return await super().link(inode, new_parent_inode, new_name, ctx)

    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        await self._admit(ctx.pid)
        await super().setxattr(inode, name, value, ctx)

    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._admit(ctx.pid)
        await super().removexattr(inode, name, ctx)

    # --- who may

    async def _admit(self, pid: int) -> Actor | None:
        """Who makes the request; None where the guard cannot tell. Raises FUSEError(EROFS) where it may not."""
        if self._guard.is_down:
            return None
        try:
            actor = self._guard.actors.of(pid)
        except Exception:
            self._guard.fault()
            return None
        if actor.level > Level.ALERTED or actor.cgroup.level > Level.ALERTED:
            await self._hold_up(actor, pid)
        return actor

    async def _hold_up(self, actor: Actor, pid: int) -> None:
        """Have a throttled group wait, and a denied one fail. Raises FUSEError(EROFS)."""
        if max(actor.level, actor.cgroup.level) is Level.THROTTLED:
            self._guard.metrics.guard_throttled_seconds.inc(THROTTLE_S)
            await self._waiting(pid)
        if Level.DENIED in (actor.level, actor.cgroup.level):
            self._refuse()

    def _refuse(self) -> None:
        self._guard.metrics.guard_denied_requests.inc()
        raise FUSEError(errno.EROFS)

    async def _waiting(self, pid: int) -> None:
        """A while, unless the program is being killed."""

        async def wait() -> None:
            await trio.sleep(THROTTLE_S)

        try:
            await self._patience.watch(wait(), pid)
        except OSError as error:
            raise FUSEError(error.errno or errno.EIO) from None

    # --- what the guard is told

    def _tell(self, kind: Kind, actor: Actor | None, file: int, directory: int, name: bytes) -> None:
        if actor is not None:
            try:
                self._guard.did(kind, actor, file, directory, name)
            except Exception:
                self._guard.fault()

    def _made_new(self, actor: Actor | None, file: int, directory: int, name: bytes) -> None:
        if self._guard.undo is not None:
            self._guard.undo.forget_new(file)
        self._tell(Kind.CREATE, actor, file, directory, name)

    def _note_open(self, inode: int, ctx: RequestContext) -> None:
        if self._guard.is_down:
            return
        try:
            node = self._metadata.inode(inode)
            directory, name = place(node)
            self._guard.opened(self._guard.actors.of(ctx.pid), node, name, directory)
        except Exception:
            self._guard.fault()

    def _begin(self, fh: int, actor: Actor | None) -> None:
        if actor is not None:
            node = self._handles[fh].inode
            if node.attributes.is_regular:
                self._writings[fh] = Writing(actor, node, self._guard.engine.files.is_new(node.id, actor.id))

    async def _victim(self, directory: int, name: bytes) -> Inode | None:
        try:
            return await self._named(directory, name)
        except Exception:  # of the source's, or a fault: the handler below says it to the program
            return None

    async def _losing(
        self, kind: Kind, actor: Actor | None, node: Inode | None, at: tuple[int, bytes] | None = None
    ) -> None:
        """A file is about to lose all that it has: keep it if need be, and tell. Raises FUSEError(EROFS)."""
        if actor is None or node is None or not node.attributes.is_regular:
            return
        try:
            files = self._guard.engine.files
            for writing in self._writings.values():  # a copy may not be closed yet
                if writing.told_bytes and writing.is_new:
                    files.sized(writing.inode.id, max(writing.inode.size, writing.next_offset))
            old: Look | None = None
            is_of_others = bool(node.size) and not files.is_new(node.id, actor.id)
            if is_of_others and (kind is Kind.TRUNCATE or files.awaits(node.size, time.time())):
                old = await self._kept_whole(actor, node, at)
            directory, name = at or place(node)
            self._guard.did(kind, actor, node.id, directory, name, node.size, None, old)
        except FUSEError:
            raise
        except Exception:
            self._guard.fault()
        if actor.level is Level.DENIED or actor.cgroup.level is Level.DENIED:
            self._refuse()

    async def _renaming(self, actor: Actor, old_at: tuple[int, bytes], new_at: tuple[int, bytes]) -> None:
        try:
            node, victim = await self._named(*old_at), await self._named(*new_at)
            if node is None or not node.attributes.is_regular:
                return
            files = self._guard.engine.files
            old: Look | None = None
            has_other = victim is not None and victim is not node and victim.attributes.nlink < 2
            is_lossy = has_other and files.has_ciphertext(node.id)
            if is_lossy and victim is not None and victim.size and not files.is_new(victim.id, actor.id):
                old = await self._kept_whole(actor, victim, new_at)
            is_foreign = extension(old_at[1]) != extension(new_at[1])
            if self._guard.undo is not None and is_foreign and not files.is_new(node.id, actor.id):
                await self._kept(self._undo_entry(actor, Kept.RENAME, node, new_path=self._path(*new_at)), bytes)
            self._guard.did(
                Kind.RENAME, actor, node.id, *old_at, node.size, None, old, *new_at,
                victim.id if victim is not None else 0, victim.size if victim is not None else 0,
            )  # fmt: skip
        except FUSEError:
            raise
        except Exception:
            self._guard.fault()
        if actor.level is Level.DENIED or actor.cgroup.level is Level.DENIED:
            self._refuse()

    # --- what is kept

    async def _kept_whole(self, actor: Actor, node: Inode | None, at: tuple[int, bytes] | None) -> Look | None:
        """How a file looks that is about to be lost, and, where there is undo, a copy of it."""
        assert node is not None
        undo = self._guard.undo
        if undo is None or not undo.wants_all(node.id):
            head = self._peek(node, 0, SAMPLE_BYTES)
            return look(head, is_head=True) if head else None
        heads: list[bytes] = []

        def read() -> bytes:
            data = self._source.read(node, 0, node.size)
            heads.append(data[:SAMPLE_BYTES])
            return data

        entry = self._undo_entry(actor, Kept.WHOLE, node, path=self._path(*at) if at is not None else None)
        await self._kept(entry, read)
        return look(heads[0], is_head=True) if heads and heads[0] else None

    async def _keep_blocks(self, writing: Writing, offset: int, length: int) -> None:
        """Copies of the blocks that a write is about to change."""
        try:
            undo, node = self._guard.undo, writing.inode
            assert undo is not None
            for block in undo.wants(node.id, offset, length, node.size):
                entry = self._undo_entry(writing.actor, Kept.RANGE, node, offset=block * BLOCK_BYTES)

                def read(at: int = entry.offset) -> bytes:
                    return self._source.read(node, at, min(BLOCK_BYTES, node.size - at))

                data = await self._kept(entry, read)
                if data and entry.offset <= offset < entry.offset + BLOCK_BYTES:
                    sample = data[offset - entry.offset :][:SAMPLE_BYTES]
                    writing.old = look(sample, is_head=not offset) if sample else writing.old
        except FUSEError:
            raise
        except Exception:
            self._guard.fault()

    async def _kept(self, entry: Entry, read: Callable[[], bytes]) -> bytes:
        """Write an entry in a thread; the bytes that were there, none where that failed."""
        undo = self._guard.undo
        assert undo is not None
        found: list[bytes] = []

        def look_and_read() -> bytes:
            found.append(read())
            return found[0]

        async def keep() -> None:
            await self._demand.run(undo.keep, entry, look_and_read)

        await keep()
        return found[0] if found else b""

    def _undo_entry(
        self,
        actor: Actor,
        kind: Kept,
        node: Inode,
        offset: int = 0,
        path: bytes | None = None,
        new_path: bytes = b"",
    ) -> Entry:
        known = node.attributes
        return Entry(
            actor.ref,
            actor.cgroup.path,
            actor.command,
            time.time(),
            kind,
            self._path_of(node) if path is None else path,
            node.id,
            offset,
            node.size,
            known.mode,
            known.uid,
            known.gid,
            known.mtime_ns,
            new_path,
        )

    async def _named(self, directory: int, name: bytes) -> Inode | None:
        """What a name stands for. The kernel has just looked it up, so this hardly ever waits. Raises OSError."""
        above = self._metadata.inode(directory)
        inode = self._metadata.in_use(above, name)
        if inode is None and above.children is not None:
            inode, _ = await self._metadata.lookup(above, name, self._demand)
        return inode

    def _path(self, directory: int, name: bytes) -> bytes:
        above = self._path_of(self._metadata.inode(directory))
        return above + b"/" + name if above else name

    def _path_of(self, node: Inode) -> bytes:
        return self._recorder.path(node)
