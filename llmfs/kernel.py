"""What we tell the kernel unasked: that its pages or names of a file are out of date, or what its pages hold.

Such a notification can wait for a page that is locked by a read which we have not answered yet, so it is never sent
from the event loop: a thread sends them, one after the other.
"""

import errno
import functools
import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

import pyfuse3

log = logging.getLogger(__name__)


class KernelCache:
    """Drops what the kernel's caches hold, and fills them."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._notify, name="kernel-notify", daemon=True)
        self._thread.start()

    def drop_data(self, inode_id: int) -> None:
        """The file's pages and attributes are out of date."""
        self._queue.put(functools.partial(_drop, inode_id, pyfuse3.invalidate_inode, inode_id))

    def drop_name(self, directory_id: int, name: bytes) -> None:
        """The name stands for something else now, or for nothing."""
        self._queue.put(functools.partial(_drop, directory_id, pyfuse3.invalidate_entry, directory_id, name))

    def store(
        self,
        inode_id: int,
        offset: int,
        data: bytes,
        is_good: Callable[[], bool],
        done: Callable[[bool | None], None],
    ) -> None:
        """The pages from `offset` on hold `data`, which is as long as the file or a multiple of a page.

        `is_good()` is asked right before; `done(True)` says that they do, `done(False)` that they did not need to, or
        the kernel has forgotten the file, `done(None)` that it refused. Both are called in the thread.
        """

        def carry() -> None:
            is_stored: bool | None = False
            try:
                if is_good():
                    pyfuse3.notify_store(inode_id, offset, data)
                    is_stored = True
            except OSError as error:
                if error.errno != errno.ENOENT:
                    is_stored = None
                    log.debug("the kernel did not store %d bytes of inode %d: %s", len(data), inode_id, error)
            done(is_stored)

        self._queue.put(carry)

    def close(self) -> None:
        """No more notifications: the session is about to end."""
        self._queue.put(None)
        self._thread.join(timeout=1)

    def _notify(self) -> None:
        while True:
            notification = self._queue.get()
            if notification is None:
                return
            notification()


def _drop(inode_id: int, invalidate: Callable[..., None], *what: object) -> None:
    try:
        invalidate(*what)
    except OSError as error:
        if error.errno != errno.ENOENT:  # the kernel has forgotten it: just as well
            log.debug("the kernel did not drop inode %d: %s", inode_id, error)
