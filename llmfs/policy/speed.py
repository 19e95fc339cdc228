"""Is the source so fast that a cache has nothing to give?

A read that the cache answers costs about as much as one from a local disk whose pages are in memory. Over such a
source every cached byte is work for nothing, so programs' reads go straight to it, and it is the kernel's page cache
above us that helps. A local file system can be asked without a thread, too: it does not hang, and what it has in
memory it tells in microseconds.

A network file system or one in user space reads ahead, and answers what it has read ahead as fast as a local disk
would; next week, on another mount, it will not. So of such a source the lookups have to be fast as well: nobody looks
names up ahead.

Decided by running averages of what reads and lookups take (weight 1/32 a sample), with room between the limits so
that it does not flutter. Until a few samples are there a source counts as slow.
"""

FAST_S = 150e-6
SLOW_S = 300e-6
WEIGHT = 1 / 32
SAMPLES_BEFORE_FAST = 16

LOCAL_FILESYSTEMS = frozenset(
    ("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "tmpfs", "xfs", "zfs")
)


class _Average:
    """A running average with two thresholds."""

    def __init__(self) -> None:
        self.seconds = SLOW_S
        self.samples = 0
        self.is_fast = False

    def observe(self, seconds: float) -> None:
        self.samples += 1
        self.seconds += (seconds - self.seconds) * max(WEIGHT, 1 / (self.samples + 1))
        if self.seconds > SLOW_S:
            self.is_fast = False
        elif self.seconds < FAST_S and self.samples >= SAMPLES_BEFORE_FAST:
            self.is_fast = True


class SourceSpeed:
    """How fast the source has answered of late."""

    def __init__(self) -> None:
        self.is_local = False  # of a type in LOCAL_FILESYSTEMS
        self._reads = _Average()
        self._lookups = _Average()

    def observe(self, operation: str, seconds: float) -> None:
        """A call on the source took so long."""
        if operation == "read":
            self._reads.observe(seconds)
        elif operation == "lookup":
            self._lookups.observe(seconds)

    @property
    def is_fast(self) -> bool:
        """Whether caching what programs read is work for nothing."""
        return self._reads.is_fast and (self.is_local or self._lookups.is_fast)

    @property
    def is_inline(self) -> bool:
        """Whether short calls may be made on the event loop."""
        lookups = self._lookups
        return self.is_local and (lookups.is_fast or (self._reads.is_fast and lookups.samples < SAMPLES_BEFORE_FAST))
