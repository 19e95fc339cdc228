"""Progress of long commands: a live bar on a terminal, lines now and then elsewhere, nothing where nobody asked."""

import contextlib
import os
import pty
import re
import select
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from llmfs.commands.progress import shown_progress


def test_lines_appear_now_and_then_where_there_is_no_terminal(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.0, 6.0, 6.0, 7.0])
    monkeypatch.setattr("llmfs.commands.progress.time.monotonic", lambda: next(clock))
    with shown_progress(True) as show:
        show("after a second", 0.1)
        show("after six", 0.2)
        show("a second later")
    assert capfd.readouterr() == ("", "after six\n")


def test_nothing_is_shown_where_nobody_wants_it(capfd: pytest.CaptureFixture[str]) -> None:
    with shown_progress(False) as show:
        show("x", 0.5)
    assert capfd.readouterr() == ("", "")


@contextlib.contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """A terminal in place of stderr: waits until it has shown something, and returns all that it has."""
    leader, follower = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    said = b""

    def wait_for(text: str) -> str:
        nonlocal said
        deadline_s = time.monotonic() + 10
        while True:
            plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", said.decode(errors="replace"))
            if text in plain:
                return plain
            assert time.monotonic() < deadline_s and select.select([leader], [], [], 10)[0], f"it shows only {plain}"
            said += os.read(leader, 4096)

    with os.fdopen(follower, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        yield wait_for
    with contextlib.suppress(OSError):
        os.close(leader)


def test_a_terminal_gets_a_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as wait_for, shown_progress(True) as show:
        show("12 files [red]")
        assert "%" not in wait_for("12 files [red]")


def test_a_terminal_shows_how_much_is_done_where_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as wait_for, shown_progress(True) as show:
        for done in range(6):
            show(f"{done} of 8 files", done / 8)
        shown = wait_for("62%")
        assert "5 of 8 files" in shown and "━" in shown
