"""The comparison of controllers in replay: the table has everybody in it, and what cannot be read is told of."""

import json
from pathlib import Path

import pytest

from bench.control.__main__ import main


def test_the_command_compares_everybody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "control.json"
    assert main(["--accesses", "60", "--quick", "--output", str(output)]) == 0
    costs = json.loads(output.read_text())["costs_s"]
    assert {"no control", "best fixed arm", "aimd", "discounted ucb", "rules"} <= set(costs)
    assert "never worse than 5%" in capsys.readouterr().out


def test_scenarios_are_drawn_where_that_is_wanted(tmp_path: Path) -> None:
    output = tmp_path / "control.json"
    assert main(["--accesses", "60", "--quick", "--drawn", "2", "--jobs", "1", "--output", str(output)]) == 0
    assert [name[:3] for name in json.loads(output.read_text())["costs_s"]["rules"]] == ["1: ", "2: "]


def test_a_trace_that_is_not_there_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--accesses", "60", "--traces", str(tmp_path / "none.trace")]) == 1
    assert "none.trace" in capsys.readouterr().err
