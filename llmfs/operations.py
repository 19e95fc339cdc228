"""The requests of the kernel, answered. Each handler is a few lines: ask the parts, shape the answer, note the access.

Every handler goes through `@answers`, which times it and turns errors into errnos: an OSError keeps its own, anything
else is a bug of ours, logged, and EIO. Permissions are checked by the kernel (`default_permissions`) against the
source's own attributes and access control lists; what is made, is made under the caller's identity.

Opening a file for reading does not open it in the source: when its bytes are cached the source is not asked at all, and
when they are not the first fetch opens it.
"""

import errno
import functools
import logging
import os
import stat
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from enum import Enum
from typing import Any, Concatenate, ParamSpec, TypeVar

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, RequestContext

from llmfs.attributes import Attributes
from llmfs.content import Content
from llmfs.handles import UNHEARD, Asked, Handle
from llmfs.identity import Caller
from llmfs.inodes import FOREIGN, Inode
from llmfs.kernel import KernelCache
from llmfs.local_rules import LocalRules
from llmfs.metadata import Metadata
from llmfs.metrics import TIERED_OPERATIONS, Metrics
from llmfs.patience import Patience
from llmfs.policy.rules import Tally, Treatment
from llmfs.push import Pusher
from llmfs.recorder import Recorder
from llmfs.source import Source
from llmfs.treatments import Treatments, shown_path
from llmfs.workers import Workers
from llmfs.xattrs import Xattrs
from predictor.events import FLAG_WRITE, Op, Tier

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

ROOT_PATIENCE_S = 1.0
"""How long the root's attributes are waited for before those of the last look are given."""

STATUS_XATTR = b"user.llmfs.status"
EXPLAIN_XATTR = b"user.llmfs.explain"
CACHED_XATTR = b"user.llmfs.cached"
HITS_XATTR = b"user.llmfs.hits"
_RENAME_EXCHANGE = 2
_RENAME_WHITEOUT = 4
_ON_HANDLES = frozenset(("read", "write", "flush", "fsync", "release", "readdir", "releasedir", "fsyncdir"))


class _Waits(Enum):
    WAIT = 0


WAIT = _Waits.WAIT
"""In place of an answer: something has to be waited for."""

Handler = Callable[Concatenate["Operations", P], Coroutine[Any, Any, T]]


def answers(
    operation: str, at_once: Callable[..., Any] | None = None, waits: bool = True
) -> Callable[[Handler[P, T]], Handler[P, T]]:
    """Time the handler, watch over its wait, and answer with an errno where it raises.

    at_once: has the answer where nothing has to be waited for, and is asked first. It may be called in vain: it
        changes nothing before it knows that it has one. waits: False where the handler never waits.
    """
    is_tiered = operation in TIERED_OPERATIONS

    def decorate(handler: Handler[P, T]) -> Handler[P, T]:
        @functools.wraps(handler)
        async def answer(self: "Operations", /, *args: P.args, **kwargs: P.kwargs) -> T:
            started_s = time.perf_counter()
            tier = Tier.NONE
            try:
                answered: Any = at_once(self, *args, **kwargs) if at_once is not None else WAIT
                if answered is WAIT:
                    answering = handler(self, *args, **kwargs)
                    answered = await (self._patience.watch(answering, self._pid(args)) if waits else answering)
                if is_tiered:
                    tier = self._tier
                return answered  # type: ignore[no-any-return]  # what the handler returns
            except FUSEError:
                raise
            except OSError as error:
                self._metrics.request_error[operation].inc()
                if error.errno == errno.ESTALE:
                    self._distrust(operation, args[0])
                raise FUSEError(error.errno or errno.EIO) from None
            except Exception:
                log.exception("%s failed", operation)
                self._metrics.request_error[operation].inc()
                raise FUSEError(errno.EIO) from None
            finally:
                self._afterwards(self._metrics.request[operation][tier].observe, time.perf_counter() - started_s)

        return answer

    return decorate


class Operations(pyfuse3.Operations):
    """pyfuse3's view of a mount."""

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(
        self,
        source: Source,
        metadata: Metadata,
        content: Content,
        xattrs: Xattrs,
        demand: Workers,
        rules: LocalRules[Inode],
        recorder: Recorder,
        kernel: KernelCache,
        pusher: Pusher,
        patience: Patience,
        treatments: Treatments,
        metrics: Metrics,
        is_read_only: bool,
        status: Callable[[], bytes],
        explain: Callable[[Inode], bytes],
        cached_bytes: Callable[[Inode], Awaitable[int]],
        afterwards: Callable[..., None],
    ) -> None:
        super().__init__()
        self._source = source
        self._metadata = metadata
        self._content = content
        self._demand = demand
        self._rules = rules
        self._recorder = recorder
        self._kernel = kernel
        self._pusher = pusher
        self._patience = patience
        self._treatments = treatments
        self._metrics = metrics
        self._is_read_only = is_read_only
        self._status = status
        self._explain = explain
        self._cached_bytes = cached_bytes
        self._afterwards = afterwards
        self._handles: dict[int, Handle] = {}
        self._next_handle = 1
        self._tier = Tier.NONE  # of the request that is being answered: set after the last await, read before the next
        self._xattrs = xattrs
        self.enable_acl = source.has_access_lists

    @property
    def open_handles(self) -> int:
        return len(self._handles)

    # --- names and attributes

    def _look_up_at_once(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes | _Waits:
        directory = self._metadata.inode(parent_inode)
        asked = self._asked(ctx, directory, name)
        known = self._metadata.lookup_at_once(directory, name, asked.generator)
        if known is None or (isinstance(known, Inode) and not self._pusher.is_settled(known)):
            return WAIT
        return self._looked_up(directory, name, known if isinstance(known, Inode) else None, Tier.CACHE, asked)

    @answers("lookup", _look_up_at_once)
    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        directory = self._metadata.inode(parent_inode)
        asked = self._asked(ctx, directory, name)
        inode, tier = await self._metadata.lookup(directory, name, self._demand, asked.generator)
        if inode is not None:
            await self._pusher.settle_past(inode)
        return self._looked_up(directory, name, inode, tier, asked)

    def _looked_up(
        self, directory: Inode, name: bytes, inode: Inode | None, tier: Tier, asked: Asked
    ) -> EntryAttributes:
        self._tier = _counting(tier, asked.treatment)
        name_time_s = self._metadata.name_time_to_live_s(directory, name)
        if inode is None:
            self._afterwards(self._was_absent, directory, name, tier, asked)
            return _no_entry(name_time_s)
        entry = self._entry(inode)
        entry.entry_timeout = name_time_s
        self._afterwards(self._was_looked_up, directory, name, inode, tier, asked)
        return entry

    def _was_absent(self, directory: Inode, name: bytes, tier: Tier, asked: Asked) -> None:
        self._count_names(asked.treatment, tier)
        if asked.stream:
            path = self._recorder.child_of(directory, name)
            self._recorder.record(Op.ABSENT, tier, path, asked.stream, asked.started_s)
            self._rules.absent(directory, tier)

    def _was_looked_up(self, directory: Inode, name: bytes, inode: Inode, tier: Tier, asked: Asked) -> None:
        self._count_names(asked.treatment, tier)
        if asked.stream:
            known, path = inode.attributes, self._recorder.child_of(directory, name)
            self._recorder.record(Op.LOOKUP, tier, path, asked.stream, asked.started_s, known.size, known.mode)
            self._rules.looked_up(directory, name, inode, tier)
            self._metadata_used(inode, tier)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for inode_id, count in inode_list:
            for gone in self._metadata.inodes.dereference(inode_id, count):
                self._metadata.dismissed(gone)

    def _stat_at_once(self, inode: int, ctx: RequestContext) -> EntryAttributes | _Waits:
        node = self._metadata.inode(inode)
        asked = self._asked(ctx, node)
        if not self._metadata.has_attributes(node, asked.generator) or not self._pusher.is_settled(node):
            return WAIT
        return self._stated(node, Tier.CACHE, asked)

    @answers("getattr", _stat_at_once)
    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        node = self._metadata.inode(inode)
        asked = self._asked(ctx, node)
        if node is self._metadata.root:
            tier = await self._look_at_root()
        else:
            _, tier = await self._metadata.attributes(node, self._demand, asked.generator)
            await self._pusher.settle_past(node)
        return self._stated(node, tier, asked)

    def _stated(self, node: Inode, tier: Tier, asked: Asked) -> EntryAttributes:
        self._tier = _counting(tier, asked.treatment)
        self._afterwards(self._was_stated, node, tier, asked)
        return self._attributes(node)

    def _was_stated(self, node: Inode, tier: Tier, asked: Asked) -> None:
        self._count_names(asked.treatment, tier)
        if asked.stream:
            path = self._recorder.path_of(node)
            self._recorder.record(Op.GETATTR, tier, path, asked.stream, asked.started_s, node.attributes.size)
            if node.place is not None:
                self._rules.looked_up(*node.place, node, tier)
            self._metadata_used(node, tier)

    async def _look_at_root(self) -> Tier:
        """Have the root's attributes fresh, but not wait long: status and unmount ask for them, hung source or not."""
        root = self._metadata.root
        if not root.attributes.ino:  # never seen: there is nothing to answer instead
            return (await self._metadata.attributes(root, self._demand))[1]
        tier = Tier.CACHE
        with trio.move_on_after(ROOT_PATIENCE_S):
            _, tier = await self._metadata.attributes(root, self._demand)
        return tier

    @answers("setattr")
    async def setattr(
        self, inode: int, attr: EntryAttributes, fields: pyfuse3.SetattrFields, fh: int | None, ctx: RequestContext
    ) -> EntryAttributes:
        started_s = time.perf_counter()
        node = self._metadata.inode(inode)
        caller = _caller(ctx)
        run, source = self._demand.run, self._source
        try:
            if fields.update_mode:
                await run(source.set_mode, node, stat.S_IMODE(attr.st_mode), caller)
            if fields.update_uid or fields.update_gid:
                uid = attr.st_uid if fields.update_uid else -1
                gid = attr.st_gid if fields.update_gid else -1
                await run(source.set_owner, node, uid, gid, caller)
            if fields.update_size:
                handle = self._handles.get(fh) if fh is not None else None
                node.writers += 1
                try:
                    await self._pusher.settle(node)
                    self._content.changed(node)
                    await run(source.set_size, node, handle.fd if handle else None, attr.st_size, caller)
                    node.attributes = node.attributes._replace(size=attr.st_size)
                    node.told_sizes = (attr.st_size,)
                finally:
                    self._content.changed(node)
                    node.writers -= 1
            if fields.update_atime or fields.update_mtime:
                atime_ns = attr.st_atime_ns if fields.update_atime else None
                mtime_ns = attr.st_mtime_ns if fields.update_mtime else None
                await run(source.set_times, node, atime_ns, mtime_ns, caller)
        finally:
            self._metadata.own_change(node)
        await self._metadata.attributes(node, self._demand)
        self._note(Op.SETATTR, node, ctx, started_s)
        return self._attributes(node)

    @answers("readlink")
    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        node = self._metadata.inode(inode)
        asked = self._asked(ctx, node)
        target, tier = await self._metadata.target(node, self._demand, asked.generator)
        self._count_names(asked.treatment, tier)
        if asked.stream:
            path = self._recorder.path_of(node)
            self._recorder.record(Op.READLINK, tier, path, asked.stream, asked.started_s)
        self._tier = _counting(tier, asked.treatment)
        return target

    @answers("access")
    async def access(self, inode: int, mode: int, ctx: RequestContext) -> bool:
        node = self._metadata.inode(inode)
        return await self._demand.run(self._source.access, node, mode, _caller(ctx))

    @answers("statfs")
    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        found = await self._demand.run(self._source.statfs)
        answer = pyfuse3.StatvfsData()
        for field in (
            "f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree", "f_favail", "f_namemax",
        ):  # fmt: skip
            setattr(answer, field, getattr(found, field))
        return answer

    # --- changing names

    @answers("mknod")
    async def mknod(self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext) -> EntryAttributes:
        directory = self._metadata.inode(parent_inode)
        made = await self._demand.run(self._source.mknod, directory, name, mode, rdev, _caller(ctx))
        return self._made(Op.CREATE, directory, name, made, ctx)

    @answers("mkdir")
    async def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext) -> EntryAttributes:
        directory = self._metadata.inode(parent_inode)
        made = await self._demand.run(self._source.mkdir, directory, name, mode, _caller(ctx))
        return self._made(Op.MKDIR, directory, name, made, ctx)

    @answers("symlink")
    async def symlink(self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext) -> EntryAttributes:
        directory = self._metadata.inode(parent_inode)
        made = await self._demand.run(self._source.symlink, directory, name, target, _caller(ctx))
        return self._made(Op.CREATE, directory, name, made, ctx)

    @answers("link")
    async def link(self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext) -> EntryAttributes:
        node, directory = self._metadata.inode(inode), self._metadata.inode(new_parent_inode)
        made = await self._demand.run(self._source.link, node, directory, new_name, _caller(ctx))
        return self._made(Op.LINK, directory, new_name, made, ctx)

    @answers("unlink")
    async def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._remove(self._source.unlink, Op.UNLINK, parent_inode, name, ctx)

    @answers("rmdir")
    async def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._remove(self._source.rmdir, Op.RMDIR, parent_inode, name, ctx)

    async def _remove(
        self, remove: Callable[..., None], op: Op, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> None:
        started_s = time.perf_counter()
        directory = self._metadata.inode(parent_inode)
        victim = self._metadata.in_use(directory, name)
        await self._demand.run(remove, directory, name, victim, _caller(ctx))
        self._metadata.removed(directory, name, victim)
        if stream := self._stream(ctx, directory, name):
            self._recorder.record(op, Tier.NONE, self._recorder.child_of(directory, name), stream, started_s)

    @answers("rename")
    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        started_s = time.perf_counter()
        old, new = self._metadata.inode(parent_inode_old), self._metadata.inode(parent_inode_new)
        inode = self._metadata.in_use(old, name_old)
        victim = self._metadata.in_use(new, name_new)
        kept = None if victim is inode else victim
        await self._demand.run(self._source.rename, old, name_old, new, name_new, flags, kept, _caller(ctx))
        self._metadata.renamed(old, name_old, inode, new, name_new, victim, bool(flags & _RENAME_EXCHANGE))
        if flags & _RENAME_WHITEOUT:
            self._metadata.unknown(old, name_old)  # a device that stands for "nothing here"
        if stream := self._stream(ctx, new, name_new):
            self._recorder.record(Op.RENAME, Tier.NONE, self._recorder.child_of(old, name_old), stream, started_s)
            self._recorder.record(Op.LOOKUP, Tier.NONE, self._recorder.child_of(new, name_new), stream, started_s)
        self._recorder.moved()

    def _made(
        self, op: Op, directory: Inode, name: bytes, attributes: Attributes, ctx: RequestContext
    ) -> EntryAttributes:
        inode = self._metadata.made(directory, name, attributes)
        self._note(op, inode, ctx, time.perf_counter())
        return self._entry(inode)

    # --- files

    def _open_at_once(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo | _Waits:
        started_s = time.perf_counter()
        if _is_for_writing(flags):
            return WAIT
        node = self._metadata.inode(inode)
        handle = self._opened(node, ctx)
        if not self._metadata.has_attributes(node, handle.generator) or not self._pusher.is_settled(node):
            return WAIT
        return self._open(handle, flags, Tier.CACHE, started_s)

    @answers("open", _open_at_once)
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        started_s = time.perf_counter()
        node = self._metadata.inode(inode)
        is_writing = _is_for_writing(flags)
        if is_writing and self._is_read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        handle = self._opened(node, ctx)
        _, tier = await self._metadata.attributes(node, self._demand, handle.generator)
        if is_writing:
            await self._open_for_writing(handle, flags, ctx)
        else:
            await self._pusher.settle_past(node)
        return self._open(handle, flags, tier, started_s)

    def _open(self, handle: Handle, flags: int, tier: Tier, started_s: float) -> FileInfo:
        node = handle.inode
        handle.is_direct = handle.fd is None and bool(flags & os.O_DIRECT)
        # Pages that the kernel holds are good exactly when they are of the generation that we would serve.
        keeps_cache = node.kernel_generation in (0, node.generation)
        node.kernel_generation = node.generation
        self._tier = _counting(tier, handle.treatment)
        self._afterwards(self._was_opened, handle, tier, started_s)
        return FileInfo(fh=self._handle(handle), keep_cache=keeps_cache)

    def _was_opened(self, handle: Handle, tier: Tier, started_s: float) -> None:
        node = handle.inode
        self._count_names(handle.treatment, tier)
        if handle.stream:
            self._metadata_used(node, tier)
            path, flags = self._recorder.path_of(node), FLAG_WRITE if handle.fd is not None else 0
            self._recorder.record(Op.OPEN, tier, path, handle.stream, started_s, node.attributes.size, flags=flags)

    async def _open_for_writing(self, handle: Handle, flags: int, ctx: RequestContext) -> None:
        node = handle.inode
        is_truncating = bool(flags & os.O_TRUNC)
        node.writers += 1
        try:
            await self._pusher.settle(node)
            if is_truncating:
                self._content.changed(node)
            try:
                handle.fd = await self._demand.run_short(self._source.open, node, flags, _caller(ctx))
                if is_truncating:
                    node.attributes = node.attributes._replace(size=0)
                    node.told_sizes = (0,)
            finally:
                if is_truncating:
                    self._content.changed(node)
                    self._metadata.own_change(node)
        except BaseException:
            node.writers -= 1
            raise
        handle.appends = trio.Lock() if flags & os.O_APPEND else None

    @answers("create")
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        directory = self._metadata.inode(parent_inode)
        fd, attributes = await self._demand.run(self._source.create, directory, name, flags, mode, _caller(ctx))
        entry = self._made(Op.CREATE, directory, name, attributes, ctx)
        node = self._metadata.inode(entry.st_ino)
        handle = self._opened(node, ctx)
        handle.fd = fd
        node.writers += 1
        with trio.CancelScope(shield=True):  # the file may have been there: something may be on its way to it
            await self._pusher.settle(node)
        handle.appends = trio.Lock() if flags & os.O_APPEND else None
        keeps_cache = node.kernel_generation in (0, node.generation)
        node.kernel_generation = node.generation
        return FileInfo(fh=self._handle(handle), keep_cache=keeps_cache), entry

    def _read_at_once(self, fh: int, off: int, size: int) -> bytes | _Waits:
        started_s = time.perf_counter()
        handle = self._handles[fh]
        treatment = handle.treatment
        if treatment.is_bypassing:
            return WAIT
        data = self._content.at_once(handle.inode, off, size, treatment)
        if data is None:
            return WAIT
        self._tier = Tier.CACHE
        self._afterwards(self._was_hit, handle, off, size, data, started_s)
        return data

    @answers("read", _read_at_once)
    async def read(self, fh: int, off: int, size: int) -> bytes:
        started_s = time.perf_counter()
        handle = self._handles[fh]
        node, treatment = handle.inode, handle.treatment
        is_sequential = self._rules.read(handle, off, size, treatment.is_prefetched)
        data: bytes | bytearray
        if treatment.is_bypassing:
            reading = self._content.read_bypassing(node, off, size, is_sequential, self._demand, treatment)
            data, tier = await reading, Tier.NONE
        else:
            data, tier = await self._content.complete(node, off, size, is_sequential, self._demand, treatment)
        self._tier = tier
        self._afterwards(self._was_read, handle, off, data, tier, started_s)
        return data  # type: ignore[return-value]  # pyfuse3 takes any buffer

    def _was_hit(self, handle: Handle, off: int, size: int, data: bytes, started_s: float) -> None:
        self._rules.read(handle, off, size, handle.treatment.is_prefetched, is_cached=True)
        handle.inode.hits += 1
        if handle.fd is None and not handle.is_direct:
            self._pusher.hit(handle.inode, off, len(data))
        self._was_read(handle, off, data, Tier.CACHE, started_s)

    def _was_read(self, handle: Handle, off: int, data: bytes | bytearray, tier: Tier, started_s: float) -> None:
        if tier is not Tier.NONE:
            self._metrics.reads[tier].inc()
            self._metrics.read_bytes[tier].inc(len(data))
        if handle.treatment.tally is not None:
            self._follow(handle.treatment.tally, len(data))
        if handle.stream:
            self._rules.was_read(handle, off, tier, data)
            path = self._recorder.path_of(handle.inode)
            self._recorder.record(Op.READ, tier, path, handle.stream, started_s, off, len(data))

    @answers("write")
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        started_s = time.perf_counter()
        handle = self._handles[fh]
        node = handle.inode
        if handle.fd is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        self._content.changed(node)
        handle.is_dirty = True
        try:
            if handle.appends is not None:
                written, end = await self._append(handle, handle.appends, handle.fd, off, buf)
            else:
                written = await self._demand.run(self._source.write, handle.fd, off, buf)
                end = off + written
            node.told_sizes = tuple({max(size, off + written) for size in node.told_sizes})
            if end > node.attributes.size:
                node.attributes = node.attributes._replace(size=end)
        finally:
            self._content.changed(node)
            self._metadata.own_change(node)
        self._metrics.written_bytes.inc(written)
        if handle.stream:
            self._recorder.record(
                Op.WRITE, Tier.NONE, self._recorder.path_of(node), handle.stream, started_s, off, written, FLAG_WRITE
            )
        return written

    async def _append(self, handle: Handle, turns: trio.Lock, fd: int, off: int, buf: bytes) -> tuple[int, int]:
        """Write at the end of the file. Returns the number of bytes and the new end.

        The kernel cuts a long direct write and sends the pieces all at once; they come to us in their order and have to
        be appended in it. Not all that it writes through such a handle is appended, which we are not told: the program
        may have taken the flag away (F_SETFL), or mapped the file. But where it appends, it writes to what it takes for
        the end: the size that we told it last, or one before, where it may not have heard of the last.
        """
        node, run = handle.inode, self._demand.run
        async with turns:
            if off not in node.told_sizes:
                if handle.placing_fd is None:
                    handle.placing_fd = await run(self._source.open, node, os.O_WRONLY, None)
                written = await run(self._source.write, handle.placing_fd, off, buf)
                return written, off + written
            end = await run(self._source.append, fd, buf)
            if end != off + len(buf):  # somebody else appended too: the kernel's pages are at the wrong offset
                node.kernel_generation = FOREIGN
                self._kernel.drop_data(node.id)
            return len(buf), end

    def _flush_at_once(self, fh: int) -> _Waits | None:
        if self._is_read_only or self._source.tells_errors_at_once:
            raise FUSEError(errno.ENOSYS)  # nothing to learn from a close: the kernel does not ask again
        return WAIT if self._handles[fh].is_dirty else None

    @answers("flush", _flush_at_once)
    async def flush(self, fh: int) -> None:
        handle = self._handles[fh]
        if handle.fd is not None and handle.is_dirty:
            handle.is_dirty = False
            await self._demand.run(self._source.flush, handle.fd)

    @answers("fsync")
    async def fsync(self, fh: int, datasync: bool) -> None:
        handle = self._handles[fh]
        if handle.fd is not None:
            await self._demand.run(self._source.fsync, handle.fd, datasync)
        else:
            await self._demand.run(self._source.fsync_reader, handle.inode, datasync)

    @answers("release", waits=False)
    async def release(self, fh: int) -> None:
        handle = self._handles.pop(fh)
        handle.inode.handles -= 1
        if handle.fd is not None:
            handle.inode.writers -= 1
            self._source.descriptors.close(handle.fd)
        if handle.placing_fd is not None:
            self._source.descriptors.close(handle.placing_fd)
        node = handle.inode
        if handle.stream:
            path, now_s = self._recorder.path_of(node), time.perf_counter()
            self._recorder.record(Op.RELEASE, Tier.NONE, path, handle.stream, now_s)
        if not node.handles and not node.lookups:
            for gone in self._metadata.inodes.dereference(node.id, 0):
                self._metadata.dismissed(gone)

    # --- directories

    @answers("opendir", waits=False)
    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        node = self._metadata.inode(inode)
        return self._handle(self._opened(node, ctx))

    @answers("readdir")
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        started_s = time.perf_counter()
        handle = self._handles[fh]
        directory = handle.inode
        tier = Tier.CACHE  # the handle has the listing
        if start_id == 0 or handle.listing is None:
            handle.listing, tier = await self._metadata.listing(directory, self._demand, handle.generator)
            self._afterwards(self._was_listed, handle, tier, started_s)
        names = handle.listing.names
        position = start_id
        above = directory.place[0] if directory.place else directory
        for name, inode in ((b".", directory), (b"..", above))[position:]:
            position += 1
            if not pyfuse3.readdir_reply(token, name, self._attributes(inode), position):
                self._tier = _counting(tier, handle.treatment)
                return
        is_current = self._metadata.is_current(directory, handle.listing)
        name_time_s = self._metadata.time_to_live_s(directory) if is_current else 0.0
        while position - 2 < len(names):
            listed = names[position - 2]
            position += 1
            child = self._metadata.listed(directory, listed, is_current, handle.generator)
            if child is None:
                child, tier = await self._metadata.lookup(directory, listed.name, self._demand, handle.generator)
                if child is None:
                    continue  # it went since we listed
            await self._pusher.settle_past(child)
            entry = self._attributes(child)
            entry.entry_timeout = name_time_s
            # A bad guess at attributes is given no time at all: the kernel asks before it tells anybody.
            if not pyfuse3.readdir_reply(token, listed.name, entry, position):
                break
            self._metadata.inodes.reference(child)
        self._tier = _counting(tier, handle.treatment)

    def _was_listed(self, handle: Handle, tier: Tier, started_s: float) -> None:
        directory = handle.inode
        self._count_names(handle.treatment, tier)
        if handle.stream:
            if tier is Tier.CACHE and handle.listing is not None:
                self._metadata.listing_used(directory, handle.listing)
            path = self._recorder.path_of(directory)
            self._recorder.record(Op.READDIR, tier, path, handle.stream, started_s)
            self._rules.listed(directory)
            self._xattrs.listed(directory, handle.pid)

    @answers("releasedir", waits=False)
    async def releasedir(self, fh: int) -> None:
        self._handles.pop(fh).inode.handles -= 1

    @answers("fsyncdir")
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        await self._demand.run(self._source.fsync_directory, self._handles[fh].inode)

    # --- extended attributes

    def _get_xattr_at_once(self, inode: int, name: bytes, ctx: RequestContext) -> _Waits:
        node = self._metadata.inode(inode)
        if self._xattrs.is_absent_at_once(node, name, self._asked(ctx, node).generator):
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        return WAIT

    @answers("getxattr", _get_xattr_at_once)
    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        if name == STATUS_XATTR and inode == self._metadata.root.id:
            return self._status()
        node = self._metadata.inode(inode)
        if name == EXPLAIN_XATTR:
            return self._explain(node)
        if name == CACHED_XATTR:
            return b"%d" % await self._cached_bytes(node)
        if name == HITS_XATTR:
            return b"%d" % node.hits
        return await self._xattrs.get(node, name, _caller(ctx), self._asked(ctx, node).generator)

    @answers("listxattr")
    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        return await self._xattrs.list(self._metadata.inode(inode), _caller(ctx))

    @answers("setxattr")
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        await self._xattrs.set(self._metadata.inode(inode), name, value, _caller(ctx))

    @answers("removexattr")
    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._xattrs.remove(self._metadata.inode(inode), name, _caller(ctx))

    # --- answers

    def _pid(self, arguments: tuple[object, ...]) -> int:
        """The thread that made a request; of a request on a handle, the one that opened it."""
        last = arguments[-1]
        if isinstance(last, RequestContext):
            return last.pid
        handle = self._handles.get(arguments[0]) if isinstance(arguments[0], int) else None
        return handle.pid if handle is not None else 0

    def _distrust(self, operation: str, number: object) -> None:
        """A request about an inode or a handle ended in ESTALE."""
        assert isinstance(number, int)
        if operation in _ON_HANDLES:
            handle = self._handles.get(number)
            inode = handle.inode if handle is not None else None
        else:
            inode = self._metadata.inodes.get(number)
        if inode is not None:
            self._metadata.distrust(inode)

    def _treatment(self, stream: int, ctx: RequestContext, inode: Inode, name: bytes | None = None) -> Treatment:
        return self._treatments.of(stream, ctx.pid, ctx.uid, lambda: shown_path(inode, name))

    def _asked(self, ctx: RequestContext, inode: Inode, name: bytes | None = None) -> Asked:
        """Who makes this request about an inode, or a name in it, now."""
        stream = self._recorder.stream_of(ctx.pid)
        treatment = self._treatment(stream, ctx, inode, name)
        return Asked(time.perf_counter(), stream if treatment.is_prefetched else UNHEARD, treatment)

    def _stream(self, ctx: RequestContext, inode: Inode, name: bytes | None = None) -> int:
        return self._asked(ctx, inode, name).stream

    def _opened(self, inode: Inode, ctx: RequestContext) -> Handle:
        """A handle, with what is done about its accesses, whoever makes them."""
        stream = self._recorder.stream_of(ctx.pid)
        treatment = self._treatment(stream, ctx, inode)
        treatment = self._treatments.by_program(treatment, ctx.pid)
        if treatment.is_prefetched:
            inode.treatment = treatment
        return Handle(inode, stream if treatment.is_prefetched else UNHEARD, ctx.pid, treatment)

    def _handle(self, handle: Handle) -> int:
        number = self._next_handle
        self._next_handle += 1
        self._handles[number] = handle
        handle.inode.handles += 1
        return number

    def _note(self, op: Op, inode: Inode, ctx: RequestContext, started_s: float, tier: Tier = Tier.NONE) -> None:
        if stream := self._stream(ctx, inode):
            self._recorder.record(op, tier, self._recorder.path_of(inode), stream, started_s)

    def _count_names(self, treatment: Treatment, tier: Tier) -> None:
        """Count an answer about names."""
        if treatment.tally is not None:
            self._follow(treatment.tally)
        if not treatment.is_bypassing:
            self._metrics.metadata[tier].inc()

    def _follow(self, tally: Tally, read_bytes: int = 0) -> None:
        """A request was answered as a rule says."""
        tally.requests += 1
        tally.read_bytes += read_bytes
        self._metrics.policy_requests[tally.rule.do].inc()
        self._metrics.policy_read_bytes[tally.rule.do].inc(read_bytes)

    def _metadata_used(self, inode: Inode, tier: Tier) -> None:
        generator = inode.prefetched_by
        if generator is not None:
            inode.prefetched_by = None
            if tier is Tier.CACHE:
                self._metrics.prefetch_used("attributes", generator, was_late=False)
            else:
                self._metrics.prefetch_was_in_vain("attributes", generator)  # its time was up

    def _entry(self, inode: Inode) -> EntryAttributes:
        """An answer by which the kernel takes a reference to the inode."""
        self._metadata.inodes.reference(inode)
        return self._attributes(inode)

    def _attributes(self, inode: Inode) -> EntryAttributes:
        known = inode.attributes
        entry = EntryAttributes()
        entry.st_ino = inode.id
        entry.generation = 0
        entry.attr_timeout = entry.entry_timeout = self._metadata.time_to_live_s(inode)
        entry.st_mode = known.mode
        entry.st_nlink = known.nlink
        entry.st_uid = known.uid
        entry.st_gid = known.gid
        entry.st_rdev = known.rdev
        entry.st_size = known.size
        if inode.told_sizes[:1] != (known.size,):
            inode.told_sizes = (known.size, *(size for size in inode.told_sizes if size != known.size))[:4]
        entry.st_blksize = known.blksize
        entry.st_blocks = known.blocks
        entry.st_atime_ns = known.atime_ns
        entry.st_mtime_ns = known.mtime_ns
        entry.st_ctime_ns = known.ctime_ns
        return entry


def _counting(tier: Tier, treatment: Treatment) -> Tier:
    """The tier that an answer's time counts for: none where it bypasses the cache."""
    return Tier.NONE if treatment.is_bypassing else tier


def _is_for_writing(flags: int) -> bool:
    return flags & os.O_ACCMODE != os.O_RDONLY or bool(flags & os.O_TRUNC)


def _no_entry(timeout_s: float) -> EntryAttributes:
    """ "There is no such name", which the kernel may believe for a while."""
    entry = EntryAttributes()
    entry.st_ino = 0
    entry.entry_timeout = timeout_s
    entry.attr_timeout = 0
    return entry


def _caller(ctx: RequestContext) -> Caller:
    return Caller(ctx.uid, ctx.gid, ctx.pid)
