"""A block: the pages of one 128 KiB piece of a file that the cache has, and their form on disk.

Sparse readers are not to be amplified, so a block may hold any subset of its 32 pages; the pages it has stand one
after the other in `data`. Only a file's last page may be shorter than 4 KiB.

On disk a block is a 16-byte header (xxh3-64 of all that follows it, the bitmap of pages, the length of the data; all
little-endian) and the data. The checksum is what lets a flipped bit be a miss instead of a wrong byte.
"""

import bisect
import struct
from collections.abc import Sequence
from typing import NamedTuple

import xxhash

from llmfs import chunks

PAGE_BYTES = 4096
BLOCK_BYTES = 128 << 10
"""One kernel read request at its default size."""

BLOCK_PAGES = BLOCK_BYTES // PAGE_BYTES

_HEADER = struct.Struct("<QII")
_EXTENT = struct.Struct("<II")
_KEY = struct.Struct(">QQI")


def block_key(inode_id: int, generation: int, index: int) -> bytes:
    """The key of a file's block: 20 bytes that sort by file, generation, position."""
    return _KEY.pack(inode_id, generation, index)


def key_index(key: bytes) -> int:
    """The position in the file of the block that a key belongs to."""
    return int.from_bytes(key[16:], "big")


def key_generation(key: bytes) -> int:
    """The state of the file that the block of a key is of."""
    return int.from_bytes(key[8:16], "big")


def key_inode_id(key: bytes) -> int:
    """The file that a key belongs to."""
    return int.from_bytes(key[:8], "big")


class Block(NamedTuple):
    """`bitmap` has bit i set where page i is there; `data` holds those pages in order."""

    bitmap: int
    data: bytes

    def covers(self, start: int, stop: int) -> bool:
        """Whether all of the byte range, relative to the block, is there."""
        return self.covers_pages(start // PAGE_BYTES, (stop - 1) // PAGE_BYTES + 1)

    def covers_pages(self, first: int, stop: int) -> bool:
        """Whether pages [first, stop) of the block are all there."""
        wanted = ((1 << stop) - 1) & ~((1 << first) - 1)
        return self.bitmap & wanted == wanted

    def cut(self, start: int, stop: int) -> bytes | None:
        """The byte range, relative to the block; None where a page of it is lacking."""
        if not self.covers(start, stop):
            return None
        first = start // PAGE_BYTES
        before = (self.bitmap & ((1 << first) - 1)).bit_count()
        shift = (before - first) * PAGE_BYTES
        piece = self.data[start + shift : stop + shift]
        return piece if len(piece) == stop - start else None

    def lacking(self, first: int, stop: int) -> list[tuple[int, int]]:
        """The runs of pages of [first, stop) that are not there."""
        if self.covers_pages(first, stop):
            return []
        runs: list[tuple[int, int]] = []
        for page in range(first, stop):
            if self.bitmap >> page & 1:
                continue
            if runs and runs[-1][1] == page:
                runs[-1] = (runs[-1][0], page + 1)
            else:
                runs.append((page, page + 1))
        return runs

    def merged(self, first_page: int, data: bytes) -> "Block":
        """This block with pages from `first_page` on replaced or added by `data`."""
        added = block_of(first_page, data).bitmap
        before = (self.bitmap & ((1 << first_page) - 1)).bit_count() * PAGE_BYTES
        replaced = (self.bitmap & added).bit_count() * PAGE_BYTES
        return Block(self.bitmap | added, self.data[:before] + data + self.data[before + replaced :])

    @property
    def stored_bytes(self) -> int:
        """The length of its form on disk."""
        return _HEADER.size + len(self.data)

    def encode(self) -> bytes:
        """Its form on disk."""
        header = _HEADER.pack(_checksum(self.bitmap, self.data), self.bitmap, len(self.data))
        return b"".join((header, self.data))  # one copy of the data, not two

    def pages(self) -> list[tuple[int, bytes]]:
        """The pages that are there, by number."""
        numbers = [page for page in range(BLOCK_PAGES) if self.bitmap >> page & 1]
        return [(page, self.data[i * PAGE_BYTES : (i + 1) * PAGE_BYTES]) for i, page in enumerate(numbers)]


def block_of(first_page: int, data: bytes) -> Block:
    """A block that holds `data` from `first_page` on and nothing else."""
    count = -(-len(data) // PAGE_BYTES)
    return Block(((1 << count) - 1) << first_page, data)


def decode(stored: Sequence[bytes | memoryview]) -> Block:
    """The block, copied out of the chunks of its form on disk. Raises ValueError where it is not what was stored."""
    first, *others = stored
    if len(first) < _HEADER.size:
        raise ValueError("shorter than its header")
    checksum, bitmap, length = _HEADER.unpack_from(first)
    block = Block(bitmap, b"".join((memoryview(first)[_HEADER.size :], *others)))
    if length != len(block.data) or _checksum(bitmap, block.data) != checksum:
        raise ValueError("not what was stored")
    return block


def _checksum(bitmap: int, data: bytes) -> int:
    checksum = xxhash.xxh3_64(_EXTENT.pack(bitmap, len(data)))
    checksum.update(data)
    return checksum.intdigest()


def disk_bytes(data_bytes: int) -> int:
    """What a block with so much data takes in LMDB, and a byte for each of its pages: one more or less always shows."""
    return chunks.disk_bytes(_HEADER.size + data_bytes) + -(-data_bytes // PAGE_BYTES)


_ON_DISK = [disk_bytes(count * PAGE_BYTES) for count in range(BLOCK_PAGES + 1)]


def data_bytes(on_disk: int, extent: int) -> int:
    """What a block that takes `on_disk` bytes has of the `extent` bytes that its file has there.

    Exact where it has all of them or whole pages; else short by what it has of the file's last page.
    """
    if on_disk >= disk_bytes(extent):
        return extent
    return min(extent, (bisect.bisect(_ON_DISK, on_disk) - 1) * PAGE_BYTES)
