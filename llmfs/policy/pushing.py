"""Which cached pages are worth storing in the kernel's page cache before they are asked for.

A read that reaches us costs some 70 us, one that the page cache answers 2. Storing a block there takes a thread about
100 us, and what is read without us is not learned. So a block is pushed when a fourth small request hits it: somebody
reads it in small pieces. Renting for a while before buying costs a bounded multiple of what knowing the future would
(Karlin et al., "Competitive snoopy caching", Algorithmica 1988). Each time that happens in a file, twice as much around
the block is pushed.

What is read in larger pieces is left to the kernel, mapped libraries among them: it asks for up to 128 KiB at once, and
a push would cost as much as that. (Tried and given up, on an import of a large package: pushing what plans say of large
files, 1.5 GB of which a fifth was read, for no less time; and pushing at the second hit by a request of any size, which
hid so much of the libraries from learning that more of their reads missed when the cache had been emptied.)

A fixed sample of pages is held back. A request for one of them says that a page beside it would have been used, too:
so the share of pushed pages that programs read is estimated although nobody tells us.

Pure.
"""

from collections import OrderedDict

from llmfs.blocks import BLOCK_BYTES

SAMPLE = 1024
"""One page in so many is held back."""

SMALL_BYTES = 16 << 10
"""A longer request is not one of a reader in small pieces."""

HITS = 4
COUNTED_BLOCKS = 8192
COUNTED_FILES = 1024
LARGEST_BLOCKS = 64
"""Pushed for one request: 8 MiB."""

_MASK = (1 << 64) - 1


class SmallHits:
    """How often blocks were hit by small requests, and how much to push of a file when they were. Both are bounded."""

    def __init__(self) -> None:
        self._hits: OrderedDict[tuple[int, int, int], int] = OrderedDict()
        self._windows: OrderedDict[tuple[int, int], int] = OrderedDict()

    def hit(self, inode_id: int, generation: int, offset: int, length: int) -> range:
        """The cache answered a request of `length` bytes. Which blocks to push: by their index in the file."""
        index = offset // BLOCK_BYTES
        if length > SMALL_BYTES:
            return range(0)
        key = (inode_id, generation, index)
        hits = self._hits.pop(key, 0) + 1
        if hits < HITS:
            self._hits[key] = hits
            if len(self._hits) > COUNTED_BLOCKS:
                self._hits.popitem(last=False)
            return range(0)
        file = (inode_id, generation)
        window = min(2 * self._windows.pop(file, 0) or 1, LARGEST_BLOCKS)
        self._windows[file] = window
        if len(self._windows) > COUNTED_FILES:
            self._windows.popitem(last=False)
        first = index // window * window
        return range(first, first + window)


def is_held_back(inode_id: int, page: int) -> bool:
    """Whether a page belongs to the sample that is never pushed: the same pages at any time."""
    mixed = (inode_id * 0x9E3779B97F4A7C15 + page * 0xC2B2AE3D27D4EB4F) & _MASK
    mixed ^= mixed >> 29
    return (mixed * 0xBF58476D1CE4E5B9 & _MASK) >> 32 & (SAMPLE - 1) == 0
