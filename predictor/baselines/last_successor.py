"""What followed this file last time follows it again: per program, the simplest rival there is."""


class LastSuccessor:
    """Predicts the last `depth` steps of the chain of last successors, per program name. O(depth) a visit."""

    def __init__(self, depth: int = 8, entries_max: int = 1 << 16) -> None:
        self._depth = depth
        self._entries_max = entries_max
        self._next: dict[tuple[str, int], int] = {}
        self._last: dict[tuple[int, str], int] = {}

    def visit(self, tgid: int, command: str, path: int) -> list[int]:
        """A program visited `path`: the paths expected next, nearest first."""
        before = self._last.get((tgid, command))
        self._last[tgid, command] = path
        if before is not None:
            if len(self._next) >= self._entries_max:
                del self._next[next(iter(self._next))]
            self._next[command, before] = path
        found: list[int] = []
        current: int | None = path
        for _ in range(self._depth):
            current = self._next.get((command, current)) if current is not None else None
            if current is None or current in found:
                break
            found.append(current)
        return found
