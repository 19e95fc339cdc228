"""The programs whose accesses are recorded for training: real ones, over trees that are generated or copied.

A workload's `prepare` makes the source directory where it is quick; `run` then works in it, seen through a mount. Each
`run` begins by undoing what an earlier one left, so that a repeat does the same again. All that varies by chance has a
fixed seed.
"""

import os
import random
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench import environment

PACKAGES = ("hypothesis", "networkx", "numpy", "rich", "sympy", "trio", "typer")
"""What the recorded Python programs import. Not torch: the demo's program stays one that no training has seen."""

_STARTS = (
    "import argparse, json, logging, pathlib",
    "import asyncio, concurrent.futures, ssl",
    "import email.mime.multipart, http.server, urllib.request, xml.dom.minidom",
    "import decimal, fractions, multiprocessing, sqlite3, unittest.mock",
)
_SCIENCE = (
    "import numpy; print(numpy.linalg.svd(numpy.eye(3))[1])",
    "import hypothesis, hypothesis.strategies; print(hypothesis.strategies.integers())",
    "import networkx; print(networkx.path_graph(4))",
    "import sympy; print(sympy.expand('(x+1)**3'))",
    "import rich.console, rich.table, rich.progress, pygments.lexers",
    "import trio, typer, asyncio; print(trio.Event())",
)
_SETTING = {"LC_ALL": "C", "TZ": "UTC", "GIT_CONFIG_NOSYSTEM": "1"} | {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "A"), ("EMAIL", "a@example.org"))
}
_PROGRAM_TIMEOUT_S = 180.0


class ProgramFailedError(RuntimeError):
    """A recorded program failed; the message says which and how."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of program. Its name is that of its files."""

    name: str
    prepare: Callable[[Path], None]
    run: Callable[[Path], None]
    needs: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """The programs it needs that are not installed here."""
        return [program for program in self.needs if shutil.which(program) is None]


# Python


def _environment(root: Path) -> None:
    environment.build(root / "env", PACKAGES)
    for program in (*_STARTS, *_SCIENCE):
        environment.complete(root / "env", program)


def _starts(root: Path, programs: Iterable[str]) -> None:
    for program in programs:
        environment.run(root / "env", program)


def _library(root: Path) -> None:
    """Packages of the standard library, as source."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    skip = shutil.ignore_patterns("__pycache__", "test", "tests")
    for name in ("asyncio", "concurrent", "email", "http", "json", "logging", "multiprocessing", "unittest", "xml"):
        shutil.copytree(stdlib / name, root / "library" / name, ignore=skip)


def _compile(root: Path) -> None:
    _run(root, sys.executable, "-m", "compileall", "-q", "-f", "library")


def _package_with_tests(root: Path) -> None:
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


def _unittest(root: Path) -> None:
    for cached in sorted((root / "code").rglob("__pycache__")):
        shutil.rmtree(cached)
    for _ in range(2):  # without and with the compiled files
        _run(root / "code", sys.executable, "-m", "unittest", "discover", "-q", "-s", "tests", "-t", ".")


# Other languages


def _perl_library(root: Path) -> None:
    places = _output("perl", "-e", "print join qq{\\n}, grep { -d } @INC").split("\n")
    for number, place in enumerate(place for place in places if "site" not in place and "local" not in place):
        shutil.copytree(place, root / "perl" / str(number), dirs_exist_ok=True, ignore_dangling_symlinks=True)


def _perl(root: Path) -> None:
    places = sorted((root / "perl").iterdir())
    include = [f"-I{place}" for place in places]
    for modules in ("POSIX Data::Dumper", "File::Find File::Temp Getopt::Long", "JSON::PP Time::Local Storable"):
        _run(root, "perl", *include, *(f"-M{module}" for module in modules.split()), "-e", "print 1")


def _node_modules(root: Path) -> None:
    chance = random.Random(2)
    for number in range(80):
        package = root / "app" / "node_modules" / f"package{number:02d}"
        (package / "lib").mkdir(parents=True)
        (package / "package.json").write_text(f'{{"name": "package{number:02d}", "main": "lib/index.js"}}\n')
        needed = chance.sample(range(number), min(number, 3))
        lines = [f"require('package{other:02d}');" for other in needed]
        lines += [f"exports.f{n} = require('./part{n}');" for n in range(3)]
        (package / "lib" / "index.js").write_text("\n".join(lines) + "\n")
        for part in range(5):
            (package / "lib" / f"part{part}.js").write_text(f"module.exports = {part};\n// " + "x" * 3000 + "\n")
        (package / "README.md").write_text("words " * 200)
    lines = [f"require('package{number:02d}');" for number in range(40, 80)]
    (root / "app" / "main.js").write_text("\n".join(lines) + "\n")


def _node(root: Path) -> None:
    _run(root / "app", "node", "main.js")


def _c_project(root: Path) -> None:
    chance = random.Random(3)
    project = root / "project"
    (project / "include").mkdir(parents=True)
    (project / "src").mkdir()
    for number in range(24):
        lines = [f"#ifndef H{number}", f"#define H{number}"]
        lines += [f'#include "h{other}.h"' for other in chance.sample(range(number), min(number, 2))]
        (project / "include" / f"h{number}.h").write_text(
            "\n".join([*lines, f"int f{number}(int);", "#endif"]) + "\n" + "/* text */\n" * 100
        )
    for number in range(24):
        lines = [f'#include "h{other}.h"' for other in sorted({number, *chance.sample(range(24), 4)})]
        body = f"int f{number}(int x) {{ return x * {number}; }}\n"
        (project / "src" / f"c{number}.c").write_text("\n".join(lines) + "\n" + body)
    (project / "src" / "main.c").write_text('#include "h1.h"\nint main(void) { return f1(0); }\n')
    (project / "Makefile").write_text(
        "OBJECTS := $(patsubst %.c,%.o,$(wildcard src/*.c))\n"
        "app: $(OBJECTS)\n\tgcc -o $@ $(OBJECTS)\n"
        "%.o: %.c\n\tgcc -Iinclude -MMD -c -o $@ $<\n"
        "clean:\n\trm -f app src/*.o src/*.d\n"
        "-include src/*.d\n"
    )


def _make(root: Path) -> None:
    _run(root / "project", "make", "-s", "clean")
    _run(root / "project", "make", "-s", "-j2")
    (root / "project" / "include" / "h3.h").touch()
    _run(root / "project", "make", "-s")


# Tools


def _tree(root: Path) -> None:
    """Text in directories, with names that words make."""
    chance = random.Random(4)
    words = _WORDS
    for _ in range(260):
        place = root / "tree" / "/".join(chance.choices(words, k=chance.randint(1, 3)))
        place.mkdir(parents=True, exist_ok=True)
        name = f"{chance.choice(words)}-{chance.choice(words)}{chance.choice(('.txt', '.md', '.c', '.py', '.html'))}"
        text = " ".join(chance.choices(words, k=chance.choice((200, 800, 3000, 12000))))
        (place / name).write_text(text)


_WORDS = [
    "alder",
    "birch",
    "cedar",
    "dogwood",
    "elm",
    "fir",
    "ginkgo",
    "hazel",
    "ivy",
    "juniper",
    "larch",
    "maple",
    "oak",
    "pine",
    "rowan",
]


def _git(root: Path) -> None:
    tree = root / "tree"
    shutil.rmtree(tree / ".git", ignore_errors=True)
    _run(tree, "git", "init", "-q", "-b", "main")
    _run(tree, "git", "add", ".")
    _run(tree, "git", "commit", "-q", "-m", "first")
    files = sorted(path for path in tree.rglob("*.txt") if ".git" not in path.parts)
    for number in range(6):
        for path in files[number::12]:
            with path.open("a") as file:
                file.write(f"change {number}\n")
        _run(tree, "git", "commit", "-q", "-a", "-m", f"change {number}")
    _run(tree, "git", "log", "--stat", "--oneline")
    _run(tree, "git", "grep", "-c", "larch")
    _run(tree, "git", "checkout", "-q", "HEAD~3")
    _run(tree, "git", "checkout", "-q", "main")
    _run(tree, "git", "gc", "-q")
    _run(tree, "git", "status", "--short")
    _run(tree, "git", "log", "-p", "--oneline")


def _archives(root: Path) -> None:
    for made in ("copy", "out"):
        shutil.rmtree(root / made, ignore_errors=True)
    (root / "out").mkdir()
    _run(root, "tar", "cf", "out/tree.tar", "tree")
    _run(root, "gzip", "-k", "out/tree.tar")
    _run(root / "out", "tar", "xzf", "tree.tar.gz")
    _run(root, "rsync", "-a", "tree/", "copy")
    _run(root, "rsync", "-a", "tree/", "copy")  # compares only


def _searches(root: Path) -> None:
    _run(root, "grep", "-r", "-c", "ginkgo", "tree", status=(0, 1))
    _run(root, "find", "tree", "-type", "f", "-size", "+8k")
    _run(root, "find", "tree", "-name", "*.py", "-exec", "wc", "-c", "{}", "+")
    _run(root, "du", "-s", "tree")
    _run(root, "grep", "-r", "-l", "--include=*.md", "juniper rowan", "tree", status=(0, 1))


def _numbered_files(root: Path) -> None:
    chance = random.Random(5)
    (root / "parts").mkdir()
    for number in range(160):
        (root / "parts" / f"part-{number:05d}.dat").write_bytes(chance.randbytes(chance.choice((20_000, 60_000))))
    (root / "logs").mkdir()
    for number in range(60):
        (root / "logs" / f"{number + 1}.log").write_text(f"line {number}\n" * 2000)


def _cat(root: Path) -> None:
    _run(root, "sh", "-c", "cat parts/part-*.dat | cksum")
    _run(root, "sh", "-c", "for n in $(seq 1 60); do cat logs/$n.log; done | wc -l")
    _run(root, "sh", "-c", "for n in $(seq 0 3 159); do head -c 100 parts/part-$(printf %05d $n).dat; done | cksum")


def _samples(root: Path) -> None:
    chance = random.Random(6)
    for label in ("cat", "dog", "bird"):
        (root / "samples" / label).mkdir(parents=True)
        for _ in range(120):
            name = f"{chance.getrandbits(40):010x}.bin"
            (root / "samples" / label / name).write_bytes(chance.randbytes(chance.choice((12_000, 40_000, 200_000))))


_LOADER = """
import os, random, sys
order, epochs, workers = sys.argv[1], int(sys.argv[2]), 2
names = sorted(os.path.join(place, name) for place, _, names in os.walk('samples') for name in names)
for epoch in range(epochs):
    if order == 'shuffled':
        random.Random(epoch).shuffle(names)
    children = []
    for worker in range(workers if order == 'shuffled' else 1):
        child = os.fork()
        if not child:
            for name in names[worker::workers] if order == 'shuffled' else names:
                with open(name, 'rb') as file:
                    file.read()
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
"""


def _loader(root: Path) -> None:
    _run(root, sys.executable, "-c", _LOADER, "sorted", "2")
    _run(root, sys.executable, "-c", _LOADER, "shuffled", "3")


def _database(root: Path) -> None:
    chance = random.Random(7)
    (root / "base").mkdir()
    rows = "".join(f"{n},{chance.randrange(10**6)},{chance.getrandbits(320):x}\n" for n in range(60_000))
    (root / "base" / "rows.csv").write_text(rows)


def _sqlite(root: Path) -> None:
    chance = random.Random(8)
    base = root / "base"
    (base / "rows.db").unlink(missing_ok=True)
    load = "create table t(id integer primary key, x integer, s text);\n.import --csv rows.csv t\n"
    _run(base, "sqlite3", "rows.db", text=load + "create index x on t(x);")
    for _ in range(3):
        queries = [f"select s from t where id={chance.randrange(60_000)};" for _ in range(100)]  # noqa: S608
        queries += [f"select s from t where x>{chance.randrange(10**6)} limit 5;" for _ in range(30)]  # noqa: S608
        _run(base, "sqlite3", "rows.db", text="\n".join(queries))
    _run(base, "sqlite3", "rows.db", text="select max(length(s)) from t; select count(distinct x) from t;")


WORKLOADS = (
    Workload("python-stdlib", _environment, lambda root: _starts(root, _STARTS)),
    Workload("python-science", _environment, lambda root: _starts(root, _SCIENCE)),
    Workload("compileall", _library, _compile),
    Workload("unittest", _package_with_tests, _unittest),
    Workload("perl", _perl_library, _perl, ("perl",)),
    Workload("node", _node_modules, _node, ("node",)),
    Workload("make", _c_project, _make, ("make", "gcc")),
    Workload("git", _tree, _git, ("git",)),
    Workload("archives", _tree, _archives, ("tar", "gzip", "rsync")),
    Workload("searches", _tree, _searches, ("grep", "find")),
    Workload("numbered", _numbered_files, _cat),
    Workload("loader", _samples, _loader),
    Workload("database", _database, _sqlite, ("sqlite3",)),
)


def _run(directory: Path, *command: str, text: str = "", status: tuple[int, ...] = (0,)) -> None:
    try:
        result = subprocess.run(
            command,
            cwd=directory,
            input=text.encode(),
            capture_output=True,
            env=os.environ | _SETTING,
            timeout=_PROGRAM_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProgramFailedError(f"{command[0]}: {error}") from error
    if result.returncode not in status:
        last = (
            (result.stderr or result.stdout).decode(errors="replace").strip() or f"exit status {result.returncode}"
        ).splitlines()[-1]
        raise ProgramFailedError(f"{' '.join(command[:3])}: {last}")


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
