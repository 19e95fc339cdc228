"""The pictures of the documentation can be taken anew, and show what they say they show."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import browser
from bench.screenshots import PICTURES
from tests.cli.conftest import needs_fuse
from tests.mount.conftest import REPOSITORY


@needs_fuse
@pytest.mark.skipif(browser.find() is None, reason="there is no chromium")
def test_pictures_are_of_their_size_and_theme(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    done = subprocess.run(
        [sys.executable, "-m", "bench.screenshots", "--output", tmp_path, "--rounds", "1"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {*(f"{name}.png" for name, *_ in PICTURES), "top.svg"}
    for name, theme, width, height in PICTURES:
        with image.open(tmp_path / f"{name}.png") as picture:
            assert picture.size == (width, height)
            gray = picture.convert("L")
        darkest, brightest = gray.getextrema()
        assert brightest - darkest > 150, f"{name} is empty"
        assert (gray.resize((1, 1)).getpixel((0, 0)) > 127) == (theme == "light"), f"{name} is not {theme}"
    shown = re.sub(r"<[^>]+>", " ", (tmp_path / "top.svg").read_text())
    assert "source" in shown and "train-00" in shown and "http" not in shown
