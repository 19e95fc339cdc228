"""Recording, with one small workload; and that all workloads name what they need."""

from pathlib import Path

import pytest

from bench.record import record
from bench.recorded import WORKLOADS, Workload, run
from bench.report import Progress
from predictor.events import Op
from predictor.trace import read_trace


def _prepare(root: Path) -> None:
    for number in range(5):
        (root / f"file{number}").write_text(f"{number}\n" * 1000)


def test_a_workload_is_recorded_twice(_slowdir_works: None, tmp_path: Path) -> None:
    small = Workload("small", _prepare, lambda root: run(root, "sh", "-c", "cat file*; ls -l; test ! -e nothing"))
    files = record([small], tmp_path / "traces", 0.0, 60.0, Progress())
    assert [file.name for file in files] == ["small-1.trace", "small-2.trace"]
    for file in files:
        batches = list(read_trace(file))
        ops = {op for batch in batches for op in batch.records["op"].tolist()}
        assert {Op.OPEN, Op.READ, Op.READDIR, Op.ABSENT} <= ops
        read = {batch.paths.path(p) for batch in batches for p in batch.records["path"].tolist()}
        assert {b"file0", b"file4", b"nothing"} <= read
        assert "cat" in {stream.command for batch in batches for stream in batch.streams.values()}
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_what_needs_a_program_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    missing = Workload("missing", _prepare, lambda root: None, ("no-such-program-anywhere",))
    assert record([missing], tmp_path / "traces", 0.0, 60.0, Progress()) == []


QUICK = ("compileall", "tests-unittest", "node", "tcl", "shell", "build-make", "searches", "server", "numbered")
QUICK += ("loader-many", "loader-pictures", "columns", "mapped", "models", "logs", "database")


def test_names_are_names_of_files_and_no_two_are_the_same() -> None:
    names = [workload.name for workload in WORKLOADS]
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").isalpha() for name in names)


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_a_workload_runs_twice_where_it_stands(workload: Workload, tmp_path: Path) -> None:
    if workload.missing or workload.name not in QUICK:
        pytest.skip("takes long, or its program is not here")
    workload.prepare(tmp_path)
    for _ in range(2):
        workload.run(tmp_path)
