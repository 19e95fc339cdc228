"""The next files of the directory, in listing order and in sorted order: what helps before anything was learned."""

from collections.abc import Collection, Sequence

from predictor.baselines.file_rival import DirectoryRival
from predictor.baselines.rival import Bounded
from predictor.candidates.directory import DIRECTORIES_MAX, Directory
from predictor.events import PathTable


class Siblings(DirectoryRival):
    """Expects the next siblings of each visited path. O(1) a visit, sorting once a listing."""

    name = "siblings"

    def __init__(self, paths: PathTable) -> None:
        super().__init__(paths)
        self._directories: Bounded[int, Directory] = Bounded(DIRECTORIES_MAX)

    def listing(self, directory: int, children: Sequence[int], folders: Collection[int]) -> None:
        """`directory` was listed."""
        super().listing(directory, children, folders)
        state = self._directories.get(directory)
        if state is None:
            state = self._directories[directory] = Directory()
        state.set_children(list(children))

    def visit(self, tgid: int, command: str, path: int) -> Sequence[int]:
        """A program came to `path`: its next siblings."""
        directory = self._paths.parent(path)
        state = self._directories.get(directory)
        if state is None:
            self._use_unlisted(directory, path)
            return ()
        return state.siblings(path, self._paths)
