"""The rivals that expect bytes of the file being read find the steps they are made for."""

from predictor.baselines.leap import WINDOW_MAX, Leap, majority, window
from predictor.baselines.read_rival import ReadRival
from predictor.baselines.rival import BLOCK_BYTES, Access, Wish
from predictor.baselines.sequential import Sequential
from predictor.baselines.stride import Stride
from predictor.events import Op
from predictor.plan import Want

FILE = 7


def read(rival: ReadRival[object], offset: int, length: int = 4096, size: int = 0, tgid: int = 1) -> list[Wish]:
    return list(rival.access(Access(Op.READ, FILE, tgid, "a", offset, length, size)))


def blocks(wishes: list[Wish]) -> list[int]:
    assert all(wish.offset % BLOCK_BYTES == 0 for wish in wishes)
    return [wish.offset // BLOCK_BYTES for wish in wishes]


def test_readahead_runs_ahead_of_each_reader_but_not_beyond_the_file() -> None:
    rival = Sequential()
    assert read(rival, 0, 4096, size=100_000) == []
    assert read(rival, 4096, 4096, size=100_000) == [Wish(FILE, Want.DATA, 8192, 100_000 - 8192)]
    assert read(rival, 8192, 4096, size=100_000, tgid=2) == []


def test_what_is_no_read_says_nothing() -> None:
    for op in (Op.OPEN, Op.WRITE, Op.LOOKUP):
        assert Stride().access(Access(op, FILE, 1, "a", 0, 4096)) == ()


def test_stride_expects_the_next_step_and_stops_after_two_wrong_ones() -> None:
    rival = Stride()
    assert read(rival, 0) == []
    assert read(rival, 1000) == [Wish(FILE, Want.DATA, 2000, 4096)]
    assert read(rival, 2000) == [Wish(FILE, Want.DATA, 3000, 4096)]
    assert read(rival, 50_000) == [Wish(FILE, Want.DATA, 51_000, 4096)], "a steady stride survives one stray read"
    assert read(rival, 90_000) == [Wish(FILE, Want.DATA, 130_000, 4096)]
    assert read(rival, 91_000) == []
    assert read(rival, 97_000) == []


def test_stride_goes_backwards_but_not_before_the_file_nor_beyond_it() -> None:
    rival = Stride()
    read(rival, 20_000)
    assert read(rival, 10_000) == [Wish(FILE, Want.DATA, 0, 4096)]
    assert read(rival, 0) == []
    forward = Stride()
    read(forward, 0, size=9000)
    assert read(forward, 4000, size=9000) == [Wish(FILE, Want.DATA, 8000, 1000)]
    assert read(forward, 8000, size=9000) == []


def test_the_majority_is_found_amid_noise_and_not_where_there_is_none() -> None:
    assert majority([3, 99, 3, -7, 3, 3, 12, 3]) == 3
    assert majority([3, 3, 4, 4]) == 0
    assert majority([]) == 0
    assert majority([3, 3]) == 0, "two may be chance"
    assert majority([3, 3, 3]) == 3


def test_the_newest_half_decides_before_the_whole_history() -> None:
    assert majority([2] * 9 + [5] * 7 + [5] * 16) == 2
    assert majority([2, 1] * 8 + [1] * 16) == 1


def test_leap_widens_with_hits_and_shrinks_by_half_without() -> None:
    assert window(0, 0, follows_trend=False) == 0
    assert window(0, 0, follows_trend=True) == 1
    assert [window(0, hits, True) for hits in (1, 2, 3, 4)] == [2, 4, 4, 8]
    assert window(8, 100, True) == WINDOW_MAX
    assert window(8, 0, False) == 4


def test_leap_follows_a_trend_through_stray_reads() -> None:
    rival = Leap()
    expected: set[int] = set()
    hits = 0
    for step in range(60):
        block = 10_000 - step if step % 7 == 6 else 3 * step
        hits += block in expected
        expected.update(blocks(read(rival, block * BLOCK_BYTES)))
    assert hits > 30
    assert all(block % 3 == 0 for block in expected if 30 < block < 1000)


def test_leap_expects_nothing_of_random_reads() -> None:
    rival = Leap()
    offsets = [(number * 7919) % 1009 for number in [3, 141, 59, 26, 535, 89, 793, 238, 46, 264, 338, 327, 950]]
    assert [read(rival, offset * BLOCK_BYTES) for offset in offsets] == [[]] * len(offsets)
