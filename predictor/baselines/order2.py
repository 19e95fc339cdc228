"""What followed these two files most often, per program: a context of order 2, falling back to order 1.

A finite multi-order context as in Kroeger and Long, "Design and implementation of a predictive file prefetching
algorithm" (USENIX 2001), cut to the two orders that pay; contexts keep four successors each.
"""

from collections.abc import Sequence

from predictor.baselines.file_rival import STREAMS_MAX, FileRival
from predictor.baselines.rival import Bounded
from predictor.candidates.successors import Successors, pair, within

COMMANDS_MAX = 4096


class Order2(FileRival):
    """Expects up to four successors of the last two paths of a program. O(1) a visit."""

    name = "order 2"

    def __init__(self) -> None:
        super().__init__()
        self._successors = Successors()
        self._last: Bounded[tuple[int, str], tuple[int, int]] = Bounded(STREAMS_MAX)
        self._commands: Bounded[str, int] = Bounded(COMMANDS_MAX)
        self._numbered = 0

    def visit(self, tgid: int, command: str, path: int) -> Sequence[int]:
        """A program came to `path`: the paths expected next, the most frequent first."""
        number = self._commands.get(command)
        if number is None:
            self._numbered += 1
            number = self._commands[command] = self._numbered
        before, last = self._last.get((tgid, command), (-1, -1))
        self._last[tgid, command] = (last, path)
        if last >= 0:
            self._successors.observe(pair(before, last), path)
            self._successors.observe(within(number, last), path)
        following = self._successors.after(pair(last, path)) or self._successors.after(within(number, path))
        return [other for other, _, _ in following]
