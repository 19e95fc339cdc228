"""The bench of programs that compete for a line: two of them, and it says what cannot be measured."""

from pathlib import Path

import pytest

from bench import contention


def test_what_is_no_version_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert contention.main([str(tmp_path)]) == 2
    assert "name a checkout" in capsys.readouterr().err


@pytest.mark.usefixtures("_slowdir_works")
def test_the_source_and_llmfs_with_and_without_its_predictor_are_in_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(contention, "LONG_S", 0.3)
    monkeypatch.setattr(contention, "OTHER_BYTES", 4 << 20)
    assert contention.main(["--rounds", "1", "--sources", "narrow"]) == 0
    said = capsys.readouterr().out
    assert all(f"{name}  " in said for name in ("raw", "llmfs off", "llmfs"))
