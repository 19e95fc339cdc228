"""How long the event loop may wait for the cache's disk.

It looks into the cache itself: where the page is in memory that takes a few microseconds, a thread would cost 75. Where
it is not, all programs wait until the disk has brought it. A quick disk does so faster than any source worth caching;
a slow one, or one that others keep busy, would hold up requests that have nothing to do with it.

So waits draw on an allowance. When it is used up nothing is asked of the disk for as long as makes the waits a small
share of the time. It is not asked whether the source is slower still: who waits for that one waits alone.
"""

NOTICED_S = 0.002
"""Less is not a wait: about what one request to a source takes that is worth caching."""

ALLOWANCE_S = 0.25
"""Waits of so much altogether are borne: a disk that had to wake up, a burst after a remount."""

SHARE = 0.05
"""Of the time that may be spent waiting."""

LONGEST_PAUSE_S = 60.0


class Stalls:
    """Waits for one disk, and whether there have been too many of late."""

    def __init__(self) -> None:
        self._owed_s = 0.0
        self._since_s = 0.0
        self.paused_until_s = 0.0

    def waited(self, wait_s: float, now_s: float) -> float:
        """A wait of `wait_s` ended at `now_s`. Returns for how long from now on nothing is to be asked: 0 if it may."""
        self._owed_s = max(0.0, self._owed_s - SHARE * (now_s - self._since_s)) + wait_s
        self._since_s = now_s
        if self._owed_s <= ALLOWANCE_S:
            return 0.0
        pause_s = min(self._owed_s / SHARE, LONGEST_PAUSE_S)
        self._owed_s = 0.0  # paid by the pause
        self.paused_until_s = now_s + pause_s
        return pause_s
