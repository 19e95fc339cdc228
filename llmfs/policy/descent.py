"""Descent: who lists a directory goes on into those below it.

An import, a walk, a build looks at a directory's names and then into its directories, one after the other. Their
listings are fetched ahead: they answer for all names that are asked for there and absent, and bring attributes along
where the source sends them together. A listing costs a few requests, and one that is used saves as many as the program
would have made there, so it pays where one in ten is used. Where fewer are, as with a server that lists its spool, it
stops, and is tried again from time to time.
"""

LISTED_AT_ONCE = 256
"""Directories below one that was listed."""

WORTH_SHARE = 0.1
PROBE = 64
"""Listings fetched before it is known how many of them are used."""

JUDGED = 512
"""Listings over which that is judged."""

TRY_EVERY = 32


class Descent:
    """How many listings were fetched ahead so, and were of use."""

    def __init__(self) -> None:
        self._fetched = 0.0
        self._used = 0.0
        self._skipped = 0

    def wanted(self, count: int) -> int:
        """A directory with `count` directories in it was listed: how many of those to list ahead."""
        if not count:
            return 0
        if self._fetched >= PROBE and self._used < WORTH_SHARE * self._fetched:
            self._skipped += 1
            if self._skipped % TRY_EVERY:
                return 0
        return min(count, LISTED_AT_ONCE)

    def fetched(self) -> None:
        """A listing has come."""
        self._fetched += 1
        if self._fetched > JUDGED:
            self._fetched /= 2
            self._used /= 2

    def used(self) -> None:
        """One of them was used."""
        self._used += 1
