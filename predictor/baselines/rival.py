"""What a rival is told and what it answers: the one interface that evaluation and replay drive all of them through.

A rival hears of every access and of every listing, and answers each access with what it would have ready. It sees no
cache, no clock and no source: a wish for something that is cached already costs nothing, and is whoever carries it out
to drop. The same goes for wishes beyond the end of a file whose size the rival was not told.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol, TypeVar

from predictor.events import Op
from predictor.plan import Want

BLOCK_BYTES = 128 << 10
"""What rivals that think in blocks or pages take for one: the unit of the cache, and the longest read of the kernel."""

TOUCHES = frozenset(
    op.value for op in (Op.LOOKUP, Op.ABSENT, Op.GETATTR, Op.OPEN, Op.READ, Op.READDIR, Op.READLINK, Op.XATTR)
)
"""The operations that want something from the source, and so could have found it ready."""

K = TypeVar("K")
V = TypeVar("V")


class Access(NamedTuple):
    """One observed access. `path` is a path id of the `PathTable` the rival was made with.

    `offset` and `length` are bytes and matter for READ and WRITE alone. `size` is the file's size in bytes, as far as
    the accesses so far have told it, else 0.
    """

    op: int
    path: int
    tgid: int
    command: str
    offset: int = 0
    length: int = 0
    size: int = 0
    time_ns: int = 0


class Wish(NamedTuple):
    """One thing to have ready. `offset` and `length` are bytes and matter for DATA alone; length 0: to the end."""

    path: int
    want: Want
    offset: int = 0
    length: int = 0


class Rival(Protocol):
    """A planner without weights of ours."""

    name: str

    def access(self, access: Access) -> Sequence[Wish]:
        """An access happened: what to have ready, nearest use first."""

    def listing(self, directory: int, children: Sequence[int], folders: Collection[int]) -> None:
        """`directory` was listed, by a program or because it was wished for: its children in listing order.

        `folders`: those of them that are directories, among others perhaps.
        """


class Bounded(OrderedDict[K, V]):
    """A dictionary of at most `capacity` entries: what was set first goes first. O(1)."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._capacity = capacity

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        if len(self) > self._capacity:
            self.popitem(last=False)


class Nothing:
    """No prefetching at all."""

    name = "none"

    def access(self, access: Access) -> Sequence[Wish]:
        return ()

    def listing(self, directory: int, children: Sequence[int], folders: Collection[int]) -> None:
        pass
