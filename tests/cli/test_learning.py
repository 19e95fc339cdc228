"""`llmfs trace export` and `llmfs train`: what they write, where, and what they refuse."""

import csv
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
