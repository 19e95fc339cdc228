"""Traversals: who goes through a tree reads its files one after the other, directory by directory.

`grep -r`, `cp -r`, `git grep`, an indexer, a checksum, a backup read each file once. Nothing in the files says which
one is next, and where directories are small, nothing in one directory does either; but the listings do. A program that
comes, at the end of one directory, to the file with which an order of the tree goes on, and does so a few times in a
row, goes on in that order. The orders that programs use are few: as listed, by name or by inode number, and in each
either files and folders as they come or a directory's files before its folders.

From then on the files ahead of it are wished for, a window that grows with each that it reads. A directory on the way
that nobody has listed is, and those that come after it are listed with it: a deep tree would otherwise cost a round
trip for each. Folders whose names begin with a dot are left out until something is read in one.

A program is known by where it reads, not by its number: threads and the processes of a pipe share the work.
"""

import copy
import itertools
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from llmfs.inodes import ListedName, Listing
from llmfs.policy.account import Account
from llmfs.policy.companions import last_suffix

READ_BYTES = 1 << 20
"""Wished for of each file: more of a large one is its readahead's."""

PROBE_BYTES = 8 << 20
"""Fetched before it is known how much comes true."""

NAMES_MAX = 1024
"""A directory with more names is a data set, not a place on the way."""

KINDS_MAX = 256
"""Kinds of files that are told apart."""

AT_ONCE = 4
"""Traversals that are followed at a time."""

PATIENCE, SCORE_MAX = 3, 6
"""By so many the steps from directory to directory that an order foretold lead before it is believed; and at most."""

NEAR_FILES, NEAR_NAMES = 3, 24
"""A step is right where it leads to one of the next so many files of the kind, among so many names."""

FIRST_WINDOW, LAST_WINDOW = 8, 64
"""Files ahead of the reader."""

SLACK = 16
"""Files that a reader may leave behind, for another of its threads has them."""

LOST_AFTER = 4
"""Reads elsewhere in a row after which it is somewhere else."""

IDLE_AFTER = 32
"""Reads in a row that found all in the cache: there is nothing to do ahead of them."""

LISTED_AHEAD = 16
"""Folders listed at a time where the names end,"""

SCOUTED_NAMES = 256
"""among so many names."""

FRUITLESS = 16
"""Steps in a row that were none of a traversal, after which only one in so many is looked at."""

PASSED_MIN = 3
"""Files of a kind that a traversal left out, more than it read: it leaves out the others."""


class Node(Protocol):
    """A directory."""

    listing: Listing | None

    @property
    def place(self) -> tuple[Any, bytes] | None:
        """The directory that it is in, and its name there; None for the root."""


Place = TypeVar("Place", bound=Node)


class Ahead(NamedTuple, Generic[Place]):
    """What to have ready: (directory, name) of files, in the order of their use, and of folders to list."""

    files: list[tuple[Place, bytes]]
    folders: list[tuple[Place, bytes]]


Key = Callable[[ListedName], bytes | int]
_KEYS: tuple[Key | None, ...] = (
    None,
    lambda listed: listed.name + b"/" if listed.kind == stat.S_IFDIR else listed.name,
    lambda listed: listed.ino,
)
ORDERS = tuple((key, is_files_first) for key in _KEYS for is_files_first in (False, True))


def arranged(listing: Listing, order: int) -> list[ListedName]:
    """The listing's names in one of the ORDERS; made once."""
    found = listing.arranged.get(order)
    if found is None:
        key, is_files_first = ORDERS[order]
        found = listing.names if key is None else sorted(listing.names, key=key)
        if is_files_first:
            found = sorted(found, key=lambda listed: listed.kind == stat.S_IFDIR)
        listing.arranged[order] = found
    return found


def _after(names: list[ListedName], name: bytes) -> int:
    """The position after a name that is there. It is looked for: an index of each order would take more memory than
    all else that is known of the names."""
    return next(position for position, listed in enumerate(names, 1) if listed.name == name)


class Cursor(Generic[Place]):
    """A place in a tree, from which it goes on in an order."""

    __slots__ = ("_at", "_child", "_directory", "_names", "_order", "stuck_at")

    def __init__(
        self, order: int, directory: Place, name: bytes, child: Callable[[Place, bytes], Place | None]
    ) -> None:
        """After `name` of the directory, which is listed. `child` as of `Traversals`."""
        assert directory.listing is not None
        self._order = order
        self._child = child
        self._directory = directory
        self._names = arranged(directory.listing, order)
        self._at = _after(self._names, name)
        self.stuck_at: tuple[Place, bytes] | None = None
        """The folder that has to be listed before it goes on."""

    def files(self, names: int, is_hidden: bool) -> Iterator[tuple[Place, bytes]]:
        """The files to come, from among so many names. Ends where the tree does, or at a folder whose names nobody
        knows."""
        self.stuck_at = None
        for directory, listed in self._go(names, is_hidden):
            if listed.kind == stat.S_IFDIR:
                self.stuck_at = directory, listed.name
                return
            self._at += 1
            yield directory, listed.name

    def unlisted(self, names: int, is_hidden: bool) -> Iterator[tuple[Place, bytes]]:
        """The folders to come whose names nobody knows, from among so many names. It stays where it is."""
        ahead = copy.copy(self)
        for directory, listed in ahead._go(names, is_hidden):
            ahead._at += 1
            if listed.kind == stat.S_IFDIR:
                yield directory, listed.name

    def _go(self, names: int, is_hidden: bool) -> Iterator[tuple[Place, ListedName]]:
        """Stops at each file, and at each folder whose names nobody knows; who wants more passes it."""
        for _ in range(names):
            while self._at >= len(self._names):
                if not self._rise():
                    return
            listed = self._names[self._at]
            if listed.kind == stat.S_IFREG:
                yield self._directory, listed
            elif listed.kind != stat.S_IFDIR or (listed.name.startswith(b".") and not is_hidden):
                self._at += 1
            elif not self._descend(listed.name):
                yield self._directory, listed

    def _descend(self, name: bytes) -> bool:
        folder = self._child(self._directory, name)
        if folder is None or folder.listing is None:
            return False
        self._at += 1
        if len(folder.listing.names) <= NAMES_MAX:
            self._directory, self._names, self._at = folder, arranged(folder.listing, self._order), 0
        return True

    def _rise(self) -> bool:
        """To the directory above, after this one; False where there is none, or its names are forgotten."""
        place = self._directory.place
        if place is None:
            return False
        above, name = place
        if above.listing is None or name not in above.listing.index:
            return False
        self._directory = above
        self._names = arranged(above.listing, self._order)
        self._at = _after(self._names, name)
        return True


class _Traversal(Generic[Place]):
    """One that is followed, or may become one."""

    __slots__ = ("cursor", "is_hidden", "kinds", "last", "order", "scores", "scouted", "strays", "upcoming", "window")

    def __init__(self, directory: Place, name: bytes) -> None:
        self.last = directory, name  # the file that was read last
        self.scores = [0] * len(ORDERS)
        self.order = -1  # that is believed
        self.cursor: Cursor[Place] | None = None
        self.upcoming: OrderedDict[tuple[Place, bytes], None] = OrderedDict()  # given, and not read yet
        self.window = FIRST_WINDOW
        self.scouted: tuple[Place, bytes] | None = None  # the folder from which on folders were given to be listed
        self.strays = 0  # reads elsewhere in a row
        self.is_hidden = False  # it reads below folders whose names begin with a dot
        self.kinds: dict[bytes, list[int]] = {}  # files of each kind that it read, and that it left out


class Traversals(Generic[Place]):
    """All that are followed, and what became of what was fetched for them."""

    def __init__(self, child: Callable[[Place, bytes], Place | None]) -> None:
        """`child(directory, name)`: the folder of that name as it was last seen, None where it never was."""
        self._child = child
        self._traversals: list[_Traversal[Place]] = []  # the one that was followed last comes last
        self._account = Account(PROBE_BYTES)  # bytes
        self._fruitless = 0
        self._idle = 0  # reads since somebody had to wait or used what was fetched for this

    def began(self, directory: Place, name: bytes, size_bytes: int, has_waited: bool) -> Ahead[Place]:
        """A program begins to read a file of this size, for which it had to wait, or not: what to have ready."""
        self._account.read += min(size_bytes, READ_BYTES)
        self._idle = 0 if has_waited else self._idle + 1
        listing = directory.listing
        if self._idle > IDLE_AFTER or listing is None or len(listing.names) > NAMES_MAX or name not in listing.index:
            return Ahead([], [])
        traversal = self._of(directory, name)
        if traversal is None or traversal.order < 0 or not self._account.allows(0):
            return Ahead([], [])
        if traversal.cursor is None:
            traversal.cursor = Cursor(traversal.order, directory, name, self._child)
        return self._go_on(traversal, traversal.cursor)

    def listed(self, directory: Place) -> Ahead[Place]:
        """The names of a directory are known: what to have ready of those who waited for them."""
        if directory.place is not None:
            for traversal in self._traversals:
                if traversal.cursor is not None and traversal.cursor.stuck_at == directory.place:
                    return self._go_on(traversal, traversal.cursor)
        return Ahead([], [])

    def fetched(self, size_bytes: int) -> None:
        """So much was fetched for a traversal."""
        self._account.fetched += size_bytes

    def used(self, size_bytes: int) -> None:
        """So much of that was used."""
        self._account.used += size_bytes
        self._idle = 0

    def _of(self, directory: Place, name: bytes) -> _Traversal[Place] | None:
        """The traversal that this read belongs to, if any; it has heard of it."""
        here = directory, name
        for traversal in reversed(self._traversals):
            if here in traversal.upcoming:
                self._follow(traversal, here)
                return self._latest(traversal)
        for traversal in reversed(self._traversals):
            if traversal.last[0] is directory:
                traversal.last = here
                self._strays(traversal)
                return self._latest(traversal)
        if self._fruitless >= FRUITLESS and self._fruitless % FRUITLESS:
            self._fruitless += 1
            if self._traversals[-1].order < 0:
                self._traversals[-1].last = here
            return None
        for traversal in reversed(self._traversals):
            if self._steps(traversal, here):
                self._fruitless = 0
                return self._latest(traversal)
        self._fruitless += 1
        if len(self._traversals) >= AT_ONCE:
            del self._traversals[0]
        self._traversals.append(_Traversal(directory, name))
        return None

    def _latest(self, traversal: _Traversal[Place]) -> _Traversal[Place]:
        self._traversals.remove(traversal)
        self._traversals.append(traversal)
        return traversal

    def _follow(self, traversal: _Traversal[Place], here: tuple[Place, bytes]) -> None:
        """It reads a file that was foreseen."""
        before = 0
        for each in traversal.upcoming:
            if each == here:
                break
            before += 1
        del traversal.upcoming[here]
        for _ in range(before - SLACK):
            (_, passed), _ = traversal.upcoming.popitem(last=False)
            traversal.kinds.setdefault(last_suffix(passed), [0, 0])[1] += 1
        traversal.kinds.setdefault(last_suffix(here[1]), [0, 0])[0] += 1
        if len(traversal.kinds) > KINDS_MAX:
            traversal.kinds.clear()
        traversal.last = here
        traversal.strays = 0
        traversal.window = min(traversal.window + 1, LAST_WINDOW)

    def _steps(self, traversal: _Traversal[Place], here: tuple[Place, bytes]) -> bool:
        """Whether an order leads from the last file of a traversal to this one, in another directory."""
        kind = last_suffix(here[1])
        directory, name = traversal.last
        if directory.listing is None or name not in directory.listing.index:
            return False
        is_hidden = traversal.is_hidden or _is_hidden(here[0])
        right = set()
        for order in range(len(ORDERS)):
            cursor, count, leads = Cursor(order, directory, name, self._child), 0, False
            for each in cursor.files(NEAR_NAMES, is_hidden):
                if last_suffix(each[1]) == kind:
                    count += 1
                    leads = each == here
                    if leads or count == NEAR_FILES:
                        break
            if leads or (cursor.stuck_at is not None and cursor.stuck_at == here[0].place):
                right.add(order)
        if not right:
            return False  # it is another's read, perhaps
        for order, score in enumerate(traversal.scores):
            traversal.scores[order] = min(score + 1, SCORE_MAX) if order in right else max(score - 1, 0)
        traversal.last = here
        traversal.is_hidden = is_hidden
        self._believe(traversal)
        return True

    def _believe(self, traversal: _Traversal[Place]) -> None:
        """It took a step that was not foreseen: on which order is it?"""
        best = max(traversal.scores)
        if best < PATIENCE:
            return
        if traversal.order < 0 or traversal.scores[traversal.order] < best:
            traversal.order = traversal.scores.index(best)
            traversal.window = FIRST_WINDOW
        traversal.upcoming.clear()
        traversal.cursor = None

    def _strays(self, traversal: _Traversal[Place]) -> None:
        """It reads, in the directory where it is, what was not foreseen."""
        traversal.strays += 1
        if traversal.strays > LOST_AFTER and traversal.cursor is not None:
            traversal.strays = 0
            traversal.upcoming.clear()
            traversal.cursor = None

    def _go_on(self, traversal: _Traversal[Place], cursor: Cursor[Place]) -> Ahead[Place]:
        """What is to be had ready beyond what was said before."""
        files: list[tuple[Place, bytes]] = []
        if len(traversal.upcoming) < traversal.window:
            for each in cursor.files(SCOUTED_NAMES, traversal.is_hidden):
                read, passed = traversal.kinds.get(last_suffix(each[1]), (0, 0))
                if passed >= PASSED_MIN and passed > read:
                    continue
                traversal.upcoming[each] = None
                files.append(each)
                if len(traversal.upcoming) >= traversal.window:
                    break
        folders: list[tuple[Place, bytes]] = []
        if cursor.stuck_at is not None and cursor.stuck_at != traversal.scouted:
            traversal.scouted = cursor.stuck_at
            folders += itertools.islice(cursor.unlisted(SCOUTED_NAMES, traversal.is_hidden), LISTED_AHEAD)
        return Ahead(files, folders)


def _is_hidden(directory: Node) -> bool:
    """Whether it is, or lies in, a folder whose name begins with a dot."""
    place = directory.place
    while place is not None:
        directory, name = place
        if name.startswith(b"."):
            return True
        place = directory.place
    return False
