"""What we tell the kernel unasked: that its pages or names of a file are out of date.

Such a notification can wait for a page that is locked by a read which we have not answered yet, so it is never sent
from the event loop: a thread sends them, one after the other.
"""

import errno
import logging
import threading
from queue import SimpleQueue

import pyfuse3

log = logging.getLogger(__name__)


class KernelCache:
    """Drops what the kernel's caches hold."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[int, bytes | None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._notify, name="kernel-notify", daemon=True)
        self._thread.start()

    def drop_data(self, inode_id: int) -> None:
        """The file's pages and attributes are out of date."""
        self._queue.put((inode_id, None))

    def drop_name(self, directory_id: int, name: bytes) -> None:
        """The name stands for something else now, or for nothing."""
        self._queue.put((directory_id, name))

    def close(self) -> None:
        """No more notifications: the session is about to end."""
        self._queue.put(None)
        self._thread.join(timeout=1)

    def _notify(self) -> None:
        while True:
            item = self._queue.get()
            if item is None:
                return
            inode_id, name = item
            try:
                if name is None:
                    pyfuse3.invalidate_inode(inode_id)
                else:
                    pyfuse3.invalidate_entry(inode_id, name)
            except OSError as error:
                if error.errno != errno.ENOENT:  # the kernel has forgotten it: just as well
                    log.debug("the kernel did not drop inode %d: %s", inode_id, error)
