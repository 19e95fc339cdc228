"""The rules that need no predictor: readahead within a file, regions of it that are wanted whole, companions of it that
are too, files that it mentions, files of its name elsewhere, the files of a tree that is gone through, stat-ahead in a
directory, listings of the directories below it, listings instead of misses.

They watch single requests and wish for what obviously comes next. With `--predictor off` they still tell sequential
readers from others, which decides how much a miss fetches, and wish for nothing.
"""

import itertools
import operator
import stat
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from llmfs.config import Predictor
from llmfs.inodes import ListedName, Listing
from llmfs.policy.companions import SMALL_BYTES, Companions
from llmfs.policy.descent import Descent
from llmfs.policy.fetching import WHOLE_FILE_BYTES
from llmfs.policy.namesakes import Namesakes
from llmfs.policy.regions import PROGRAM, Regions
from llmfs.policy.scanning import Scan
from llmfs.policy.traversal import READ_BYTES, Ahead, Traversals
from predictor.baselines.readahead import Readahead
from predictor.events import Tier
from predictor.plan import Want

MISSES_BEFORE_LISTING = 2
"""Absent names asked of the source one by one before the directory's listing is fetched, which answers for all."""

DESCENT = "descent"
STALE = "stale"
COMPANION = "companion"
NAMESAKE = "namesake"
TRAVERSAL = "traversal"
"""What the listings and the files are told apart by that the rules of these names wish for."""

REMEMBERED = frozenset(("history", "footprint"))
"""Who fetches what was read the last time: what that names was read then too, and is planned."""

_WANTED_ANYWAY = REMEMBERED | {TRAVERSAL}
"""Who fetches a file not for what it says: its reader comes from another one and goes on to another."""

GUESS_SCORE = 0.5
"""How probable it is that such a file is used: a controller that is careful leaves it at its name."""

LONG_RUN = 4
"""Reads that went on where the one before ended: by then readahead runs ahead, and regions need not."""


class Node(Protocol):
    """A file or directory, as far as the rules are concerned: an inode of the mount's, or one of a replay."""

    listing: Listing | None
    scan: Scan | None
    misses: int
    checked_ns: int

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def place(self) -> tuple[Any, bytes] | None:
        """The directory and the name in it."""


Place = TypeVar("Place", bound=Node)
PlaceIn = TypeVar("PlaceIn", bound=Node, contravariant=True)


class Reader(Protocol[Place]):
    """An open file, as far as readahead is concerned."""

    inode: Place
    readahead: Readahead | None
    regions: Regions | None


class Prefetches(Protocol[PlaceIn]):
    """Who carries out wishes."""

    def accessed(self, directory: PlaceIn | None = None, name: bytes = b"") -> None: ...

    def was_read(self, inode: PlaceIn, start: int, stop: int) -> None: ...

    def have_ready(
        self, want: Want, inode: PlaceIn, offset: int = 0, length: int = 0, generator: str = "rule"
    ) -> None: ...

    def have_names_ready(self, directory: PlaceIn, names: Sequence[bytes]) -> None: ...

    def have_looks_ready(self, directory: PlaceIn) -> None: ...

    def have_listings_ready(self, directory: PlaceIn, names: Sequence[bytes], generator: str) -> None: ...

    def have_files_ready(
        self, directory: PlaceIn, names: Sequence[bytes], length: int, generator: str, first: int = 0
    ) -> None: ...


class Mentioning(Protocol[PlaceIn]):
    """Who follows what files say. A replay cannot: a recording has no contents."""

    def began(self, inode: PlaceIn) -> None: ...

    def came(self, inode: PlaceIn, offset: int) -> None: ...

    def listed(self, directory: PlaceIn) -> None: ...


class LocalRules(Generic[Place]):
    """Turns what was just asked for into wishes to the prefetcher."""

    def __init__(
        self,
        prefetcher: Prefetches[Place],
        kind: Predictor,
        on_listing: Callable[[Place, list[ListedName]], None],
        namesakes: Namesakes,
        mentioned: Mentioning[Place] | None = None,
        child: Callable[[Place, bytes], Place | None] = lambda directory, name: None,
    ) -> None:
        """`child(directory, name)`: the folder of that name as it was last seen, with its listing; None where it never
        was."""
        self._prefetcher = prefetcher
        self._is_on = kind is not Predictor.OFF
        self._on_listing = on_listing
        self._mentioned = mentioned if self._is_on else None
        self.descent = Descent()
        self.companions = Companions()
        self.namesakes = namesakes
        self.traversals = Traversals(child)

    def absent(self, directory: Place, tier: Tier) -> None:
        """A name was not there."""
        self._prefetcher.accessed()
        if self._is_on and tier is Tier.SOURCE and directory.misses >= MISSES_BEFORE_LISTING:
            directory.misses = 0
            if directory.checked_ns:  # not one that we are changing ourselves just now
                self._prefetcher.have_ready(Want.LISTING, directory, generator="misses")

    def looked_up(self, directory: Place, name: bytes, inode: Place, tier: Tier) -> None:
        """A name's attributes were asked for."""
        self._prefetcher.accessed(directory, name)
        listing = directory.listing
        if not self._is_on or listing is None:
            return
        position = listing.index.get(name)
        if position is None:
            return
        if tier is Tier.SOURCE and listing.are_asked_singly():
            self._prefetcher.have_looks_ready(directory)
        if directory.scan is None:
            if tier is Tier.CACHE:
                return
            directory.scan = Scan()
        ahead = directory.scan.observe(position, len(listing.names))
        if ahead is not None:
            first, stop = ahead
            self._prefetcher.have_names_ready(directory, [listed.name for listed in listing.names[first:stop]])

    def listed(self, directory: Place) -> None:
        """A directory was listed from its beginning."""
        self._prefetcher.accessed()
        directory.scan = None
        listing = directory.listing
        if listing is None:
            return
        self._on_listing(directory, listing.names)
        self._entered(directory, listing)
        self._traverse(self.traversals.listed(directory))

    def listed_ahead(self, directory: Place, name: bytes, generator: str) -> None:
        """The listing of a directory of that name was fetched for `generator`."""
        if generator == DESCENT:
            self.descent.fetched(name)
        listing = directory.listing
        if listing is not None and self._mentioned is not None:
            self._mentioned.listed(directory)
        if listing is not None and not listing.is_old:
            self._want_namesakes(directory, listing)
            if generator == DESCENT:
                self._descend(directory, listing, is_ahead=True)
        self._traverse(self.traversals.listed(directory))

    def listing_used(self, directory: Place, name: bytes, generator: str) -> None:
        """A program was served from such a listing."""
        if generator == DESCENT:
            self.descent.used(name)
        if directory.listing is not None:
            self._entered(directory, directory.listing)

    def data_fetched(self, inode: Place, generator: str, size_bytes: int) -> None:
        """Data was fetched for `generator`."""
        if generator == COMPANION:
            self.companions.fetched(size_bytes)
        elif generator == NAMESAKE and inode.place is not None:
            self.namesakes.fetched(inode.place[1], size_bytes)
        elif generator == TRAVERSAL:
            self.traversals.fetched(size_bytes)

    def data_used(self, inode: Place, generator: str, offset: int, size_bytes: int) -> None:
        """A program used such data, of a block or a part of it."""
        if self._mentioned is not None and generator not in _WANTED_ANYWAY:
            self._mentioned.came(inode, offset)
        if generator == COMPANION:
            self.companions.used(size_bytes)
        elif generator == NAMESAKE and inode.place is not None:
            self.namesakes.used(inode.place[1], size_bytes)
        elif generator == TRAVERSAL:
            self.traversals.used(size_bytes)

    def was_read(self, reader: Reader[Place], offset: int, tier: Tier, data: bytes | bytearray) -> None:
        """A program was answered."""
        if tier is Tier.SOURCE and self._mentioned is not None:
            self._mentioned.came(reader.inode, offset)
        if offset == 0:
            if reader.regions is not None and data.startswith(PROGRAM):
                reader.regions.are_of_program()
            self._began(reader.inode, tier)

    def _began(self, inode: Place, tier: Tier) -> None:
        """A program has read the beginning of a file."""
        if not self._is_on or inode.place is None:
            return
        directory, name = inode.place
        self._traverse(self.traversals.began(directory, name, inode.size, tier is not Tier.CACHE))
        if inode.size > SMALL_BYTES:
            return
        self.namesakes.began(id(directory), name, inode.size)
        if self._mentioned is not None:
            self._mentioned.began(inode)
        if directory.listing is None:
            return
        wanted = self.companions.wanted(directory.listing, name, inode.size, may_wish=tier is not Tier.CACHE)
        if wanted:
            self._prefetcher.have_files_ready(directory, wanted, SMALL_BYTES, COMPANION)

    def _entered(self, directory: Place, listing: Listing) -> None:
        """A program has listed a directory, or asked for a name in one that was listed ahead."""
        if self._mentioned is not None:
            self._mentioned.listed(directory)
        if self._is_on and not listing.is_old:
            listing.is_old = True
            self._want_namesakes(directory, listing)
            self._descend(directory, listing, is_ahead=False)

    def _want_namesakes(self, directory: Place, listing: Listing) -> None:
        if self._is_on and (wanted := self.namesakes.wanted(listing)):
            self._prefetcher.have_files_ready(directory, wanted, SMALL_BYTES, NAMESAKE)

    def _traverse(self, ahead: Ahead[Place]) -> None:
        first = 0
        for directory, files in itertools.groupby(ahead.files, operator.itemgetter(0)):
            names = [name for _, name in files]
            self._prefetcher.have_files_ready(directory, names, READ_BYTES, TRAVERSAL, first)
            first += len(names)
        for directory, name in ahead.folders:
            self._prefetcher.have_listings_ready(directory, [name], TRAVERSAL)

    def _descend(self, directory: Place, listing: Listing, is_ahead: bool) -> None:
        folders = [listed.name for listed in listing.names if listed.kind == stat.S_IFDIR]
        if wanted := self.descent.below(folders, is_ahead):
            self._prefetcher.have_listings_ready(directory, wanted, DESCENT)

    def read(
        self, reader: Reader[Place], offset: int, length: int, may_wish: bool = True, is_cached: bool = False
    ) -> bool:
        """A read, which the cache answered or not. Returns whether it goes on where another ended, or begins a file."""
        if may_wish:
            self._prefetcher.accessed()
        readahead = reader.readahead
        inode = reader.inode
        self._prefetcher.was_read(inode, offset, offset + length)
        if readahead is None:
            readahead = reader.readahead = Readahead(inode.size)
        ranges = readahead.observe(offset, length)
        if self._is_on and may_wish:
            for start, more in ranges:
                self._prefetcher.have_ready(Want.DATA, inode, start, more, "sequential")
            if inode.size > WHOLE_FILE_BYTES:
                if reader.regions is None:
                    reader.regions = Regions()
                may_wish = readahead.run < LONG_RUN  # else readahead is at it
                if not is_cached:
                    reader.regions.lacks_some()
                for start, more in reader.regions.observe(offset, length, inode.size, may_wish):
                    self._prefetcher.have_ready(Want.DATA, inode, start, more, "region")
        return offset == 0 or readahead.is_sequential
