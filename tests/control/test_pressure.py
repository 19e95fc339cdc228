"""Pressure on memory and cores is read as the kernel writes it, and steps prefetching and training back."""

from pathlib import Path

import pytest

from llmfs.control_loop import ControlLoop
from llmfs.metrics import Metrics
from llmfs.pressure import CALM_PERCENT, CONTENDED_PERCENT, PRESSED_PERCENT, Contention, own_files, some_percent
from predictor.control.arms import ARMS, CAREFUL, CONTENDED, SAFE, Arm, no_bolder
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
    group = tmp_path / "user.slice/llmfs.service"
    assert own_files("memory", tmp_path / "cgroup", tmp_path)[1:] == (group / "memory.pressure",)
    assert own_files("cpu", tmp_path / "cgroup", tmp_path) == (Path("/proc/pressure/cpu"), group / "cpu.pressure")
    assert len(own_files("memory", tmp_path / "none")) == 1


def test_under_pressure_the_careful_arm_is_on_at_once_and_the_controller_again_after_it(tmp_path: Path) -> None:
    file, told, metrics = tmp_path / "memory", list[Arm](), Metrics()
    file.write_text(_psi(0))
    loop = ControlLoop(Rules(), metrics, told.append, lambda: (0, 0, 0), (file,), ())
    loop.look(1.0)
    file.write_text(_psi(PRESSED_PERCENT))
    loop.look(2.0)
    assert told == [ARMS[CAREFUL]]
    file.write_text(_psi(0))
    for second in range(3, 12):
        loop.look(float(second))
    assert told == [ARMS[CAREFUL], ARMS[SAFE]]


def test_contention_ends_later_than_it_begins() -> None:
    contention = Contention()
    between = (CALM_PERCENT + CONTENDED_PERCENT) / 2
    seen = [contention.look(percent) for percent in (between, CONTENDED_PERCENT, between, CALM_PERCENT, 0.0, between)]
    assert seen == [False, True, True, True, False, False]


class Loop:
    """A loop over pressure files that a test writes; what it told whom."""

    def __init__(self, directory: Path) -> None:
        self.memory, self.cores = directory / "memory", directory / "cpu"
        self.arms, self.pressures, self.metrics = list[Arm](), list[tuple[bool, bool]](), Metrics()
        self._second = 0.0
        self.loop = ControlLoop(
            Rules(),
            self.metrics,
            self.arms.append,
            lambda: (0, 0, 0),
            (self.memory,),
            (self.cores,),
            lambda is_pressed, is_contended: self.pressures.append((is_pressed, is_contended)),
        )

    def look(self, memory: float, cores: float, seconds: int = 1) -> None:
        self.memory.write_text(_psi(memory))
        self.cores.write_text(f"some avg10={cores:.2f} avg60=0.00 avg300=0.00 total=123\n")
        for _ in range(seconds):
            self._second += 1
            self.loop.look(self._second)

    def gauge(self, name: str, resource: str) -> float:
        value = self.metrics.registry.get_sample_value(name, {"resource": resource})
        assert value is not None
        return value


def test_while_cores_are_contended_only_what_is_likely_is_fetched_ahead(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    loop.look(0, CONTENDED_PERCENT - 1)
    assert loop.arms == []
    loop.look(0, CONTENDED_PERCENT)
    assert loop.arms == [ARMS[CONTENDED]]
    assert ARMS[CONTENDED].min_score > 0 and ARMS[CONTENDED].at_once < ARMS[SAFE].at_once
    assert loop.gauge("llmfs_pressure_ratio", "cpu") == CONTENDED_PERCENT / 100
    assert loop.gauge("llmfs_backing_off", "cpu") == 1 and loop.gauge("llmfs_backing_off", "memory") == 0
    assert loop.loop.described()["short_of"] == ["cores"]
    loop.look(0, CALM_PERCENT, seconds=20)
    assert loop.arms == [ARMS[CONTENDED]]
    loop.look(0, CALM_PERCENT - 1, seconds=20)
    assert loop.arms == [ARMS[CONTENDED], ARMS[SAFE]]
    assert loop.gauge("llmfs_backing_off", "cpu") == 0


def test_memory_that_is_short_counts_more_than_cores(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    loop.look(PRESSED_PERCENT, CONTENDED_PERCENT)
    assert loop.arms == [ARMS[CAREFUL]]
    loop.look(0, CONTENDED_PERCENT, seconds=20)
    assert loop.arms == [ARMS[CAREFUL], ARMS[CONTENDED]]


def test_the_predictor_is_told_of_each_change_once(tmp_path: Path) -> None:
    loop = Loop(tmp_path)
    loop.look(0, 0, seconds=3)
    loop.look(0, 90, seconds=3)
    loop.look(PRESSED_PERCENT, 90, seconds=3)
    loop.look(0, 0, seconds=3)
    assert loop.pressures == [(False, True), (True, True), (False, False)]


@pytest.mark.parametrize("arm", range(len(ARMS)))
def test_no_bolder_is_in_neither_way_bolder(arm: int) -> None:
    found, floor = ARMS[no_bolder(arm, CONTENDED)], ARMS[CONTENDED]
    assert found.min_score == max(ARMS[arm].min_score, floor.min_score)
    assert found.at_once == min(ARMS[arm].at_once, floor.at_once)
    assert no_bolder(arm, SAFE) == arm
