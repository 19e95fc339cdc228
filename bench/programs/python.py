"""Python: starts of programs from an environment that lies on the mount, and work on source trees."""

import random
import shutil
import sys
import sysconfig
import zipfile
from collections.abc import Iterable
from pathlib import Path

from bench import environment
from bench.programs.base import run

PACKAGES = ("hypothesis", "networkx", "numpy", "rich", "sympy", "trio", "typer")
"""What the recorded Python programs import. Not torch: the demo's program stays one that no training has seen."""

STARTS = (
    "import argparse, json, logging, pathlib",
    "import asyncio, concurrent.futures, ssl",
    "import email.mime.multipart, http.server, urllib.request, xml.dom.minidom",
    "import decimal, fractions, multiprocessing, sqlite3, unittest.mock",
)
SCIENCE = (
    "import numpy; print(numpy.linalg.svd(numpy.eye(3))[1])",
    "import hypothesis, hypothesis.strategies; print(hypothesis.strategies.integers())",
    "import networkx; print(networkx.path_graph(4))",
    "import sympy; print(sympy.expand('(x+1)**3'))",
    "import rich.console, rich.table, rich.progress, pygments.lexers",
    "import trio, typer, asyncio; print(trio.Event())",
)


def environment_tree(root: Path) -> None:
    """An environment with the packages, compiled as far as the programs go."""
    environment.build(root / "env", PACKAGES)
    for program in (*STARTS, *SCIENCE):
        environment.complete(root / "env", program)


def starts(root: Path, programs: Iterable[str]) -> None:
    """Each program once."""
    for program in programs:
        environment.run(root / "env", program)


def library(root: Path) -> None:
    """Packages of the standard library, as source."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    skip = shutil.ignore_patterns("__pycache__", "test", "tests")
    for name in ("asyncio", "concurrent", "email", "http", "json", "logging", "multiprocessing", "unittest", "xml"):
        shutil.copytree(stdlib / name, root / "library" / name, ignore=skip)


def compileall(root: Path) -> None:
    run(root, sys.executable, "-m", "compileall", "-q", "-f", "library")


def package_with_tests(root: Path) -> None:
    chance = random.Random(1)
    for part in range(12):
        package = root / "code" / f"part{part}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("".join(f"from . import m{n}\n" for n in range(8)))
        for number in range(8):
            body = f"def f(x):\n    return x + {number}\n" + f"TABLE = {[chance.random() for _ in range(200)]}\n"
            (package / f"m{number}.py").write_text(body)
    (root / "code" / "tests").mkdir()
    (root / "code" / "tests" / "__init__.py").touch()
    for part in range(12):
        lines = [
            "import unittest",
            f"from part{part} import m1, m3",
            "class T(unittest.TestCase):",
            "    def test_f(self):",
            "        self.assertEqual(m1.f(1), 2)",
            "        self.assertEqual(m3.f(1), 4)",
        ]
        (root / "code" / "tests" / f"test_part{part}.py").write_text("\n".join(lines) + "\n")


def unittest(root: Path) -> None:
    for cached in sorted((root / "code").rglob("__pycache__")):
        shutil.rmtree(cached)
    for _ in range(2):  # without and with the compiled files
        run(root / "code", sys.executable, "-m", "unittest", "discover", "-q", "-s", "tests", "-t", ".")


def pytest(root: Path) -> None:
    """All tests, with the compiled files and the cache of the run before; then some."""
    for cached in sorted((root / "code").rglob("__pycache__")):
        shutil.rmtree(cached)
    shutil.rmtree(root / "code" / ".pytest_cache", ignore_errors=True)
    for chosen in ([], [], ["-k", "part3 or part7"]):
        run(root / "code", sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "--rootdir=.", "tests", *chosen)


def mypy(root: Path) -> None:
    """From nothing, then with a cache and one file changed."""
    cache = root / "library" / ".mypy_cache"
    shutil.rmtree(cache, ignore_errors=True)
    for _ in range(2):
        run(
            root,
            sys.executable,
            "-m",
            "mypy",
            "--cache-dir",
            str(cache),
            "library/json",
            "library/logging",
            status=(0, 1),
        )
        (root / "library" / "json" / "decoder.py").touch()


def ruff(root: Path) -> None:
    """Reads all sources, by many threads, in the order of none."""
    run(root, sys.executable, "-m", "ruff", "check", "-q", "--no-cache", "library", status=(0, 1))
    run(root, sys.executable, "-m", "ruff", "format", "--check", "-q", "--no-cache", "library", status=(0, 1))


_PIP = """
import runpy, sys
sys.argv = ['pip', 'install', '-q', '--no-index', '--no-deps', '--disable-pip-version-check', '--no-cache-dir',
            '--upgrade', '--target', {target!r}, *{wheels!r}]
runpy.run_module('pip', run_name='__main__')
"""


def wheels(root: Path) -> None:
    """An environment with pip, and packages to install."""
    environment.build(root / "env", ("pip",))
    (root / "wheels").mkdir()
    chance = random.Random(31)
    for number in range(6):
        name = f"package{number}"
        with zipfile.ZipFile(root / "wheels" / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            for part in range(20):
                wheel.writestr(f"{name}/m{part}.py", f"x = {[chance.random() for _ in range(300)]}\n")
            wheel.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            wheel.writestr(
                f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{name}-1.0.dist-info/RECORD", "")


def pip(root: Path) -> None:
    """Installs them."""
    shutil.rmtree(root / "target", ignore_errors=True)
    names = [str(path) for path in sorted((root / "wheels").iterdir())]
    environment.run(root / "env", _PIP.format(target=str(root / "target"), wheels=names[:3]), may_write=True)
    environment.run(root / "env", _PIP.format(target=str(root / "target"), wheels=names[3:]), may_write=True)
