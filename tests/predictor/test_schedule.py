"""When training runs, and what becomes of its result."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from predictor import ranker
from predictor.examples import Examples
from predictor.ranker import dump_weights
from predictor.schedule import NEW_CANDIDATES, NEW_RANKINGS, Schedule, TrainingChild
from predictor.trainer import CANDIDATE, REPORT, Report

ENOUGH = (NEW_CANDIDATES, NEW_RANKINGS)


def test_training_waits_for_examples_and_for_quiet() -> None:
    schedule = Schedule()
    assert schedule.is_due(0, *ENOUGH, is_idle=True)
    assert not schedule.is_due(0, *ENOUGH, is_idle=False)
    assert not schedule.is_due(0, NEW_CANDIDATES - 1, NEW_RANKINGS, is_idle=True)
    assert not schedule.is_due(0, NEW_CANDIDATES, NEW_RANKINGS - 1, is_idle=True)


def test_training_never_takes_more_than_its_share_of_a_core() -> None:
    schedule = Schedule(cpu_share=0.05)
    now, spent, rankings = 0.0, 0.0, 0
    for second in range(10_000):
        now = float(second)
        rankings += 1000
        if schedule.is_due(now, rankings * 10, rankings, is_idle=True):
            spent += 7.0
            schedule.ran(now + 7.0, 7.0, rankings * 10, rankings)
    assert 0.03 < spent / now <= 0.051


def test_what_was_trained_on_is_not_new() -> None:
    schedule = Schedule()
    schedule.ran(0.0, 1.0, *ENOUGH)
    assert not schedule.is_due(10_000.0, *ENOUGH, is_idle=True)
    assert schedule.is_due(10_000.0, 2 * NEW_CANDIDATES, 2 * NEW_RANKINGS, is_idle=True)


class Done:
    """A child that has ended."""

    def __init__(self, status: int) -> None:
        self.returncode = status

    def poll(self) -> int:
        return self.returncode


@pytest.mark.parametrize(("loss", "status", "is_promoted"), [(0.3, 0, True), (0.5, 0, False), (0.3, 1, False)])
def test_only_a_better_network_of_a_run_that_succeeded_is_promoted(
    tmp_path: Path, loss: float, status: int, is_promoted: bool
) -> None:
    torch_free = pytest.importorskip("torch")
    assert torch_free
    from predictor.model import Model

    (tmp_path / CANDIDATE).write_bytes(dump_weights(Model().weights()))
    (tmp_path / REPORT).write_text(json.dumps(asdict(Report(100, 20, 10, 1.0, loss, 0.5, 0.5))))
    child = TrainingChild(tmp_path)
    child._child = Done(status)  # type: ignore[assignment]
    network = child.tick(5.0, Examples(), is_idle=True)
    assert (network is not None) == is_promoted
    assert (tmp_path / ranker.NAME).exists() == is_promoted
    assert child.runs == 1


def test_a_report_that_is_none_is_survived(tmp_path: Path) -> None:
    (tmp_path / REPORT).write_text('{"loss": 1}')
    child = TrainingChild(tmp_path)
    child._child = Done(0)  # type: ignore[assignment]
    assert child.tick(5.0, Examples(), is_idle=True) is None
