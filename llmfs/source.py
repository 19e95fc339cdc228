"""The slow directory: every system call that reaches it is made here.

Blocking, to be called from worker threads (`workers.py`). Each call reports how long it took and how it failed to
`observe`, from which the latency histograms and the decision whether the source is worth caching are made. Errors are
OSError with the source's own errno.
"""

import contextlib
import ctypes
import errno
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from llmfs.attributes import Attributes
from llmfs.descriptors import Descriptors
from llmfs.identity import Caller, acting_as
from llmfs.inodes import ROOT_ID, Inode, ListedName

log = logging.getLogger(__name__)

Observe = Callable[[str, float, int, int], None]
"""operation, seconds, the errno it failed with or 0, bytes that were to be read"""

_libc = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD_EMPTY = 0x1000 | 0x100  # AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW
_UTIME_OMIT = (1 << 30) - 2
_NOW_NS = 10_000_000_000  # a request may have waited for a thread

READAHEAD_BYTES = 128 << 10
"""The kernel's window where it does not say (VM_READAHEAD_PAGES)."""

ANNOUNCED_BYTES = 4 << 20
"""Under way at a time, of all reads that were announced: a program's next read waits behind them on a narrow line."""

QUIET_AFTER_S = 0.5
"""Since a call ended."""

RETRY_S = 1.0
_ROOT_IS_GONE = frozenset((errno.ENOTCONN, errno.ESTALE, errno.ENODEV, errno.ESHUTDOWN, errno.EBADF))
_ANSWERS = frozenset((errno.ENOENT, errno.ENODATA, errno.ENOTSUP))
"""That a name or attribute is not there is an answer, not a fault."""

_UNSEEN_ROOT = Attributes(stat.S_IFDIR | 0o700, 2, 0, 0, 0, 0, 4096, 0, 0, 0, 0, 0, 0)

_WITHOUT_DEFERRED_ERRORS = frozenset(("btrfs", "ext2", "ext3", "ext4", "f2fs", "tmpfs", "xfs"))

_FUSE_WITHOUT_STABLE_INODES = {"fuse.sshfs", "fuse.rclone", "fuse.httpdirfs", "fuse.s3fs", "fuse.mountpoint-s3"}
"""These number their inodes as they meet them; after a while the same file has another number."""


FREE_LOOK_S = 200e-6
"""A stat that takes less was answered from memory, or is so near that it does not matter."""

SLOW_LOOKS = 6
"""Stats in a row that are seen to be slow before a listing makes no more of them."""

SLOW_LISTINGS = 3
"""Listings in a row where that happened before it is believed: a busy machine makes quick stats look slow."""

TRY_EVERY_S = 10.0
"""How often a listing finds out whether stats are still slow."""

LOOKS_IN_LISTING = 4096


class _Looks:
    """Whether attributes come along with names, as far as the listings so far tell. From any thread."""

    def __init__(self) -> None:
        self._slow_listings = 0
        self._not_before_s = 0.0

    @property
    def are_free(self) -> bool:
        """Whether the next listing is to make them."""
        return time.monotonic() >= self._not_before_s

    def were_free(self) -> None:
        """A listing found that they cost nothing."""
        self._slow_listings = 0

    def were_slow(self) -> None:
        """A listing found that they are requests of their own."""
        self._slow_listings += 1
        if self._slow_listings >= SLOW_LISTINGS:
            self._not_before_s = time.monotonic() + TRY_EVERY_S


def _takes_long(call: Callable[[], object]) -> bool:
    started_s = time.perf_counter()
    call()
    return time.perf_counter() - started_s > FREE_LOOK_S


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class Source:
    """The directory that is mounted, reached through descriptors below its root only."""

    def __init__(
        self,
        root: os.PathLike[str] | str,
        descriptor_limit: int,
        observe: Observe,
        former_type: str = "",
        is_offline_ok: bool = False,
    ) -> None:
        """`former_type`: the file system type it had in a former mount, "" if there was none.

        Raises OSError where the directory cannot be opened, unless `is_offline_ok`.
        """
        self._path = root
        self._observe = observe
        self._former_type = former_type
        self._lock = threading.Lock()
        self._tried_s = 0.0
        self._called_s = 0.0
        self._looks = _Looks()
        self.filesystem_type = former_type
        self.device = -1
        self._window_bytes = READAHEAD_BYTES
        self._announcing = threading.Lock()
        self._announced_bytes = 0
        self._root_fd = -1
        self.root = Inode(ROOT_ID, None, _UNSEEN_ROOT)
        self.descriptors = Descriptors(self.root, descriptor_limit)
        try:
            self._attach(self._open_root(is_offline_ok))
        except OSError as error:
            if not is_offline_ok:
                raise
            log.warning("the source is not there (%s): serving what is cached", error.strerror)
        self.has_stable_inodes = self.filesystem_type not in _FUSE_WITHOUT_STABLE_INODES
        self.descriptors.has_stable_inodes = self.has_stable_inodes

    @property
    def is_quiet(self) -> bool:
        """Whether no call of it has ended for a while: what programs want is cached."""
        return time.monotonic() - self._called_s > QUIET_AFTER_S

    @property
    def tells_errors_at_once(self) -> bool:
        """Whether a write that will fail fails when it is made, and not when the file is closed, as over a network."""
        return self.filesystem_type in _WITHOUT_DEFERRED_ERRORS

    @property
    def sends_attributes_with_names(self) -> bool:
        """Whether listings bring attributes along, as far as the last ones told."""
        return self._looks.are_free

    @property
    def is_attached(self) -> bool:
        """Whether there is a source at all; it may still not answer."""
        return self._root_fd >= 0

    @property
    def has_access_lists(self) -> bool:
        """Whether files may have POSIX access control lists. A source that is not there may have them."""
        try:
            os.getxattr(f"/proc/self/fd/{self._root_fd}", "system.posix_acl_access")
        except OSError as error:
            return error.errno not in (errno.ENOTSUP, errno.ENOSYS)
        return True

    def _open_root(self, is_doubtful: bool) -> int:
        """A descriptor of the root. Raises OSError where it is not there.

        `is_doubtful`: an empty directory on another type of file system than before is the mount point of a source that
        is not mounted, and not the source.
        """
        fd = os.open(self._path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.stat(fd)
            if is_doubtful and self.filesystem_type not in ("", filesystem_type(fd)) and not os.listdir(self._path):
                raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        except OSError:
            os.close(fd)
            raise
        return fd

    def _attach(self, fd: int) -> None:
        self.filesystem_type = filesystem_type(fd) or self.filesystem_type
        st = os.stat(fd)
        self.device = st.st_dev
        self._window_bytes = _readahead_bytes(st.st_dev)
        self._root_fd = fd
        self.root.attributes = self._attributes(st)
        self.descriptors.reset(fd, st.st_dev)

    def _find_again(self) -> None:
        """The root does not answer: it may have been mounted anew. Looked for once a second at most."""
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._tried_s < RETRY_S:
                return
            self._tried_s = now_s
            try:
                os.stat(self._root_fd)
                return  # the root is well: it was something else
            except OSError:
                pass
            try:
                self._attach(self._open_root(is_doubtful=True))
            except OSError:
                return
            log.warning("the source is there again")

    def _attributes(self, st: os.stat_result) -> Attributes:
        return Attributes.of(st, self.device)

    def _look(self, directory_fd: int, name: bytes) -> Attributes:
        """The attributes of a name in an open directory, links not followed."""
        return self._attributes(os.stat(name, dir_fd=directory_fd, follow_symlinks=False))

    def _timed(self, operation: str, size_bytes: int = 0) -> "_Timed":
        return _Timed(self, operation, size_bytes)

    def called(self, operation: str, seconds: float, error: BaseException | None, size_bytes: int) -> None:
        """A call ended, with or without an error."""
        self._called_s = time.monotonic()
        number = 0 if error is None else errno.EIO
        if isinstance(error, OSError):
            number = error.errno or errno.EIO
            if number in _ANSWERS:
                number = 0
            elif number in _ROOT_IS_GONE:
                self._find_again()
        self._observe(operation, seconds, number, size_bytes)

    # --- looking

    def lookup(self, directory: Inode, name: bytes) -> Attributes:
        """The attributes of a name, links not followed."""
        with self._timed("lookup"), self.descriptors.path(directory) as fd:
            return self._look(fd, name)

    def looks(self, directory: Inode, names: Sequence[bytes]) -> dict[bytes, Attributes | None]:
        """The attributes of several names of a directory as of `lookup`; None of one that is not there.

        The first that the source gives an error for and those after it are left out: it may be gone, and each would
        take its time. Raises OSError where the directory cannot be reached.
        """
        found: dict[bytes, Attributes | None] = {}
        with self.descriptors.path(directory) as fd:
            for name in names:
                try:
                    with self._timed("lookup"):
                        found[name] = self._look(fd, name)
                except FileNotFoundError:
                    found[name] = None
                except OSError:
                    break
        return found

    def attributes(self, inode: Inode) -> Attributes:
        """The attributes of the inode itself, whatever its name is now; through its descriptor where it has one."""
        if inode.path_fd is None and not inode.is_unlinked and inode.place is not None:
            directory, name = inode.place
            try:
                return self.lookup(directory, name)
            except FileNotFoundError:
                if inode.reader_fd is None:
                    raise OSError(errno.ESTALE, os.strerror(errno.ESTALE)) from None
            with self._timed("getattr"), self.descriptors.reader(inode) as fd:
                return self._attributes(os.stat(fd))  # its name went, but it is open
        with self._timed("getattr"), self.descriptors.path(inode) as fd:
            return self._attributes(os.stat(fd))

    def names(
        self, inode: Inode, with_looks: bool = True
    ) -> tuple[Attributes, list[ListedName], dict[bytes, Attributes]]:
        """A directory's names as of the attributes returned beside them, and attributes of those that cost nothing.

        Network file systems send attributes along with names (READDIRPLUS of NFS and FUSE, SFTP's READDIR): the
        kernel's client has them, and a stat made while the names come takes microseconds. Where stats turn out to be
        requests of their own, none is made for the rest of the directory, and after a few such for a while in others.
        """
        with self._timed("list"), self.descriptors.path(inode) as path_fd:
            fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=path_fd)
            try:
                before = self._attributes(os.stat(fd))
                names: list[ListedName] = []
                looks: dict[bytes, Attributes] = {}
                slow = 0 if with_looks and self._looks.are_free else SLOW_LOOKS

                def look() -> None:
                    with contextlib.suppress(OSError):
                        attributes = self._look(fd, name)
                        if not attributes.dev:  # else another file system is mounted there
                            looks[name] = attributes

                with os.scandir(fd) as entries:
                    for entry in entries:
                        name = os.fsencode(entry.name)
                        names.append(ListedName(name, _kind(entry), entry.inode()))
                        if slow == SLOW_LOOKS or len(looks) == LOOKS_IN_LISTING:
                            continue
                        if not _takes_long(look):
                            slow = 0
                        elif not _takes_long(lambda: os.stat(b"/")):  # else the thread is what waits, not the source
                            slow += 1
                            if slow == SLOW_LOOKS and len(looks) <= 2 * SLOW_LOOKS:
                                self._looks.were_slow()
                if with_looks and slow < SLOW_LOOKS <= len(looks):
                    self._looks.were_free()
            finally:
                os.close(fd)
            return before, names, looks

    def readlink(self, inode: Inode) -> bytes:
        with self._timed("readlink"), self.descriptors.path(inode) as fd:
            return os.readlink(b"", dir_fd=fd)

    def statfs(self) -> os.statvfs_result:
        with self._timed("statfs"):
            return os.statvfs(self._root_fd)

    def access(self, inode: Inode, mode: int, caller: Caller | None) -> bool:
        with self._timed("access"), acting_as(caller), self.descriptors.path(inode) as fd:
            return os.access(f"/proc/self/fd/{fd}", mode, effective_ids=True)

    # --- data

    def read(self, inode: Inode, offset: int, length: int, is_exact: bool = False) -> bytes:
        """At most `length` bytes; fewer at the end of the file. Where it has to be opened first, that is a call too.

        `is_exact`: the source's client is not to read ahead of it, nor of what is read of the file later, for as long
        as it is open.
        """
        if inode.reader_fd is None:
            with self._timed("open"):
                self.descriptors.unpin_reader(inode, self.descriptors.open_reader(inode))
        with self.descriptors.reader(inode) as fd, self._timed("read", length):
            if is_exact:
                with contextlib.suppress(OSError):
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            if length <= self._window_bytes:
                return _pread(fd, offset, length)
            with self._announced(fd, offset, length):
                return _pread(fd, offset, length)

    @contextmanager
    def _announced(self, fd: int, offset: int, length: int) -> Iterator[None]:
        """Have the kernel ask for all of a range together that it would ask for in one part after the other.

        It has no more under way for a reader than its readahead's window, 128 KiB by default also where the source
        takes requests of 1 MiB: over 2 ms and 200 MB/s a read of 1 MiB took 16 ms, announced 8.
        """
        with self._announcing:
            is_announced = self._window_bytes > 0 and self._announced_bytes + length <= ANNOUNCED_BYTES
            self._announced_bytes += length if is_announced else 0
        try:
            if is_announced:
                with contextlib.suppress(OSError):
                    for start in range(offset, offset + length, self._window_bytes):
                        part = min(self._window_bytes, offset + length - start)
                        os.posix_fadvise(fd, start, part, os.POSIX_FADV_WILLNEED)
            yield
        finally:
            if is_announced:
                with self._announcing:
                    self._announced_bytes -= length

    def read_now(self, inode: Inode, offset: int, length: int, may_open: bool) -> bytearray | None:
        """The bytes, if the source has them in memory; None where one would have to wait.

        Reading never blocks, so this may be called on the event loop (RWF_NOWAIT, preadv2(2)); opening may, and is done
        only where `may_open`.
        """
        descriptor = self.descriptors.pin_reader(inode)
        if descriptor is None:
            if not may_open:
                return None
            descriptor = self.descriptors.open_reader(inode)
        started = time.perf_counter()
        buffer = bytearray(length)
        try:
            count = os.preadv(descriptor.fd, [buffer], offset, os.RWF_NOWAIT)
        except OSError:  # EAGAIN: not in memory; EOPNOTSUPP: such a file system always makes one wait
            return None
        finally:
            self.descriptors.unpin_reader(inode, descriptor)
        if count < length:
            return None
        self._observe("read", time.perf_counter() - started, 0, length)
        return buffer

    def open(self, inode: Inode, flags: int, caller: Caller | None) -> int:
        """A descriptor that is the caller's to close. O_DIRECT is dropped: our buffers are not aligned."""
        with self._timed("open"), acting_as(caller):
            return self.descriptors.open(inode, flags & ~(os.O_DIRECT | os.O_CREAT | os.O_EXCL | os.O_NOCTTY))

    def write(self, fd: int, offset: int, data: bytes) -> int:
        with self._timed("write"):
            written = os.pwrite(fd, data, offset)
            while written < len(data):
                written += os.pwrite(fd, data[written:], offset + written)
            return written

    def append(self, fd: int, data: bytes) -> int:
        """Write at the end of a file opened with O_APPEND, wherever that is by now. Returns the new end."""
        with self._timed("write"):
            written = os.write(fd, data)
            while written < len(data):
                written += os.write(fd, data[written:])
            return os.lseek(fd, 0, os.SEEK_CUR)

    def fsync(self, fd: int, only_data: bool) -> None:
        with self._timed("fsync"):
            (os.fdatasync if only_data else os.fsync)(fd)

    def fsync_reader(self, inode: Inode, only_data: bool) -> None:
        """fsync of a file that is open for reading alone."""
        with self._timed("fsync"), self.descriptors.reader(inode) as fd:
            (os.fdatasync if only_data else os.fsync)(fd)

    def fsync_directory(self, inode: Inode) -> None:
        with self._timed("fsync"), self.descriptors.path(inode) as path_fd:
            fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=path_fd)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def flush(self, fd: int) -> None:
        """Make the source report write errors now, as close(2) would."""
        with self._timed("flush"):
            os.close(os.dup(fd))

    # --- names

    def create(
        self, directory: Inode, name: bytes, flags: int, mode: int, caller: Caller | None
    ) -> tuple[int, Attributes]:
        """A new descriptor, the caller's to close, and what the file looks like."""
        flags = (flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC) & ~os.O_DIRECT
        with self._timed("create"), self.descriptors.path(directory) as parent:
            with acting_as(caller):
                fd = os.open(name, flags, stat.S_IMODE(mode), dir_fd=parent)
            return fd, self._attributes(os.fstat(fd))

    def mknod(self, directory: Inode, name: bytes, mode: int, rdev: int, caller: Caller | None) -> Attributes:
        with self._timed("mknod"), self.descriptors.path(directory) as parent:
            with acting_as(caller):
                os.mknod(name, mode, rdev, dir_fd=parent)
            return self._look(parent, name)

    def mkdir(self, directory: Inode, name: bytes, mode: int, caller: Caller | None) -> Attributes:
        with self._timed("mkdir"), self.descriptors.path(directory) as parent:
            with acting_as(caller):
                os.mkdir(name, stat.S_IMODE(mode), dir_fd=parent)
            return self._look(parent, name)

    def symlink(self, directory: Inode, name: bytes, target: bytes, caller: Caller | None) -> Attributes:
        with self._timed("symlink"), self.descriptors.path(directory) as parent:
            with acting_as(caller):
                os.symlink(target, name, dir_fd=parent)
            return self._look(parent, name)

    def link(self, inode: Inode, directory: Inode, name: bytes, caller: Caller | None) -> Attributes:
        with self._timed("link"), self.descriptors.path(inode) as fd, self.descriptors.path(directory) as parent:
            with acting_as(caller):
                os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=parent, follow_symlinks=True)
            return self._look(parent, name)

    def unlink(self, directory: Inode, name: bytes, victim: Inode | None, caller: Caller | None) -> None:
        """Remove a name. `victim` is what it stands for, if somebody may still use it: it is held open first."""
        with (
            self._timed("unlink"),
            self.descriptors.path(directory) as parent,
            self._kept(victim),
            acting_as(caller),
        ):
            os.unlink(name, dir_fd=parent)

    def rmdir(self, directory: Inode, name: bytes, victim: Inode | None, caller: Caller | None) -> None:
        with (
            self._timed("rmdir"),
            self.descriptors.path(directory) as parent,
            self._kept(victim),
            acting_as(caller),
        ):
            os.rmdir(name, dir_fd=parent)

    def rename(
        self,
        directory: Inode,
        name: bytes,
        new_directory: Inode,
        new_name: bytes,
        flags: int,
        victim: Inode | None,
        caller: Caller | None,
    ) -> None:
        """rename(2) with renameat2's flags. `victim` is what the new name stood for."""
        with (
            self._timed("rename"),
            self.descriptors.path(directory) as parent,
            self.descriptors.path(new_directory) as new_parent,
            self._kept(victim if not flags else None),
            acting_as(caller),
        ):
            if flags:
                _check(_libc.renameat2(parent, name, new_parent, new_name, flags))
            else:
                os.rename(name, new_name, src_dir_fd=parent, dst_dir_fd=new_parent)

    @contextmanager
    def _kept(self, victim: Inode | None) -> Iterator[None]:
        """Hold `victim` open across the loss of its name; let go of it where the name was not lost after all."""
        if victim is None:
            yield
            return
        with self.descriptors.path(victim):
            yield
            self.descriptors.keep_unlinked(victim)

    # --- attributes

    def set_mode(self, inode: Inode, mode: int, caller: Caller | None) -> None:
        """Set the permission bits. One that is only to lose set-id bits loses them whoever asks.

        For the kernel takes them away before it writes, truncates or allocates for another than the owner, and says so
        in that one's name; a chmod(2) by another it has refused already.
        """
        with self._timed("setattr"), self.descriptors.path(inode) as fd:
            try:
                with acting_as(caller):
                    os.chmod(f"/proc/self/fd/{fd}", mode)
            except PermissionError:
                had = stat.S_IMODE(os.stat(fd).st_mode)
                if mode == had or mode & ~had or (had & ~mode) & ~(stat.S_ISUID | stat.S_ISGID):
                    raise
                os.chmod(f"/proc/self/fd/{fd}", mode)

    def set_owner(self, inode: Inode, uid: int, gid: int, caller: Caller | None) -> None:
        with self._timed("setattr"), self.descriptors.path(inode) as fd, acting_as(caller):
            _check(_libc.fchownat(fd, b"", ctypes.c_uint32(uid), ctypes.c_uint32(gid), _AT_FDCWD_EMPTY))

    def set_size(self, inode: Inode, fd: int | None, size: int, caller: Caller | None) -> None:
        """Truncate, through an open writable descriptor where there is one."""
        with self._timed("setattr"):
            if fd is not None:
                os.ftruncate(fd, size)
                return
            with self.descriptors.path(inode) as path_fd, acting_as(caller):
                os.truncate(f"/proc/self/fd/{path_fd}", size)

    def set_times(self, inode: Inode, atime_ns: int | None, mtime_ns: int | None, caller: Caller | None) -> None:
        """None leaves a time as it is.

        Whoever may write a file may set its times to now, but to no other time. That it was "now" which the program
        said does not reach us (pyfuse3 looks at the clock and tells the result), so where we may not set the time that
        we were told, and it is now, the source is asked for its own now.
        """
        times = (_Timespec * 2)(_timespec(atime_ns), _timespec(mtime_ns))
        with self._timed("setattr"), self.descriptors.path(inode) as fd, acting_as(caller):
            try:
                _check(_libc.utimensat(fd, b"", times, _AT_FDCWD_EMPTY))
            except PermissionError:
                if atime_ns is None or atime_ns != mtime_ns or abs(time.time_ns() - atime_ns) > _NOW_NS:
                    raise
                _check(_libc.utimensat(fd, b"", None, _AT_FDCWD_EMPTY))

    # --- extended attributes; /proc/self/fd names the inode itself, links included

    def getxattr(self, inode: Inode, name: bytes, caller: Caller | None) -> bytes:
        with self._timed("getxattr"), self.descriptors.path(inode) as fd, acting_as(caller):
            return os.getxattr(f"/proc/self/fd/{fd}", name)

    def xattr_errnos(self, wanted: Sequence[tuple[Inode, Sequence[bytes]]]) -> list[dict[bytes, int]]:
        """What `getxattr` would say of names of each inode: 0 where it is there. Nothing of an inode that is not."""
        found: list[dict[bytes, int]] = []
        for inode, names in wanted:
            errnos: dict[bytes, int] = {}
            found.append(errnos)
            with contextlib.suppress(OSError), self.descriptors.path(inode) as fd:
                for name in names:
                    errnos[name] = 0
                    try:
                        with self._timed("getxattr"):
                            os.getxattr(f"/proc/self/fd/{fd}", name)
                    except OSError as error:
                        errnos[name] = error.errno or errno.EIO
        return found

    def listxattr(self, inode: Inode, caller: Caller | None) -> list[bytes]:
        with self._timed("listxattr"), self.descriptors.path(inode) as fd, acting_as(caller):
            names = [os.fsencode(name) for name in os.listxattr(f"/proc/self/fd/{fd}")]
        # The kernel checks who gets and sets trusted.*, but leaves it to the file system to whom they are listed, and
        # acting as somebody takes no CAP_SYS_ADMIN away.
        if caller is not None and any(name.startswith(b"trusted.") for name in names) and not caller.may_administer():
            return [name for name in names if not name.startswith(b"trusted.")]
        return names

    def setxattr(self, inode: Inode, name: bytes, value: bytes, caller: Caller | None) -> None:
        with self._timed("setxattr"), self.descriptors.path(inode) as fd, acting_as(caller):
            os.setxattr(f"/proc/self/fd/{fd}", name, value)

    def removexattr(self, inode: Inode, name: bytes, caller: Caller | None) -> None:
        with self._timed("removexattr"), self.descriptors.path(inode) as fd, acting_as(caller):
            os.removexattr(f"/proc/self/fd/{fd}", name)


class _Timed:
    """Times a call on the source and reports how it went. A class, for a generator costs 2 us more a call."""

    __slots__ = ("_operation", "_size_bytes", "_source", "_started_s")

    def __init__(self, source: Source, operation: str, size_bytes: int) -> None:
        self._source = source
        self._operation = operation
        self._size_bytes = size_bytes

    def __enter__(self) -> None:
        self._started_s = time.perf_counter()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._source.called(self._operation, time.perf_counter() - self._started_s, error, self._size_bytes)


def filesystem_type(fd: int) -> str:
    """The type of the file system an open descriptor lies on, as /proc/self/mountinfo names it; "" if it does not."""
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:
            mount_id = next(line.split()[1] for line in info if line.startswith("mnt_id:"))
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                fields = line.split()
                if fields[0] == mount_id:
                    return fields[fields.index("-") + 1]
    except (OSError, StopIteration, ValueError, IndexError):
        pass
    return ""


def _pread(fd: int, offset: int, length: int) -> bytes:
    data = os.pread(fd, length, offset)
    while 0 < len(data) < length:  # some network file systems answer in parts
        more = os.pread(fd, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def _readahead_bytes(device: int) -> int:
    """How far the kernel reads ahead on a device's file system, in bytes (sysfs-class-bdi in its documentation)."""
    try:
        with open(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb", encoding="ascii") as file:
            return int(file.read()) << 10
    except (OSError, ValueError):
        return READAHEAD_BYTES


def _kind(entry: "os.DirEntry[str]") -> int:
    """The file type bits, from the directory alone. What is neither file, directory nor link has to be asked for."""
    try:
        if entry.is_symlink():
            return stat.S_IFLNK
        if entry.is_dir(follow_symlinks=False):
            return stat.S_IFDIR
        if entry.is_file(follow_symlinks=False):
            return stat.S_IFREG
    except OSError:
        pass
    return 0


def _timespec(time_ns: int | None) -> _Timespec:
    if time_ns is None:
        return _Timespec(0, _UTIME_OMIT)
    return _Timespec(time_ns // 1_000_000_000, time_ns % 1_000_000_000)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
