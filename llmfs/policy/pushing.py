"""Which cached pages are worth storing in the kernel's page cache before they are asked for.

A read that reaches us costs some 70 us, one that the page cache answers 2. Storing a block there takes a thread about
100 us. So a block is pushed when a second request hits it: somebody reads it in small pieces. Renting once before
buying costs at most twice what knowing the future would (Karlin et al., "Competitive snoopy caching", Algorithmica
1988). Each time that happens in a file, twice as much around the block is pushed.

What is read in large pieces is left to the kernel: it asks for 128 KiB at once, and a push would cost as much as that.
(Pushing what a plan says of large files was tried: importing a large package took 1.5 GB of pushes, of which a fifth
was read, and no less time.)

A fixed sample of pages is held back. A request for one of them says that a page beside it would have been used, too:
so the share of pushed pages that programs read is estimated although nobody tells us.

Pure.
"""

from collections import OrderedDict

from llmfs.blocks import BLOCK_BYTES

SAMPLE = 1024
"""One page in so many is held back."""

COUNTED_BLOCKS = 8192
COUNTED_FILES = 1024
LARGEST_BLOCKS = 64
"""Pushed for one request: 8 MiB."""

_MASK = (1 << 64) - 1


class SecondHits:
    """Blocks that one request hit, and how much to push of a file when another does. Both are bounded."""

    def __init__(self) -> None:
        self._once: OrderedDict[tuple[int, int, int], None] = OrderedDict()
        self._windows: OrderedDict[tuple[int, int], int] = OrderedDict()

    def hit(self, inode_id: int, generation: int, offset: int, length: int) -> range:
        """The cache answered a request of `length` bytes. Which blocks to push: by their index in the file."""
        index = offset // BLOCK_BYTES
        if length >= BLOCK_BYTES:
            return range(0)
        key = (inode_id, generation, index)
        if key not in self._once:
            self._once[key] = None
            if len(self._once) > COUNTED_BLOCKS:
                self._once.popitem(last=False)
            return range(0)
        del self._once[key]
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
