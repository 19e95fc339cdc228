"""What the tests of the benchmarks share: a slow directory that is taken down however the test ends."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.slowdir import BuildError, SlowDir
from bench.slowdir.build import binary


@pytest.fixture(scope="session")
def _slowdir_works() -> None:
    if not os.path.exists("/dev/fuse"):
        pytest.skip("there is no /dev/fuse here")
    try:
        binary()
    except BuildError as error:
        pytest.skip(str(error))


@pytest.fixture
def backing(tmp_path: Path) -> Path:
    directory = tmp_path / "backing"
    directory.mkdir()
    return directory


@pytest.fixture
def mountpoint(tmp_path: Path) -> Path:
    directory = tmp_path / "mount"
    directory.mkdir()
    return directory


@pytest.fixture
def slow(_slowdir_works: None, backing: Path, mountpoint: Path) -> Iterator[SlowDir]:
    """Without latency and without believing any name or attribute: a change below is seen at once."""
    with SlowDir(backing, mountpoint, latency_s=0, entry_timeout_s=0) as mounted:
        yield mounted
