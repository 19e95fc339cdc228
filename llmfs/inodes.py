"""The files that we know of while we are mounted.

An inode's id is what the kernel calls it by, what stat shows as st_ino, and what cached blocks are keyed by; so it has
to be the same after a remount. Where the source has stable inode numbers it is the source's own; else it is given out
once and stored beside the name (`metadata.py`).

All of it belongs to the event loop's thread. Worker threads read `Inode.place`, which is replaced as a whole, and go
through `descriptors.py` for everything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llmfs.attributes import Attributes
from llmfs.policy.rules import ORDINARY, Treatment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmfs.descriptors import Descriptor
    from llmfs.policy.companions import Tally
    from llmfs.policy.mentions import Directory
    from llmfs.policy.scanning import Scan

ROOT_ID = 1
"""FUSE's number for the root."""

ABSENT_ID = 0

FOREIGN = -1
"""No generation: of pages that the kernel may hold, and that must be dropped before it is told that they are good."""


ASKED_SINGLY = 2
NAMES_FOR_ONE = 64
"""Names of a listed directory that are looked at one by one before all of them are: two, and one more for so many."""


class Entry(NamedTuple):
    """A name in a directory: whose it is (ABSENT_ID: nobody's), when that was seen, in which state of the directory."""

    inode_id: int
    checked_ns: int
    generation: int


class ListedName(NamedTuple):
    """One name of a listing; `kind` is the file type bits of st_mode, 0 where the source did not say."""

    name: bytes
    kind: int
    ino: int


class Listing:
    """All names of a directory in the state `generation`, in the source's order."""

    __slots__ = (
        "_asked_singly",
        "arranged",
        "as_of",
        "asked_ns",
        "generation",
        "index",
        "is_old",
        "looks",
        "names",
        "prefetched_by",
        "tally",
    )

    def __init__(self, names: list[ListedName], generation: int) -> None:
        self.names = names
        self.generation = generation
        self.index = {listed.name: position for position, listed in enumerate(names)}
        self.is_old = False  # of a former mount, or used before
        self.prefetched_by: str | None = None  # who had it fetched ahead, until it is used
        self.looks: dict[bytes, Attributes] = {}  # what came along with the names and nobody has asked for yet
        self._asked_singly = 0  # names that were asked of the source since it was last said to be worth it
        self.asked_ns = 0  # when the looks were asked for, wall clock,
        self.as_of = 0  # and the tick then (metadata.py)
        self.tally: Tally | None = None  # what was read of its files (policy/companions.py)
        self.arranged: dict[int, list[ListedName]] = {}  # in the orders of traversals (policy/traversal.py)

    def are_asked_singly(self, count: int = 1) -> bool:
        """So many more of its names have to be asked of the source: count them, and say whether looking at all of them
        is cheaper by now."""
        self._asked_singly += count
        if self._asked_singly < min(ASKED_SINGLY + len(self.names) // NAMES_FOR_ONE, len(self.names)):
            return False
        self._asked_singly = 0
        return True


class Inode:
    """One file, directory, link or special file."""

    __slots__ = (
        "absent_xattrs",
        "as_of",
        "asked_ahead",
        "attributes",
        "changed_at",
        "checked_ns",
        "children",
        "generation",
        "handles",
        "hits",
        "id",
        "is_immutable",
        "is_kept",
        "is_new",
        "is_unlinked",
        "kernel_generation",
        "lacking_xattrs",
        "listing",
        "lookups",
        "mentions",
        "misses",
        "path_epoch",
        "path_fd",
        "path_id",
        "place",
        "prefetched_by",
        "reader_fd",
        "scan",
        "told_sizes",
        "treatment",
        "writers",
    )

    def __init__(self, inode_id: int, place: tuple[Inode, bytes] | None, attributes: Attributes) -> None:
        self.id = inode_id
        self.place = place  # the directory and the name it was last seen under; None for the root
        self.attributes = attributes
        self.checked_ns = 0  # wall clock of the last look at the source; 0: do not believe
        self.as_of = 0  # tick of the newest look or change of ours that it reflects (metadata.py)
        self.changed_at = 0  # tick of our own last change of it
        self.generation = 0  # policy/freshness.py
        self.kernel_generation = 0  # the generation that the kernel's pages hold; 0: it has none, or FOREIGN
        self.told_sizes: tuple[int, ...] = ()  # what the kernel may take its size to be, the last first
        self.lookups = 0  # references held by the kernel
        self.handles = 0  # open files and directories
        self.writers = 0  # open for writing, or about to be changed: not pushed to (push.py)
        self.hits = 0  # reads that the cache answered
        self.absent_xattrs: dict[bytes, int] | None = None  # xattrs.py: names, and when they were not there
        self.lacking_xattrs: tuple[int, int] | None = None  # in which generation, which it has not got (bits)
        self.treatment: Treatment = ORDINARY  # when it is fetched ahead (treatments.py)
        self.is_immutable = False  # likewise: it never changes
        self.is_unlinked = False  # reachable through descriptors only
        self.is_kept = False  # its descriptor is pinned for good (descriptors.py)
        self.is_new = False  # no mount has seen it before: of it and its names nothing is stored that is not in memory
        self.prefetched_by: str | None = None  # who had its attributes fetched ahead, until they are used
        self.children: dict[bytes, Entry] | None = {} if attributes.is_directory else None
        self.listing: Listing | None = None
        self.mentions: Directory | None = None  # which of a directory's files others name (policy/mentions.py)
        self.asked_ahead = 0  # names of a directory without a listing that were looked at ahead of their use
        self.misses = 0  # a directory's names that had to be asked of the source one by one
        self.path_id = -1
        self.path_epoch = -1
        self.path_fd: Descriptor | None = None
        self.reader_fd: Descriptor | None = None
        self.scan: Scan | None = None  # a walk through its listing

    @property
    def size(self) -> int:
        """Bytes, as of its attributes."""
        return self.attributes.size


def path_below(inode: Inode) -> bytes:
    """The inode's path relative to the source, as it was last seen; empty for the root."""
    names = []
    while inode.place is not None:
        inode, name = inode.place
        names.append(name)
    return b"/".join(reversed(names))


class InodeTable:
    """Inodes by id. Those the kernel has forgotten stay for a while, the least recently forgotten go first."""

    def __init__(self, idle_limit: int) -> None:
        self._inodes: dict[int, Inode] = {}
        self._idle: dict[int, None] = {}
        self._idle_limit = idle_limit
        self.added = 0

    def __len__(self) -> int:
        return len(self._inodes)

    def __iter__(self) -> Iterator[Inode]:
        return iter(self._inodes.values())

    def get(self, inode_id: int) -> Inode | None:
        return self._inodes.get(inode_id)

    def __getitem__(self, inode_id: int) -> Inode:
        return self._inodes[inode_id]

    def add(self, inode: Inode) -> list[Inode]:
        """Take in a new inode. Returns those that had to go: close what they hold."""
        self._inodes[inode.id] = inode
        self.added += 1
        if inode.id != ROOT_ID:
            self._idle[inode.id] = None
        return self._trim()

    def reference(self, inode: Inode) -> None:
        """The kernel holds one more reference."""
        inode.lookups += 1
        self._idle.pop(inode.id, None)

    def dereference(self, inode_id: int, count: int) -> list[Inode]:
        """The kernel gave back `count` references. Returns inodes that had to go."""
        inode = self._inodes.get(inode_id)
        if inode is None or inode_id == ROOT_ID:
            return []
        inode.lookups = max(0, inode.lookups - count)
        if inode.lookups:
            return []
        inode.kernel_generation = 0
        if inode.is_unlinked and not inode.handles:
            del self._inodes[inode_id]
            self._idle.pop(inode_id, None)
            return [inode]
        self._idle[inode_id] = None
        return self._trim()

    def remove(self, inode: Inode) -> None:
        self._inodes.pop(inode.id, None)
        self._idle.pop(inode.id, None)

    def _trim(self) -> list[Inode]:
        gone: list[Inode] = []
        while len(self._idle) > self._idle_limit:
            inode_id = next(iter(self._idle))
            del self._idle[inode_id]
            inode = self._inodes.get(inode_id)
            if inode is not None and not inode.lookups and not inode.handles:
                del self._inodes[inode_id]
                gone.append(inode)
        return gone
