"""A session is a day's commands on a tree of its own."""

from pathlib import Path

import pytest

from bench.guard import sessions
from bench.programs.base import ProgramFailedError


def test_session_goes_on_with_what_it_has_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "COMMANDS", 60)
    monkeypatch.setattr(sessions, "TREE_FILES", 20)
    (workload, *_) = sessions.SESSIONS
    workload.prepare(tmp_path)
    workload.run(tmp_path)
    assert [path for path in tmp_path.iterdir() if path.name != "tree"]


def test_session_of_which_much_fails_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_KINDS", ((sessions.Session.sort, ()),))
    (tmp_path / "tree").mkdir()
    with pytest.raises(ProgramFailedError, match="no file is left"):
        sessions.SESSIONS[0].run(tmp_path)
