"""What followed this file last time follows it again: the simplest rivals that learn.

Last successor: Kroeger and Long, "The case for efficient file access pattern modeling" (HotOS 1999). Program-based last
successor: Yeh, Long and Brandt, "Performing file prediction with a program-based successor model" (MASCOTS 2001):
programs use the same files in the same order each time, and different programs use a file they share differently.

Both papers expect one file. Here its chain is followed for a few steps, since a source that is milliseconds away needs
more lead than one file gives. Sequences are those of each process: in the order of all together, programs that run at
the same time would follow each other.
"""

from collections.abc import Sequence

from predictor.baselines.file_rival import STREAMS_MAX, FileRival
from predictor.baselines.rival import Bounded

SUCCESSORS_MAX = 1 << 16


class LastSuccessor(FileRival):
    """Expects the next `depth` steps of the chain of last successors, whoever made it. O(depth) a visit."""

    name = "last successor"

    def __init__(self, depth: int = 8, entries_max: int = SUCCESSORS_MAX) -> None:
        super().__init__()
        self._depth = depth
        self._next: Bounded[tuple[str, int], int] = Bounded(entries_max)
        self._last: Bounded[tuple[int, str], int] = Bounded(STREAMS_MAX)

    def visit(self, tgid: int, command: str, path: int) -> Sequence[int]:
        """A program came to `path`: the paths expected next, nearest first."""
        table = self._table(command)
        before = self._last.get((tgid, command))
        self._last[tgid, command] = path
        if before is not None:
            self._next[table, before] = path
        found: list[int] = []
        current = self._next.get((table, path))
        while current is not None and current != path and len(found) < self._depth and current not in found:
            found.append(current)
            current = self._next.get((table, current))
        return found

    def _table(self, command: str) -> str:
        return ""


class ProgramLastSuccessor(LastSuccessor):
    """Expects the next `depth` steps of the chain of last successors in programs of this name."""

    name = "PLS"

    def _table(self, command: str) -> str:
        return command
