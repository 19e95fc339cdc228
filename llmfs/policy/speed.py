"""Is the source so fast that a cache has nothing to give?

A read that the cache answers costs about as much as one from a local disk whose pages are in memory. Over such a
source every cached byte is work for nothing, so programs' reads go straight to it, and it is the kernel's page cache above
us that helps. Decided by an average of read times with an hour-glass of memory (1/32 a sample), with room between the two
limits so that it does not flutter.
"""

FAST_S = 150e-6
SLOW_S = 300e-6
WEIGHT = 1 / 32
SAMPLES_BEFORE_FAST = 32


class SourceSpeed:
    """The running average of the source's read times."""

    def __init__(self) -> None:
        self.average_s = SLOW_S
        self.is_fast = False
        self._samples = 0

    def observe(self, operation: str, seconds: float) -> None:
        """A call on the source took so long."""
        if operation != "read":
            return
        self._samples += 1
        self.average_s += (seconds - self.average_s) * WEIGHT
        if self.average_s > SLOW_S:
            self.is_fast = False
        elif self.average_s < FAST_S and self._samples >= SAMPLES_BEFORE_FAST:
            self.is_fast = True
