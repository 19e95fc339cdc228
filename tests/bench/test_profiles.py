"""Profiles are compared on the same accesses, and tables that are too small for them show."""

import dataclasses
import json
import random
from pathlib import Path

import pytest

from bench import profiles
from bench.profiles import main
from predictor.limits import SMALL

FILES = 120


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A program that reads the same files in an order that only the past can tell."""
    order = random.Random(1).sample(range(FILES), FILES)
    rows = [
        f"{1000 + position * 0.01:.3f},{op},7,app,/data/{number * 7919 % 1000:x}/{number:x},20000,0"
        for position, number in enumerate(order)
        for op in ("OPEN", "READ")
    ]
    path = tmp_path / "trace.csv"
    path.write_text("\n".join(["ts,op,pid,comm,path,size,offset", *rows, ""]))
    return path


def _run(trace: Path) -> tuple[int, dict[str, dict[str, dict[str, float]]]]:
    output = trace.with_name("profiles.json")
    status = main([str(trace), "--cache", "1G", "--output", str(output)])
    found = json.loads(output.read_text())
    assert found["is_within"] == (status == 0)
    return status, {run["run"]: run for run in found["runs"]}


def test_both_profiles_are_replayed_twice_and_compared(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, runs = _run(trace)
    assert status == 0
    first, second = runs.values()
    assert first["edge"]["events"] == first["desktop"]["events"] > 0
    assert second["desktop"]["coverage"] > first["desktop"]["coverage"]  # the second run knows the first
    assert "edge 1G" in capsys.readouterr().out


def test_a_history_that_is_too_short_is_found_out(trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "SMALL", dataclasses.replace(SMALL, history=16, names=16, contexts=2))
    status, runs = _run(trace)
    assert status == 1
    second = list(runs.values())[1]
    assert second["edge"]["hit_ratio"] < second["desktop"]["hit_ratio"] - 0.01


def test_traces_that_are_none_are_named_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none")]) == 1
    assert main(["synthetic:none"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and all(line.startswith("bench.profiles: ") for line in said)
