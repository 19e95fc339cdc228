"""Extended attributes, which the kernel asks for more often than programs do.

Before each write it asks whether the file has capabilities that the write must take away (`security.capability`), and
before it lets anybody but the owner have his way, whether there is an access control list. Nearly always there is
none. That a name which the kernel asks for is not there is therefore believed for as long as attributes are, and what
the source's file system does not support at all is not asked for twice.

Values are never kept here: the kernel keeps access control lists by itself.
"""

import errno
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from llmfs.identity import Caller
from llmfs.inodes import Inode
from llmfs.metadata import UNREACHABLE, Metadata
from llmfs.source import Source
from llmfs.workers import Workers

T = TypeVar("T")

ACCESS_LIST, DEFAULT_LIST = b"system.posix_acl_access", b"system.posix_acl_default"
_ASKED_BY_THE_KERNEL = {name: name for name in (b"security.capability", b"security.selinux", ACCESS_LIST, DEFAULT_LIST)}
_SUPPORTED_AS_A_WHOLE = frozenset((b"user", b"trusted", b"security", ACCESS_LIST, DEFAULT_LIST, b""))
_LIST = b""


class Xattrs:
    """Gets, lists, sets and removes them, as the caller. All raise OSError of the source."""

    def __init__(self, source: Source, metadata: Metadata, demand: Workers) -> None:
        self._source = source
        self._metadata = metadata
        self._demand = demand
        self._unsupported: set[bytes] = set()

    async def get(self, inode: Inode, name: bytes, caller: Caller) -> bytes:
        known = inode.absent_xattrs
        seen_absent_ns = known.get(name, 0) if known else 0
        if self._metadata.may_believe(inode, seen_absent_ns):
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        asked_ns = self._metadata.now_ns()
        try:
            return await self._ask(name, self._source.getxattr, inode, name, caller)
        except OSError as error:
            if error.errno in UNREACHABLE and seen_absent_ns:
                raise OSError(errno.ENODATA, os.strerror(errno.ENODATA)) from None
            # An answer that was asked for before somebody set one says nothing of what is there now.
            if error.errno == errno.ENODATA and name in _ASKED_BY_THE_KERNEL and inode.absent_xattrs is known:
                if known is None:
                    known = inode.absent_xattrs = {}
                known[_ASKED_BY_THE_KERNEL[name]] = asked_ns
            raise

    async def list(self, inode: Inode, caller: Caller) -> Sequence[bytes]:
        return await self._ask(_LIST, self._source.listxattr, inode, caller)

    async def set(self, inode: Inode, name: bytes, value: bytes, caller: Caller) -> None:
        try:
            await self._ask(name, self._source.setxattr, inode, name, value, caller)
        finally:
            inode.absent_xattrs = {}
            self._metadata.own_change(inode)

    async def remove(self, inode: Inode, name: bytes, caller: Caller) -> None:
        try:
            await self._ask(name, self._source.removexattr, inode, name, caller)
        finally:
            self._metadata.own_change(inode)

    async def _ask(self, name: bytes, call: Callable[..., T], inode: Inode, *arguments: Any) -> T:
        kind = name if name.startswith(b"system.") else name.partition(b".")[0]
        if kind in self._unsupported and _tells_for_all(inode):
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        try:
            return await self._demand.run(call, inode, *arguments)
        except OSError as error:
            if error.errno == errno.ENOTSUP and kind in _SUPPORTED_AS_A_WHOLE and _tells_for_all(inode):
                self._unsupported.add(kind)
            raise


def _tells_for_all(inode: Inode) -> bool:
    """Whether what the source does not support on this inode it does not support on any that this is true of.

    Links and devices take fewer attributes than files and directories; another file system below the source may differ.
    """
    attributes = inode.attributes
    return attributes.dev == 0 and (attributes.is_regular or attributes.is_directory)
