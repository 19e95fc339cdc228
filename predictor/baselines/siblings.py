"""The next files of the directory, in listing order and in sorted order: what helps before anything was learned."""

from collections.abc import Sequence

from predictor.candidates.directory import Directory
from predictor.events import PathTable


class Siblings:
    """Predicts the next siblings of each visited path. O(1) a visit, sorting once a listing."""

    def __init__(self, paths: PathTable) -> None:
        self._paths = paths
        self._directories: dict[int, Directory] = {}

    def listing(self, path: int, children: Sequence[int]) -> None:
        """The directory `path` was listed."""
        self._directories.setdefault(path, Directory()).set_children(list(children))

    def visit(self, tgid: int, command: str, path: int) -> list[int]:
        """A program visited `path`: its next siblings."""
        directory = self._directories.get(self._paths.parent(path))
        return directory.siblings(path, self._paths) if directory is not None else []
