"""Two versions of llmfs beside each other: both are measured, in turn."""

import re
from pathlib import Path

import pytest

from bench import pairs


def test_each_kind_of_request_is_measured_of_both(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("_LARGE_BYTES", 1 << 20), ("_SMALL_FILES", 3), ("_READS", 5), ("_LONG_READS", 5)):
        monkeypatch.setattr(pairs, name, value)
    monkeypatch.setattr(pairs, "_MISSES", 5)
    assert pairs.main([str(pairs.HERE), "--rounds", "1"]) == 0
    said = capsys.readouterr().out
    rows = [line for line in said.splitlines() if line.rstrip().endswith("x")]
    assert len(rows) == 4 and all(re.search(r" [\d,]+ us +[\d,]+ us +\d+\.\d\dx$", row.rstrip()) for row in rows), said
    assert said.index("round 1, other") < said.index("round 1, this")


def test_a_directory_without_llmfs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pairs.main([str(tmp_path)]) == 2
    assert "has no llmfs" in capsys.readouterr().err
