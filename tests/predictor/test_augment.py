"""Recordings under other names, and two recordings mixed."""

import numpy as np

from predictor.augment import interleaved, renamed
from predictor.events import Op, PathTable, Stream
from predictor.recording import Recording, record
from predictor.trace import Batch
from tests.predictor.workload import Mount


def recorded(place: str, files: int = 20, command: str = "python") -> Recording:
    mount = Mount()
    mount.add(Op.READDIR, place, command=command)
    for number in range(files):
        mount.read_file(f"{place}/part-{number:03d}.dat", command=command)
    _, streams, records = mount.take()
    known = {number: Stream(number, tgid, name) for number, tgid, name in streams}  # type: ignore[misc]
    return record(place, iter([Batch(mount.paths, known, records)]))


def names(recording: Recording, op: Op) -> list[bytes]:
    records = recording.batches[0]
    return [recording.paths.path(number) for number in records["path"][records["op"] == op].tolist()]


def test_other_names_numbers_and_listing_order_but_the_same_order_of_accesses() -> None:
    before = recorded("data")
    after = renamed(before, b"k", 7)
    assert names(after, Op.OPEN) == [b"kdata/kpart-%03d.dat" % (number + 7) for number in range(20)]
    assert names(before, Op.OPEN)[0] == b"data/part-000.dat"  # what was recorded stays as it was
    listed = [
        [recording.paths.name(child)[-7:-4] for child in recording.children[recording.paths.intern_path(place)]]
        for recording, place in ((before, b"data"), (after, b"kdata"))
    ]
    order = [[int(number) - shift for number in each] for each, shift in zip(listed, (0, 7), strict=True)]
    assert sorted(order[0]) == sorted(order[1]) == list(range(20))
    assert order[0] != order[1]
    assert after.sizes[b"kdata/kpart-007.dat"] == before.sizes[b"data/part-000.dat"]


def test_a_number_that_would_need_another_digit_stays() -> None:
    before = recorded("v999")
    assert names(renamed(before, b"", 1), Op.READDIR) == [b"v999"]


def test_two_recordings_mixed_keep_their_own_order_and_processes() -> None:
    one, other = recorded("a", 30), recorded("b", 10, command="tar")
    both = interleaved(one, other)
    opened = names(both, Op.OPEN)
    assert [name for name in opened if name.startswith(b"0/")] == [b"0/" + name for name in names(one, Op.OPEN)]
    assert [name for name in opened if name.startswith(b"1/")] == [b"1/" + name for name in names(other, Op.OPEN)]
    assert opened[:20].count(b"1/b/part-000.dat") == 1  # not one after the other
    assert {stream.command for stream in both.streams.values()} == {"python", "tar"}
    assert len({stream.tgid for stream in both.streams.values()}) == 2
    times = both.batches[0]["time_ns"].astype(np.int64)
    assert (np.diff(times) >= 0).all()
    assert isinstance(both.paths, PathTable)
    assert both.sizes[b"1/b/part-000.dat"] == other.sizes[b"b/part-000.dat"]
