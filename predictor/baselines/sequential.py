"""The readahead that a mount falls back on without a predictor, as a rival: one for each reader of each file."""

from collections.abc import Sequence

from predictor.baselines.read_rival import ReadRival
from predictor.baselines.readahead import Readahead
from predictor.baselines.rival import Access, Wish
from predictor.plan import Want


class Sequential(ReadRival[Readahead]):
    """Sequential and strided readahead with a doubling window. O(1) a read."""

    name = "readahead"

    def begin(self) -> Readahead:
        """The state of a reader that has not read yet."""
        return Readahead()

    def read(self, reader: Readahead, access: Access) -> Sequence[Wish]:
        """A read of at least a byte."""
        if access.size:
            reader.size = access.size
        found = reader.observe(access.offset, access.length)
        return [Wish(access.path, Want.DATA, offset, length) for offset, length in found] if found else ()
