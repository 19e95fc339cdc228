"""Sequential and strided readahead within one open file, for any number of interleaved streams of reads.

Each read is matched against a few remembered trains (where one is expected to read next). A read that continues a train
confirms it; a confirmed train runs ahead of its reader by a window that doubles from 128 KiB to `maximum`. A read that
continues nothing starts a train of its own and fetches nothing: random reads never cause readahead, and they push out
only trains that were not confirmed. Reads that continue no train but keep a constant distance are followed as strides.

The idea is Linux's ondemand readahead (mm/readahead.c) with several states a file, as FreeBSD's multi-stream and ZFS's
dmu_zfetch have them. Pure and O(trains) a read, about 2 us.
"""

WINDOW_START_BYTES = 128 << 10
WINDOW_FIRST_BYTES = 1 << 20
"""The first window is as long as the read that confirmed the train, but no longer than this."""

TRAINS = 16
"""Trains remembered for a file: more interleaved readers of one file than this are served as random ones."""

STRIDES_MAX = 16
"""How many strides ahead at most."""

NEAR_BYTES = 64 << 10
"""How far a read may be from where a train expects it: readers skip small holes, the kernel merges and reorders."""


class _Train:
    __slots__ = ("ahead", "confirmed", "expected", "last", "window")

    def __init__(self, offset: int, length: int) -> None:
        self.last = offset
        self.expected = offset + length
        self.confirmed = 0
        self.window = 0
        self.ahead = offset + length  # fetched up to here


class Readahead:
    """The state of one open file. Feed it the reads; it answers which ranges to fetch ahead of them."""

    def __init__(self, size: int = 1 << 62, maximum: int = 8 << 20, patience: int = 1, trains: int = TRAINS) -> None:
        """`size`: the file's size in bytes, as far as known; `maximum`: how far to run ahead at most, bytes;
        `patience`: how often a train must be continued before it runs ahead; `trains`: remembered."""
        self.size = size
        self.maximum = maximum
        self._patience = patience
        self._trains_max = trains
        self._trains: list[_Train] = []  # the most recently used last
        self._stride = _Stride()

    def observe(self, offset: int, length: int) -> list[tuple[int, int]]:
        """A read of `length` bytes at `offset`: (offset, length) ranges worth fetching now, never beyond the size."""
        if length <= 0:
            return []
        trains = self._trains
        end = offset + length
        for index in range(len(trains) - 1, -1, -1):
            train = trains[index]
            if train.last <= offset and -length <= offset - train.expected <= NEAR_BYTES:
                if index != len(trains) - 1:
                    trains.append(trains.pop(index))
                if end <= train.expected:
                    return []  # read again
                return self._sequential(train, offset, end)
        ranges = self._stride.observe(offset, length, self.size)
        self._begin(offset, length)
        return ranges

    @property
    def is_sequential(self) -> bool:
        """Whether the latest read continued a confirmed train."""
        return self.run > 0

    @property
    def run(self) -> int:
        """How many reads before the latest went on where the one before them ended, in its train."""
        return self._trains[-1].confirmed if self._trains else 0

    def _sequential(self, train: _Train, offset: int, end: int) -> list[tuple[int, int]]:
        train.last, train.expected = offset, end
        train.confirmed += 1
        if train.ahead < end:
            train.ahead = end
        if train.confirmed < self._patience:
            return []
        if train.window and train.ahead - end > train.window // 2:
            return []  # still well ahead: fetch in few, large pieces
        train.window = min(
            self.maximum, max(2 * train.window, WINDOW_START_BYTES, min(end - offset, WINDOW_FIRST_BYTES))
        )
        start = train.ahead
        train.ahead = min(self.size, end + train.window)
        return [(start, train.ahead - start)] if train.ahead > start else []

    def _begin(self, offset: int, length: int) -> None:
        self._trains.append(_Train(offset, length))
        if len(self._trains) > self._trains_max:
            self._evict()

    def _evict(self) -> None:
        """Forgets the oldest train that was not confirmed, else the oldest."""
        for index, train in enumerate(self._trains):
            if not train.confirmed:
                del self._trains[index]
                return
        del self._trains[0]


class _Stride:
    """Reads that continue no train, but keep their distance: columns of a table, frames of a film."""

    __slots__ = ("ahead", "distance", "last", "repeats", "window")

    def __init__(self) -> None:
        self.last = -1
        self.distance = 0
        self.repeats = 0
        self.window = 0  # in strides
        self.ahead = 0

    def observe(self, offset: int, length: int, size: int) -> list[tuple[int, int]]:
        distance = offset - self.last if self.last >= 0 else 0
        self.last = offset
        if not distance or distance != self.distance:
            self.distance, self.repeats, self.window = distance, 0, 0
            return []
        self.repeats += 1
        if self.repeats == 1 or distance <= 0:
            return []  # two equal distances happen by chance
        if not self.window:
            self.ahead = offset + distance
        self.window = min(STRIDES_MAX, 2 * self.window or 2)
        found = []
        while self.ahead <= offset + distance * self.window and self.ahead < size:
            found.append((self.ahead, min(length, size - self.ahead)))
            self.ahead += distance
        return found
