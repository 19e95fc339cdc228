"""Replays that a controller learns from: mixes are what they say, a run is repeatable, what was chosen is proved."""

from pathlib import Path
from random import Random

import numpy as np
import pytest

from llmfs.replay import training
from llmfs.replay.episodes import ACCESSES_LEAST, LEARNED_FROM, Draw, Explorer, transitions
from llmfs.replay.mixes import PAUSE_MAX_NS, PROGRAMS, drawn, evaluated, excerpts, mix, seconds
from llmfs.replay.steered import steer
from predictor.control import network
from predictor.control.arms import ARMS, SAFE
from predictor.control.rivals import Fixed
from predictor.control.steering import Steering
from predictor.events import ACCESS, Op
from predictor.recording import Recording, load
from predictor.trace import TraceError, TraceWriter


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


def trace(place: Path, accesses: int) -> Path:
    """One program that reads a page of a file every second, each page once."""
    records = np.zeros(accesses, ACCESS)
    records["path"], records["stream"], records["op"], records["length"] = 1, 1, Op.READ, 4096
    records["offset"] = 4096 * np.arange(accesses, dtype=np.uint64)
    records["time_ns"] = 10**9 * (1 + np.arange(accesses, dtype=np.uint64))
    with TraceWriter(place, 1 << 20) as writer:
        writer.append([(1, 0, b"weights.bin")], [(1, 77, "python")], records)
    return place


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return load(trace(tmp_path / "trace", 2 * ACCESSES_LEAST))


def test_an_excerpt_is_of_its_part_of_the_recording(recording: Recording) -> None:
    pages = 2 * ACCESSES_LEAST
    for seed in range(5):
        (records,) = excerpts(recording, 0.25, 0.75)(Random(seed), 100).batches
        read = records["offset"] // 4096
        assert len(read) == 100 and (np.diff(read) == 1).all()
        assert pages / 4 <= read.min() and read.max() < 3 * pages / 4
    (records,) = excerpts(recording, 0.25, 0.75)(Random(1), 2 * pages).batches
    assert len(records) == pages / 2


def test_a_pause_of_days_becomes_a_short_one(recording: Recording) -> None:
    recording.batches[0]["time_ns"][50:] += np.uint64(10**15)
    excerpt = excerpts(recording, 0.0, 1.0)(Random(0), 10**6)
    assert np.diff(excerpt.batches[0]["time_ns"]).max() == PAUSE_MAX_NS
    assert (recording.batches[0]["time_ns"][50:] > 10**15).all()  # the recording stays as it is


def test_what_was_recorded_is_in_each_scenario_and_judged_by_what_came_later(tmp_path: Path) -> None:
    draw = Draw(60, (str(trace(tmp_path / "trace", 2 * ACCESSES_LEAST)),))
    split = LEARNED_FROM * 2 * ACCESSES_LEAST
    for seed in range(4):
        for is_to_judge in (False, True):
            workload = draw.scenario(Random(seed), is_to_judge).workload
            paths = workload.recording.paths
            ours = [at for at, path in enumerate(workload.path) if paths.path(path).endswith(b"weights.bin")]
            assert ours and all((workload.offset[at] // 4096 >= split) is is_to_judge for at in ours)


def test_a_trace_that_is_too_short_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="too few"):
        training.make(training.Recipe(1, 1, 1, 1, 1), Draw(60, (str(trace(tmp_path / "t", 10)),)), 1, print)


def test_training_proves_what_it_chose_and_writes_it(tmp_path: Path) -> None:
    told: list[float] = []
    recipe = training.Recipe(rounds=2, scenarios=2, judged=2, steps=20, seed=3)
    report = training.make(recipe, Draw(120), 2, lambda what, share: told.append(share))
    assert told == sorted(told) and told[-1] == pytest.approx(1)
    assert {each.round for each in report.candidates} == {1, 2}
    assert report.best in report.candidates
    file = tmp_path / network.NAME
    training.save(report.best, file)
    assert float(network.load(file).weights["margin_s"][0]) == pytest.approx(report.best.margin_s)


def test_only_what_beats_the_rules_and_does_no_harm_is_better() -> None:
    candidate = training.Candidate(1, {}, training.Figures(1.0, 1.0))

    def is_better(mean: float, worst: float) -> bool:
        proved, rules = training.Figures(mean, worst), training.Figures(0.98, 1.0)
        return training.Report(10, [candidate], candidate, proved, rules).is_better

    assert is_better(0.97, 1.04)
    assert not is_better(0.97, 1.06)
    assert not is_better(0.98, 1.0)
