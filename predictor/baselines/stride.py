"""A reference prediction table: the next read is as far from this one as this one is from the last.

Chen and Baer, "Effective hardware-based data prefetching for high-performance processors" (IEEE Transactions on
Computers 44(5), 1995), with their four states. The table's entry belongs to an instruction there, to a reader of a
file here. Like theirs it expects one access ahead, in every state but NO_PREDICTION.
"""

from collections.abc import Sequence
from enum import Enum, auto

from predictor.baselines.read_rival import ReadRival
from predictor.baselines.rival import Access, Wish
from predictor.plan import Want


class _State(Enum):
    INITIAL = auto()
    TRANSIENT = auto()
    STEADY = auto()
    NO_PREDICTION = auto()


_CORRECT = {
    _State.INITIAL: _State.STEADY,
    _State.TRANSIENT: _State.STEADY,
    _State.STEADY: _State.STEADY,
    _State.NO_PREDICTION: _State.TRANSIENT,
}

_WRONG = {
    _State.INITIAL: _State.TRANSIENT,
    _State.TRANSIENT: _State.NO_PREDICTION,
    _State.STEADY: _State.INITIAL,
    _State.NO_PREDICTION: _State.NO_PREDICTION,
}


class _Entry:
    __slots__ = ("offset", "state", "stride")

    def __init__(self) -> None:
        self.offset = -1
        self.stride = 0
        self.state = _State.INITIAL


class Stride(ReadRival[_Entry]):
    """Expects the read one stride ahead, as long as the last one. O(1) a read."""

    name = "stride"

    def begin(self) -> _Entry:
        """The state of a reader that has not read yet."""
        return _Entry()

    def read(self, reader: _Entry, access: Access) -> Sequence[Wish]:
        """A read of at least a byte."""
        before, reader.offset = reader.offset, access.offset
        if before < 0:
            return ()
        stride = access.offset - before
        if stride == reader.stride:
            reader.state = _CORRECT[reader.state]
        else:
            if reader.state is not _State.STEADY:
                reader.stride = stride
            reader.state = _WRONG[reader.state]
        ahead = access.offset + reader.stride
        if reader.state is _State.NO_PREDICTION or not reader.stride or ahead < 0:
            return ()
        if access.size:
            if ahead >= access.size:
                return ()
            return (Wish(access.path, Want.DATA, ahead, min(access.length, access.size - ahead)),)
        return (Wish(access.path, Want.DATA, ahead, access.length),)
