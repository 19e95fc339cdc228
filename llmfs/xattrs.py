"""Extended attributes, which the kernel asks for more often than programs do.

Before each write it asks whether the file has capabilities that the write must take away (`security.capability`), and
before it lets anybody but the owner have his way, whether there is an access control list. Nearly always there is
none. That a name which the kernel asks for is not there is therefore believed for as long as attributes are, and after
that while the file's generation is the same, over remounts too: setting an attribute changes a file's ctime, and with
it the generation. What the source's file system does not support at all is not asked for twice.

Values are never kept here: the kernel keeps access control lists by itself.

`ls -l` asks for two of each file that it lists, one after the other. Who walks a listing that way
(`policy/scanning.py`) is asked ahead of: the same names of the files that come next, many at a time; and, when he lists
the next directory, of the files in that one.
"""

import errno
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import trio

from llmfs.identity import Caller
from llmfs.inodes import Inode, ListedName
from llmfs.metadata import UNREACHABLE, Metadata
from llmfs.policy.scanning import Scan
from llmfs.records import Records
from llmfs.source import Source
from llmfs.workers import Workers

log = logging.getLogger(__name__)

T = TypeVar("T")

ACCESS_LIST, DEFAULT_LIST = b"system.posix_acl_access", b"system.posix_acl_default"
_ASKED_BY_THE_KERNEL = {b"security.capability": 1, b"security.selinux": 2, ACCESS_LIST: 4, DEFAULT_LIST: 8}
"""With their bits in `Records.lacking`."""

_SUPPORTED_AS_A_WHOLE = frozenset((b"user", b"trusted", b"security", ACCESS_LIST, DEFAULT_LIST, b""))
_LIST = b""

WALKS_LIMIT = 256
TOGETHER = 4
"""Files that one thread asks for, one after the other, without coming back in between."""

AHEAD_LIMIT = 2048 // TOGETHER
"""How many times that wait."""


_Ahead = tuple[Inode, Sequence[bytes], frozenset[bytes]]
"""A directory, files in it, and what to ask of each."""


class _Walk:
    """A walk through a directory, and what was asked of each file."""

    __slots__ = ("names", "scan")

    def __init__(self) -> None:
        self.scan = Scan()
        self.names: set[bytes] = set()


class Xattrs:
    """Gets, lists, sets and removes them, as the caller. All raise OSError of the source."""

    def __init__(self, source: Source, metadata: Metadata, records: Records, demand: Workers, ahead: Workers) -> None:
        self._source = source
        self._records = records
        self._metadata = metadata
        self._demand = demand
        self._ahead = ahead
        self._unsupported: set[bytes] = set()
        self._walks: OrderedDict[int, _Walk] = OrderedDict()  # by directory
        self._walker = 0  # the process that walked the last one,
        self._walked_for: frozenset[bytes] = frozenset()  # and what it asked of each file
        self._send, self._receive = trio.open_memory_channel[_Ahead](AHEAD_LIMIT)

    async def get(self, inode: Inode, name: bytes, caller: Caller, generator: str | None = None) -> bytes:
        """`generator` is None, or UNCOUNTED where nothing is to be asked ahead of the program (metadata.py)."""
        known = inode.absent_xattrs
        seen_absent_ns = known.get(name, 0) if known else 0
        if await self._is_absent(inode, name, self._demand, generator):
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        if generator is None and name in _ASKED_BY_THE_KERNEL:
            self._walked(inode, name, caller.pid)
        try:
            return await self._get(inode, name, caller, generator)
        except OSError as error:
            if error.errno in UNREACHABLE and seen_absent_ns:
                raise OSError(errno.ENODATA, os.strerror(errno.ENODATA)) from None
            raise

    def is_absent_at_once(self, inode: Inode, name: bytes, generator: str | None = None) -> bool:
        """Whether it is known that there is none of this name, and nobody has to be asked whether that is so still."""
        known = inode.absent_xattrs
        return self._metadata.may_believe(inode, known.get(name, 0) if known else 0) or (
            self._lacked(inode, name) is not None
            and self._metadata.has_attributes(inode, generator)
            and self._lacked(inode, name) is not None
        )

    async def _is_absent(self, inode: Inode, name: bytes, workers: Workers, generator: str | None = None) -> bool:
        """Whether it is known that there is none of this name, for which the file's attributes may have to be asked."""
        if self.is_absent_at_once(inode, name, generator):
            return True
        lacked = self._lacked(inode, name)
        if lacked is None:
            return False
        try:
            await self._metadata.attributes(inode, workers, generator)
        except OSError:
            return False  # it will be asked for, and that will say why
        return inode.lacking_xattrs == lacked and inode.generation == lacked[0]

    def _lacked(self, inode: Inode, name: bytes) -> tuple[int, int] | None:
        """What the file in its present generation lacked (`Inode.lacking_xattrs`), if this name is of that."""
        bit = _ASKED_BY_THE_KERNEL.get(name, 0)
        if not bit:
            return None
        lacking = inode.lacking_xattrs
        if lacking is None:
            lacking = inode.lacking_xattrs = (0, 0) if inode.is_new else self._records.lacking(inode.id)
        return lacking if lacking[1] & bit and lacking[0] == inode.generation else None

    async def _get(self, inode: Inode, name: bytes, caller: Caller, generator: str | None) -> bytes:
        """What the source says; that there is none of this name is remembered."""
        known, asked_ns, generation = inode.absent_xattrs, self._metadata.now_ns(), inode.generation
        try:
            return await self._ask(name, self._source.getxattr, inode, name, caller)
        except OSError as error:
            if error.errno == errno.ENODATA and name in _ASKED_BY_THE_KERNEL:
                with self._metadata.taking_in(generator):
                    self._are_absent(inode, [name], known, asked_ns, generation)
            raise

    def _are_absent(
        self, inode: Inode, names: Sequence[bytes], known: dict[bytes, int] | None, asked_ns: int, generation: int
    ) -> None:
        """The source said that there are none of these names. The rest is as it was when it was asked."""
        # An answer that was asked for before somebody set one says nothing of what is there now.
        if inode.absent_xattrs is not known or not names:
            return
        if known is None:
            known = inode.absent_xattrs = {}
        for name in names:
            known[name] = asked_ns
        if inode.generation == generation:
            lacking = inode.lacking_xattrs
            bits = lacking[1] if lacking is not None and lacking[0] == generation else 0
            for name in names:
                bits |= _ASKED_BY_THE_KERNEL[name]
            lacking = inode.lacking_xattrs = (generation, bits)
            self._records.keep_lacking(inode.id, *lacking)

    # --- ahead of a walk

    def _walked(self, inode: Inode, name: bytes, pid: int) -> None:
        """The source has to be asked for this attribute of a file: is it one after the other of a directory?"""
        if inode.place is None or self._demand.is_inline:
            return
        directory, own = inode.place
        listing = directory.listing
        position = listing.index.get(own) if listing is not None else None
        if listing is None or position is None:
            return
        walk = self._walk_through(directory)
        walk.names.add(name)
        ahead = walk.scan.observe(position, len(listing.names))
        if ahead is not None:
            self._walker, self._walked_for = pid, frozenset(walk.names)
            self._want(directory, listing.names[slice(*ahead)])

    def listed(self, directory: Inode, pid: int) -> None:
        """A process listed a directory. If it walked the last one, it walks this one."""
        listing = directory.listing
        if pid != self._walker or not self._walked_for or listing is None or self._demand.is_inline:
            return
        walk = self._walk_through(directory)
        walk.names.update(self._walked_for)
        self._want(directory, listing.names[slice(*walk.scan.begin(len(listing.names)))])

    def _walk_through(self, directory: Inode) -> _Walk:
        walk = self._walks.pop(directory.id, None) or _Walk()
        self._walks[directory.id] = walk
        if len(self._walks) > WALKS_LIMIT:
            self._walks.popitem(last=False)
        return walk

    def _want(self, directory: Inode, listed: Sequence[ListedName]) -> None:
        for at in range(0, len(listed), TOGETHER):
            names = [each.name for each in listed[at : at + TOGETHER]]
            try:
                self._send.send_nowait((directory, names, self._walked_for))
            except trio.WouldBlock:
                return

    async def run(self) -> None:
        """Ask ahead of walks until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(self._ahead.limit):
                nursery.start_soon(self._carry)

    async def _carry(self) -> None:
        async for directory, files, names in self._receive.clone():
            try:
                await self._metadata.look_around(directory, dict.fromkeys(files, "scan"), 0.0, self._ahead)
                await self._look_for([await self._lacking(directory, file, names) for file in files])
            except OSError:
                pass  # whoever wants it will hear of it himself
            except Exception:  # a bug of ours in what nobody asked for must not take the mount down
                log.exception("asking ahead for extended attributes failed")

    async def _lacking(self, directory: Inode, file: bytes, names: frozenset[bytes]) -> tuple[Inode, Sequence[bytes]]:
        """A file of a directory, and of which of these names nothing is known. Raises OSError."""
        inode, _ = await self._metadata.lookup(directory, file, self._ahead, "scan")
        if inode is None:
            return directory, ()
        return inode, [
            name
            for name in names
            if (name != DEFAULT_LIST or inode.attributes.is_directory)
            and not self._is_unsupported(inode, name)
            and not await self._is_absent(inode, name, self._ahead)
        ]

    async def _look_for(self, wanted: Sequence[tuple[Inode, Sequence[bytes]]]) -> None:
        """Ask for names of several files, all in one call: usually there are none."""
        wanted = [(inode, names) for inode, names in wanted if names]
        if not wanted:
            return
        asked_ns = self._metadata.now_ns()
        before = [(inode.absent_xattrs, inode.generation) for inode, _ in wanted]
        found = await self._ahead.run(self._source.xattr_errnos, wanted)
        for (inode, _), (known, generation), errnos in zip(wanted, before, found, strict=True):
            for name, number in errnos.items():
                self._learned(inode, name, number)
            absent = [name for name, number in errnos.items() if number == errno.ENODATA]
            self._are_absent(inode, absent, known, asked_ns, generation)

    async def list(self, inode: Inode, caller: Caller) -> Sequence[bytes]:
        return await self._ask(_LIST, self._source.listxattr, inode, caller)

    async def set(self, inode: Inode, name: bytes, value: bytes, caller: Caller) -> None:
        try:
            await self._ask(name, self._source.setxattr, inode, name, value, caller)
        finally:
            inode.absent_xattrs = {}
            inode.lacking_xattrs = (0, 0)
            self._records.keep_lacking(inode.id, 0, 0)
            self._metadata.own_change(inode)

    async def remove(self, inode: Inode, name: bytes, caller: Caller) -> None:
        try:
            await self._ask(name, self._source.removexattr, inode, name, caller)
        finally:
            self._metadata.own_change(inode)

    async def _ask(self, name: bytes, call: Callable[..., T], inode: Inode, *arguments: Any) -> T:
        if self._is_unsupported(inode, name):
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        try:
            return await self._demand.run(call, inode, *arguments)
        except OSError as error:
            self._learned(inode, name, error.errno or 0)
            raise

    def _is_unsupported(self, inode: Inode, name: bytes) -> bool:
        """Whether the source's file system has none of this kind."""
        return _kind(name) in self._unsupported and _tells_for_all(inode)

    def _learned(self, inode: Inode, name: bytes, number: int) -> None:
        """The source answered with this errno."""
        if number == errno.ENOTSUP and _kind(name) in _SUPPORTED_AS_A_WHOLE and _tells_for_all(inode):
            self._unsupported.add(_kind(name))


def _kind(name: bytes) -> bytes:
    return name if name.startswith(b"system.") else name.partition(b".")[0]


def _tells_for_all(inode: Inode) -> bool:
    """Whether what the source does not support on this inode it does not support on any that this is true of.

    Links and devices take fewer attributes than files and directories; another file system below the source may differ.
    """
    attributes = inode.attributes
    return attributes.dev == 0 and (attributes.is_regular or attributes.is_directory)
