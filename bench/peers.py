"""Other filesystems that can be mounted over a directory, to stand beside llmfs in a table.

Each is a context manager that mounts, gives the process id, and unmounts; `missing` says what each of them lacks here.
"""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 10.0
_SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")
_CHECKOUT = Path(__file__).resolve().parent.parent


class PeerFailedError(RuntimeError):
    """A peer could not be mounted; the message says which."""


def is_installed(program: str) -> bool:
    return shutil.which(program) is not None


def missing_programs(*programs: str) -> list[str]:
    return [program for program in programs if not is_installed(program)]


def missing_sftp_server() -> list[str]:
    return [] if _sftp_server() else ["sftp-server"]


def missing_modules(*modules: str) -> list[str]:
    return [module for module in modules if importlib.util.find_spec(module) is None]


def bindfs(source: Path, mountpoint: Path) -> AbstractContextManager[int]:
    """The floor in C: passes everything through, caches nothing."""
    return _mounted(["bindfs", "-f", str(source), str(mountpoint)], mountpoint)


def bare(source: Path, mountpoint: Path) -> AbstractContextManager[int]:
    """The floor in Python: bench/passthrough.py."""
    command = [sys.executable, "-m", "bench.passthrough", str(source), str(mountpoint)]
    return _mounted(command, mountpoint)


def rclone(
    source: Path, mountpoint: Path, cache_dir: Path, cache_bytes: int | None = None
) -> AbstractContextManager[int]:
    """rclone with its full cache over a local directory.

    Symbolic links are followed, which it cannot show, and files can be run. It looks for what is too much once a
    minute; here a second, or a limit would mean nothing in a short run.
    """
    command = ["rclone", "mount", str(source), str(mountpoint), "--vfs-cache-mode", "full", "--copy-links"]
    command += ["--file-perms", "0755", "--cache-dir", str(cache_dir), "--config", "/dev/null"]
    if cache_bytes is not None:
        command += ["--vfs-cache-max-size", f"{cache_bytes}B", "--vfs-cache-poll-interval", "1s"]
    return _mounted(command, mountpoint)


@contextmanager
def sshfs(source: Path, mountpoint: Path) -> Iterator[int]:
    """sshfs with its own cache of names and attributes and the kernel's of pages.

    Its server is joined to it by a socket, without ssh and without a daemon: the delay is that of the server's disk.
    """
    server_program = _sftp_server()
    if server_program is None:
        raise PeerFailedError("there is no sftp-server here")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        its_end = theirs.fileno()
        server = subprocess.Popen([server_program], stdin=its_end, stdout=its_end, stderr=subprocess.DEVNULL)
        theirs.close()
        try:
            command = ["sshfs", "-f", "-o", "passive,auto_cache", f":{source}", str(mountpoint)]
            with _mounted(command, mountpoint, ours.fileno()) as pid:
                ours.close()
                yield pid
        finally:
            server.terminate()
            server.wait()


def fsspec_cache(source: Path, mountpoint: Path, cache_dir: Path) -> AbstractContextManager[int]:
    """fsspec's block cache: bench/fsspec_mount.py."""
    command = [sys.executable, "-m", "bench.fsspec_mount", str(source), str(mountpoint), str(cache_dir)]
    return _mounted(command, mountpoint)


def _sftp_server() -> str | None:
    return shutil.which("sftp-server") or next((path for path in _SFTP_SERVERS if os.access(path, os.X_OK)), None)


@contextmanager
def _mounted(command: Sequence[str], mountpoint: Path, channel: int = subprocess.DEVNULL) -> Iterator[int]:
    """Runs a program that stays in the foreground, from when its mount is there until it is unmounted.

    channel: its standard input and output.
    """
    process = subprocess.Popen(
        command,
        cwd=_CHECKOUT,  # where `python -m bench...` is found
        stdin=channel,
        stdout=channel,
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
