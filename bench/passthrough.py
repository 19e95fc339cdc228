"""The least that a filesystem in Python can be: python -m bench.passthrough SOURCE MOUNTPOINT

Read-only; straight system calls on the event loop for each request, nothing cached and nothing learned.
What llmfs takes longer than this, over a source as fast as the page cache, is what llmfs itself costs. A
name that is not there is answered; any other error ends it, and with it the benchmark.
"""

import argparse
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass

import pyfuse3
import trio

# As long as llmfs believes old files at most, so that the kernel asks both for the same.
_TIMEOUT_S = 60.0


@dataclass(slots=True)
class _Inode:
    fd: int  # O_PATH
    key: tuple[int, int]
    lookups: int = 0


class Passthrough(pyfuse3.Operations):
    """The directory `source`, as it is."""

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(self, source: str) -> None:
        super().__init__()
        fd = os.open(source, os.O_PATH | os.O_DIRECTORY)
        self._inodes = {int(pyfuse3.ROOT_INODE): _Inode(fd, _key(os.fstat(fd)))}
        self._numbers: dict[tuple[int, int], int] = {}
        self._listings: dict[int, list[bytes]] = {}
        self._last_number = int(pyfuse3.ROOT_INODE)

    async def lookup(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        return self._acquire(self._inodes[parent_inode].fd, name)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for number, lookups in inode_list:
            inode = self._inodes[number]
            inode.lookups -= lookups
            if inode.lookups == 0:
                del self._inodes[number], self._numbers[inode.key]
                os.close(inode.fd)

    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        return _attributes(inode, os.fstat(self._inodes[inode].fd))

    async def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        return os.readlink(b"", dir_fd=self._inodes[inode].fd)

    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=os.open(self._path(inode), os.O_RDONLY), keep_cache=True)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        return os.pread(fh, size, off)

    async def release(self, fh: int) -> None:
        os.close(fh)

    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        self._listings[inode] = [os.fsencode(name) for name in os.listdir(self._path(inode))]
        return inode

    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        names = self._listings[fh]
        for position in range(start_id, len(names)):
            entry = self._acquire(self._inodes[fh].fd, names[position])
            if not pyfuse3.readdir_reply(token, names[position], entry, position + 1):
                await self.forget([(entry.st_ino, 1)])
                return

    async def releasedir(self, fh: int) -> None:
        self._listings.pop(fh, None)

    def _path(self, number: int) -> str:
        return f"/proc/self/fd/{self._inodes[number].fd}"

    def _acquire(self, parent_fd: int, name: bytes) -> pyfuse3.EntryAttributes:
        """The entry, with one more lookup that the kernel will forget."""
        try:
            fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=parent_fd)
        except OSError as error:
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None
        status = os.fstat(fd)
        key = _key(status)
        number = self._numbers.get(key)
        if number is None:
            self._last_number = number = self._last_number + 1
            self._numbers[key] = number
            self._inodes[number] = _Inode(fd, key)
        else:
            os.close(fd)
        self._inodes[number].lookups += 1
        return _attributes(number, status)


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _attributes(number: int, status: os.stat_result) -> pyfuse3.EntryAttributes:
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = number
    entry.entry_timeout = entry.attr_timeout = _TIMEOUT_S
    for name in ("mode", "nlink", "uid", "gid", "rdev", "size", "blocks"):
        setattr(entry, f"st_{name}", getattr(status, f"st_{name}"))
    for name in ("atime_ns", "mtime_ns", "ctime_ns"):
        setattr(entry, f"st_{name}", getattr(status, f"st_{name}"))
    entry.st_blksize = 4096
    return entry


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.passthrough")
    parser.add_argument("source")
    parser.add_argument("mountpoint")
    args = parser.parse_args()
    options = set(pyfuse3.default_options) | {"fsname=bare", "ro"}
    pyfuse3.init(Passthrough(args.source), args.mountpoint, options)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close()


if __name__ == "__main__":
    main()
