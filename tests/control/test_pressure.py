"""Pressure on memory is read as the kernel writes it, and steps prefetching back at once."""

from pathlib import Path

import pytest

from llmfs.control_loop import ControlLoop
from llmfs.metrics import Metrics
from llmfs.pressure import PRESSED_PERCENT, own_files, some_percent
from predictor.control.arms import ARMS, CAREFUL, SAFE, Arm
from predictor.control.rules import Rules


def _psi(some: float, full: float = 99.0) -> str:
    return f"some avg10={some:.2f} avg60=0.00 avg300=0.00 total=123\nfull avg10={full:.2f} avg60=0 avg300=0 total=4\n"


def test_the_highest_of_machine_and_group_counts(tmp_path: Path) -> None:
    machine, group = tmp_path / "memory", tmp_path / "memory.pressure"
    machine.write_text(_psi(1.5))
    group.write_text(_psi(12.25))
    assert some_percent((machine, group)) == 12.25
    assert some_percent((machine, tmp_path / "none")) == 1.5


@pytest.mark.parametrize("text", ["", "some", "some avg10=x avg60=0 avg300=0 total=0", "\n\n", "full avg10=50.00"])
def test_what_makes_no_sense_is_no_pressure(tmp_path: Path, text: str) -> None:
    (tmp_path / "memory").write_text(text)
    assert some_percent((tmp_path / "memory",)) == 0


def test_the_own_group_is_found(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("1:name=systemd:/other\n0::/user.slice/llmfs.service\n")
    assert own_files(tmp_path / "cgroup", tmp_path)[1:] == (tmp_path / "user.slice/llmfs.service/memory.pressure",)
    assert len(own_files(tmp_path / "none")) == 1


def test_under_pressure_the_careful_arm_is_on_at_once_and_the_controller_again_after_it(tmp_path: Path) -> None:
    file, told, metrics = tmp_path / "memory", list[Arm](), Metrics()
    file.write_text(_psi(0))
    loop = ControlLoop(Rules(), metrics, told.append, lambda: (0, 0, 0), (file,))
    loop.look(1.0)
    file.write_text(_psi(PRESSED_PERCENT))
    loop.look(2.0)
    assert told == [ARMS[CAREFUL]]
    file.write_text(_psi(0))
    for second in range(3, 12):
        loop.look(float(second))
    assert told == [ARMS[CAREFUL], ARMS[SAFE]]
