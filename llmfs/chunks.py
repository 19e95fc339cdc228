"""Long values in LMDB, kept in chunks.

LMDB wants the pages of one value in a row. The longer the row, the more of a map stays free for the want of one: where
files of 60 to 140 KB come and go in a map of 17 MB, of blocks in one value each some found no place when 88% was used;
of chunks of eight pages all do at 90% (`python -m bench.fill`).
"""

PAGE_BYTES = 4096
_HEADER_BYTES = 16
CHUNK_BYTES = 8 * PAGE_BYTES - _HEADER_BYTES
"""Eight pages, with LMDB's header."""

_IN_LEAF_BYTES = 2000
"""Up to here, about, a value lies in the tree's leaves, beside others."""

_NODE_BYTES = 64
"""A key with what leads to its value, as full as leaves are."""


def count(size_bytes: int) -> int:
    """The chunks of a value of so many bytes: at least one, for an empty value is a value."""
    return max(1, -(-size_bytes // CHUNK_BYTES))


def key(name: bytes, number: int) -> bytes:
    """The key of a chunk after the first, 0, which has the value's own: a value's sort together, in their order."""
    return name + number.to_bytes(2, "big")


def disk_bytes(size_bytes: int) -> int:
    """What a value takes in LMDB: the pages of its own, and its share of the tree and of the table of lengths."""
    whole, rest = divmod(size_bytes, CHUNK_BYTES)
    taken = whole * 8 * PAGE_BYTES + (count(size_bytes) + 1) * _NODE_BYTES
    if rest <= _IN_LEAF_BYTES:
        return taken + rest
    return taken + -(-(rest + _HEADER_BYTES) // PAGE_BYTES) * PAGE_BYTES
