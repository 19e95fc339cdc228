"""Descriptors of the source's files: opened when first needed, shared, recycled.

An inode is reached through the O_PATH descriptor of its directory and its own name, one component and never through a
symbolic link, as in libfuse's passthrough_hp: no path is resolved twice, so no rename or symlink swap on the way can
lead elsewhere. What was opened is compared with what we expected (`st_dev`, `st_ino`); another file under the name is
ESTALE, on which the kernel looks the name up afresh.

Blocking, and safe to use from any thread. `acquire` pins a descriptor, `release` unpins it; unpinned ones past `limit`
are closed, the least recently used first. Closing can cost a round trip to the source (FUSE asks it to flush), so a
thread does it.
"""

import errno
import logging
import os
import threading
from collections import OrderedDict
from queue import SimpleQueue

from llmfs.inodes import Inode

log = logging.getLogger(__name__)

_PATH_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Descriptor:
    """An open descriptor, how many calls are using it, and whether it should be closed once none does."""

    __slots__ = ("epoch", "fd", "is_doomed", "pins")

    def __init__(self, fd: int, epoch: int) -> None:
        self.fd = fd
        self.epoch = epoch
        self.pins = 1
        self.is_doomed = False


class Descriptors:
    """The descriptors of all inodes: O_PATH ones (`path`) and ones to read file data from (`reader`)."""

    def __init__(self, root: Inode, limit: int) -> None:
        self._lock = threading.Lock()
        self._limit = limit
        self._root = root
        self._root_device = -1
        self._epoch = 0
        self.has_stable_inodes = True
        self._idle: OrderedDict[Descriptor, tuple[Inode, bool]] = OrderedDict()
        self._closing: SimpleQueue[int] = SimpleQueue()
        threading.Thread(target=self._close_all, name="close", daemon=True).start()

    def reset(self, root_fd: int, root_device: int) -> None:
        """The root was opened anew: everything that was opened below the old one is of the past."""
        with self._lock:
            self._epoch += 1
            self._root_device = root_device
            self._root.path_fd = Descriptor(root_fd, self._epoch)  # its first pin is never given back
            while self._idle:
                self._discard(*self._idle.popitem())

    def path(self, inode: Inode) -> "_Use":
        """In a with block: an O_PATH descriptor of the inode. Raises OSError (ESTALE: the name is another file's)."""
        return _Use(self, inode, is_reader=False)

    def reader(self, inode: Inode) -> "_Use":
        """In a with block: a descriptor to read the regular file's data from. Raises OSError."""
        return _Use(self, inode, is_reader=True)

    def pin_reader(self, inode: Inode) -> Descriptor | None:
        """What `reader` uses, if it is open already; give it back with `unpin_reader`."""
        with self._lock:
            return self._pinned(inode.reader_fd)

    def open_reader(self, inode: Inode) -> Descriptor:
        """What `reader` uses, opened now; give it back with `unpin_reader`. Raises OSError."""
        return self._keep(inode, self.open(inode, os.O_RDONLY), is_reader=True)

    def unpin_reader(self, inode: Inode, descriptor: Descriptor) -> None:
        self.release(inode, descriptor, is_reader=True)

    def open(self, inode: Inode, flags: int) -> int:
        """A descriptor of its own for the caller, who closes it. Raises OSError."""
        with self._lock:
            held = self._pinned(inode.path_fd)
        if held is not None:
            try:
                return os.open(f"/proc/self/fd/{held.fd}", (flags & ~os.O_NOFOLLOW) | os.O_CLOEXEC)
            finally:
                self.release(inode, held, is_reader=False)
        # What was a file may be a pipe by now: an open that waits for its other end would keep the thread.
        return self._open_by_name(inode, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)

    def keep_unlinked(self, inode: Inode) -> None:
        """Hold the inode open until `forget`: a name of it is gone, perhaps the last. Raises OSError."""
        descriptor = self.pin_path(inode)
        with self._lock:
            was_kept, inode.is_kept = inode.is_kept, True
        if was_kept:  # it has lost a name before: one pin is enough, and one is given back
            self.release(inode, descriptor, is_reader=False)

    def renew_reader(self, inode: Inode) -> None:
        """The content changed: let the next reader open the file anew, so that the source's own caches notice."""
        with self._lock:
            descriptor, inode.reader_fd = inode.reader_fd, None
            self._doom(descriptor)

    def renew(self, inode: Inode, descriptor: Descriptor) -> None:
        """A server has forgotten what we hold, as NFS's do: the next use opens it by name, unless it has lost that."""
        with self._lock:
            if inode.reader_fd is descriptor:
                inode.reader_fd = None
            elif inode.path_fd is descriptor and inode is not self._root and not inode.is_kept:
                inode.path_fd = None
            else:
                return
            descriptor.is_doomed = True  # it is closed when the last who uses it gives it back

    def forget(self, inode: Inode) -> None:
        """Close what the inode holds, at once or when its last user is done."""
        with self._lock:
            if inode is self._root:
                return
            path, reader = inode.path_fd, inode.reader_fd
            inode.path_fd = inode.reader_fd = None
            if inode.is_kept and path is not None:
                path.pins -= 1
            inode.is_kept = False
            self._doom(path)
            self._doom(reader)

    def pin_path(self, inode: Inode) -> Descriptor:
        with self._lock:
            descriptor = self._pinned(inode.path_fd)
        if descriptor is not None:
            return descriptor
        for closed in self._closed_ancestors(inode):
            opened = self._keep(closed, self._open_by_name(closed, _PATH_FLAGS), is_reader=False)
            self.release(closed, opened, is_reader=False)
        return self._keep(inode, self._open_by_name(inode, _PATH_FLAGS), is_reader=False)

    def _closed_ancestors(self, inode: Inode) -> list[Inode]:
        """The directories above the inode that have to be opened first, from the top down.

        One after the other, for a tree can be deeper than Python's stack.
        """
        closed: dict[Inode, None] = {}
        place = inode.place
        while place is not None:
            directory = place[0]
            if directory in closed:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))  # moved about behind our back
            held = directory.path_fd
            if held is not None and held.epoch == self._epoch:
                break
            closed[directory] = None
            place = directory.place
        return list(reversed(closed))

    def _pinned(self, descriptor: Descriptor | None) -> Descriptor | None:
        """With the lock held: the descriptor, pinned, unless there is none or it is of the past."""
        if descriptor is None or descriptor.epoch != self._epoch:
            return None
        descriptor.pins += 1
        self._idle.pop(descriptor, None)
        return descriptor

    def _open_by_name(self, inode: Inode, flags: int) -> int:
        place = inode.place
        if place is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))  # the root is not there
        if inode.is_unlinked:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        directory, name = place
        with self.path(directory) as directory_fd:
            try:
                fd = os.open(name, flags, dir_fd=directory_fd)
            except FileNotFoundError:  # the name went behind our back: have the kernel look again
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE)) from None
        try:
            self._check(inode, fd)
        except OSError:
            os.close(fd)
            raise
        return fd

    def _check(self, inode: Inode, fd: int) -> None:
        if self.has_stable_inodes:
            st = os.fstat(fd)
            dev = 0 if st.st_dev == self._root_device else st.st_dev
            if (dev, st.st_ino) != (inode.attributes.dev, inode.attributes.ino):
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    def _keep(self, inode: Inode, fd: int, is_reader: bool) -> Descriptor:
        with self._lock:
            other = self._pinned(inode.reader_fd if is_reader else inode.path_fd)
            if other is None:
                descriptor = Descriptor(fd, self._epoch)
                if is_reader:
                    inode.reader_fd = descriptor
                else:
                    inode.path_fd = descriptor
                return descriptor
        self.close(fd)  # another thread was faster
        return other

    def release(self, inode: Inode, descriptor: Descriptor, is_reader: bool) -> None:
        with self._lock:
            descriptor.pins -= 1
            if descriptor.pins:
                return
            if descriptor.is_doomed or descriptor.epoch != self._epoch:
                self._discard(descriptor, (inode, is_reader))
                return
            self._idle[descriptor] = (inode, is_reader)
            while len(self._idle) > self._limit:
                self._discard(*self._idle.popitem(last=False))

    def _discard(self, descriptor: Descriptor, holder: tuple[Inode, bool]) -> None:
        """With the lock held: close a descriptor that nobody uses, and have its inode know."""
        inode, is_reader = holder
        if is_reader and inode.reader_fd is descriptor:
            inode.reader_fd = None
        elif not is_reader and inode.path_fd is descriptor:
            inode.path_fd = None
        self.close(descriptor.fd)

    def close(self, fd: int) -> None:
        """Close a descriptor soon, without waiting for the source."""
        self._closing.put(fd)

    def _close_all(self) -> None:
        while True:
            try:
                os.close(self._closing.get())
            except OSError as error:
                log.debug("closing a file of the source failed: %s", error)

    def _doom(self, descriptor: Descriptor | None) -> None:
        """With the lock held."""
        if descriptor is None:
            return
        descriptor.is_doomed = True
        if descriptor.pins <= 0:
            self._idle.pop(descriptor, None)
            self.close(descriptor.fd)


class _Use:
    """A descriptor for the length of a with block. A class: a generator costs 2 us more, several times a request."""

    __slots__ = ("_descriptor", "_descriptors", "_inode", "_is_reader")

    def __init__(self, descriptors: Descriptors, inode: Inode, is_reader: bool) -> None:
        self._descriptors = descriptors
        self._inode = inode
        self._is_reader = is_reader

    def __enter__(self) -> int:
        descriptors, inode = self._descriptors, self._inode
        if self._is_reader:
            self._descriptor = descriptors.pin_reader(inode) or descriptors.open_reader(inode)
        else:
            self._descriptor = descriptors.pin_path(inode)
        return self._descriptor.fd

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OSError) and error.errno == errno.ESTALE:
            self._descriptors.renew(self._inode, self._descriptor)
        self._descriptors.release(self._inode, self._descriptor, self._is_reader)
