"""The demo with a program so small that all of its runs take some seconds."""

import importlib.util
from pathlib import Path

import pytest

from bench.demo import Run, WrongOutputError, demonstrate
from bench.report import Bars, Progress, plot

pytestmark = pytest.mark.skipif(importlib.util.find_spec("llmfs.mount") is None, reason="llmfs cannot mount yet")

PROGRAM = "import json, msgpack; print(msgpack.unpackb(msgpack.packb([1, 2])))"


def demonstrate_in(scratch: Path, program: str) -> list[Run]:
    runs: list[Run] = []
    demonstrate(scratch, 0.0005, Progress(), runs.append, packages=["msgpack"], program=program)
    return runs


def test_demo_runs_everything_and_leaves_nothing_mounted(_slowdir_works: None, tmp_path: Path) -> None:
    runs = {run.name: run for run in demonstrate_in(tmp_path, PROGRAM)}

    assert list(runs) == [
        "native",
        "raw",
        "llmfs, first time",
        "llmfs, cached",
        "llmfs, learned",
        "llmfs, no predictor",
    ]
    assert runs["native"].source_requests == 0
    assert runs["raw"].source_requests > 100
    assert runs["llmfs, cached"].source_read_bytes < runs["raw"].source_read_bytes
    assert runs["llmfs, learned"].fetched_ahead() and not runs["llmfs, no predictor"].fetched_ahead()
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_demo_refuses_wrong_output(_slowdir_works: None, tmp_path: Path) -> None:
    with pytest.raises(WrongOutputError, match="native"):
        demonstrate_in(tmp_path, "import msgpack, time; print(time.time_ns())")
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize(
    ("status", "rate"),
    [({"reads": {"cache": 3, "joined": 0, "source": 1}}, 0.75), ({"reads": {"cache": 0}}, None), ({}, None)],
)
def test_hit_rate_is_the_share_of_the_cache(status: dict[str, dict[str, int]], rate: float | None) -> None:
    assert Run("name", 1.0, 0, 0, status).hit_rate("reads") == rate


def test_who_fetched_the_most_is_named_first() -> None:
    of = {"issued": 4, "used_in_time": 2, "used_late": 1, "unused": 0}
    status = {"prefetch": {"by_generator": {"mention": of, "region": of | {"issued": 9}}}}
    assert Run("name", 1.0, 0, 0, status).fetched_ahead() == [("region", 9, 2, 1), ("mention", 4, 2, 1)]
    assert Run("raw", 1.0, 0, 0).fetched_ahead() == []


def test_plot_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert plot(tmp_path / "out" / "plot.png", "title", [Bars("panel", ["raw", "llmfs"], [2.0, 1.0], "seconds")])
    assert (tmp_path / "out" / "plot.png").read_bytes().startswith(b"\x89PNG")
