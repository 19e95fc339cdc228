"""Whatever lies in the cache's records: what was stored comes back, anything else is as if nothing were there."""

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from llmfs.attributes import Attributes
from llmfs.inodes import Entry, ListedName, Listing
from llmfs.records import PASSING_SHARE, Records

SEEN = Attributes(0o100644, 1, 2, 3, 0, 4096, 4096, 8, 1, 2, 3, 0, 99)


class _Table:
    """A store that holds what it is given, in memory."""

    was_interrupted = False
    fill = 0.0

    def __init__(self) -> None:
        self.held: dict[tuple[str, bytes], bytes] = {}

    def get(self, table: str, key: bytes) -> bytes | None:
        return self.held.get((table, key))

    def put(self, table: str, key: bytes, value: bytes) -> bool:
        self.held[table, key] = value
        return True

    def delete(self, table: str, key: bytes) -> None:
        self.held.pop((table, key), None)


def records(table: _Table, is_bypassed: bool = False) -> Records:
    return Records(table, lambda: is_bypassed)  # type: ignore[arg-type]


def test_what_a_file_has_not_got_is_kept_with_its_generation() -> None:
    table = _Table()
    records(table).keep_lacking(7, 99, 5)
    assert records(table).lacking(7) == (99, 5)
    assert records(table).lacking(8) == (0, 0)
    records(table).keep_lacking(7, 0, 0)
    assert records(table).lacking(7) == (0, 0)
    fast = records(table, is_bypassed=True)
    records(table).keep_lacking(7, 99, 5)
    fast.keep_lacking(7, 0, 0)  # set by ourselves: an older record must not speak for it
    assert records(table).lacking(7) == (0, 0)


def test_what_was_kept_comes_back() -> None:
    table = _Table()
    kept = records(table)
    entry, listing = Entry(7, 8, 9), Listing([ListedName(b"\xff", 0o100000, 5)], 11)
    kept.keep_entry(1, b"name", entry, is_own=False)
    kept.keep_inode(7, 8, 9, SEEN)
    kept.keep_listing(1, listing)
    kept.keep_link(7, 9, b"target")
    again = records(table)
    assert again.entry(1, b"name") == entry
    assert again.inode(7) == (8, 9, SEEN)
    found = again.listing(1)
    assert found is not None and (found.names, found.generation) == (listing.names, 11)
    assert again.link(7, 9) == b"target" and again.link(7, 10) is None


def _pack(value: object) -> bytes:
    try:
        return bytes(msgpack.packb(value))
    except (OverflowError, ValueError):
        return b""


@given(st.binary(max_size=200) | st.recursive(st.integers() | st.binary(max_size=8), st.lists).map(_pack))
def test_rubbish_is_nothing(stored: bytes) -> None:
    table = _Table()
    key = (1).to_bytes(8, "big")
    for name in ("names", "inodes", "listings", "links"):
        table.held[name, key] = stored
    kept = records(table)
    entry, seen, listing = kept.entry(1, b""), kept.inode(1), kept.listing(1)
    assert entry is None or isinstance(entry, Entry)
    assert seen is None or isinstance(seen[2], Attributes)
    assert listing is None or all(isinstance(listed.name, bytes) for listed in listing.names)
    kept.link(1, 5)


def test_own_changes_are_dropped_and_looks_not_kept_while_bypassed() -> None:
    table = _Table()
    records(table).keep_entry(1, b"name", Entry(0, 5, 6), is_own=False)
    fast = records(table, is_bypassed=True)
    assert fast.entry(1, b"name") is None
    fast.keep_entry(1, b"other", Entry(3, 5, 6), is_own=False)
    assert records(table).entry(1, b"other") is None
    fast.keep_entry(1, b"name", Entry(3, 7, 6), is_own=True)
    assert records(table).entry(1, b"name") is None


def test_what_is_looked_at_in_passing_replaces_records_and_adds_none_where_room_is_short() -> None:
    table = _Table()
    kept = records(table)
    kept.keep_inode(7, 1, 9, SEEN)
    table.fill = PASSING_SHARE
    with kept.passing():
        kept.keep_inode(7, 2, 9, SEEN)
        kept.keep_inode(8, 2, 9, SEEN)
        kept.keep_inode(9, 0, 9, SEEN)  # a change of our own is no look
    kept.keep_inode(10, 2, 9, SEEN)
    assert [kept.inode(number) is not None for number in (7, 8, 9, 10)] == [True, False, True, True]
    assert kept.inode(7) == (2, 9, SEEN)
    table.fill = 0.4
    with kept.passing():
        kept.keep_inode(8, 2, 9, SEEN)
    assert kept.inode(8) is not None
