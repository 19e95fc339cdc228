"""Steering in replay: mixes are what they say, a run is repeatable, and the table has everybody in it."""

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest

from bench.control.__main__ import main
from bench.control.experience import Explorer, transitions
from bench.control.steered import steer
from bench.control.workloads import PROGRAMS, drawn, evaluated, mix, seconds
from predictor.control import network
from predictor.control.arms import ARMS, SAFE
from predictor.control.rivals import Fixed
from predictor.control.steering import Steering


def test_programs_beside_each_other_are_processes_of_their_own() -> None:
    recording = mix([["shuffled", "pages"], ["walked"]], Random(1), 120)
    assert len({stream.tgid for stream in recording.streams.values()}) == 3
    assert {recording.paths.path(path).partition(b"/")[0] for path in recording.paths} == {b"", b"0", b"1", b"2"}
    (records,) = recording.batches
    first = {number: records["time_ns"][records["stream"] == number].min() for number in recording.streams}
    assert first[0] == first[1] < first[2]
    assert (records["time_ns"][1:] >= records["time_ns"][:-1]).all()
    assert seconds(recording) > 0


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_the_same_for_the_same_seed(name: str) -> None:
    one, other = (PROGRAMS[name](Random(3), 60) for _ in range(2))
    assert [each.tobytes() for each in one.batches] == [each.tobytes() for each in other.batches]


def test_the_safe_arm_against_its_own_ghost_earns_nothing() -> None:
    scenario = drawn(Random(4), 200)
    run, ghost = (steer(scenario, Steering(Fixed(SAFE))) for _ in range(2))
    assert run.spent == ghost.spent
    assert sum(each.reward_s for each in transitions(run, ghost)) == pytest.approx(0, abs=0.05)


def test_an_explorer_tries_arms_and_is_paid_for_the_difference() -> None:
    scenario = evaluated(2, 400, 8 << 20)[1]
    ghost = steer(scenario, Steering(Fixed(SAFE)))
    run = steer(scenario, Steering(Explorer(Random(1)), agreeing=1, dwell=0))
    met = transitions(run, ghost)
    assert len({each.arm for each in met}) > 1 and all(0 <= each.arm < len(ARMS) for each in met)
    assert met[-1].after is None and all(each.after is not None for each in met[:-1])


def test_the_command_compares_everybody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "control.json"
    assert main(["--accesses", "60", "--quick", "--output", str(output)]) == 0
    costs = json.loads(output.read_text())["costs_s"]
    assert {"no control", "best fixed arm", "aimd", "discounted ucb", "rules"} <= set(costs)
    assert "never worse than 5%" in capsys.readouterr().out


def test_a_trace_that_is_not_there_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--accesses", "60", "--traces", str(tmp_path / "none.trace")]) == 1
    assert "none.trace" in capsys.readouterr().err


def test_training_tells_the_best_of_its_rounds_on_other_scenarios(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "controller.safetensors"
    options = ["--rounds", "2", "--episodes", "2", "--judged", "2", "--steps", "20", "--seed", "3"]
    assert main(["--accesses", "120", "--jobs", "2", "train", str(weights), *options]) == 0
    assert float(network.load(weights).weights["margin_s"][0]) in np.float32(network.MARGINS_S)
    said = capsys.readouterr().out
    assert "round 2: 2 drawn scenarios" in said and "weights of round" in said
