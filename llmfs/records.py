"""What is known of files, in LMDB: names, attributes, listings, links, what they have not got. How it is stored, and
nothing else.

    names      directory id, name      -> inode id (0: absent), when it was seen, state of the directory, epoch
    inodes     inode id                -> when its attributes were seen, generation, epoch, attributes
    listings   directory id            -> generation, names
    links      inode id                -> generation, target
    xattrs     inode id                -> generation, extended attributes that it has not got (bits of xattrs.py)
    counters   next-id, source-type, epoch

While the store is *bypassed* the source answers faster than LMDB would: nothing is read, what a look brings is not
kept, and what we changed ourselves is dropped, so that no older record can speak for it later.

When their room is full all records go (`store.py`: expendable). A program that walks everything and is not to change
the cache must not bring that about: beyond `PASSING_SHARE` of the room, what it looks at in *passing* replaces records
and adds none.

A mount that is killed takes along what it had not written yet, among it that it changed something itself. So what was
seen before that is *doubted*, in this mount and in those after it: it has to be looked at again before it is believed.
"""

import contextlib
import os
import struct
from collections.abc import Callable, Iterator

import msgpack

from llmfs.attributes import PACKED, Attributes
from llmfs.inodes import Entry, ListedName, Listing
from llmfs.policy.freshness import DOUBTED_NS
from llmfs.store import Store

RECORDS = ("names", "inodes", "listings", "links", "xattrs")
TABLES = (*RECORDS, "counters")
LONGEST_LISTING = 100_000
"""Names; a longer listing is not worth its room."""

PASSING_SHARE = 0.5
"""Of the room for records. The rest is for those whose records are read again."""

_ENTRY = struct.Struct("<QqQI")
_SEEN = struct.Struct("<qQI")
_LACKING = struct.Struct("<QB")


class Records:
    """Records of files by inode id."""

    def __init__(self, store: Store, is_bypassed: Callable[[], bool] = lambda: False) -> None:
        self._store = store
        self._is_bypassed = is_bypassed
        self._is_passing = False
        self._epoch = int.from_bytes(store.get("counters", b"epoch") or b"", "big")
        if store.was_interrupted:
            self._epoch += 1
            store.put("counters", b"epoch", _key(self._epoch))  # on the disk before any record of this epoch

    @contextlib.contextmanager
    def passing(self) -> Iterator[None]:
        """What is kept meanwhile was looked at in passing. Not over an await."""
        self._is_passing = True
        try:
            yield
        finally:
            self._is_passing = False

    def entry(self, directory_id: int, name: bytes) -> Entry | None:
        """What a name stood for when it was last seen."""
        stored = self._get("names", _key(directory_id) + name)
        if stored is None or len(stored) != _ENTRY.size:
            return None
        inode_id, checked_ns, generation, epoch = _ENTRY.unpack(stored)
        return Entry(inode_id, self._seen_ns(checked_ns, epoch), generation)

    def keep_entry(self, directory_id: int, name: bytes, entry: Entry, is_own: bool) -> None:
        """`is_own`: we made or removed the name ourselves."""
        if is_own or not self._is_bypassed():
            self._keep("names", _key(directory_id) + name, _ENTRY.pack(*entry, self._epoch), is_own)

    def drop_entry(self, directory_id: int, name: bytes) -> None:
        self._store.delete("names", _key(directory_id) + name)

    def inode(self, inode_id: int) -> tuple[int, int, Attributes] | None:
        """When an inode was last looked at (0: not to be believed), its generation then, its attributes."""
        stored = self._get("inodes", _key(inode_id))
        if stored is None or len(stored) != _SEEN.size + PACKED.size:
            return None
        checked_ns, generation, epoch = _SEEN.unpack_from(stored)
        return self._seen_ns(checked_ns, epoch), generation, Attributes(*PACKED.unpack_from(stored, _SEEN.size))

    def keep_inode(self, inode_id: int, checked_ns: int, generation: int, attributes: Attributes) -> None:
        is_own = not checked_ns
        if is_own or not self._is_bypassed():
            packed = _SEEN.pack(checked_ns, generation, self._epoch) + PACKED.pack(*attributes)
            self._keep("inodes", _key(inode_id), packed, is_own)

    def listing(self, directory_id: int) -> Listing | None:
        """The names of a directory when it was last listed."""
        stored = self._get("listings", _key(directory_id))
        return None if stored is None else _unpack_listing(stored)

    def keep_listing(self, directory_id: int, listing: Listing) -> None:
        if len(listing.names) <= LONGEST_LISTING:
            packed = msgpack.packb([listing.generation, listing.names], use_bin_type=True)
            self._keep("listings", _key(directory_id), packed, is_own=False)

    def drop_listing(self, directory_id: int) -> None:
        self._store.delete("listings", _key(directory_id))

    def link(self, inode_id: int, generation: int) -> bytes | None:
        """The target of a symbolic link of that generation."""
        stored = self._get("links", _key(inode_id))
        return stored[8:] if stored is not None and stored[:8] == _key(generation) else None

    def keep_link(self, inode_id: int, generation: int, target: bytes) -> None:
        self._keep("links", _key(inode_id), _key(generation) + target, is_own=False)

    def lacking(self, inode_id: int) -> tuple[int, int]:
        """The generation in which an inode was asked for extended attributes, and the bits of those it had not got."""
        stored = self._get("xattrs", _key(inode_id))
        if stored is None or len(stored) != _LACKING.size:
            return 0, 0
        generation, bits = _LACKING.unpack(stored)
        return generation, bits

    def keep_lacking(self, inode_id: int, generation: int, bits: int) -> None:
        """`bits` 0: we set one ourselves."""
        self._keep("xattrs", _key(inode_id), _LACKING.pack(generation, bits), is_own=not bits)

    def next_id(self, first: int) -> int:
        """The next inode id to give out; `first` if none ever was."""
        stored = self._store.get("counters", b"next-id")
        if not stored:
            return first
        # Ids that were given out and not written down are not given out again: there may be blocks of theirs.
        skipped = int.from_bytes(os.urandom(5), "big") if self._store.was_interrupted else 0
        return int.from_bytes(stored, "big") + skipped

    def keep_next_id(self, number: int) -> None:
        self._store.put("counters", b"next-id", _key(number))

    def source_type(self) -> str:
        """The type of file system that the source lay on in the last mount; "" if there was none."""
        return (self._store.get("counters", b"source-type") or b"").decode("utf-8", "replace")

    def keep_source_type(self, name: str) -> None:
        self._store.put("counters", b"source-type", name.encode())

    def _seen_ns(self, checked_ns: int, epoch: int) -> int:
        return checked_ns if epoch == self._epoch else min(checked_ns, DOUBTED_NS)

    def _get(self, table: str, key: bytes) -> bytes | None:
        return None if self._is_bypassed() else self._store.get(table, key)

    def _keep(self, table: str, key: bytes, value: bytes, is_own: bool) -> None:
        if not self._is_bypassed():
            adds = self._is_passing and self._store.fill >= PASSING_SHARE and self._store.get(table, key) is None
            if is_own or not adds:
                self._store.put(table, key, value)
        elif is_own:
            self._store.delete(table, key)


def _key(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _unpack_listing(stored: bytes) -> Listing | None:
    try:
        generation, names = msgpack.unpackb(stored, raw=False)
        listing = Listing([ListedName(bytes(name), int(kind), int(ino)) for name, kind, ino in names], int(generation))
        listing.is_old = True
        return listing
    except (ValueError, TypeError, msgpack.exceptions.UnpackException):
        return None
