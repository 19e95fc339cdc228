"""The access log: round trips, bounds, and bytes that are no trace."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from predictor.events import ACCESS, Op
from predictor.trace import Records, TraceError, TraceWriter, read_trace, segments
from tests.predictor.workload import Mount, start_of_a_program


def some(count: int, seed: int = 0) -> Records:
    records = np.zeros(count, ACCESS)
    chance = np.random.default_rng(seed)
    records["time_ns"] = np.arange(count) * 1000
    records["offset"] = chance.integers(0, 1 << 40, count)
    records["path"] = chance.integers(0, 3, count)
    records["op"] = Op.READ
    return records


NAMES = [(1, 0, b"a"), (2, 1, b"\xff b")]
STREAMS = [(0, 123, "cat")]


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    mount = Mount()
    with TraceWriter(tmp_path, 1 << 20) as writer:
        sent = []
        for op, path, offset, length in start_of_a_program():
            mount.add(op, path, offset, length)
            names, streams, records = mount.take()
            sent += [(r["time_ns"], mount.paths.path(r["path"]), r["op"], r["offset"], r["length"]) for r in records]
            writer.append(names, streams, records)
    found = []
    for batch in read_trace(tmp_path):
        assert all(batch.streams[number].command == "python" for number in batch.records["stream"].tolist())
        found += [(r["time_ns"], batch.paths.path(r["path"]), r["op"], r["offset"], r["length"]) for r in batch.records]
    assert found == sent


def test_each_segment_can_be_read_alone(tmp_path: Path) -> None:
    with TraceWriter(tmp_path, 1 << 20) as writer:
        writer.append(NAMES, STREAMS, some(60_000))
    files = segments(tmp_path)
    assert len(files) > 2
    for file in files:
        for batch in read_trace(file):
            assert {batch.paths.path(number) for number in range(len(batch.paths))} == {b"", b"a", b"a/\xff b"}
            assert batch.streams[0].tgid == 123


def test_names_that_were_told_long_ago_are_forgotten_and_the_trace_stays_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("predictor.trace.PATHS_IN_USE", 8)
    monkeypatch.setattr("predictor.trace.CHUNK_RECORDS", 4)
    with TraceWriter(tmp_path, 1 << 20) as writer:
        writer.append([(1, 0, b"d"), (2, 0, b"lost"), (3, 2, b"child")], STREAMS, some(0))
        for number in range(10, 100):
            records = some(3)
            records["path"] = [number, 1, number]
            writer.append([(number, 1, b"%d" % number)], [], records)
        records["path"] = [3, 2, 1]
        writer.append([], [], records)
        assert writer.dropped_records == 2  # the names of two were neither told nor used for long
    found = [batch.paths.path(path) for batch in read_trace(tmp_path) for path in batch.records["path"].tolist()]
    assert found == [name for n in range(10, 100) for name in (b"d/%d" % n, b"d", b"d/%d" % n)] + [b"d"]


def test_the_directory_never_exceeds_its_limit_and_keeps_the_newest(tmp_path: Path) -> None:
    limit = 400_000
    with TraceWriter(tmp_path, limit) as writer:
        writer.append(NAMES, STREAMS, some(0))
        for turn in range(40):
            records = some(4096, turn)
            records["time_ns"] = turn
            writer.append([], [], records)
            assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= limit
    times = [int(time) for batch in read_trace(tmp_path) for time in np.unique(batch.records["time_ns"])]
    assert times == list(range(times[0], 40))
    assert writer.dropped_records == 0


def test_a_limit_too_small_for_anything_drops_records_and_writes_nothing(tmp_path: Path) -> None:
    with TraceWriter(tmp_path, 100) as writer:
        writer.append(NAMES, STREAMS, some(5000))
    assert writer.dropped_records == 5000
    assert segments(tmp_path) == []


def test_another_session_continues_the_numbering(tmp_path: Path) -> None:
    for _ in range(3):
        with TraceWriter(tmp_path, 1 << 20) as writer:
            writer.append(NAMES, STREAMS, some(10))
    assert [file.name for file in segments(tmp_path)] == [f"{n:08d}.trace" for n in (1, 2, 3)]
    assert sum(len(batch.records) for batch in read_trace(tmp_path)) == 30


def test_a_path_has_one_id_over_all_sessions(tmp_path: Path) -> None:
    for number in (1, 2):
        with TraceWriter(tmp_path, 1 << 20) as writer:
            records = some(1)
            records["path"] = number
            writer.append([(number, 0, b"same")], STREAMS, records)
    assert [int(batch.records["path"][0]) for batch in read_trace(tmp_path)] == [1, 1]


def test_records_whose_path_was_never_named_are_dropped(tmp_path: Path) -> None:
    with TraceWriter(tmp_path, 1 << 20) as writer:
        writer.append([(1, 0, b"a")], STREAMS, some(300))
    assert writer.dropped_records > 0
    assert sum(len(batch.records) for batch in read_trace(tmp_path)) + writer.dropped_records == 300


def test_a_torn_tail_ends_the_trace_in_silence(tmp_path: Path) -> None:
    with TraceWriter(tmp_path, 1 << 20) as writer:
        writer.append(NAMES, STREAMS, some(4096))
        writer.append([], [], some(4096))
    (file,) = segments(tmp_path)
    whole = file.read_bytes()
    for cut in (len(whole) - 1, len(whole) - 1000, len(whole) // 2 + 50, 15, 12, 5, 0):
        file.write_bytes(whole[:cut])
        assert sum(len(batch.records) for batch in read_trace(file)) in (0, 4096)


def test_damage_in_the_middle_is_an_error(tmp_path: Path) -> None:
    with TraceWriter(tmp_path, 1 << 20) as writer:
        writer.append(NAMES, STREAMS, some(4096))
        writer.append([], [], some(4096))
    (file,) = segments(tmp_path)
    data = bytearray(file.read_bytes())
    data[200] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(TraceError):
        list(read_trace(file))


def test_a_newer_version_says_so(tmp_path: Path) -> None:
    file = tmp_path / "00000001.trace"
    file.write_bytes(b"LLMFSTRC\x63\x00\x00\x00")
    with pytest.raises(TraceError, match="version 99"):
        list(read_trace(file))


def test_an_empty_directory_is_no_trace(tmp_path: Path) -> None:
    with pytest.raises(TraceError):
        list(read_trace(tmp_path))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    directory = tmp_path
    for old in segments(directory):
        old.unlink()
    with TraceWriter(directory, 1 << 20) as writer:
        writer.append(NAMES, STREAMS, some(20))
    (file,) = segments(directory)
    damaged = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged += data.draw(st.binary(max_size=30))
    file.write_bytes(damaged)
    try:
        for batch in read_trace(file):
            assert batch.records.dtype == ACCESS
    except TraceError:
        pass


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=200))
def test_a_chunk_with_a_right_checksum_and_any_content_is_refused(tmp_path: Path, raw: bytes) -> None:
    import struct

    import xxhash
    import zstandard

    packed = zstandard.ZstdCompressor().compress(raw)
    file = tmp_path / "00000001.trace"
    head = struct.pack("<IIIQ", 0x4B4E4843, len(packed), len(raw), xxhash.xxh3_64_intdigest(packed))
    file.write_bytes(b"LLMFSTRC\x01\x00\x00\x00" + head + packed)
    with pytest.raises(TraceError):
        list(read_trace(file))
