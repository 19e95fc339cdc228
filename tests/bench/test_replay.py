"""Replays whose result can be worked out by hand, and what must hold for all."""

import gzip
import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest

from bench.replay.__main__ import main
from bench.replay.bounds import Belady, OraclePlanner
from bench.replay.lru import Lru
from bench.replay.reading import read_recording
from bench.replay.synthetic import SYNTHETIC
from llmfs.config import Predictor
from llmfs.replay.outcome import Outcome
from llmfs.replay.planners import EnginePlanner, NoPlanner, RivalPlanner
from llmfs.replay.simulation import Cache, Planner, Simulation
from llmfs.replay.source import Arrival, Line, Model, ModelledSource, Request
from llmfs.replay.tree import mask, pieces, runs
from llmfs.replay.workload import arrange
from predictor.baselines.catalogue import RIVALS
from predictor.engine import Engine
from predictor.events import ACCESS, Op, PathTable, Stream
from predictor.interchange import write_csv
from predictor.recording import Recording, record
from predictor.trace import Batch, TraceError

LATENCY_S = 0.010
FAST_LINE = 1e12
MS = 1_000_000
ROOMY = 1 << 40

Row = tuple[int, Op, str, int, int, int]
"""(ms, operation, path, offset, length, stream)."""


def recording(rows: Sequence[Row]) -> Recording:
    paths = PathTable()
    data = [
        (ms * MS, offset, length, 0, paths.intern_path(path.encode()), stream, op, 0, 0, 0)
        for ms, op, path, offset, length, stream in rows
    ]

    def batches() -> Iterator[Batch]:
        streams = {row[5]: Stream(row[5], 100 + row[5], "prog") for row in rows}
        yield Batch(paths, streams, np.array(data, ACCESS))

    return record("test", batches())


def run(rows: Sequence[Row], planner: Planner | None = None, model: Model | None = None) -> Outcome:
    planner = planner or NoPlanner(Predictor.OFF, "none")
    model = model or Model(LATENCY_S, 0.0, FAST_LINE)
    return Simulation(arrange(recording(rows)), Cache.empty(Lru(ROOMY)), planner, model).run()


def reads(count: int, gap_ms: int = 100) -> list[Row]:
    rows: list[Row] = []
    for number in range(count):
        rows.append((2 * number * gap_ms, Op.OPEN, f"file{number}", 4096, 0, 0))
        rows.append(((2 * number + 1) * gap_ms, Op.READ, f"file{number}", 0, 4096, 0))
    return rows


def test_each_name_and_each_block_costs_a_request_once() -> None:
    outcome = run(reads(3) + [(1000 + ms, op, path, o, n, s) for ms, op, path, o, n, s in reads(3)])
    assert outcome.total_stall_s == pytest.approx(3 * 2 * LATENCY_S)
    assert outcome.requests == [6, 0]
    assert outcome.events == 12


def test_the_directories_above_are_looked_up_first() -> None:
    outcome = run([(0, Op.OPEN, "a/b/c", 10, 0, 0), (1, Op.OPEN, "a/b/d", 10, 0, 0)])
    assert outcome.total_stall_s == pytest.approx(4 * LATENCY_S)


def test_a_listing_answers_for_absent_names() -> None:
    rows: list[Row] = [(0, Op.OPEN, "a/there", 10, 0, 0), (1, Op.READDIR, "a", 0, 0, 0)]
    rows += [(2 + number, Op.ABSENT, f"a/no{number}", 0, 0, 0) for number in range(5)]
    assert run(rows).total_stall_s == pytest.approx(3 * LATENCY_S)  # a, there, the listing


def test_what_a_program_wrote_the_kernel_has() -> None:
    rows: list[Row] = [
        (0, Op.CREATE, "new", 0, 0, 0),
        (1, Op.WRITE, "new", 0, 8192, 0),
        (2, Op.READ, "new", 0, 8192, 0),
    ]
    assert run(rows).total_stall_s == 0.0


def test_stalls_delay_whoever_waits_and_nobody_else() -> None:
    """Stream 1 is started by stream 0 and waited for by it; stream 2 goes on by itself."""
    rows: list[Row] = [
        (0, Op.RELEASE, "x", 0, 0, 0),
        (1, Op.OPEN, "one", 10, 0, 1),
        (2, Op.OPEN, "two", 10, 0, 1),
        (5, Op.RELEASE, "x", 0, 0, 0),
        (6, Op.RELEASE, "x", 0, 0, 2),
        (7, Op.RELEASE, "x", 0, 0, 2),
    ]
    outcome = run(rows)
    assert outcome.virtual_s == pytest.approx(0.007 + 2 * LATENCY_S)
    workload = arrange(recording(rows))
    assert workload.following == [3, 2, -1, -1, 5, -1]
    assert workload.awaited_by == {0: [1], 2: [3], 3: [4]}


def test_an_oracle_leaves_no_stall_where_there_is_time() -> None:
    outcome = run(reads(20), OraclePlanner())
    assert outcome.total_stall_s < 3 * LATENCY_S  # the first file comes too soon
    assert outcome.accuracy == 1.0
    assert outcome.bytes_unused == 0


def test_the_engine_has_a_second_run_ready() -> None:
    rows = reads(40, gap_ms=10)
    planner = EnginePlanner("counts", Engine())
    cache = Cache.empty(Lru(ROOMY))
    stalls = []
    for _ in range(2):
        outcome = Simulation(arrange(recording(rows)), cache, planner, Model(LATENCY_S)).run()
        stalls.append(outcome.total_stall_s)
        cache.clear()
    assert stalls[1] < 0.3 * stalls[0]
    assert outcome.coverage > 0.8


@pytest.mark.parametrize("name", [name for name in RIVALS if name != "delta-LSTM"])
def test_rivals_take_the_predictors_place(name: str) -> None:
    cache = Cache.empty(Lru(ROOMY))
    planner = RivalPlanner(RIVALS[name](cache.tree.paths))
    outcome = Simulation(arrange(recording(reads(30) * 2)), cache, planner, Model(LATENCY_S)).run()
    assert outcome.events == 120


@pytest.mark.parametrize("kind", ["none", "oracle", "engine"])
def test_every_access_is_answered_and_bytes_add_up(kind: str) -> None:
    """Random accesses in a cache of a few blocks: nothing is lost, nothing is used that was not fetched."""
    random = Random(7)
    rows: list[Row] = []
    for number in range(600):
        op = random.choice([Op.OPEN, Op.READ, Op.READ, Op.READ, Op.GETATTR, Op.ABSENT, Op.WRITE, Op.READDIR])
        path = f"d{random.randrange(3)}" + ("" if op is Op.READDIR else f"/f{random.randrange(30)}")
        offset = random.randrange(64) * 4096 if op in (Op.READ, Op.WRITE) else 1 << 20 if op is Op.OPEN else 0
        length = random.randrange(1, 300_000) if op in (Op.READ, Op.WRITE) else 0
        rows.append((number, op, path, offset, length, random.randrange(3)))
    planner: Planner = NoPlanner(Predictor.SEQUENTIAL, "none")
    if kind == "oracle":
        planner = OraclePlanner()
    elif kind == "engine":
        planner = EnginePlanner("counts", Engine())
    cache = Cache.empty(Lru(2 << 20))
    outcome = Simulation(arrange(recording(rows)), cache, planner, Model(LATENCY_S, 0.3, 50e6, 4)).run()
    assert outcome.events == 600
    assert cache.eviction.used_bytes <= cache.eviction.capacity_bytes
    assert outcome.bytes_used + outcome.bytes_unused <= outcome.bytes_fetched[1] + 4096 * 600
    assert set(cache.places) == {node.key(b) for node in cache.tree.nodes.values() for b in node.blocks}


def test_transfers_share_the_line() -> None:
    """Two transfers of 100 and 50 bytes at 100 bytes/s: the shorter ends at 1 s, the longer at 1.5 s."""
    line = Line(100.0)
    one = Request(Arrival(), 100, 0, lambda _: None)
    other = Request(Arrival(), 50, 0, lambda _: None)
    line.begin(0.0, one)
    line.begin(0.0, other)
    assert line.next_end_s() == pytest.approx(1.0)
    assert line.end(1.0) is other
    assert line.next_end_s() == pytest.approx(1.5)
    assert line.end(1.5) is one
    assert line.next_end_s() is None


def test_programs_go_before_prefetches_in_the_queue() -> None:
    calls: list[tuple[float, object]] = []
    done: list[str] = []
    source = ModelledSource(Model(1.0, concurrency=1), lambda at, call: calls.append((at, call)))
    for name in (None, "ahead", None):
        source.ask(0.0, Arrival(name), 0, lambda arrival, _: done.append(arrival.generator or "program"))
    while calls:
        calls.pop(0)[1]()  # type: ignore[operator]
    assert done == ["program", "program", "ahead"]


def test_belady_drops_what_is_used_last() -> None:
    uses = {b"a": 30, b"b": 10, b"c": 20}
    belady = Belady(200, lambda key: uses[key])
    for key in uses:
        belady.admit(key, 100)
    assert [key for key, _ in belady.victims(lambda _: 0.0)] == [b"a"]
    uses[b"b"] = 99
    belady.touch(b"b")
    uses[b"d"] = 50
    belady.admit(b"d", 100)
    assert [key for key, _ in belady.victims(lambda _: 0.0)] == [b"b"]


def test_pages_and_blocks() -> None:
    assert mask(1, 3) == 0b110
    assert pieces(30, 34) == [(0, mask(30, 32)), (1, mask(0, 2))]
    assert runs(0b1101) == [(0, 1), (2, 4)]
    for bitmap in range(1, 200):
        assert sum(mask(*each) for each in runs(bitmap)) == bitmap
        assert all(one[1] < other[0] for one, other in pairwise(runs(bitmap)))


@pytest.mark.parametrize("name", sorted(SYNTHETIC))
def test_synthetic_workloads_are_made_from_their_seed(name: str) -> None:
    one, other = SYNTHETIC[name](Random(3)), SYNTHETIC[name](Random(3))
    assert all((a == b).all() for a, b in zip(one.batches, other.batches, strict=True))


def test_the_command_draws_a_table_and_writes_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = reads(20, gap_ms=5)
    paths = PathTable()
    data = [
        (ms * MS, offset, length, 0, paths.intern_path(path.encode()), stream, op, 0, 0, 0)
        for ms, op, path, offset, length, stream in rows
    ]
    trace = tmp_path / "t.csv"
    write_csv([Batch(paths, {0: Stream(0, 1, "prog")}, np.array(data, ACCESS))], trace)
    output = tmp_path / "out.json"
    policies = ["none", "counts", "oracle", "last successor"]
    assert main([str(trace), "--policies", *policies, "--output", str(output), "--cache", "50%"]) == 0
    said = capsys.readouterr().out
    assert "run 2" in said
    outcomes = json.loads(output.read_text())["outcomes"]
    assert [each["policy"] for each in outcomes] == [name for name in policies for _ in range(2)]
    assert all(each["events"] == 40 for each in outcomes)


@pytest.mark.parametrize(
    ("trace", "status", "says"),
    [("absent.csv", 1, "absent.csv"), ("synthetic:nothing", 2, "shuffled")],
)
def test_bad_input_is_said_plainly(trace: str, status: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([trace]) == status
    assert says in capsys.readouterr().err


def test_block_traces_and_iologs_are_read(tmp_path: Path) -> None:
    blocks = tmp_path / "b.trace.gz"
    blocks.write_bytes(gzip.compress(b"7\n900\n7\n"))
    read = np.concatenate(read_recording(str(blocks), 1).batches)
    assert read["offset"].tolist() == [0, 4096, 0]
    iolog = tmp_path / "fio.log"
    iolog.write_text("fio version 2 iolog\nfile add\nfile open\nfile read 4096 8192\nfile write 0 512\nfile close\n")
    read = np.concatenate(read_recording(str(iolog), 1).batches)
    assert read["op"].tolist() == [Op.OPEN, Op.READ, Op.WRITE]
    assert (read["offset"][1], read["length"][1]) == (4096, 8192)
    iolog.write_text("fio version 3 iolog\n5 file open\n9 file read 0 10\n")
    read = np.concatenate(read_recording(str(iolog), 1).batches)
    assert read["time_ns"].tolist() == [5_000_000, 9_000_000]
    iolog.write_text("fio version 2 iolog\nfile read none 8192\n")
    with pytest.raises(TraceError, match="line 2"):
        read_recording(str(iolog), 1)
