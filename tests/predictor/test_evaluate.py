"""Evaluation and training from traces."""

from pathlib import Path

import pytest

from predictor import evaluate, state
from predictor.recording import load
from predictor.trace import TraceWriter
from predictor.training import train
from tests.predictor.workload import Mount, start_of_a_program


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    mount = Mount()
    with TraceWriter(tmp_path / "trace", 1 << 20) as writer:
        for op, path, offset, length in start_of_a_program():
            mount.add(op, path, offset, length)
        for number in range(200):
            mount.read_file(f"data/{number * 73 % 200:03d}.bin")
        writer.append(*mount.take())
    return tmp_path / "trace"


def test_a_second_run_is_covered_as_well_as_by_rivals_that_answer_at_every_access(trace: Path) -> None:
    recording = load(trace)
    results = evaluate.compare([recording, recording], None)
    second = {result.planner: result for result in results[1::2]}
    assert second["rules"].coverage > 0.95
    assert second["rules"].coverage > max(result.coverage for result in second.values()) - 0.01
    assert second["rules"].accuracy > 0.95


def test_the_table_is_printed(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main([str(trace)]) == 0
    assert "last successor" in capsys.readouterr().out


def test_the_table_has_the_rivals_that_were_asked_for(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main([str(trace), "--rivals", "PG", "IGTCache-like"]) == 0
    shown = capsys.readouterr().out
    assert "IGTCache-like" in shown
    assert "last successor" not in shown
    with pytest.raises(SystemExit) as end:
        evaluate.main([str(trace), "--rivals", "clairvoyance"])
    assert end.value.code == 2


def test_training_from_traces_saves_what_it_learned(trace: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    steps: list[float] = []
    train([trace], tmp_path / "state", lambda _what, share: steps.append(share), passes=1, seconds=5.0)
    assert steps == sorted(steps)
    assert steps[-1] == 1.0
    result = evaluate.replay(state.load(tmp_path / "state"), load(trace))
    assert result.coverage > 0.95
