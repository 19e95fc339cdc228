"""A real browser without a window: what it makes of a page, as text or as a picture. Debian's chromium, if there."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SETTLE_MS = 4000
"""Virtual time for the page's script: its first look at the figures and the drawing of them."""

_TIMEOUT_S = 120.0


def find() -> str | None:
    """The browser's program, None where there is none."""
    return next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)


def dom(url: str) -> tuple[str, str]:
    """The page as its script left it, and what the browser's console said. Raises RuntimeError."""
    done = _run("--dump-dom", "--enable-logging=stderr", "--v=0", url)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, "\n".join(console)


def screenshot(url: str, target: Path, width: int, height: int) -> None:
    """A picture of the page in a window of that size, as PNG. Raises RuntimeError."""
    # Scrollbars would be in the picture.
    _run(f"--screenshot={target}", f"--window-size={width},{height}", "--hide-scrollbars", url)
    if not target.exists():
        raise RuntimeError("the browser made no picture")


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = find()
    if program is None:
        raise RuntimeError("there is no chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="llmfs-browser-") as profile:
        command = [
            *(program, "--headless", "--disable-gpu", f"--user-data-dir={profile}", "--no-first-run"),
            *(f"--virtual-time-budget={SETTLE_MS}", *(["--no-sandbox"] if os.geteuid() == 0 else [])),
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        raise RuntimeError(f"the browser failed: {done.stderr.strip()[-500:]}")
    return done
