"""Progress of long commands: a live line on a terminal, lines now and then elsewhere, nothing where nobody asked."""

import contextlib
import os
import pty
import sys

import pytest

from llmfs.commands import upkeep


def test_lines_appear_now_and_then_where_there_is_no_terminal(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.0, 6.0, 6.0, 7.0])
    monkeypatch.setattr("llmfs.commands.upkeep.time.monotonic", lambda: next(clock))
    with upkeep.shown_progress(True) as show:
        show("after a second")
        show("after six")
        show("a second later")
    assert capfd.readouterr() == ("", "after six\n")


def test_nothing_is_shown_where_nobody_wants_it(capfd: pytest.CaptureFixture[str]) -> None:
    with upkeep.shown_progress(False) as show:
        show("x")
    assert capfd.readouterr() == ("", "")


def test_a_terminal_gets_a_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with upkeep.shown_progress(True) as show:
            show("12 files [red]")
            said = b""
            while b"12 files [red]" not in said:
                said += os.read(leader, 4096)
    with contextlib.suppress(OSError):
        os.close(leader)
