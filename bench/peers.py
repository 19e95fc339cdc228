"""Other filesystems that can be mounted over a directory, to stand beside llmfs in a table.

Each is a context manager that mounts, gives the process id, and unmounts; `is_installed` says which are here.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 10.0


class PeerFailedError(RuntimeError):
    """A peer could not be mounted; the message says which."""


def is_installed(program: str) -> bool:
    return shutil.which(program) is not None


def bindfs(source: Path, mountpoint: Path) -> AbstractContextManager[int]:
    """The floor in C: passes everything through, caches nothing."""
    return _mounted(["bindfs", "-f", str(source), str(mountpoint)], mountpoint)


def bare(source: Path, mountpoint: Path) -> AbstractContextManager[int]:
    """The floor in Python: bench/passthrough.py."""
    command = [sys.executable, "-m", "bench.passthrough", str(source), str(mountpoint)]
    return _mounted(command, mountpoint)


def rclone(source: Path, mountpoint: Path, cache_dir: Path) -> AbstractContextManager[int]:
    """rclone with its full cache over a local directory."""
    command = ["rclone", "mount", str(source), str(mountpoint), "--vfs-cache-mode", "full"]
    return _mounted([*command, "--cache-dir", str(cache_dir), "--config", "/dev/null"], mountpoint)


@contextmanager
def _mounted(command: Sequence[str], mountpoint: Path) -> Iterator[int]:
    """Runs a program that stays in the foreground, from when its mount is there until it is unmounted."""
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).resolve().parent.parent,  # where `python -m bench...` is found
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while not mountpoint.is_mount():
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise PeerFailedError(f"{command[0]} could not mount {mountpoint}")
            time.sleep(0.01)
        yield process.pid
    finally:
        unmount = ["fusermount3", "-u", "-z", "-q", str(mountpoint)]
        subprocess.run(unmount, check=False, capture_output=True)
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
