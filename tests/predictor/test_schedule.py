"""When training runs, and what becomes of its result."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
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


class Training:
    """A child that would run for a minute, held as the mount says."""

    def __init__(self, directory: Path) -> None:
        self.child = TrainingChild(directory)
        self.process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        self.child._child = self.process

    def state(self) -> str:
        """As proc_pid_stat(5) has it: T is stopped."""
        return Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1][0]

    def comes_to(self, *states: str) -> bool:
        return any(self.state() in states or time.sleep(0.01) for _ in range(1000))


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Training]:
    training = Training(tmp_path)
    yield training
    training.process.kill()
    training.process.wait()


def test_training_pauses_while_cores_are_contended(training: Training) -> None:
    training.child.hold(False, True)
    assert training.comes_to("T")
    assert training.child.tick(1.0, Examples(), is_idle=True) is None
    training.child.hold(False, False)
    assert training.comes_to("S", "R")


def test_a_paused_training_can_be_ended(training: Training) -> None:
    training.child.hold(False, True)
    assert training.comes_to("T")
    training.child.stop()
    assert training.process.returncode is not None


def test_training_ends_where_memory_is_short_and_that_is_no_fault(
    training: Training, caplog: pytest.LogCaptureFixture
) -> None:
    training.child.hold(True, False)
    training.process.wait(10)
    assert training.child.tick(1.0, Examples(), is_idle=True) is None
    assert training.child.runs == 1 and not caplog.records


def test_nothing_is_trained_while_the_machine_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[float] = []
    child = TrainingChild(tmp_path)
    monkeypatch.setattr(child, "_start", lambda now_s, examples: started.append(now_s))
    examples = Examples()
    examples.candidates, examples.completed = ENOUGH
    child.hold(False, True)
    child.tick(1.0, examples, is_idle=True)
    assert not started
    child.hold(False, False)
    child.tick(2.0, examples, is_idle=True)
    assert started == [2.0]
