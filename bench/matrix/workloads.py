"""What runs: real programs and fio jobs, each with the digest that says that it got the right bytes.

A workload is given a root (the directory itself, or a mount of it) and gives an outcome. Before each of its parts it
calls `forget`, which drops what the kernel caches: for most there is one part; a data loader has its epochs, so that
memory never holds the data set that the cache has only half the room for.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench import environment
from bench.environment import EnvironmentFailedError
from bench.matrix import trees
from bench.matrix.sources import SOURCES
from bench.matrix.systems import BINDFS_OVER_NATIVE, COLD, STATES, WARM
from bench.matrix.trees import Tree
from bench.programs.base import SETTING, missing
from bench.programs.python import STARTS

TIMEOUT_S = 240.0
"""The slowest of all takes 40 s from the raw directory of 2 ms."""

_CHECKOUT = Path(__file__).resolve().parents[2]
_FIO_JOBS = _CHECKOUT / "examples" / "fio"
_FIO_SECONDS = 4
_PUSH_S = 8.0
_ALL_SOURCES = tuple(source.name for source in SOURCES)
_NEAR = ("2ms", "narrow")


class WorkloadFailedError(RuntimeError):
    """A program of a workload failed, or took too long; the message says which and how."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """seconds: all parts. digest: of what was read. bytes_s: of work that ends by the clock."""

    seconds: float
    digest: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)
    bytes_s: float | None = None


Forget = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of work over a tree.

    run: is given the root, a seed that is another in each round, and `forget`. needs, modules: programs and Python
    packages. sources, states: where it is worth its time; not_through: the systems it says nothing about. cache_share:
    the cache's limit as a share of the tree.
    check: where the work itself gives no digest, reads all of what matters once more, after everything was measured;
    so a cache that is warm has all of it.
    """

    name: str
    does: str
    tree: Tree
    run: Callable[[Path, int, Forget], Outcome]
    needs: Sequence[str] = ()
    modules: Sequence[str] = ()
    sources: Sequence[str] = _ALL_SOURCES
    states: Sequence[str] = STATES
    not_through: Sequence[str] = (BINDFS_OVER_NATIVE,)
    cache_share: float | None = None
    check: Callable[[Path], str] | None = None

    @property
    def missing(self) -> list[str]:
        return missing(self.needs, self.modules)


# -- programs


def _commands(*commands: tuple[str, Sequence[str]], place: str = ".") -> Callable[[Path, int, Forget], Outcome]:
    """Commands in a directory below the root, one after the other, each a part."""

    def run(root: Path, _: int, forget: Forget) -> Outcome:
        forget()
        digest, parts = hashlib.sha256(), {}
        for part, command in commands:
            began_s = time.monotonic()
            digest.update(_output(command, root / place))
            parts[part] = time.monotonic() - began_s
        return Outcome(sum(parts.values()), digest.hexdigest(), parts)

    return run


def _python(*programs: str) -> Callable[[Path, int, Forget], Outcome]:
    """Programs from the environment in the tree, one after the other."""

    def run(root: Path, _: int, forget: Forget) -> Outcome:
        forget()
        digest = hashlib.sha256()
        began_s = time.monotonic()
        try:
            for program in programs:
                digest.update(environment.run(root / "env", program, timeout_s=TIMEOUT_S).encode())
        except EnvironmentFailedError as error:
            raise WorkloadFailedError(str(error)) from error
        return Outcome(time.monotonic() - began_s, digest.hexdigest())

    return run


def _build(root: Path, _: int, forget: Forget) -> Outcome:
    forget()
    with tempfile.TemporaryDirectory(prefix="llmfs-build-") as out:
        began_s = time.monotonic()
        _output(["make", "-s", "-j2", f"OUT={out}", f"{out}/app"], root / "project")
        seconds = time.monotonic() - began_s
        return Outcome(seconds, hashlib.sha256(Path(out, "app").read_bytes()).hexdigest())


def _list(root: Path, _: int, forget: Forget) -> Outcome:
    """Names and sizes of files count: of blocks, owners and directories each filesystem has its own idea."""
    forget()
    began_s = time.monotonic()
    lines = _output(["ls", "-lR"], root).decode().splitlines()
    seconds = time.monotonic() - began_s
    fields = [line.split() for line in lines if line.startswith("-")]
    digest = hashlib.sha256("\n".join(f"{each[4]} {each[-1]}" for each in fields).encode())
    return Outcome(seconds, digest.hexdigest())


def _reader(name: str) -> Callable[[Path, int, Forget], Outcome]:
    """One of bench.matrix.readers: each part begins when the kernel has forgotten the last one's."""

    def run(root: Path, seed: int, forget: Forget) -> Outcome:
        command = [sys.executable, "-m", "bench.matrix.readers", name, str(root), f"--seed={seed}"]
        parts, digest = {}, hashlib.sha256()
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                command,
                cwd=_CHECKOUT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                process_group=0,
            )
            assert process.stdin is not None and process.stdout is not None
            # A system that hangs must not hang us: the end of the process ends the reading of what it says.
            alarm = _Deadline(process)
            try:
                while process.poll() is None:
                    forget()
                    with suppress(BrokenPipeError):
                        process.stdin.write("\n")
                        process.stdin.flush()
                    if not (line := process.stdout.readline()):
                        break
                    said = json.loads(line)
                    parts[said["part"]] = float(said["seconds"])
                    digest.update(said["digest"].encode())
                process.wait()
            finally:
                alarm.cancel()
                process.stdout.close()
                with suppress(BrokenPipeError):
                    process.stdin.close()
                _end(process)
            if process.returncode != 0:
                errors.seek(0)
                raise WorkloadFailedError(f"{name}: {_last_line(errors.read()) or f'status {process.returncode}'}")
        return Outcome(sum(parts.values()), digest.hexdigest(), parts)

    return run


def _fio(job: str, begin: Callable[[Path], None] | None = None) -> Callable[[Path, int, Forget], Outcome]:
    """A job of examples/fio, for some seconds or until it is through; what it read is compared by `_whole`.

    begin: what is done with the file before, untimed too.
    """

    def run(root: Path, _: int, forget: Forget) -> Outcome:
        forget()
        if begin is not None:
            begin(root / trees.FIO_FILE)
        # What is cached when it starts is our business, as it is for every other workload.
        text = (_FIO_JOBS / f"{job}.fio").read_text().replace("invalidate=1", "invalidate=0")
        variables = {"DIRECTORY": str(root), "SIZE": str(trees.FIO_BYTES), "RUNTIME": str(_FIO_SECONDS)}
        with tempfile.NamedTemporaryFile("w", suffix=".fio") as file:
            file.write(text)
            file.flush()
            said = _output(["fio", "--readonly", "--output-format=json", file.name], root, variables).decode()
        reads = json.loads(said[said.index("{") :])["jobs"][0]["read"]
        return Outcome(reads["runtime"] / 1e3, bytes_s=float(reads["bw_bytes"]))

    return run


def _whole(root: Path) -> str:
    with open(root / trees.FIO_FILE, "rb") as whole:
        return hashlib.file_digest(whole, "sha256").hexdigest()


def _touch(file: Path) -> None:
    """Four pages of each 128 KiB, then waits until no more comes into the kernel's page cache."""
    chance = random.Random(37)
    with open(file, "rb", buffering=0) as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for begin in range(0, trees.FIO_BYTES, 128 << 10):
            for page in chance.sample(range(32), 4):
                os.pread(opened.fileno(), 4096, begin + page * 4096)
        resident, deadline_s = -1, time.monotonic() + _PUSH_S
        while time.monotonic() < deadline_s:
            before, resident = resident, int(_output(["fincore", "-b", "-n", "-o", "RES", str(file)], file.parent))
            if resident == before:
                break
            time.sleep(0.5)


def _output(command: Sequence[str], directory: Path, variables: Mapping[str, str] | None = None) -> bytes:
    """What a program says. Raises WorkloadFailedError."""
    try:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, **SETTING, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
    except OSError as error:
        raise WorkloadFailedError(f"{command[0]}: {error}") from error
    try:
        said, complained = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise WorkloadFailedError(f"{command[0]} did not end within {TIMEOUT_S:.0f} s") from None
    finally:
        _end(process)
    if process.returncode != 0:
        raise WorkloadFailedError(f"{' '.join(command[:3])}: {_last_line(complained or said)}")
    return said


def _end(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """It and what it started, if it has not ended."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class _Deadline:
    """Ends a process that takes too long."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._timer = threading.Timer(TIMEOUT_S, lambda: _end(process))
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        self._timer.cancel()


def _last_line(said: bytes) -> str:
    return (said.decode(errors="replace").strip().splitlines() or [""])[-1]


_TAR_MEMBER = "parts/10/0512.dat"

WORKLOADS = (
    Workload("python start", "four programs that import the standard library", trees.NUMPY, _python(*STARTS)),
    Workload("import numpy", "import numpy, an SVD", trees.NUMPY, _python(trees.NUMPY_PROGRAM)),
    Workload(
        "import torch", "import torch and numpy, a layer", trees.TORCH, _python(environment.PROGRAM), sources=_NEAR
    ),
    Workload(
        "git",
        "status, log --stat, grep, fsck of 800 files and 13 commits",
        trees.REPOSITORY,
        _commands(
            ("status", ["git", "status", "--porcelain"]),
            ("log", ["git", "log", "--stat", "--oneline"]),
            ("grep", ["git", "grep", "-c", "larch"]),
            ("fsck", ["git", "fsck", "--full", "--no-progress"]),
            place="tree",
        ),
        needs=("git",),
    ),
    Workload(
        "grep -r",
        "a word in all files of that repository, its history included",
        trees.REPOSITORY,
        _commands(("grep", ["grep", "-rc", "larch", "."]), place="tree"),
        needs=("grep",),
    ),
    Workload("C build", "make -j2 of 41 C files and 40 headers", trees.BUILD, _build, needs=("make", "gcc")),
    Workload(
        "tar",
        "list an archive of 600 files and 48 MB, extract one of them, extract all",
        trees.ARCHIVE,
        _commands(
            ("list", ["tar", "-tf", "archive.tar"]),
            ("one", ["tar", "-xOf", "archive.tar", _TAR_MEMBER]),
            ("all", ["tar", "-xOf", "archive.tar"]),
        ),
        needs=("tar",),
    ),
    Workload("SQLite", "400 point lookups by number and by name", trees.DATABASE, _reader("sqlite")),
    Workload(
        "DuckDB", "three queries on 12 Parquet files", trees.COLUMNS, _reader("duckdb"), modules=("duckdb", "pyarrow")
    ),
    Workload("safetensors", "48 tensors, 96 MiB, by mmap", trees.WEIGHTS, _reader("safetensors")),
    Workload(
        "loader, in order",
        "four epochs of 480 files by 2 worker processes, half of them fit the cache",
        trees.SAMPLE_FILES,
        _reader("loader_in_order"),
        states=(COLD,),
        cache_share=0.5,
    ),
    Workload(
        "loader, shuffled",
        "the same in another order each epoch",
        trees.SAMPLE_FILES,
        _reader("loader_shuffled"),
        states=(COLD,),
        cache_share=0.5,
    ),
    Workload("ls -lR", "8,000 files in 80 directories", trees.LISTING, _list),
    *(
        Workload(f"fio {job}", does, trees.FIO, _fio(job), needs=("fio",), not_through=not_through, check=_whole)
        for job, does, not_through in (
            ("sequential", "one reader from beginning to end", (BINDFS_OVER_NATIVE,)),
            ("interleaved", "eight sequential readers in one file", (BINDFS_OVER_NATIVE,)),
            ("strided", "64 KiB of every 512", (BINDFS_OVER_NATIVE,)),
            ("zipf", "random, few places most often", (BINDFS_OVER_NATIVE,)),
            ("random-4k", "uniformly random 4 KiB", (BINDFS_OVER_NATIVE,)),
            ("direct-4k", "uniformly random 4 KiB with O_DIRECT, one at a time", ()),
        )
    ),
    Workload(
        "fio pushed-4k",
        "uniformly random 4 KiB, once four pages of each 128 KiB were read",
        trees.FIO,
        _fio("random-4k", _touch),
        needs=("fio", "fincore"),
        states=(COLD, WARM),
        sources=_NEAR,
        check=_whole,
    ),
)
