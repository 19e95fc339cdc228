"""The matrix: figures from samples, bars, the report, and one small run of everything."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from bench.matrix import trees
from bench.matrix.bars import bars
from bench.matrix.rendering import Heading, Paragraph, Plot, Table, as_html, as_markdown, report
from bench.matrix.running import Plan, Running
from bench.matrix.samples import Key, Sample, Samples, SamplesError
from bench.matrix.sources import SOURCES, Source
from bench.matrix.summary import Cell, Spread, Summary, losses
from bench.matrix.systems import SYSTEMS
from bench.matrix.trees import Tree
from bench.matrix.workloads import WORKLOADS, Forget, Outcome, Workload
from bench.report import Progress

TWO_MS = SOURCES[0].name
QUICK = Source("quick", 0.0002, 1e9)


def sample(
    workload: str,
    system: str,
    state: str,
    seconds: float,
    number: int = 1,
    *,
    parts: Mapping[str, float] | None = None,
    bytes_s: float | None = None,
) -> Sample:
    return Sample(Key(TWO_MS, workload, system, state, number), seconds, bytes_s, parts or {}, source_bytes=10**9)


def verdicts(*samples: Sample) -> dict[str, str]:
    return {bar.claim: bar.verdict for bar in bars(Summary(samples))}


# -- figures


def test_spread_is_median_least_and_most() -> None:
    assert Spread.of([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0, 3)
    assert Spread.of([]) is None


def test_ratio_is_taken_within_a_round() -> None:
    slow_round = [sample("git", "raw", "cold", 20.0, 2), sample("git", "llmfs", "cold", 10.0, 2)]
    fast_round = [sample("git", "raw", "cold", 2.0, 1), sample("git", "llmfs", "cold", 1.0, 1)]
    summary = Summary([*slow_round, *fast_round])

    assert summary.to_raw(TWO_MS, "git", "llmfs", "cold") == Spread(2.0, 2.0, 2.0, 2)


def test_ratio_leaves_out_rounds_that_one_of_them_lacks() -> None:
    samples = [sample("git", "raw", "cold", 2.0, 1), sample("git", "llmfs", "cold", 1.0, 2)]
    assert Summary(samples).to_raw(TWO_MS, "git", "llmfs", "cold") is None


def test_speed_of_work_that_ends_by_the_clock_is_its_rate() -> None:
    samples = [
        sample("fio zipf", "raw", "cold", 4.0, bytes_s=1e6),
        sample("fio zipf", "llmfs", "warm", 4.0, bytes_s=3e6),
    ]
    ratio = Summary(samples).to_raw(TWO_MS, "fio zipf", "llmfs", "warm")
    assert ratio is not None and ratio.median == pytest.approx(3.0)


def test_failed_sample_counts_as_failure_only() -> None:
    failed = dataclasses.replace(sample("git", "llmfs", "cold", 0.0), error="no")
    summary = Summary([failed, sample("git", "raw", "cold", 2.0)])

    assert summary.failures == [failed]
    assert summary.seconds(Cell(TWO_MS, "git", "llmfs", "cold")) is None


def test_cost_is_cpu_for_what_the_program_needed() -> None:
    ours = dataclasses.replace(
        sample("git", "llmfs", "warm", 1.0), cpu_s=3.0, memory_bytes=100, anonymous_bytes=40, source_bytes=0
    )
    cost = Summary([sample("git", "raw", "cold", 2.0), ours]).cost(TWO_MS, "llmfs", "warm")
    assert cost is not None
    assert (cost.cpu_s_per_gb, cost.memory_bytes.median, cost.anonymous_bytes.most) == (3.0, 100, 40)


def test_losses_are_llmfs_below_raw_the_worst_first() -> None:
    samples = [
        *(sample(workload, "raw", "cold", 1.0) for workload in ("git", "tar")),
        sample("git", "llmfs", "cold", 1.2),
        sample("tar", "llmfs off", "cold", 2.0),
        sample("tar", "llmfs", "warm", 1.01),
        sample("git", "rclone", "cold", 9.0),
    ]
    assert [(cell.workload, cell.system) for cell in losses(Summary(samples))] == [
        ("tar", "llmfs off"),
        ("git", "llmfs"),
    ]


# -- bars


def test_bar_without_samples_is_not_measured() -> None:
    assert set(verdicts().values()) == {"not measured"}


def test_bar_is_met_or_missed_by_the_worst_workload() -> None:
    samples = [sample(name, "raw", "cold", 8.0) for name in ("import numpy", "import torch")]
    fast = [sample(name, "llmfs", "warm", 1.0) for name in ("import numpy", "import torch")]
    slow = sample("import torch", "llmfs", "warm", 2.0)

    assert verdicts(*samples, *fast)["import, warm, of raw"] == "met"
    assert verdicts(*samples, fast[0], slow)["import, warm, of raw"] == "missed"


def test_loader_is_judged_by_its_worst_later_epoch() -> None:
    claim = "data loader, half of the data cached, each later epoch, of raw"
    raw = sample("loader, shuffled", "raw", "cold", 6.0, parts={"1": 2.0, "2": 2.0, "3": 2.0})
    good = sample("loader, shuffled", "llmfs", "cold", 4.0, parts={"1": 2.0, "2": 1.0, "3": 1.0})
    late = sample("loader, shuffled", "llmfs", "cold", 4.0, parts={"1": 0.5, "2": 1.0, "3": 1.5})

    assert verdicts(raw, good)[claim] == "met"
    assert verdicts(raw, late)[claim] == "missed"


def test_bars_name_workloads_that_there_are() -> None:
    """A renamed workload would leave its bar unmeasured for ever."""
    systems = [(system.name, state) for system in SYSTEMS for state in system.states]
    samples = [
        sample(workload.name, *system, 1.0, parts={"1": 1.0, "2": 1.0}, bytes_s=1e6 if "fio" in workload.name else None)
        for workload in WORKLOADS
        for system in systems
    ]
    assert "not measured" not in verdicts(*samples).values()


# -- samples


def test_samples_survive_in_their_file(tmp_path: Path) -> None:
    samples = Samples(tmp_path / "out" / "samples.json", {"cpus": 2})
    samples.add(sample("git", "raw", "cold", 2.0, parts={"status": 1.0}))
    failed = dataclasses.replace(sample("git", "llmfs", "cold", 0.0), error="no")
    samples.add(failed)

    loaded = Samples.load(samples.path)

    assert list(loaded) == list(samples)
    assert loaded.machine == {"cpus": 2}
    assert Key(TWO_MS, "git", "raw", "cold", 1) in loaded
    assert failed.key not in loaded  # it is tried again


def test_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("[1, 2]")
    with pytest.raises(SamplesError, match=r"other\.json holds no samples"):
        Samples.load(tmp_path / "other.json")


# -- the report


def test_markdown_and_html_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"png")
    blocks = [Heading("Title"), Paragraph("1 < 2"), Table(("x|y", "n"), [("a", "1")]), Plot("a.png", "a plot")]

    assert as_markdown(blocks) == "# Title\n\n1 < 2\n\n| x/y | n |\n| --- | ---: |\n| a | 1 |\n\n![a plot](a.png)\n"
    page = as_html(blocks, {"a.png": tmp_path / "a.png"})
    assert "<p>1 &lt; 2</p>" in page
    assert "<td>a</td><td>1</td>" in page
    assert "data:image/png;base64,cG5n" in page


def test_report_holds_ratios_losses_and_what_did_not_run() -> None:
    samples = [
        sample("git", "raw", "cold", 3.0),
        sample("git", "llmfs", "cold", 4.0),
        dataclasses.replace(sample("git", "sshfs", "cold", 0.0), error="it hung"),
    ]
    text = as_markdown(report(Summary(samples), {"left_out": {"rclone": ["rclone"]}}, []))

    assert "| git | 0.75 |" in text
    assert "| 2ms | git | llmfs, cold | 0.75 |" in text
    assert "| rclone | needs rclone |" in text
    assert "| git, sshfs, 2ms | it hung |" in text


# -- a run


def _tree(root: Path) -> None:
    (root / "file").write_bytes(b"content" * 3000)


_OLD_FILE = Tree("tree", trees.aged(_tree))


def _read(root: Path, _: int, forget: Forget) -> Outcome:
    forget()
    return Outcome(0.001, (root / "file").read_bytes().hex())


def _run(tmp_path: Path, workload: Workload) -> Samples:
    plan = Plan([QUICK], [workload], [each for each in SYSTEMS if each.name in ("raw", "llmfs")], 1)
    samples = Samples(tmp_path / "samples.json", {})
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    Running(plan, scratch, samples, Progress()).run()
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    return samples


@pytest.mark.usefixtures("_slowdir_works")
def test_matrix_runs_all_states_and_leaves_nothing_mounted(tmp_path: Path) -> None:
    samples = _run(tmp_path, Workload("read", "a file", _OLD_FILE, _read, sources=[QUICK.name]))
    by_state = {(each.key.system, each.key.state): each for each in samples}

    assert set(by_state) == {("raw", "cold"), ("llmfs", "cold"), ("llmfs", "warm"), ("llmfs", "learned")}
    assert {each.error for each in samples} == {""}
    read = {key: each.source_operations.get("read", 0) for key, each in by_state.items()}
    assert read["raw", "cold"] > 0
    assert read["llmfs", "cold"] > 0
    assert read["llmfs", "warm"] == 0
    assert read["llmfs", "learned"] > 0
    assert (by_state["llmfs", "cold"].memory_bytes or 0) > 1 << 20


@pytest.mark.usefixtures("_slowdir_works")
def test_wrong_content_is_no_result(tmp_path: Path) -> None:
    def read(root: Path, _: int, forget: Forget) -> Outcome:
        return Outcome(0.001, "mounted" if root.is_relative_to(tmp_path / "scratch" / "mount") else "behind")

    errors = {
        each.key.system: each.error
        for each in _run(tmp_path, Workload("read", "a file", _OLD_FILE, read, sources=[QUICK.name]))
    }

    assert errors["raw"] == ""
    assert errors["llmfs"].startswith("WRONG CONTENT")


@pytest.mark.usefixtures("_slowdir_works")
def test_interruption_leaves_nothing_mounted_and_keeps_what_was_measured(tmp_path: Path) -> None:
    def read(root: Path, _: int, forget: Forget) -> Outcome:
        if root.is_relative_to(tmp_path / "scratch" / "mount"):
            raise KeyboardInterrupt
        return Outcome(0.001, "same")

    workload = Workload("read", "a file", _OLD_FILE, read, sources=[QUICK.name])
    raw = next(system for system in SYSTEMS if system.name == "raw")
    llmfs = next(system for system in SYSTEMS if system.name == "llmfs")
    samples = Samples(tmp_path / "samples.json", {})
    plan = Plan([QUICK], [workload], [llmfs, raw], 1)  # the first round begins with the second
    (tmp_path / "scratch").mkdir()

    with pytest.raises(KeyboardInterrupt):
        Running(plan, tmp_path / "scratch", samples, Progress()).run()

    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert not (tmp_path / "scratch" / "cache").exists()
    assert [each.key.system for each in Samples.load(samples.path)] == ["raw"]


def test_trees_are_old(tmp_path: Path) -> None:
    root = trees.LISTING.build(tmp_path)
    newest_s = max(path.stat().st_mtime for path in [root, *root.rglob("*")])
    assert newest_s < (tmp_path.stat().st_mtime - trees.environment.AGE_S + 3600)
