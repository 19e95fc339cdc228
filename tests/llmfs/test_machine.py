"""What a machine has is read off /proc and the control groups; the profile that suits it is a pure decision."""

import dataclasses
import os
from pathlib import Path

import pytest

from llmfs.machine import look
from llmfs.machine_profile import DESKTOP, EDGE, PROFILES, SERVER, Machine, MachineProfile, Profile, fitting
from predictor.limits import SMALL, Limits

GIB = 1 << 30


@pytest.mark.parametrize(
    ("memory_gib", "cores", "profile"),
    [
        (0.5, 4, EDGE),
        (1.9, 64, EDGE),
        (3.9, 1, EDGE),
        (3.9, 2, DESKTOP),
        (2, 2, DESKTOP),
        (16, 8, DESKTOP),
        (512, 8, DESKTOP),
        (32, 64, DESKTOP),
        (64, 16, SERVER),
    ],
)
def test_auto_goes_by_memory_and_cores(memory_gib: float, cores: int, profile: MachineProfile) -> None:
    found = fitting(Profile.AUTO, Machine(int(memory_gib * GIB), cores))
    assert found.profile is profile
    assert found.reason == f"{memory_gib:.1f} GiB of memory, {cores} core{'s' if cores > 1 else ''}"


@pytest.mark.parametrize("name", [Profile.EDGE, Profile.DESKTOP, Profile.SERVER])
def test_what_is_asked_for_is_taken_on_any_machine(name: Profile) -> None:
    found = fitting(name, Machine(1, 1))
    assert (found.profile, found.reason) == (PROFILES[name], "asked for")


def test_no_bound_of_edge_is_above_the_desktop_s_nor_the_desktop_s_above_the_server_s() -> None:
    for small, large in ((EDGE, DESKTOP), (DESKTOP, SERVER)):
        for field in dataclasses.fields(MachineProfile):
            one, other = getattr(small, field.name), getattr(large, field.name)
            if field.type == "int | None" or field.type == int | None:
                assert other is None or one <= other, field.name
            elif type(one) is int:
                assert one <= other, field.name


def test_the_predictor_remembers_the_numbers_that_the_recorder_uses() -> None:
    assert SMALL.paths_in_use == EDGE.paths_in_use
    assert Limits().paths_in_use == DESKTOP.paths_in_use == SERVER.paths_in_use
    assert SMALL.paths >= 2 * SMALL.paths_in_use


class Place:
    """A made-up /proc and /sys/fs/cgroup."""

    def __init__(self, root: Path) -> None:
        self.proc, self.cgroups = root / "proc", root / "cgroup"
        self.write(self.proc / "meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n")

    def write(self, file: Path, text: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def look(self) -> Machine:
        return look(self.proc, self.cgroups)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


CORES = len(os.sched_getaffinity(0))


def test_without_limits_the_machine_is_ours(place: Place) -> None:
    place.write(place.proc / "self/cgroup", "0::/user.slice\n")
    place.write(place.cgroups / "user.slice/memory.max", "max\n")
    place.write(place.cgroups / "user.slice/cpu.max", "max 100000\n")
    assert place.look() == Machine(16 * GIB, CORES)


def test_the_least_limit_of_our_group_and_those_above_it_counts(place: Place) -> None:
    place.write(place.proc / "self/cgroup", "0::/pod/container/task\n")
    place.write(place.cgroups / "pod/memory.max", str(GIB))
    place.write(place.cgroups / "pod/container/memory.max", str(2 * GIB))
    place.write(place.cgroups / "other/memory.max", "1")
    found = place.look()
    assert found == Machine(GIB, CORES, is_memory_limited=True)
    assert str(found).startswith("1.0 GiB of memory (its limit), ")


def test_a_quota_of_time_is_a_number_of_cores(place: Place) -> None:
    place.write(place.proc / "self/cgroup", "0::/\n")
    place.write(place.cgroups / "cpu.max", "50000 100000\n")
    found = place.look()
    assert found.cores == 1 and found.are_cores_limited


def test_groups_of_the_first_version_limit_too(place: Place) -> None:
    place.write(place.proc / "self/cgroup", "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n")
    place.write(place.cgroups / "memory/docker/x/memory.limit_in_bytes", str(GIB))
    place.write(place.cgroups / "memory/memory.limit_in_bytes", "9223372036854771712")
    place.write(place.cgroups / "cpu/docker/x/cpu.cfs_quota_us", "-1")
    place.write(place.cgroups / "cpu/docker/x/cpu.cfs_period_us", "100000")
    assert place.look() == Machine(GIB, CORES, is_memory_limited=True)


@pytest.mark.parametrize("text", ["", "rubbish", "0::/../../..", "0::"])
def test_what_makes_no_sense_limits_nothing(place: Place, text: str) -> None:
    place.write(place.proc / "self/cgroup", text)
    place.write(place.cgroups / "memory.max", "rubbish")
    place.write(place.cgroups / "cpu.max", "0 0")
    assert place.look() == Machine(16 * GIB, CORES)


def test_where_nothing_can_be_read_it_counts_as_a_desktop(tmp_path: Path) -> None:
    assert fitting(Profile.AUTO, look(tmp_path / "no", tmp_path / "none")).profile is DESKTOP
