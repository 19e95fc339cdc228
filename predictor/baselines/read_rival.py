"""What all rivals share that look at the reads within one file: a state for each reader of each file."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Generic, TypeVar

from predictor.baselines.rival import Access, Bounded, Wish
from predictor.events import Op

READERS_MAX = 4096

S = TypeVar("S")


class ReadRival(ABC, Generic[S]):
    """A rival that expects bytes of the file being read. A reader is a process at a file; the least recent one goes."""

    name: str

    def __init__(self) -> None:
        self._readers: Bounded[tuple[int, int], S] = Bounded(READERS_MAX)

    def access(self, access: Access) -> Sequence[Wish]:
        """An access happened: which ranges of its file are to be read next."""
        if access.op != Op.READ or not access.length:
            return ()
        key = (access.tgid, access.path)
        reader = self._readers.get(key)
        if reader is None:
            reader = self._readers[key] = self.begin()
        else:
            self._readers.move_to_end(key)
        return self.read(reader, access)

    def listing(self, directory: int, children: Sequence[int], folders: Collection[int]) -> None:
        """Says nothing to those who expect bytes."""

    @abstractmethod
    def begin(self) -> S:
        """The state of a reader that has not read yet."""

    @abstractmethod
    def read(self, reader: S, access: Access) -> Sequence[Wish]:
        """A read of at least a byte."""
