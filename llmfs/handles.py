"""Who asks: requests for names, and open files and directories."""

from typing import NamedTuple

import trio

from llmfs.inodes import Inode, Listing
from llmfs.metadata import UNCOUNTED
from llmfs.policy.regions import Regions
from llmfs.policy.rules import Treatment
from predictor.baselines.readahead import Readahead

UNHEARD = 0
"""The stream of accesses that are not recorded: a policy says so."""


class Handle:
    """An open file or directory."""

    __slots__ = (
        "appends", "fd", "inode", "is_direct", "is_dirty", "listing", "pid", "placing_fd", "readahead", "regions",
        "stream", "treatment",
    )  # fmt: skip

    def __init__(self, inode: Inode, stream: int, pid: int, treatment: Treatment) -> None:
        self.inode = inode
        self.pid = pid
        self.stream = stream  # UNHEARD where the predictor is not to learn of what is done here
        self.treatment = treatment
        self.fd: int | None = None  # a descriptor of the source, where the file is open for writing
        self.appends: trio.Lock | None = None  # open for appending: one write after the other
        self.placing_fd: int | None = None  # another, where not all is appended
        self.is_direct = False  # its reads pass the kernel's pages by
        self.is_dirty = False  # written since the last flush
        self.readahead: Readahead | None = None
        self.regions: Regions | None = None
        self.listing: Listing | None = None

    @property
    def generator(self) -> str | None:
        return _generator(self.stream)


class Asked(NamedTuple):
    """Who asks for something, and when it came."""

    started_s: float
    stream: int  # UNHEARD where the predictor is not to learn of it
    treatment: Treatment

    @property
    def generator(self) -> str | None:
        return _generator(self.stream)


def _generator(stream: int) -> str | None:
    """What `Metadata` is told of who asks."""
    return None if stream else UNCOUNTED
