"""Names, attributes and listings: what is known, for how long, and how it is asked for.

Known things live in inodes (`inodes.py`) while they are in use, and in LMDB for ever (`records.py`).

How long each may be believed is `policy/freshness.py`'s to say. A name is good while its own check is fresh, or while
its directory is fresh and in the state that the name was seen in: one stat of a directory makes all the absent names
that a program will ask for in it good again.

Single flight: of requests for the same name, attributes or listing, one goes to the source and the others share its
answer. A program that joins a prefetch's flight takes over nothing; if the flight fails it asks by itself.

All of it runs on the event loop's thread; between two awaits it is atomic, and what a look at the source brings back is
taken in without one.

Invariant: a look that began before a change of ours, or before a newer look, never undoes it. Looks and changes take
ticks of one counter; what a look brings is dropped where the inode is of a later tick, and nobody joins a look that
began before a change. A look counts as made when it was asked for, not when the slow source answered.
"""

import contextlib
import errno
import logging
import os
import stat
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import trio

from llmfs.attributes import Attributes
from llmfs.config import Consistency
from llmfs.inodes import ABSENT_ID, ROOT_ID, Entry, Inode, InodeTable, ListedName, Listing
from llmfs.policy.freshness import LONGEST_NS, SHORTEST_NS, generation_of, is_fresh, remaining_ns, time_to_live_ns
from llmfs.records import Records
from llmfs.source import LOOKS_IN_LISTING, Source
from llmfs.workers import Workers
from predictor.events import Tier

log = logging.getLogger(__name__)

CHILDREN_LIMIT = 65_536
"""Names of one directory kept in memory; LMDB has them all."""

ALLOCATED_IDS = 1 << 62
"""Ids that we give out start here, beyond any inode number seen in practice."""


UNREACHABLE = frozenset(
    (
        errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ETIMEDOUT,
        errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.ESHUTDOWN, errno.ENODEV,
    )
)  # fmt: skip
UNREACHABLE_NS = 1_000_000_000
"""How long the source is taken to be gone before it is asked again."""

LOOKS = 3
"""How often the source is asked about what we keep changing while it answers."""

ASKED_AHEAD = 3
"""Names of a directory that was never listed, looked at ahead of their use, before it is listed for the others."""

TOGETHER = 8
"""Names that one thread looks at, one after the other, without coming back in between."""

LOOKS_WEIGHT = 1 / 16
"""Of one look in how long looks last of late."""

UNCOUNTED = ""
"""In place of who has something looked at ahead of its use: a program that a policy keeps out of prefetching. What was
fetched ahead answers it as well, and counts as not used yet."""

SAME, CHANGED, GONE = "same", "changed", "gone"
"""What a look found of what was known."""

_NO_LONGER_THERE = frozenset((errno.ENOENT, errno.ESTALE, errno.ENOTDIR))

_KINDS = {"name": "attributes", "attributes": "attributes", "listing": "listing"}


class Flight:
    """A look at the source that is under way, shared by all who want its answer."""

    __slots__ = ("done", "error", "generator", "is_given_up", "result", "was_joined")

    def __init__(self, generator: str | None) -> None:
        self.done = trio.Event()
        self.result: Any = None
        self.error: BaseException | None = None
        self.is_given_up = False  # its program was killed while it waited: nobody's answer
        self.generator = generator  # None or UNCOUNTED: a program asked for it
        self.was_joined = False


class Metadata:
    """Looks things up, remembers them, and says how long the kernel may."""

    def __init__(
        self,
        source: Source,
        records: Records,
        inodes: InodeTable,
        consistency: Consistency,
        on_changed: Callable[[Inode], None],
        on_prefetched: Callable[[str, str, bool], None] = lambda kind, generator, was_late: None,
        on_revalidated: Callable[[str, str], None] = lambda kind, outcome: None,
        now_ns: Callable[[], int] = time.time_ns,
        judge: Callable[[Inode], None] = lambda inode: None,
        on_listing_used: Callable[[Inode, str], None] = lambda directory, generator: None,
        on_in_vain: Callable[[str, str], None] = lambda kind, generator: None,
        looks_kept: int = 20_000,
    ) -> None:
        """`judge` notes in an inode that is new or has another name what policies say of it.

        `on_revalidated(kind, outcome)` hears of each look at a name, attributes or a listing that was known and whose
        time was up: SAME, CHANGED or GONE. `on_in_vain(kind, generator)` hears of attributes and listings that were
        fetched ahead and that nobody used.
        `on_listing_used(directory, generator)` hears of a listing that was fetched ahead and answered a program.
        `looks_kept`: attributes that came along with listings, in memory until they are asked for.
        """
        self._source = source
        self._records = records
        self.inodes = inodes
        self._consistency = consistency
        self._is_strict = consistency is Consistency.STRICT
        self._on_changed = on_changed
        self._on_prefetched = on_prefetched
        self._on_revalidated = on_revalidated
        self.now_ns = now_ns
        self._judge = judge
        self._on_listing_used = on_listing_used
        self._on_in_vain = on_in_vain
        self._looks_kept = looks_kept
        self._looks = 0  # that listings hold, at most
        self._listings_with_looks: deque[tuple[Listing, int]] = deque()
        self._forgotten_change = 0  # tick of the newest change of ours to an inode that is no longer in memory
        self._flights: dict[tuple[str | int | bytes, ...], Flight] = {}
        self._looked_at: dict[tuple[int, bytes], trio.Event] = {}  # names that are looked at with others just now
        self.looks_last_s = SHORTEST_NS / 1e9  # how long what is looked at may be believed, of late
        self._next_id = 0
        self._ticks = 0
        self._unreachable_until_ns = 0
        self.root = source.root
        inodes.add(self.root)
        seen = self.root.attributes
        self._restore(self.root)
        if source.is_attached:
            self._take_attributes(self.root, seen)

    # --- asking

    def lookup_at_once(self, directory: Inode, name: bytes, generator: str | None = None) -> "Inode | _Absent | None":
        """What a name stands for: its inode, or ABSENT; None where the source has to be asked.

        `generator`, here and below: who has it looked at ahead of its use; None where a program asks, or UNCOUNTED.
        """
        known = self.known(directory, name) or self._listed_look(directory, name, generator)
        if known is ABSENT and generator is None and directory.listing is not None:
            self.listing_used(directory, directory.listing)
        return known

    async def lookup(
        self, directory: Inode, name: bytes, workers: Workers, generator: str | None = None
    ) -> tuple[Inode | None, Tier]:
        """The inode of a name, None where the name is absent. Raises OSError."""
        known = self.lookup_at_once(directory, name, generator)
        if known is not None:
            return (None if known is ABSENT else known), Tier.CACHE  # type: ignore[return-value]
        if self._directory_would_tell(directory, name):
            # One stat of the directory, shared by all who ask for absent names in it.
            _, tier = await self.attributes(directory, workers, generator)
            known = self.known(directory, name)
            if known is not None:
                return (None if known is ABSENT else known), tier  # type: ignore[return-value]
        try:
            if workers.is_inline and not generator:  # nothing to share: it is answered before anybody could join
                return await self._ask_name(directory, name, workers, generator), Tier.SOURCE
            return await self._single_flight(
                ("name", directory.id, name),
                generator,
                lambda: self._ask_name(directory, name, workers, generator),
            )
        except OSError as error:
            self._bear(error)
            known = self.known(directory, name)
            if known is None:
                raise
            return (None if known is ABSENT else known), Tier.CACHE  # type: ignore[return-value]

    async def resolve(
        self, start: Inode, names: Iterable[bytes], workers: Workers, generator: str | None = None
    ) -> Inode | None:
        """What these names lead to from `start`, one after the other; None where there is nothing. Raises OSError."""
        inode = start
        for name in names:
            if inode.children is None:
                return None
            child, _ = await self.lookup(inode, name, workers, generator)
            if child is None:
                return None
            inode = child
        return inode

    def has_attributes(self, inode: Inode, generator: str | None = None) -> bool:
        """Whether the inode's attributes may be believed now, or are once its directory's listing was looked at."""
        return self.is_fresh(inode) or (
            inode.place is not None and not inode.is_unlinked and self._listed_look(*inode.place, generator) is inode
        )

    async def attributes(self, inode: Inode, workers: Workers, generator: str | None = None) -> tuple[Attributes, Tier]:
        """Attributes that may be believed now. Raises OSError (ESTALE: the name is another file's now)."""
        if self.has_attributes(inode, generator):
            return inode.attributes, Tier.CACHE
        try:
            return await self._single_flight(
                ("attributes", inode.id), generator, lambda: self._ask_attributes(inode, workers, generator)
            )
        except OSError as error:
            self._bear(error)
            if not self.is_fresh(inode):
                raise
            return inode.attributes, Tier.CACHE

    async def listing(self, directory: Inode, workers: Workers, generator: str | None = None) -> tuple[Listing, Tier]:
        """A directory's names. Raises OSError."""
        if self._has_listing(directory) and directory.checked_ns:
            await self.attributes(directory, workers, generator)
        listing = directory.listing
        if listing is not None and self._has_listing(directory) and self.is_fresh(directory):
            return listing, Tier.CACHE
        return await self._single_flight(
            ("listing", directory.id), generator, lambda: self._ask_listing(directory, workers, generator)
        )

    async def target(self, link: Inode, workers: Workers, generator: str | None = None) -> tuple[bytes, Tier]:
        """What a symbolic link points to. Raises OSError."""
        _, tier = await self.attributes(link, workers, generator)
        generation = link.generation
        target = self._records.link(link.id, generation)
        if target is not None:
            return target, tier
        target = await workers.run_short(self._source.readlink, link)
        self._records.keep_link(link.id, generation, target)
        return target, Tier.SOURCE

    def _bear(self, error: OSError) -> None:
        """While the source cannot be reached nobody can say better than the cache; strict would rather not say."""
        if error.errno in UNREACHABLE and not self._is_strict:
            if abs(self.now_ns() - self._unreachable_until_ns) > UNREACHABLE_NS:
                log.warning("the source cannot be reached (%s): serving what is cached", error.strerror)
            self._unreachable_until_ns = self.now_ns() + UNREACHABLE_NS

    def _unreachable_for_ns(self) -> int:
        """How much longer the source is taken to be gone; not for hours because the clock was set back meanwhile."""
        remaining = self._unreachable_until_ns - self.now_ns()
        return remaining if 0 < remaining <= UNREACHABLE_NS else 0

    # --- knowing

    def is_fresh(self, inode: Inode, lead_ns: int = 0) -> bool:
        """Whether the inode's attributes may be believed now, and `lead_ns` from now."""
        return self.may_believe(inode, inode.checked_ns, lead_ns)

    def _consistency_of(self, inode: Inode) -> Consistency:
        return Consistency.IMMUTABLE if inode.is_immutable else self._consistency

    def may_believe(self, inode: Inode, checked_ns: int, lead_ns: int = 0) -> bool:
        """Whether what was seen of the inode at `checked_ns` (0: never) may be believed now, and `lead_ns` from now."""
        return checked_ns > 0 and (
            is_fresh(self._consistency_of(inode), inode.attributes, checked_ns, self.now_ns() + lead_ns)
            or self._unreachable_for_ns() > 0
        )

    def known(self, directory: Inode, name: bytes, lead_ns: int = 0) -> "Inode | _Absent | None":
        """What may be said of a name without asking, `lead_ns` from now: its inode, ABSENT, or None: nothing."""
        entry = self._entry(directory, name)
        now_ns = self.now_ns() + lead_ns
        is_directory_good = self.is_fresh(directory, lead_ns)
        if entry is None:
            listing = directory.listing if self._has_listing(directory) else None
            if is_directory_good and listing is not None and name not in listing.index:
                return ABSENT
            return None
        is_good = is_directory_good and (entry.generation == directory.generation or self._unreachable_for_ns() > 0)
        if entry.inode_id == ABSENT_ID:
            is_good = is_good or is_fresh(
                self._consistency_of(directory), directory.attributes, entry.checked_ns, now_ns
            )
            return ABSENT if is_good else None
        inode = self.inodes.get(entry.inode_id) or self._restored(entry.inode_id, directory, name)
        if inode is None or not self.is_fresh(inode, lead_ns):
            return None
        if is_good or is_fresh(self._consistency_of(inode), inode.attributes, entry.checked_ns, now_ns):
            return inode
        return None

    def remembered_at(self, path: bytes) -> Inode | None:
        """What a path from the root led to when it was last asked for, which may be long ago; None where nobody knows.

        Good for asking the source about it, and for nothing else.
        """
        inode = self.root
        for name in path.split(b"/"):
            if name:
                child = self.remembered(inode, name) if inode.children is not None else None
                if child is None:
                    return None
                inode = child
        return inode

    def remembered(self, directory: Inode, name: bytes) -> Inode | None:
        """What a name led to when it was last asked for."""
        entry = self._entry(directory, name)
        if entry is None or entry.inode_id == ABSENT_ID:
            return None
        return self.inodes.get(entry.inode_id) or self._restored(entry.inode_id, directory, name)

    def remembered_folder(self, directory: Inode, name: bytes) -> Inode | None:
        """The directory that a name led to when it was last asked for, with its listing where that is known."""
        folder = self.remembered(directory, name)
        return folder if folder is not None and self._has_listing(folder) else None

    async def look_around(self, directory: Inode, wanted: Mapping[bytes, str], lead_s: float, workers: Workers) -> None:
        """Names of a directory, and who wants each: they are about to be used, the first in `lead_s` seconds. Sees to
        the first, and to others with it. Raises OSError.

        Where the source sends attributes along with names, one listing is cheaper than stats of a few names. Where it
        does not, the stats of several are made by one thread at least, for handing them to it is most of what they cost
        us. A program does not wait for the others: it asks for itself.
        """
        name, generator = next(iter(wanted.items()))
        if (is_looked_at := self._looked_at.get((directory.id, name))) is not None:
            await is_looked_at.wait()
            return
        lead_ns = int(1e9 * lead_s)
        if not self._lacks(directory, name, lead_ns):
            return
        if ("listing", directory.id) in self._flights:
            await self.look_at_names(directory, workers, generator)
            return
        lacking = [each for each in wanted if self._lacks(directory, each, lead_ns)]
        listing = directory.listing if self._has_listing(directory) else None
        if listing is None:
            directory.asked_ahead += len(lacking)
            is_cheaper = directory.asked_ahead >= ASKED_AHEAD
        else:
            is_cheaper = listing.are_asked_singly(sum(each in listing.index for each in lacking))
        if is_cheaper and self._may_look_by_listing(directory):
            await self.look_at_names(directory, workers, generator)
        elif not workers.is_inline and (len(lacking) > 1 or self.known(directory, name) is not None):
            await self._look_together(directory, {each: wanted[each] for each in lacking[:TOGETHER]}, workers)

    def _lacks(self, directory: Inode, name: bytes, lead_ns: int) -> bool:
        """Whether a look at the name would tell something, and none is under way."""
        return (
            self.known(directory, name, lead_ns) is None
            and not self.has_look(directory, name, lead_ns)
            and (directory.id, name) not in self._looked_at
            and ("name", directory.id, name) not in self._flights
        )

    async def _look_together(self, directory: Inode, wanted: Mapping[bytes, str], workers: Workers) -> None:
        assert directory.children is not None
        done = trio.Event()
        for name in wanted:
            self._looked_at[directory.id, name] = done
        before = {name: directory.children.get(name) for name in wanted}
        began, asked_ns = self._tick(), self.now_ns()
        try:
            found = await workers.run(self._source.looks, directory, list(wanted))
        finally:
            for name in wanted:
                del self._looked_at[directory.id, name]
            done.set()
        if directory.changed_at > began:
            return  # we made, removed or renamed something in it meanwhile
        for name, attributes in found.items():
            if directory.children.get(name) is not before[name]:
                continue  # a program looked at it meanwhile
            self._name_revalidated(before[name], attributes)
            if attributes is None:
                self._remember(directory, name, ABSENT_ID, asked_ns)
            else:
                self._ahead(self._take(directory, name, attributes, began, asked_ns), wanted[name])
            self._on_prefetched("attributes", wanted[name], False)

    async def look_at_names(self, directory: Inode, workers: Workers, generator: str) -> None:
        """Look at all names of a directory by listing it, if that brings their attributes along. Raises OSError."""
        if self._may_look_by_listing(directory):
            key = ("listing", directory.id)
            await self._single_flight(key, generator, lambda: self._ask_listing(directory, workers, generator))

    def _may_look_by_listing(self, directory: Inode) -> bool:
        listing = directory.listing
        is_short = listing is None or len(listing.names) <= LOOKS_IN_LISTING
        return is_short and not self._is_strict and self._source.sends_attributes_with_names

    def has_look(self, directory: Inode, name: bytes, lead_ns: int = 0) -> bool:
        """Whether a listing brought attributes of the name along that nobody has asked for, and that may be believed
        `lead_ns` from now."""
        listing = directory.listing
        look = listing.looks.get(name) if listing is not None else None
        return (
            listing is not None
            and look is not None
            and self._may_use_looks(directory, listing)
            and is_fresh(self._consistency, look, listing.asked_ns, self.now_ns() + lead_ns)
        )

    def _listed_look(self, directory: Inode, name: bytes, generator: str | None) -> Inode | None:
        """The inode of a name by the attributes that its directory's listing brought along, while they are good."""
        listing = directory.listing
        if listing is None or name not in listing.looks or not self._may_use_looks(directory, listing):
            return None
        attributes = listing.looks.pop(name)
        entry = self._entry(directory, name)
        if entry is not None and entry.checked_ns > listing.asked_ns:
            return None
        inode_id = attributes.ino if self._source.has_stable_inodes else entry.inode_id if entry is not None else 0
        known = self.inodes.get(inode_id)
        if known is not None and known.as_of > listing.as_of:
            return None
        before = None
        if known is not None and known.checked_ns and not self.is_fresh(known):
            before = known.attributes
        with self.taking_in(generator):
            inode = self._take(directory, name, attributes, listing.as_of, listing.asked_ns)
        if not self.is_fresh(inode):
            return None
        if before is not None:
            self._on_revalidated("attributes", _outcome(before, attributes))
        if generator is None:
            self.listing_used(directory, listing)
        return inode

    def _may_use_looks(self, directory: Inode, listing: Listing) -> bool:
        return listing.generation == directory.generation and self._forgotten_change < listing.as_of

    def listing_used(self, directory: Inode, listing: Listing) -> None:
        """A program was served from the listing."""
        if listing.prefetched_by is not None:
            self._on_listing_used(directory, listing.prefetched_by)
            listing.prefetched_by = None

    def time_to_live_s(self, inode: Inode) -> float:
        """How much longer the kernel may believe the inode's attributes, in seconds."""
        if inode.checked_ns <= 0:
            return 0.0
        lives_ns = remaining_ns(self._consistency_of(inode), inode.attributes, inode.checked_ns, self.now_ns())
        return min(max(lives_ns, self._unreachable_for_ns()) / 1e9, 1e6)

    def inode(self, inode_id: int) -> Inode:
        """The inode of an id that the kernel uses. Raises OSError(ESTALE) where we do not know it."""
        inode = self.inodes.get(inode_id)
        if inode is None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return inode

    def in_use(self, directory: Inode, name: bytes) -> Inode | None:
        """The inode of a name, if the kernel or an open handle still refers to it."""
        entry = self._entry(directory, name)
        inode = self.inodes.get(entry.inode_id) if entry is not None else None
        return inode if inode is not None and (inode.lookups or inode.handles) else None

    def name_time_to_live_s(self, directory: Inode, name: bytes) -> float:
        """How much longer the kernel may believe what a name stands for, in seconds."""
        entry = self._entry(directory, name)
        if entry is None:
            return self.time_to_live_s(directory)
        lives_s = 0.0
        if entry.generation == directory.generation:
            lives_s = self.time_to_live_s(directory)
        inode = self.inodes.get(entry.inode_id)
        who = inode if inode is not None else directory
        lives_ns = remaining_ns(self._consistency_of(who), who.attributes, entry.checked_ns, self.now_ns())
        return min(max(lives_s, lives_ns / 1e9), 1e6)

    def is_current(self, directory: Inode, listing: Listing) -> bool:
        """Whether the listing is of the state that the directory was last seen in, without a change of ours since."""
        return directory.listing is listing and listing.generation == directory.generation

    def listed(
        self, directory: Inode, listed: ListedName, is_current: bool, generator: str | None = None
    ) -> Inode | None:
        """The inode of a listed name without asking the source, perhaps with attributes that may not be believed.

        None where even the type is not known, so that it has to be looked up; and where the listing is not current and
        the name was found absent, perhaps since.
        """
        if (looked_at := self._listed_look(directory, listed.name, generator)) is not None:
            return looked_at
        entry = self._entry(directory, listed.name)
        if entry is not None and entry.inode_id == ABSENT_ID and not is_current:
            return None
        if entry is not None and entry.inode_id != ABSENT_ID:
            inode = self.inodes.get(entry.inode_id) or self._restored(entry.inode_id, directory, listed.name)
            if (
                inode is not None
                and (not listed.kind or stat.S_IFMT(inode.attributes.mode) == listed.kind)
                and (not self._source.has_stable_inodes or inode.attributes.ino == listed.ino)
            ):
                return inode
        if not listed.kind or not self._source.has_stable_inodes:
            return None
        inode_id = self._id_of(directory, listed.name, listed.ino, 0)
        inode = self.inodes.get(inode_id)
        if inode is not None:
            return inode if stat.S_IFMT(inode.attributes.mode) == listed.kind else None
        mode = listed.kind | 0o400
        blank = Attributes(mode, 1, 0, 0, 0, 0, 4096, 0, 0, 0, 0, 0, listed.ino)
        inode = Inode(inode_id, (directory, listed.name), blank)
        self._adopt(inode)
        return inode

    # --- what we changed ourselves

    def made(self, directory: Inode, name: bytes, attributes: Attributes) -> Inode:
        """We made a name (create, mkdir, link...) and saw these attributes of it."""
        inode = self._take(directory, name, attributes)
        self._own_change(directory)
        return inode

    def removed(self, directory: Inode, name: bytes, victim: Inode | None) -> None:
        """We removed a name."""
        self._remember(directory, name, ABSENT_ID)
        self._own_change(directory)
        if victim is not None:
            self._lost_name(victim)

    def renamed(
        self,
        old: Inode,
        old_name: bytes,
        inode: Inode | None,
        new: Inode,
        new_name: bytes,
        victim: Inode | None,
        is_exchange: bool,
    ) -> None:
        """We gave `inode` another name; `victim` had it before and has the old one now, or none."""
        if inode is not None and inode is victim:
            return  # two names of one file: rename(2) leaves both
        if is_exchange and victim is not None:
            self._move(victim, old, old_name)
        else:
            self._remember(old, old_name, ABSENT_ID)
            if victim is not None:
                self._lost_name(victim)
        if inode is not None:
            self._move(inode, new, new_name)
        else:
            self.unknown(new, new_name)
        self._own_change(old)
        self._own_change(new)

    def _move(self, inode: Inode, directory: Inode, name: bytes) -> None:
        inode.place = (directory, name)
        self._judge(inode)
        self._disbelieve(inode)
        self._remember(directory, name, inode.id)

    def _lost_name(self, victim: Inode) -> None:
        victim.is_unlinked = True
        self._disbelieve(victim)

    def own_change(self, inode: Inode) -> None:
        """We changed the inode's attributes or content: ask again before telling anybody."""
        self._disbelieve(inode)
        self._keep_attributes(inode)

    def _disbelieve(self, inode: Inode) -> None:
        """We changed the inode: what is known of it, and what looks under way will say, is of the past."""
        inode.checked_ns = 0
        inode.as_of = inode.changed_at = self._tick()
        for kind in ("attributes", "listing"):
            self._flights.pop((kind, inode.id), None)

    def _tick(self) -> int:
        self._ticks += 1
        return self._ticks

    def distrust(self, inode: Inode) -> None:
        """The source said ESTALE: what we believed of the inode and its name is wrong. The kernel will look again."""
        inode.checked_ns = 0
        if inode.place is not None:
            directory, name = inode.place
            directory.checked_ns = 0
            self.unknown(directory, name)

    def unknown(self, directory: Inode, name: bytes) -> None:
        """Only the source can say what the name stands for."""
        if directory.children is not None:
            directory.children.pop(name, None)
        if directory.listing is not None:
            directory.listing.looks.pop(name, None)
        self._records.drop_entry(directory.id, name)

    def taking_in(self, generator: str | None) -> AbstractContextManager[object]:
        """What `generator` asked for is taken in, without an await.

        Where the source has no stable inode numbers, those that we give out are in records: there all are kept.
        """
        return self._records.passing() if generator == UNCOUNTED and self._source.has_stable_inodes else _AS_EVER

    # --- asking the source

    async def _single_flight(
        self, key: tuple[Any, ...], generator: str | None, ask: Callable[[], Awaitable[Any]]
    ) -> tuple[Any, Tier]:
        flight = self._flights.get(key)
        if flight is not None and not self._is_strict:  # its look may be older than this request
            if flight.generator and generator is None and not flight.was_joined:
                flight.was_joined = True
                self._on_prefetched(_KINDS[key[0]], flight.generator, True)
            await flight.done.wait()
            if flight.is_given_up:
                return await self._single_flight(key, generator, ask)
            if flight.error is None:
                return flight.result, Tier.JOINED
            if generator or not flight.generator:
                raise flight.error
            return await self._single_flight(key, generator, ask)
        flight = self._flights[key] = Flight(generator)
        try:
            flight.result = await ask()
        except trio.Cancelled:
            flight.is_given_up = True
            raise
        except BaseException as error:
            flight.error = error if isinstance(error, OSError) else OSError(errno.EIO, os.strerror(errno.EIO))
            raise
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]
            flight.done.set()
        if generator:
            self._on_prefetched(_KINDS[key[0]], generator, False)
            found = self.inodes.get(key[1]) if key[0] == "attributes" else flight.result
            if isinstance(found, Inode) and not flight.was_joined:
                self._ahead(found, generator)
            elif isinstance(found, Listing) and not flight.was_joined:
                found.prefetched_by = generator
        return flight.result, Tier.SOURCE

    def _ahead(self, inode: Inode, generator: str) -> None:
        """The inode's attributes were fetched ahead; those before them may have been, too."""
        if inode.prefetched_by is not None:
            self._on_in_vain("attributes", inode.prefetched_by)
        inode.prefetched_by = generator

    def let_go_of_listing(self, directory: Inode) -> None:
        """What is in memory of a directory's names goes."""
        self._listing_goes(directory.listing)
        directory.listing = None

    def _listing_goes(self, listing: Listing | None) -> None:
        if listing is not None and listing.prefetched_by is not None:
            self._on_in_vain("listing", listing.prefetched_by)
            listing.prefetched_by = None

    async def _ask_name(self, directory: Inode, name: bytes, workers: Workers, generator: str | None) -> Inode | None:
        assert directory.children is not None
        attributes: Attributes | None
        for _ in range(LOOKS):
            began, asked_ns, before = self._tick(), self.now_ns(), directory.children.get(name)
            try:
                attributes = await workers.run_short(self._source.lookup, directory, name)
            except FileNotFoundError:
                attributes = None
            if directory.as_of <= began or directory.children.get(name) is before:
                break  # else we may have made, removed or renamed it meanwhile
        self._name_revalidated(before, attributes)
        with self.taking_in(generator):
            if attributes is not None:
                return self._take(directory, name, attributes, began, asked_ns)
            self._remember(directory, name, ABSENT_ID, asked_ns)
        directory.misses += 1
        return None

    def _name_revalidated(self, before: Entry | None, attributes: Attributes | None) -> None:
        """A look at a name found a file with these attributes, or that it is absent: it was known as `before`."""
        if before is None:
            return
        if before.inode_id == ABSENT_ID:
            self._on_revalidated("name", SAME if attributes is None else CHANGED)
            return
        known = self.inodes.get(before.inode_id)
        if known is not None and known.checked_ns:
            self._on_revalidated("name", _outcome(known.attributes, attributes))

    async def _ask_attributes(self, inode: Inode, workers: Workers, generator: str | None) -> Attributes:
        before = inode.attributes if inode.checked_ns else None
        try:
            attributes = await self._look_at(inode, workers, generator)
        except OSError as error:
            if before is not None and error.errno in _NO_LONGER_THERE:
                self._on_revalidated("attributes", GONE)
            raise
        if before is not None and inode.checked_ns:  # else we changed it meanwhile
            self._on_revalidated("attributes", _outcome(before, attributes))
        return attributes

    async def _look_at(self, inode: Inode, workers: Workers, generator: str | None) -> Attributes:
        for _ in range(LOOKS):
            began, asked_ns, place = self._tick(), self.now_ns(), inode.place
            attributes = await workers.run_short(self._source.attributes, inode)
            if inode.as_of <= began or inode.checked_ns:
                break  # else we changed it meanwhile
        else:  # never believed, but better than what it looked like before
            inode.attributes = attributes._replace(size=inode.attributes.size)
            return inode.attributes
        if self._is_another(inode, attributes):
            if place is not None and inode.place == place:
                self._take(*place, attributes, began, asked_ns)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        with self.taking_in(generator):
            if place is not None and inode.place == place and inode.path_fd is None:
                self._remember(*place, inode.id, asked_ns)  # it was looked at by its name
            self._take_attributes(inode, attributes, began, asked_ns)
        return inode.attributes

    async def _ask_listing(self, directory: Inode, workers: Workers, generator: str | None) -> Listing:
        former = directory.listing
        try:
            listing = await self._list(directory, workers, generator)
        except OSError as error:
            if former is not None and error.errno in _NO_LONGER_THERE:
                self._on_revalidated("listing", GONE)
            raise
        if former is not None:
            is_same = listing.generation == former.generation or listing.index.keys() == former.index.keys()
            self._on_revalidated("listing", SAME if is_same else CHANGED)
        return listing

    async def _list(self, directory: Inode, workers: Workers, generator: str | None) -> Listing:
        with_looks = not self._is_strict and not workers.is_inline  # else they would not be believed, or gain nothing
        for _ in range(LOOKS):
            began, asked_ns = self._tick(), self.now_ns()
            attributes, names, looks = await workers.run(self._source.names, directory, with_looks)
            if directory.as_of <= began:
                break
        else:
            return Listing(names, 0)  # we keep changing it: for this reader, not to be kept
        self._take_attributes(directory, attributes, began, asked_ns)
        directory.misses = 0
        former = directory.listing
        self._listing_goes(former)
        listing = directory.listing = Listing(names, directory.generation)
        listing.is_old = former is not None and former.is_old and former.generation == listing.generation
        with self.taking_in(generator):
            self._records.keep_listing(directory.id, listing)
        if with_looks:
            listing.looks, listing.asked_ns, listing.as_of = looks, asked_ns, began
            self._bound_looks(listing)
        return listing

    def _bound_looks(self, listing: Listing) -> None:
        """The oldest go; those that were asked for meanwhile count until then."""
        if not listing.looks:
            return
        self._looks += len(listing.looks)
        self._listings_with_looks.append((listing, len(listing.looks)))
        while self._looks > self._looks_kept:
            oldest, count = self._listings_with_looks.popleft()
            oldest.looks = {}
            self._looks -= count

    def _is_another(self, inode: Inode, attributes: Attributes) -> bool:
        if not self._source.has_stable_inodes:
            return stat.S_IFMT(attributes.mode) != stat.S_IFMT(inode.attributes.mode)
        return (attributes.dev, attributes.ino) != (inode.attributes.dev, inode.attributes.ino)

    # --- taking in

    def _take(self, directory: Inode, name: bytes, attributes: Attributes, began: int = 0, asked_ns: int = 0) -> Inode:
        """A look at the source showed `name` with `attributes`. It was asked for at the tick `began`: 0 is now."""
        inode_id = self._id_of(directory, name, attributes.ino, attributes.dev)
        inode = self.inodes.get(inode_id)
        if inode is None:
            inode = Inode(inode_id, (directory, name), attributes)
            inode.is_new = not self._restore(inode)
            self._adopt(inode)
        inode.place = (directory, name)
        self._remember(directory, name, inode_id, asked_ns)
        self._take_attributes(inode, attributes, began, asked_ns)
        return inode

    def _take_attributes(self, inode: Inode, attributes: Attributes, began: int = 0, asked_ns: int = 0) -> None:
        began = began or self._tick()
        if began < inode.as_of:
            return
        inode.as_of = began
        now_ns = asked_ns or self.now_ns()
        generation = generation_of(self._consistency_of(inode), attributes, now_ns, self._source.has_stable_inodes)
        if attributes.is_directory and inode.children is None:
            inode.children = {}
        inode.attributes = attributes
        inode.checked_ns = now_ns
        lasts_ns = min(time_to_live_ns(self._consistency_of(inode), attributes, now_ns), LONGEST_NS)
        self.looks_last_s += LOOKS_WEIGHT * (lasts_ns / 1e9 - self.looks_last_s)
        if generation != inode.generation:
            inode.generation = generation
            inode.misses = 0
            self._on_changed(inode)
        self._keep_attributes(inode)

    def _adopt(self, inode: Inode) -> None:
        self._judge(inode)
        for gone in self.inodes.add(inode):
            self.dismissed(gone)

    def dismissed(self, inode: Inode) -> None:
        """The table let go of an inode."""
        self._forgotten_change = max(self._forgotten_change, inode.changed_at)
        if inode.prefetched_by is not None:
            self._on_in_vain("attributes", inode.prefetched_by)
        self._listing_goes(inode.listing)
        self._source.descriptors.forget(inode)

    def _own_change(self, directory: Inode) -> None:
        """We changed a directory: its attributes and its listing are not what they were."""
        self._disbelieve(directory)
        self.let_go_of_listing(directory)
        self._records.drop_listing(directory.id)
        self._keep_attributes(directory)

    def _directory_would_tell(self, directory: Inode, name: bytes) -> bool:
        """Whether a stat of a directory that only ran out of time is likely to answer for an absent name in it."""
        if self._is_strict or not directory.checked_ns or self.is_fresh(directory):
            return False
        entry = self._entry(directory, name)
        if entry is not None:
            return entry.inode_id == ABSENT_ID and entry.generation == directory.generation
        return self._has_listing(directory) and name not in directory.listing.index  # type: ignore[union-attr]

    def _id_of(self, directory: Inode, name: bytes, ino: int, dev: int) -> int:
        if self._source.has_stable_inodes and dev == 0 and ROOT_ID < ino < ALLOCATED_IDS:
            return ino
        entry = self._entry(directory, name)
        if entry is not None and entry.inode_id >= ALLOCATED_IDS:
            return entry.inode_id
        return self._allocate()

    def _allocate(self) -> int:
        if not self._next_id:
            # Blocks may be left of a former table of ids, where that was lost: theirs are not to be given out again.
            self._next_id = self._records.next_id(ALLOCATED_IDS + (int.from_bytes(os.urandom(5), "big") << 16))
        allocated = self._next_id
        self._next_id += 1
        self._records.keep_next_id(self._next_id)
        return allocated

    # --- storing and restoring

    def _entry(self, directory: Inode, name: bytes) -> Entry | None:
        if directory.children is None:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        entry = directory.children.get(name)
        if entry is None and not directory.is_new:
            entry = self._records.entry(directory.id, name)
            if entry is not None:
                directory.children[name] = entry
        return entry

    def _remember(self, directory: Inode, name: bytes, inode_id: int, asked_ns: int = 0) -> None:
        assert directory.children is not None
        if len(directory.children) >= CHILDREN_LIMIT:
            directory.children.clear()
            directory.is_new = False
        entry = directory.children[name] = Entry(inode_id, asked_ns or self.now_ns(), directory.generation)
        self._flights.pop(("name", directory.id, name), None)
        self._records.keep_entry(directory.id, name, entry, is_own=not asked_ns)

    def _keep_attributes(self, inode: Inode) -> None:
        self._records.keep_inode(inode.id, inode.checked_ns, inode.generation, inode.attributes)

    def _restore(self, inode: Inode) -> bool:
        """Fill in what a former mount knew. False where there is nothing."""
        stored = self._records.inode(inode.id)
        if stored is None:
            return False
        inode.checked_ns, inode.generation, inode.attributes = stored
        if inode.attributes.dev:
            inode.checked_ns = 0  # another file system below the source: it may be mounted differently now
        if inode.attributes.is_directory and inode.children is None:
            inode.children = {}
        return True

    def _restored(self, inode_id: int, directory: Inode, name: bytes) -> Inode | None:
        inode = Inode(inode_id, (directory, name), _NOTHING)
        if not self._restore(inode):
            return None
        self._adopt(inode)
        return inode

    def _has_listing(self, directory: Inode) -> bool:
        """Whether there is a listing of the state that the directory was last seen in."""
        listing = directory.listing
        if listing is None and directory.children is not None:
            listing = directory.listing = self._records.listing(directory.id)
        return listing is not None and listing.generation == directory.generation


def _outcome(before: Attributes, after: Attributes | None) -> str:
    if after is None:
        return GONE
    is_same = (before.ino, before.size, before.mtime_ns, before.ctime_ns) == (
        after.ino,
        after.size,
        after.mtime_ns,
        after.ctime_ns,
    )
    return SAME if is_same else CHANGED


class _Absent:
    """The answer "there is no such name"."""


ABSENT = _Absent()

_AS_EVER = contextlib.nullcontext()
_NOTHING = Attributes(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
