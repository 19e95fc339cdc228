"""A suite that fails has to say how: what fails once in many runs cannot be asked again."""

from pathlib import Path

import pytest

from bench import conformance


def test_what_succeeds_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert conformance._succeeds(("sh", "-c", "echo fine"), tmp_path)
    assert conformance._succeeds(("sh", "-c", "echo has not; exit 3"), tmp_path, fine=(0, 3))
    assert capfd.readouterr() == ("", "")


def test_what_fails_tells_its_command_its_end_and_its_last_lines(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script = f"seq {conformance.SAID_LINES}; echo READ BAD DATA; echo at 0x1000 >&2; exit 7"
    assert not conformance._succeeds(("sh", "-c", script), tmp_path)
    said = capfd.readouterr().err
    assert said.startswith("sh -c ")
    assert "ended with 7:\n" in said
    assert said.endswith("\n    READ BAD DATA\n    at 0x1000\n")
    assert len(said.splitlines()) == 1 + conformance.SAID_LINES


def test_what_does_not_end_tells_what_it_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conformance, "RUN_TIMEOUT_S", 1.0)
    assert not conformance._succeeds(("sh", "-c", "echo begun; exec sleep 60"), tmp_path)
    assert capfd.readouterr().err.endswith("did not end within 1 s:\n    begun\n")
