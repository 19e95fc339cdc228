"""The environment that the benchmarks run programs from is whole, apart from the original, and old."""

import os
import struct
import sys
import time
from pathlib import Path

import pytest

from bench import environment
from bench.environment import EnvironmentFailedError

PROGRAM = """
import sys
import decimal, json, msgpack
files = [module.__file__ for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
files += [line.split()[-1] for line in open("/proc/self/maps") if "libpython" in line]
print([file for file in files if not file.startswith(sys.prefix + "/")], sys.prefix)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("environment") / "env"
    environment.build(root, ["msgpack"])
    environment.complete(root, PROGRAM)
    return root


def test_all_modules_come_from_the_copy(root: Path) -> None:
    assert environment.run(root, PROGRAM) == f"[] {root}\n"


def test_it_runs_from_another_place(root: Path) -> None:
    elsewhere = root.rename(root.with_name("elsewhere"))
    try:
        assert environment.run(elsewhere, PROGRAM) == f"[] {elsewhere}\n"
    finally:
        elsewhere.rename(root)


def test_no_file_is_shared_with_the_original(root: Path) -> None:
    (copy,) = root.rglob("msgpack/__init__.py")
    original = Path(next(path for path in sys.path if (Path(path) / "msgpack").is_dir())) / "msgpack/__init__.py"
    assert copy.read_bytes() == original.read_bytes()
    assert copy.stat().st_ino != original.stat().st_ino
    assert copy.stat().st_nlink == 1


def test_everything_is_old(root: Path) -> None:
    latest_s = time.time() - environment.AGE_S + 3600
    young = [
        path
        for directory, _, names in os.walk(root)
        for path in (directory, *(os.path.join(directory, name) for name in names))
        if os.lstat(path).st_mtime > latest_s
    ]
    assert young == []


def test_compiled_modules_are_valid(root: Path) -> None:
    """A .pyc whose source has another mtime would be compiled again at each import."""
    compiled = [path for path in root.rglob("*.pyc") if path.parent.name == "__pycache__"]
    assert compiled
    for path in compiled:
        _, flags, mtime, _ = struct.unpack("<4sIII", path.read_bytes()[:16])
        source = path.parent.parent / f"{path.name.partition('.')[0]}.py"
        if flags == 0 and source.exists():
            assert mtime == int(source.stat().st_mtime), path


def test_a_run_writes_nothing(root: Path) -> None:
    before = sorted(root.rglob("*"))
    environment.run(root, "import wave, msgpack")
    assert sorted(root.rglob("*")) == before


def test_failure_says_the_last_line(root: Path) -> None:
    with pytest.raises(EnvironmentFailedError, match="ValueError: so it is"):
        environment.run(root, "raise ValueError('so it is')")


def test_unknown_package_is_said(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailedError, match="no_such_package"):
        environment.build(tmp_path / "env", ["no_such_package"])
