"""What a rule fetched ahead, and what became of it: whether it may go on.

A rule that guesses from little pays for itself where its guesses come true, and must cost little where they do not.
What it fetched and nobody used stays below half of what was read, and below a fiftieth where less than a third comes
true: then it is there to see whether that changes, and there are three such rules. A first probe is free.
"""

UNUSED_SHARE = 0.5
UNUSED_SHARE_POOR = 0.02
POOR_ACCURACY = 1 / 3


class Account:
    """Of one rule. In bytes, pages, or whatever it counts in."""

    __slots__ = ("fetched", "probe", "read", "used")

    def __init__(self, probe: int) -> None:
        """`probe`: how much may be fetched before it is known what comes true."""
        self.probe = probe
        self.read = 0  # by programs, of what the rule is about
        self.fetched = 0
        self.used = 0  # of what was fetched

    def allows(self, more: int) -> bool:
        """Whether so much more may be fetched."""
        unused = self.fetched - self.used + more
        if self.fetched >= self.probe and self.used < POOR_ACCURACY * self.fetched:
            return unused <= UNUSED_SHARE_POOR * self.read
        return unused <= max(self.probe, UNUSED_SHARE * self.read)
