"""What all rivals share that expect files rather than bytes: streams of visits in, footprints out."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from predictor.baselines.footprints import Footprints
from predictor.baselines.rival import TOUCHES, Access, Bounded, Wish
from predictor.events import PathTable
from predictor.plan import Want

STREAMS_MAX = 4096
UNLISTED_MAX = 1 << 16


class FileRival(ABC):
    """A rival that expects paths. What a program does at one path without leaving it is a single visit."""

    name: str

    def __init__(self) -> None:
        self._footprints = Footprints()
        self._at: Bounded[tuple[int, str], int] = Bounded(STREAMS_MAX)  # stream -> the path it is at

    def access(self, access: Access) -> Sequence[Wish]:
        """An access happened: what is to be used of the paths expected after it."""
        if access.op not in TOUCHES:
            return ()
        self._footprints.observe(access)
        path = access.path
        stream = (access.tgid, access.command)
        if self._at.get(stream) == path:
            return ()
        self._at[stream] = path
        wishes = self._footprints.wishes
        return [wish for expected in self.visit(access.tgid, access.command, path) for wish in wishes(expected)]

    def listing(self, directory: int, children: Sequence[int], folders: Collection[int]) -> None:
        """`directory` was listed."""
        self._footprints.listing([child for child in children if child in folders])

    @abstractmethod
    def visit(self, tgid: int, command: str, path: int) -> Sequence[int]:
        """A program came to `path`: the paths expected next, nearest first."""


class DirectoryRival(FileRival):
    """A rival that expects what it knows of from listings. It wishes for those of directories that are in use.

    A mount has the listing of most directories anyway, and no client of an object store is without the names.
    """

    def __init__(self, paths: PathTable) -> None:
        super().__init__()
        self._paths = paths
        self._unlisted: Bounded[int, int] = Bounded(UNLISTED_MAX)  # directory -> the child used first, -1: wished for
        self._to_list: list[int] = []

    def access(self, access: Access) -> Sequence[Wish]:
        """An access happened: what is to be used of the paths expected after it, and listings."""
        wishes = super().access(access)
        if self._to_list:
            wishes = [*wishes, *(Wish(directory, Want.LISTING) for directory in self._to_list)]
            self._to_list.clear()
        return wishes

    def _use_unlisted(self, directory: int, child: int) -> None:
        """A child of a directory without a listing was used: the second one calls for the listing."""
        first = self._unlisted.get(directory)
        if first is None:
            self._unlisted[directory] = child
        elif first not in (-1, child):
            self._unlisted[directory] = -1
            self._to_list.append(directory)
