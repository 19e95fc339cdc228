"""How often candidates are ranked: as often as it pays.

A ranking takes about a millisecond of a core that programs may need as well. Where a stream's past does not repeat and
what is ranked is hardly ever read in time, as on a first run that the mount's own rules lead, or where a set is read in
another order each time, every 32nd visit does: the visits between are not lost, for a ranking looks at all candidates
of the last few.
"""

from predictor.plan import Outcome

REMEMBERED = 32
"""Rankings over which their worth is judged."""

WORTH = {Outcome.IN_TIME: 1.0, Outcome.LATE: 0.5}
"""Of a block that a ranking planned and a program used: what was late saved a part of the wait."""

ENOUGH = 0.5
"""Such blocks a ranking, at which every visit is followed by one; at half as many every second is, and so on,"""

STEPS = 5
"""as many times."""


class Pace:
    """Of the programs of one name."""

    __slots__ = ("_worth",)

    def __init__(self) -> None:
        self._worth = 2 * ENOUGH

    def ranked(self) -> None:
        """Candidates were ranked."""
        self._worth -= self._worth / REMEMBERED

    def used(self, outcome: Outcome) -> None:
        """A block that was planned by ranking came to this."""
        self._worth += WORTH.get(outcome, 0.0) / REMEMBERED

    @property
    def visits(self) -> int:
        """Visits from one ranking to the next."""
        visits, least = 1, ENOUGH
        while visits < 1 << STEPS and self._worth < least:
            visits, least = 2 * visits, least / 2
        return visits
