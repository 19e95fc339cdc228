"""Examples run in the same world as the tests of the mount: a plain directory, mounted by the command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mount.conftest import REPOSITORY, World, world

__all__ = ["EXAMPLES", "command", "run", "world"]

EXAMPLES = REPOSITORY / "examples"


@pytest.fixture
def files(world: World) -> list[Path]:
    """Some files in the source, larger than a block and smaller."""
    paths = [world.backing / f"file-{number:02d}" for number in range(12)]
    for number, path in enumerate(paths):
        path.write_bytes(os.urandom(1000 if number % 3 else 200_000))
    return paths


def command(program: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, str(EXAMPLES / program), *map(str, arguments)]


def run(world: World, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs an example to its end."""
    return subprocess.run(
        command(program, *arguments),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=world.environment(),
    )
