"""What to fetch of a path that a rival expects next: what was used of it last time.

The same rule for every rival, so that what they are compared by is which path they expect: the byte ranges of the last
stay at the file that read it, or its first 128 KiB where it was never visited; the listing of a directory; the
attributes (or the absence) of what only its name was asked of.
"""

from collections.abc import Collection, Sequence

from predictor.baselines.rival import BLOCK_BYTES, TOUCHES, Access, Bounded, Wish
from predictor.events import Op
from predictor.plan import Want
from predictor.ranges import Ranges, add

PATHS_MAX = 1 << 17


class _Use:
    __slots__ = ("before", "now", "want")

    def __init__(self) -> None:
        self.want = Want.ATTRIBUTES
        self.before: Ranges = ()  # read in the last stay but the current one
        self.now: Ranges = ()  # read in the current stay: since the last open


class Footprints:
    """What was used of each path, for the PATHS_MAX that were first used latest. O(1) an access."""

    def __init__(self) -> None:
        self._uses: Bounded[int, _Use] = Bounded(PATHS_MAX)
        self._folders: Bounded[int, None] = Bounded(PATHS_MAX)

    def observe(self, access: Access) -> None:
        """Learns from an access."""
        op = access.op
        if op not in TOUCHES:
            return
        use = self._uses.get(access.path)
        if use is None:
            use = self._uses[access.path] = _Use()
        if op == Op.READ:
            if access.length:
                use.want = Want.DATA
                use.now = add(use.now, access.offset, access.offset + access.length) or use.now
        elif op == Op.OPEN:
            if use.now:
                use.before, use.now = use.now, ()
        elif op == Op.READDIR:
            use.want = Want.LISTING
        elif op == Op.ABSENT:
            use.want = Want.ATTRIBUTES

    def listing(self, folders: Collection[int]) -> None:
        """These are directories."""
        for folder in folders:
            self._folders[folder] = None

    def wishes(self, path: int) -> Sequence[Wish]:
        """What to have ready of `path`."""
        use = self._uses.get(path)
        if use is None:
            if path in self._folders:
                return (Wish(path, Want.LISTING),)
            return (Wish(path, Want.DATA, 0, BLOCK_BYTES),)
        if use.want is not Want.DATA:
            return (Wish(path, use.want),)
        return [Wish(path, Want.DATA, start, end - start) for start, end in use.before or use.now]
