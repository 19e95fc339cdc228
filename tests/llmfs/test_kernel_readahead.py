"""The kernel's readahead window: widened where nobody wanted another, and left alone where that cannot be."""

from pathlib import Path

import pytest

from llmfs.kernel_readahead import WINDOW_KB, widen


@pytest.mark.parametrize(("before", "after"), [("128\n", str(WINDOW_KB)), ("0\n", "0\n"), ("4096\n", "4096\n")])
def test_default_window_is_widened_and_another_is_left_alone(tmp_path: Path, before: str, after: str) -> None:
    window = tmp_path / "read_ahead_kb"
    window.write_text(before)
    widen(window)
    assert window.read_text() == after


def test_window_that_is_not_there_is_left_alone(tmp_path: Path) -> None:
    widen(tmp_path / "read_ahead_kb")
    assert not (tmp_path / "read_ahead_kb").exists()


def test_window_that_makes_no_sense_is_left_alone(tmp_path: Path) -> None:
    window = tmp_path / "read_ahead_kb"
    window.write_text("unlimited\n")
    widen(window)
    assert window.read_text() == "unlimited\n"
