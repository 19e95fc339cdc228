"""Files that are asked for near each other, again and again, whatever comes between: Mithril.

Yang, Karimi, Saemundsson, Wildani and Vigfusson, "MITHRIL: mining sporadic associations for cache prefetching" (SoCC
2017, arXiv 1705.07400). Time is a count of visits, of all programs together. A *recording table* keeps the times of the
paths seen lately; one that was seen `min_support` times moves to the *mining table*, from which one seen more than
`max_support` times is dropped: caches keep that without help. When the mining table is full it is mined and emptied:
two paths are associated where their lists of times differ in length by at most `tolerance`, all times but `tolerance`
lie within `lookahead` of each other, and at least one pair of times is adjacent or the second path is the nearest after
the first. The *prefetch table* keeps the last few associations of each path.

Defaults are those of the authors' implementation in libCacheSim, but for the mining table: it holds 2,560 paths there,
sized for millions of requests for blocks. A program's start asks for a few hundred files, which would never be mined.

Amortised O(neighbours within `lookahead`) a visit; a mining of 256 paths is the longest step.
"""

from collections import deque
from collections.abc import Sequence

from predictor.baselines.file_rival import FileRival
from predictor.baselines.rival import Bounded

RECORDED_MAX = 1 << 14
PREFETCHED_MAX = 1 << 16


class Mithril(FileRival):
    """Expects the associated paths of each visited path."""

    name = "Mithril"

    def __init__(
        self,
        lookahead: int = 20,
        min_support: int = 2,
        max_support: int = 8,
        tolerance: int = 1,
        associations: int = 2,
        mined: int = 256,
    ) -> None:
        super().__init__()
        self._lookahead = lookahead
        self._min_support = min_support
        self._max_support = max_support
        self._tolerance = tolerance
        self._associations = associations
        self._mined = mined
        self._now = 0
        self._recorded: Bounded[int, list[int]] = Bounded(RECORDED_MAX)  # path -> times
        self._mining: dict[int, list[int]] = {}
        self._prefetched: Bounded[int, deque[int]] = Bounded(PREFETCHED_MAX)  # path -> associated ones, newest last

    def visit(self, tgid: int, command: str, path: int) -> Sequence[int]:
        """A program came to `path`: the paths expected next."""
        self._now += 1
        self._record(path)
        return tuple(self._prefetched.get(path, ()))

    def _record(self, path: int) -> None:
        times = self._mining.get(path)
        if times is not None:
            if len(times) >= self._max_support:
                del self._mining[path]
            else:
                times.append(self._now)
            return
        times = self._recorded.get(path)
        if times is None:
            times = self._recorded[path] = []
        times.append(self._now)
        if len(times) >= self._min_support:
            self._mining[path] = self._recorded.pop(path)
            if len(self._mining) >= self._mined:
                self._mine()

    def _mine(self) -> None:
        rows = sorted(self._mining.items(), key=lambda row: row[1][0])
        self._mining.clear()
        for index, (path, times) in enumerate(rows):
            has_nearest = False
            for other, others in rows[index + 1 :]:
                if others[0] - times[0] > self._lookahead:
                    break
                gaps = self._gaps(times, others)
                if gaps is None or (has_nearest and 1 not in gaps):
                    continue
                has_nearest = True
                self._associate(path, other)

    def _gaps(self, times: list[int], others: list[int]) -> list[int] | None:
        """The distances in time of two paths, None where they are not associated."""
        if abs(len(times) - len(others)) > self._tolerance:
            return None
        gaps = [abs(other - time) for time, other in zip(times, others, strict=False)]
        far = sum(gap > self._lookahead for gap in gaps)
        return gaps if far <= self._tolerance else None

    def _associate(self, path: int, other: int) -> None:
        known = self._prefetched.get(path)
        if known is None:
            known = self._prefetched[path] = deque(maxlen=self._associations)
        if other not in known:
            known.append(other)
