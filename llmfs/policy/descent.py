"""Descent: who lists a directory goes on into those below it.

An import, a walk, a build looks at a directory's names and then into its directories, one after the other. Their
listings are fetched ahead: they answer for all names that are asked for there and absent, and bring attributes along
where the source sends them together. A listing costs a few requests, and one that is used saves as many as the program
would have made there, so it pays where one in ten is used. Where fewer are, as with a server that lists its spool, it
stops, and is tried again from time to time.

Some names are gone into wherever they are (`__pycache__`, `src`, `include`), and some never are (`tests`). Those that
mostly are, are listed as soon as the directory above them was, fetched ahead itself or not: a program that gets there
asks for what is two levels down within a millisecond, and a listing takes ten.
"""

from collections import OrderedDict

LISTED_AT_ONCE = 256
"""Directories below one that was listed."""

WORTH_SHARE = 0.1
PROBE = 64
"""Listings fetched before it is known how many of them are used."""

JUDGED = 512
"""Listings over which that is judged."""

TRY_EVERY = 32

NAMES_MAX = 512
"""Names that are remembered: the one that was listed the longest time ago goes."""

NAME_PROBE = 8
"""Listings of directories of a name before it is known as one that is not gone into,"""

NAME_USES = 2
"""and uses before it is known as one that is."""

SURE_SHARE = 0.4


class Descent:
    """How many listings were fetched ahead so, and were of use."""

    def __init__(self) -> None:
        self._fetched = 0.0
        self._used = 0.0
        self._skipped = 0
        self._names: OrderedDict[bytes, list[float]] = OrderedDict()  # how often fetched, how often used

    def below(self, names: list[bytes], is_ahead: bool) -> list[bytes]:
        """A directory with these directories in it was listed; `is_ahead`: by us, and not used yet. Which of them to
        list ahead, in their order."""
        if is_ahead:
            return [name for name in names if self._is_sure(name)][:LISTED_AT_ONCE]
        if names and self._fetched >= PROBE and self._used < WORTH_SHARE * self._fetched:
            self._skipped += 1
            if self._skipped % TRY_EVERY:
                return []
        return [name for name in names if not self._is_useless(name)][:LISTED_AT_ONCE]

    def fetched(self, name: bytes) -> None:
        """The listing of a directory of that name has come."""
        counts = self._names.setdefault(name, [0.0, 0.0])
        counts[0] += 1
        self._names.move_to_end(name)
        if len(self._names) > NAMES_MAX:
            self._names.popitem(last=False)
        self._fetched += 1
        if self._fetched > JUDGED:
            self._fetched /= 2
            self._used /= 2
            for each in self._names.values():
                each[0] /= 2
                each[1] /= 2

    def used(self, name: bytes) -> None:
        """It was used."""
        self._used += 1
        if name in self._names:
            self._names[name][1] += 1

    def _is_sure(self, name: bytes) -> bool:
        fetched, used = self._names.get(name, (0.0, 0.0))
        return used >= NAME_USES and used >= SURE_SHARE * fetched

    def _is_useless(self, name: bytes) -> bool:
        fetched, used = self._names.get(name, (0.0, 0.0))
        return fetched >= NAME_PROBE and used < WORTH_SHARE * fetched
