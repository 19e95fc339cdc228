"""The files that workloads read: made once, a month old, in a directory each.

Old, since a filesystem has reason to believe that old files stay as they are, and files made a minute ago would deny
it that (bench/environment.py). The content comes from seeds, so that two runs read the same.
"""

import os
import random
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from bench import environment
from bench.programs.base import run
from bench.programs.builds import c_project
from bench.programs.python import STARTS
from bench.programs.tools import tree

NUMPY_PROGRAM = "import numpy; print(numpy.linalg.svd(numpy.arange(12.0).reshape(3, 4), compute_uv=False)[0].round(4))"
SAMPLES = 480
FIO_FILE = "llmfs-fio.bin"
FIO_BYTES = 96 << 20


@dataclass(frozen=True, slots=True)
class Tree:
    """Files for one or more workloads. make: fills an existing empty directory."""

    name: str
    make: Callable[[Path], None]

    def build(self, parent: Path) -> Path:
        """Makes it below `parent`; where it lies. Raises EnvironmentFailedError, ProgramFailedError, OSError."""
        root = parent / self.name
        root.mkdir()
        self.make(root)
        return root


def _environment(*packages: str, program: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        environment.build(root / "env", packages)
        for start in (*STARTS, program):
            environment.complete(root / "env", start)

    return make


def aged(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """Makes the same, a month old: what changed just now is not believed to stay as it is."""

    def make_and_age(root: Path) -> None:
        make(root)
        old_s = time.time() - environment.AGE_S
        for directory, _, names in os.walk(root, topdown=False):
            for path in (*(os.path.join(directory, name) for name in names), directory):
                os.utime(path, (old_s, old_s), follow_symlinks=False)

    return make_and_age


def _repository(root: Path) -> None:
    """A history of which most is packed, and a work tree that its index knows."""
    tree(root, files=800)
    place = root / "tree"
    run(place, "git", "init", "-q", "-b", "main")
    # Only what every filesystem keeps: another inode number or permission is no reason to read a file again.
    run(place, "git", "config", "core.checkStat", "minimal")
    run(place, "git", "config", "core.fileMode", "false")
    run(place, "git", "add", ".")
    run(place, "git", "commit", "-q", "-m", "first")
    files = sorted(path for path in place.rglob("*.txt") if ".git" not in path.parts)
    for number in range(12):
        for path in files[number::12]:
            with path.open("a") as file:
                file.write(f"change {number}\n")
        run(place, "git", "commit", "-q", "-a", "-m", f"change {number}")
        if number == 8:
            run(place, "git", "gc", "-q")


def _repository_aged(root: Path) -> None:
    """Aged before the index is told of it, for it holds times."""
    aged(_repository)(root)
    run(root / "tree", "git", "update-index", "-q", "--refresh")
    old_s = time.time() - environment.AGE_S + 60
    os.utime(root / "tree" / ".git" / "index", (old_s, old_s))
    os.utime(root / "tree" / ".git", (old_s, old_s))


def _build(root: Path) -> None:
    """As recorded ones, but built where it is told, for what is written is another matter than what is read."""
    c_project(root, files=40)
    (root / "project" / "Makefile").write_text(
        "OBJECTS := $(patsubst src/%.c,$(OUT)/%.o,$(wildcard src/*.c))\n"
        "$(OUT)/app: $(OBJECTS)\n\tgcc -o $@ $(OBJECTS)\n"
        "$(OUT)/%.o: src/%.c\n\tgcc -Iinclude -c -o $@ $<\n"
    )


def _archive(root: Path) -> None:
    parts = root / "parts"
    chance = random.Random(11)
    for number in range(600):
        file = parts / f"{number // 50:02}" / f"{number:04}.dat"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(chance.randbytes(chance.randint(20_000, 140_000)))
    run(root, "tar", "--remove-files", "-cf", "archive.tar", "parts")


def _database(root: Path) -> None:
    chance = random.Random(13)
    connection = sqlite3.connect(root / "rows.db")
    connection.execute("create table rows (id integer primary key, name text unique, payload text)")
    rows = ((number, f"{chance.getrandbits(64):016x}", chance.randbytes(120).hex()) for number in range(120_000))
    connection.executemany("insert into rows values (?, ?, ?)", rows)
    connection.commit()
    connection.close()


def _columns(root: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    generator = np.random.default_rng(17)
    for number in range(12):
        rows = 80_000
        columns = {
            "day": np.full(rows, number),
            "station": generator.integers(0, 500, rows),
            **{name: generator.random(rows) for name in ("wind", "rain", "sun", "heat", "frost")},
            "note": [f"{value:x}" for value in generator.integers(0, 1 << 60, rows)],
        }
        pyarrow.parquet.write_table(pyarrow.table(columns), root / f"day-{number:02}.parquet", row_group_size=20_000)


def _weights(root: Path) -> None:
    generator = np.random.default_rng(19)
    for shard in range(1, 4):
        tensors = {
            f"layer.{shard}.{number}.weight": generator.random((512, 1024), dtype=np.float32) for number in range(16)
        }
        save_file(tensors, root / f"model-{shard:05}-of-00003.safetensors")


def _samples(root: Path) -> None:
    """Classes of samples of 20 to 180 KB, their names hashes."""
    chance = random.Random(23)
    for number in range(SAMPLES):
        place = root / f"class-{number % 8}"
        place.mkdir(exist_ok=True)
        (place / f"{chance.getrandbits(48):012x}.bin").write_bytes(chance.randbytes(chance.randint(20_000, 180_000)))


def _listing(root: Path) -> None:
    for number in range(8000):
        place = root / f"{number // 400:02}" / f"{number // 100 % 4}"
        if number % 100 == 0:
            place.mkdir(parents=True)
        (place / f"file-{number:05}.txt").write_bytes(b"x" * (number % 977))


def _fio(root: Path) -> None:
    chance = random.Random(29)
    with open(root / FIO_FILE, "wb") as file:
        for _ in range(FIO_BYTES >> 20):
            file.write(chance.randbytes(1 << 20))


TORCH = Tree("torch", _environment("numpy", "torch", program=environment.PROGRAM))
NUMPY = Tree("numpy", _environment("numpy", program=NUMPY_PROGRAM))
REPOSITORY = Tree("repository", _repository_aged)
BUILD = Tree("build", aged(_build))
ARCHIVE = Tree("archive", aged(_archive))
DATABASE = Tree("database", aged(_database))
COLUMNS = Tree("columns", aged(_columns))
WEIGHTS = Tree("weights", aged(_weights))
SAMPLE_FILES = Tree("samples", aged(_samples))
LISTING = Tree("listing", aged(_listing))
FIO = Tree("fio", aged(_fio))
