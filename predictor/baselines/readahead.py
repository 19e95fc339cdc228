"""Sequential and strided readahead within one open file, for any number of interleaved streams of reads.

Each read is matched against a few remembered trains (where one is expected to read next). A read that continues a train
confirms it; a confirmed train runs ahead of its reader by a window that doubles from 128 KiB to `maximum`. A read that
continues nothing starts a train of its own and fetches nothing: random reads never cause readahead, and they push out
only trains that were not confirmed. Trains with a constant distance between reads are followed as strides.

The idea is Linux's ondemand readahead (mm/readahead.c) with several states a file, as FreeBSD's multi-stream and ZFS's
dmu_zfetch have them. Pure and O(trains) a read, about 2 us.
"""

WINDOW_START_BYTES = 128 << 10
WINDOW_FIRST_BYTES = 1 << 20
"""The first window is as long as the read that confirmed the train, but no longer than this."""

TRAINS = 16
"""Trains remembered for a file: more interleaved readers of one file than this are served as random ones."""

NEAR_BYTES = 64 << 10
"""How far a read may be from where a train expects it: readers skip small holes, the kernel merges and reorders."""


class _Train:
    __slots__ = ("ahead", "confirmed", "expected", "last", "length", "stride", "window")

    def __init__(self, offset: int, length: int) -> None:
        self.last = offset
        self.length = length
        self.expected = offset + length
        self.stride = 0
        self.confirmed = 0
        self.window = 0
        self.ahead = offset + length  # fetched up to here


class Readahead:
    """The state of one open file. Feed it the reads; it answers which ranges to fetch ahead of them."""

    def __init__(self, size: int = 1 << 62, maximum: int = 8 << 20) -> None:
        """`size`: the file's size in bytes, as far as known; `maximum`: how far to run ahead at most, bytes."""
        self.size = size
        self.maximum = maximum
        self._trains: list[_Train] = []  # the most recently used last

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
        for index in range(len(trains) - 1, -1, -1):
            train = trains[index]
            if train.stride and offset == train.last + train.stride:
                trains.append(trains.pop(index))
                return self._strided(train, offset, length)
        self._begin(offset, length)
        return []

    @property
    def is_sequential(self) -> bool:
        """Whether the latest read continued a confirmed train."""
        return bool(self._trains) and self._trains[-1].confirmed > 0

    def _sequential(self, train: _Train, offset: int, end: int) -> list[tuple[int, int]]:
        train.last, train.length, train.expected = offset, end - offset, end
        train.stride = 0
        train.confirmed += 1
        if train.ahead < end:
            train.ahead = end
        if train.window and train.ahead - end > train.window // 2:
            return []  # still well ahead: fetch in few, large pieces
        train.window = min(
            self.maximum, max(2 * train.window, WINDOW_START_BYTES, min(end - offset, WINDOW_FIRST_BYTES))
        )
        start = train.ahead
        train.ahead = min(self.size, end + train.window)
        return [(start, train.ahead - start)] if train.ahead > start else []

    def _strided(self, train: _Train, offset: int, length: int) -> list[tuple[int, int]]:
        train.last, train.length, train.expected = offset, length, offset + length
        train.confirmed += 1
        if train.confirmed < 2:
            return []
        if train.ahead < offset + length or train.confirmed == 2:
            train.ahead = offset + train.stride
        train.window = min(16, train.window * 2 or 2)  # in strides
        reach = offset + train.stride * train.window
        found = []
        while train.ahead <= reach and train.ahead < self.size:
            found.append((train.ahead, min(length, self.size - train.ahead)))
            train.ahead += train.stride
        return found

    def _begin(self, offset: int, length: int) -> None:
        trains = self._trains
        if trains:
            nearest = None
            for train in trains:  # a stride is the distance to the nearest unconfirmed train before this read
                if train.confirmed == 0 and train.last < offset and (nearest is None or train.last > nearest.last):
                    nearest = train
            if nearest is not None and offset - nearest.last > nearest.length + NEAR_BYTES:
                trains.remove(nearest)
                train = _Train(offset, length)
                train.stride = offset - nearest.last
                trains.append(train)
                trains.append(_Train(offset, length))  # it may as well begin a sequential train
                trains[-1], trains[-2] = trains[-2], trains[-1]
                self._evict()
                return
        trains.append(_Train(offset, length))
        self._evict()

    def _evict(self) -> None:
        trains = self._trains
        while len(trains) > TRAINS:
            for index, train in enumerate(trains):
                if train.confirmed == 0:
                    del trains[index]
                    break
            else:
                del trains[0]
