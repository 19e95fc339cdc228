"""How the command line has a mount's daemon do something: `warm`, `evict`, `check`, `profile`; `top` asks this way too.

A stream socket in the cache directory, which is its owner's alone. Each message is one line of JSON. A connection asks
one thing after the other; each request names what to `do`, and is answered with lines of figures while it goes on, the
last of which says `is_done` or has an `error`. Closing the connection gives up what it asked for.

Files are named by the inode number that stat shows. Who asks holds the file open (O_PATH), so that the daemon knows the
inode; no path has to be resolved twice, and bind mounts and odd names need no care.

This side loads neither trio nor pyfuse3: the command line starts fast.
"""

import contextlib
import errno
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llmfs import mounts
from llmfs.errors import LlmfsError, UsageError, one_line, reason, show

SOCKET = "control"
"""Its name in the cache directory."""

LINE_BYTES_MAX = 4 << 20
"""A longer line is refused on both sides."""

FILES_AT_ONCE = 500
"""Of a profile in one message: parsing it holds up the event loop for some milliseconds."""

ANSWER_S = 30.0
"""The daemon says every quarter of a second how far it is; silence for so long means that it hangs."""

Progress = Callable[[dict[str, Any]], None]


class Connection:
    """An open connection to the daemon of `mount`."""

    def __init__(self, mount: mounts.Mount, stream: socket.socket) -> None:
        self.mount = mount
        self._stream = stream
        self._lines = stream.makefile("rb")

    def ask(self, request: dict[str, Any], on_progress: Progress = lambda figures: None) -> dict[str, Any]:
        """Has the daemon do something; returns its last figures. Raises LlmfsError with its words where it failed."""
        try:
            self._stream.sendall(json.dumps(request).encode("ascii") + b"\n")
            while True:
                figures = self._answer()
                if "error" in figures:
                    raise LlmfsError(one_line(str(figures["error"])))
                if figures.get("is_done"):
                    return figures
                on_progress(figures)
        except TimeoutError:
            raise LlmfsError(f"the mount at {show(self.mount.mountpoint)} does not answer") from None
        except OSError as error:
            where = show(self.mount.mountpoint)
            raise LlmfsError(f"the mount at {where} went away while it was asked: {reason(error)}") from error

    def _answer(self) -> dict[str, Any]:
        line = self._lines.readline(LINE_BYTES_MAX)
        if not line.endswith(b"\n"):
            raise LlmfsError(f"the mount at {show(self.mount.mountpoint)} went away while it was asked")
        try:
            figures = json.loads(line)
        except ValueError:
            figures = None
        if not isinstance(figures, dict):
            raise LlmfsError(f"the mount at {show(self.mount.mountpoint)} gave an answer that makes no sense")
        return figures


@contextlib.contextmanager
def connected(mount: mounts.Mount) -> Iterator[Connection]:
    """A connection to the daemon of a mount. Raises LlmfsError with what to do where there is none to be had."""
    name = show(mount.mountpoint)
    health = mounts.ask(mount)
    match health.state:
        case mounts.State.DEAD:
            raise LlmfsError(f"the mount at {name} is dead: clean up with llmfs umount {name}")
        case mounts.State.HANGING:
            raise LlmfsError(f"the mount at {name} does not answer")
        case mounts.State.CLOSED:
            raise LlmfsError(f"the mount at {name} is another user's: it takes its owner, or root")
    cache_dir = health.says.get("cache_dir")
    if not isinstance(cache_dir, str):
        raise LlmfsError(f"the mount at {name} is of an llmfs that cannot be told anything: remount it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(ANSWER_S)
        try:
            with address(Path(cache_dir)) as path:
                stream.connect(path)
        except PermissionError:
            raise LlmfsError(f"the mount at {name} is another user's: it takes its owner, or root") from None
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
                raise LlmfsError(
                    f"the mount at {name} takes no commands: its log says why, or it is of another llmfs; remount it"
                ) from None
            raise LlmfsError(f"cannot reach the daemon of {name}: {reason(error)}") from error
        yield Connection(mount, stream)


@contextlib.contextmanager
def address(cache_dir: Path) -> Iterator[str]:
    """The socket's path, by way of a descriptor: a socket's own is 107 bytes long at most. Raises OSError."""
    descriptor = os.open(cache_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


def mount_of(path: str) -> mounts.Mount:
    """The mount that a path lies in. Raises UsageError where it is in none."""
    mount = mounts.above(path)
    if mount is None:
        raise UsageError(f"{one_line(path)} is in no mount of llmfs: llmfs status lists those there are")
    return mount


@contextlib.contextmanager
def named(path: str) -> Iterator[int]:
    """The inode number by which the daemon knows a file, for as long as the context lasts.

    Links are followed up to the last name, as the mount was found. Raises LlmfsError where there is no such file.
    """
    try:
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise LlmfsError(f"there is no {one_line(path)}") from None
        raise LlmfsError(f"cannot look at {one_line(path)}: {reason(error)}") from error
    try:
        yield os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)
