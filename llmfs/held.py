"""Asks the kernel to forget files, where memory for those that it knows is bounded.

The kernel holds on to every name that it was told until it is short of memory itself, and we keep an inode for each: a
kilobyte, and half as much again for its name in its directory. A profile may bound that (`machine_profile.py`). Beyond
the bound the kernel is told to drop the names that it has known for longest; it then gives them back, and the table of
idle inodes has its own bound. Of directories only the names of what is in them leave our memory: the records have them
(`records.py`).

Never dropped: directories, for a program's working directory would have no name any more and mounts below it would
vanish; and what is open, for /proc would call it deleted. So the bound is one of files, not of directories.

Which go is decided in one walk through the table, after an eighth of the bound was added to it or now and then: about
2 ms for 10,000 inodes.
"""

from collections.abc import Callable

import trio

from llmfs.inodes import Inode, InodeTable

LOOK_S = 0.25
LOOK_ANYWAY_S = 30.0
"""Names that are absent make no inode, and are remembered all the same."""

LEFT_SHARE = 7 / 8
"""Of the bound, what is left of files when some go: a walk pays for itself."""


class HeldFiles:
    """Keeps what the kernel knows within a bound. Belongs to the event loop's thread."""

    def __init__(
        self,
        inodes: InodeTable,
        limit: int,
        drop_name: Callable[[int, bytes], None],
        let_go_of_listing: Callable[[Inode], None],
        on_dropped: Callable[[int], None] = lambda count: None,
    ) -> None:
        """`drop_name(directory_id, name)` asks the kernel, which may take its time; `on_dropped(count)` hears of it."""
        self._inodes = inodes
        self._limit = limit
        self._drop_name = drop_name
        self._let_go_of_listing = let_go_of_listing
        self._on_dropped = on_dropped
        self._seen = 0
        self._looked_s = 0.0

    async def run(self) -> None:
        """Look after it until cancelled."""
        while True:
            await trio.sleep(LOOK_S)
            now_s = trio.current_time()
            if self._inodes.added - self._seen > self._limit // 8 or now_s - self._looked_s > LOOK_ANYWAY_S:
                self._looked_s = now_s
                self.look()

    def look(self) -> None:
        """Have the kernel forget the files that it has known for longest, and forget names in directories."""
        self._seen = self._inodes.added
        excess = len(self._inodes) - int(self._limit * LEFT_SHARE) if len(self._inodes) > self._limit else 0
        names = 0
        dropped = 0
        for inode in reversed(list(self._inodes)):  # those that came last first: their directories are in use
            if inode.handles or inode.children is None:
                continue
            names += len(inode.children) + (len(inode.listing.names) if inode.listing is not None else 0)
            if names > self._limit:
                inode.children.clear()
                self._let_go_of_listing(inode)
        for inode in self._inodes:
            if dropped >= excess:
                break
            if inode.children is None and inode.lookups and not inode.handles and inode.place is not None:
                directory, name = inode.place
                self._drop_name(directory.id, name)
                dropped += 1
        if dropped:
            self._on_dropped(dropped)
