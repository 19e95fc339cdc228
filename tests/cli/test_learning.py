"""`llmfs trace export` and `llmfs train`: what they write, where, and what they refuse."""

import csv
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmfs.cache_dir import CacheDir, Holder
from llmfs.settings import default_cache_dir
from predictor.events import ACCESS, Op
from predictor.trace import TraceWriter
from tests.cli.conftest import World


@pytest.fixture
def cache(world: World) -> CacheDir:
    cache = CacheDir(default_cache_dir(world.source))
    cache.prepare(world.source)
    return cache


@pytest.fixture
def traced(cache: CacheDir) -> CacheDir:
    records = np.zeros(3, ACCESS)
    records["path"], records["stream"] = 1, 1
    records["op"] = Op.READ
    records["length"], records["offset"] = 4096, [0, 4096, 1 << 20]
    records["time_ns"] = np.arange(3) * 10**9
    with TraceWriter(cache.trace, 1 << 20) as writer:
        writer.append([(1, 0, b"weights.bin")], [(1, 77, "python")], records)
    return cache


def test_csv_goes_to_stdout(world: World, traced: CacheDir) -> None:
    result = world.run("trace", "export", world.source)
    assert (result.status, result.err) == (0, "")
    rows = list(csv.DictReader(result.out.splitlines()))
    assert [(each["op"], each["path"], each["offset"]) for each in rows] == [
        ("READ", "weights.bin", "0"),
        ("READ", "weights.bin", "4096"),
        ("READ", "weights.bin", "1048576"),
    ]


@pytest.mark.parametrize(("kind", "begins"), [("csv", b"ts,"), ("fio", b"fio version 2"), ("oracle-general", b"\0")])
def test_every_format_goes_to_a_file(world: World, traced: CacheDir, kind: str, begins: bytes) -> None:
    file = world.root / "exported"
    result = world.run("trace", "export", "--cache-dir", traced.path, "--format", kind, "-o", file)
    assert (result.status, result.out) == (0, f"3 records are in {file}\n")
    assert file.read_bytes().startswith(begins)


def test_a_binary_format_needs_a_file(world: World, traced: CacheDir) -> None:
    line = world.refuses("trace", "export", world.source, "--format", "parquet", status=2)
    assert line == "parquet is not text: name a file with -o FILE"
    assert "--format" in world.refuses("trace", "export", world.source, "--format", "xml", status=2)


def test_an_export_that_fails_leaves_the_old_file(world: World, traced: CacheDir) -> None:
    file = world.root / "exported"
    file.write_text("old")
    (segment,) = traced.trace.iterdir()
    segment.write_bytes(b"not a trace")
    assert "not a trace" in world.refuses("trace", "export", world.source, "-o", file, status=1)
    assert file.read_text() == "old"
    missing = world.root / "missing" / "exported"
    segment.unlink()
    assert "there is no trace in" in world.refuses("trace", "export", world.source, "-o", missing, status=1)


def test_an_export_to_nowhere(world: World, traced: CacheDir) -> None:
    line = world.refuses("trace", "export", world.source, "-o", world.root / "missing" / "x", status=1)
    assert line == f"cannot write {world.root}/missing/x: no such file or directory"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """What the training, which takes seconds, was asked for."""
    calls: list[tuple[Any, Any]] = []

    def train(traces: Any, state_dir: Any, progress: Callable[[str, float], None], limit_bytes: int) -> None:
        progress("[reading]", 0.5)
        assert 1 << 20 <= limit_bytes <= 1 << 30
        calls.append((traces, state_dir))

    stand_in = types.ModuleType("predictor.training")
    stand_in.train = train  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "predictor.training", stand_in)
    monkeypatch.setattr("predictor.training", stand_in, raising=False)
    return calls


def test_train_on_what_the_mounts_saw(world: World, traced: CacheDir, trained: list[tuple[Any, Any]]) -> None:
    result = world.run("train", "--source", world.source)
    assert (result.status, result.err) == (0, "")
    assert "the tables are learned" in result.out
    assert trained == [([traced.trace], traced.learned)]


def test_train_before_the_first_mount(world: World, trained: list[tuple[Any, Any]]) -> None:
    recorded = world.root / "recorded.csv"
    recorded.touch()
    assert world.run("train", recorded, "--source", world.source, "--cache-dir", world.root / "c").status == 0
    assert trained == [([recorded], world.root / "c" / "learned")]


def test_train_while_mounted_is_refused(world: World, cache: CacheDir, trained: list[tuple[Any, Any]]) -> None:
    (cache.path / "lock").touch()
    with cache.locked(Holder(1, "/mnt/slow", "/mnt/fast", 0)):
        assert "in use by the mount at /mnt/fast" in world.refuses("train", "--source", world.source, status=1)
    assert trained == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train"], "say for which cache"),
        (["train", "--source", "/no/source"], "there is no source /no/source"),
        (["train", "/no/trace", "--source", "{source}"], "there is no trace /no/trace"),
    ],
)
def test_train_on_nothing(world: World, cache: CacheDir, arguments: list[str], says: str) -> None:
    line = world.refuses(*[each.format(source=world.source) for each in arguments], status=2)
    assert says in line


def test_train_on_nothing_makes_no_cache(world: World) -> None:
    world.refuses("train", Path("/no/trace"), "--source", world.source, status=2)
    noise = world.root / "noise.csv"
    noise.write_text("ts,op\n")
    assert "the columns must be" in world.refuses("train", noise, "--source", world.source, status=1)


def test_evaluate_on_what_the_mounts_saw(world: World, traced: CacheDir) -> None:
    result = world.run("evaluate", "--source", world.source, "--json")
    assert (result.status, result.err) == (0, "")
    figures = json.loads(result.out)
    assert {each["run"] for each in figures} == {"trace"} and all(each["files"] == 1 for each in figures)
    (first, second) = [each for each in figures if each["planner"] == "rules"]  # one trace, played twice
    assert first["coverage"] == 0 and 0 <= second["coverage"] <= 1
    shown = world.run("evaluate", "--source", world.source)
    assert "coverage" in shown.out and "last successor" in shown.out


def test_evaluate_takes_the_last_accesses_of_named_traces_in_order(world: World) -> None:
    for name, times in (("one.csv", 3), ("two.csv", 5)):
        lines = [f"{n}.0,1,sh,LOOKUP,d/{n},0,0" for n in range(times)]
        (world.root / name).write_text("\n".join(["ts,pid,comm,op,path,offset,size", *lines]) + "\n")
    result = world.run("evaluate", world.root / "one.csv", world.root / "two.csv", "--latest", "4", "--json")
    assert result.status == 0, result.err
    figures = json.loads(result.out)
    assert [(each["run"], each["accesses"]) for each in figures if each["planner"] == "rules"] == [
        ("one.csv", 3),
        ("two.csv", 4),
    ]


def test_evaluate_draws(world: World, traced: CacheDir) -> None:
    pytest.importorskip("matplotlib")
    file = world.root / "plot.png"
    assert world.run("evaluate", "--source", world.source, "--plot", file).status == 0
    assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["evaluate"], 2, "say which traces, or whose"),
        (["evaluate", "/no/trace"], 2, "there is no trace /no/trace"),
        (["evaluate", "--source", "{source}"], 1, "there is no trace in"),
        (["evaluate", "--cache-dir", "/no/cache"], 1, "there is no cache at /no/cache"),
        (["evaluate", "--latest", "0", "x"], 2, "--latest"),
        (["evaluate", "{empty}"], 1, "there is no access in empty.csv"),
        (["evaluate", "{noise}"], 1, "cannot read the trace"),
        (["evaluate", "{empty}", "--plot", "/no/where/x.png"], 2, "there is no directory /no/where"),
        (["train", "--source", "{source}", "--plot", "{empty}"], 2, "a plot is a PNG"),
    ],
)
def test_evaluate_and_plots_refuse(world: World, cache: CacheDir, arguments: list[str], status: int, says: str) -> None:
    if "--plot" in arguments:
        pytest.importorskip("matplotlib")
    names = {"source": world.source, "empty": world.root / "empty.csv", "noise": world.root / "noise.csv"}
    names["empty"].write_text("ts,pid,comm,op,path,offset,size\n")
    names["noise"].write_text("ts,op\n")
    assert says in world.refuses(*[each.format(**names) for each in arguments], status=status)


def test_a_plot_without_matplotlib_is_refused_before_the_work(
    world: World, traced: CacheDir, trained: list[tuple[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for command in ("train", "evaluate"):
        line = world.refuses(command, "--source", world.source, "--plot", world.root / "x.png", status=1)
        assert "pip install 'llmfs[bench]'" in line
    assert trained == []
