"""What followed these two files most often, per program: a context of order 2, falling back to order 1."""

from predictor.candidates.successors import Successors, pair, within


class Order2:
    """Predicts up to four successors of the last two paths of a program. O(1) a visit."""

    def __init__(self) -> None:
        self._successors = Successors()
        self._last: dict[tuple[int, str], tuple[int, int]] = {}
        self._commands: dict[str, int] = {}

    def visit(self, tgid: int, command: str, path: int) -> list[int]:
        """A program visited `path`: the paths expected next, the most frequent first."""
        number = self._commands.setdefault(command, len(self._commands) + 1)
        before, last = self._last.get((tgid, command), (-1, -1))
        self._last[tgid, command] = (last, path)
        if last >= 0:
            self._successors.observe(pair(before, last), path)
            self._successors.observe(within(number, last), path)
        following = self._successors.after(pair(last, path)) or self._successors.after(within(number, path))
        return [other for other, _, _ in following]
