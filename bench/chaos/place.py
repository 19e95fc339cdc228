"""A mount whose daemon can be killed and looked into; whatever happens, it is gone when its context is left."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import lmdb

from bench.chaos.load import MOUNT_DIED
from bench.mounted import LlmfsFailedError, llmfs
from bench.slowdir import SlowDir

SLOW_S = 0.0004
"""A request to the slow source: more, and llmfs would be as it is over a network; less, and it would step aside."""

_CHECKOUT = Path(__file__).resolve().parents[2]
_EXIT_S = 20.0
_DIES_S = 2.0


@dataclass(slots=True)
class Result:
    """What a scenario did and saw; it failed if `failures` says anything."""

    done: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    skipped: str = ""
    series: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """What was sampled while it went on, by name: minutes since it began, value."""

    def check(self, claim: bool, failure: str) -> None:
        if not claim:
            self.failures.append(failure)


@dataclass(frozen=True, slots=True)
class Task:
    """Where a scenario may work, and how hard it should try."""

    directory: Path
    is_quick: bool
    soak_minutes: float

    def amount(self, full: int, quick: int) -> int:
        return quick if self.is_quick else full


class Daemon:
    """`source` mounted through llmfs below `place`. A context manager."""

    def __init__(self, source: Path, place: Path, *options: str, descriptor_limit: int | None = None) -> None:
        self.source = source
        self.mountpoint = place / "mount"
        self.cache_dir = place / "cache"
        self.pid = 0
        self._options = options
        self._descriptor_limit = descriptor_limit

    def __enter__(self) -> Self:
        self.mountpoint.mkdir(exist_ok=True)
        try:
            self.mount()
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._clear()

    def mount(self) -> None:
        """Raises LlmfsFailedError."""
        command = ["mount", str(self.source), str(self.mountpoint), "--cache-dir", str(self.cache_dir)]
        command += ["--metrics-port", "0", *self._options]
        if self._descriptor_limit is None:
            llmfs(*command)
        else:
            limit = f"--nofile={self._descriptor_limit}:{self._descriptor_limit}"
            subprocess.run(
                ["prlimit", limit, sys.executable, "-m", "llmfs", *command],
                cwd=_CHECKOUT,
                check=True,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
            )
        self.pid = int(self.status()["pid"])

    def umount(self, *options: str) -> None:
        """Raises LlmfsFailedError."""
        llmfs("umount", *options, str(self.mountpoint), timeout_s=90.0)

    def kill(self) -> bool:
        """Ends the daemon as a crash would. Returns whether that is all it took: else it was unmounted by force."""
        os.kill(self.pid, signal.SIGKILL)
        if wait_for(lambda: is_gone(self.pid), _DIES_S):
            return True
        self.umount("--force")
        return False

    def status(self) -> dict[str, Any]:
        answer = json.loads(os.getxattr(self.mountpoint, "user.llmfs.status"))
        assert isinstance(answer, dict)
        return answer

    def metric(self, name: str, part: str = "") -> float:
        """The sum of a metric over its labels, or of those of one part."""
        url = f"http://127.0.0.1:{self.status()['metrics_port']}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        of_name = [line for line in lines if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in of_name if not part or f'part="{part}"' in line)

    def log(self) -> str:
        try:
            return (self.cache_dir / "llmfs.log").read_text(errors="replace")
        except OSError:
            return ""

    def readers(self) -> int:
        """How many slots of readers LMDB's environments have given out."""
        count = 0
        for part in ("meta", "blocks"):
            environment = lmdb.open(str(self.cache_dir / part), readonly=True, max_dbs=4)
            try:
                count += sum(
                    line.split()[:1] not in ([], ["pid"], ["(no"]) for line in environment.readers().split("\n")
                )
            finally:
                environment.close()
        return count

    def _clear(self) -> None:
        if not is_alive(self.pid):  # killed, and perhaps not able to die
            with contextlib.suppress(LlmfsFailedError, subprocess.TimeoutExpired):
                self.umount("--force")
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            command = ["fusermount3", "-u", "-z", "-q", str(self.mountpoint)]
            subprocess.run(command, check=False, capture_output=True, timeout=10)
        if self.pid and not wait_for(lambda: not is_alive(self.pid), _EXIT_S):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class Load:
    """A program of load.py at work, in a process of its own. A context manager."""

    def __init__(self, program: str, *arguments: str | Path) -> None:
        command = [sys.executable, "-m", "bench.chaos.load", program, *map(str, arguments)]
        self._process = subprocess.Popen(
            command, cwd=_CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> str:
        """Asks it to stop; gives what it complained of, "" if nothing."""
        self._process.terminate()
        return self.end()

    def end(self, *, dies: bool = False) -> str:
        """Waits for it to stop by itself; gives what it complained of, "" if nothing. `dies`: its mount does."""
        try:
            said, complaint = self._process.communicate(timeout=_EXIT_S)
        except subprocess.TimeoutExpired:
            return "a program hangs"
        if self._process.returncode == (MOUNT_DIED if dies else 0):
            return ""
        lines = (said + complaint).strip().splitlines()
        return lines[-1] if lines else f"a program ended with status {self._process.returncode}"


@contextmanager
def slow_source(place: Path, latency_s: float = SLOW_S) -> Iterator[tuple[Path, Path]]:
    """A directory below `place`, and the same seen through one that answers slowly."""
    backing, slow = place / "backing", place / "slow"
    backing.mkdir(exist_ok=True)
    slow.mkdir(exist_ok=True)
    with SlowDir(backing, slow, latency_s):
        yield backing, slow


def wait_for(claim: Callable[[], object], timeout_s: float) -> bool:
    """Whether it came true in time."""
    deadline_s = time.monotonic() + timeout_s
    while not claim():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.02)
    return True


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rsplit(b") ", 1)[1][:1] != b"Z"
    except (OSError, IndexError):
        return False


def is_gone(pid: int) -> bool:
    """Whether all threads of a process have ended; it may still be waiting for its parent to take note."""
    try:
        return os.listdir(f"/proc/{pid}/task") in ([], [str(pid)]) and not is_alive(pid)
    except OSError:
        return True


def anonymous_mib(pid: int) -> float:
    """Memory that is the process's own: LMDB's map is pages of a file, which the kernel may take back."""
    return _status_of(pid, "RssAnon") / 1024


def threads_of(pid: int) -> int:
    return _status_of(pid, "Threads")


def descriptors_of(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def _status_of(pid: int, name: str) -> int:
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            return next((int(line.split()[1]) for line in file if line.startswith(name + ":")), 0)
    except OSError:
        return 0
