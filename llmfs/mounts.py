"""The mounts of this machine: finding them, asking them how they are, taking them down.

A mount is what /proc/self/mountinfo lists with the type `fuse.llmfs`; there is no registry beside it that
could be out of date. How it is, it says itself: an extended attribute of its root is answered by the daemon
with JSON. Nothing here waits for a daemon without end: one that hangs is reported as hanging.
"""

import contextlib
import ctypes
import errno
import json
import os
import re
import subprocess
import threading
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from llmfs.cache_dir import CacheDir
from llmfs.errors import LlmfsError, MountError, UsageError, one_line, reason, show

FILE_SYSTEM_TYPE = "fuse.llmfs"
STATUS_ATTRIBUTE = "user.llmfs.status"
EXPLAIN_ATTRIBUTE = "user.llmfs.explain"

_ANSWER_S = 5.0
"""A daemon that has not answered for so long is reported as hanging; its answer needs no source."""
_EXIT_S = 60.0
"""How long `unmount` waits for the daemon: the predictor saves what it learned."""
_POLL_S = 0.02

_MOUNTINFO = "/proc/self/mountinfo"
_CONNECTIONS = "/sys/fs/fuse/connections"

_libc = ctypes.CDLL(None)
_MNT_FORCE = 1


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the mount table."""

    mountpoint: Path
    source: str
    connection: int = 0
    """The kernel's number for what joins the mount and its daemon: the minor device number of the file system."""


class State(StrEnum):
    LIVE = "live"
    DEAD = "dead"  # the daemon is gone, the mount is not
    HANGING = "not answering"
    CLOSED = "no access"  # another user's


@dataclass(frozen=True, slots=True)
class Health:
    """A mount, the state it is in, and what it says of itself when it is live."""

    mount: Mount
    state: State
    says: dict[str, Any] = field(default_factory=dict)


def find() -> list[Mount]:
    """The mounts of llmfs, in the order in which they were made."""
    return [mount for mount, kind in _table() if kind == FILE_SYSTEM_TYPE]


def at(path: str) -> Mount | None:
    """The mount of llmfs at `path`, or None. Where mounts are stacked, the uppermost counts."""
    for candidate in _names(path):
        for mount, kind in reversed(_table()):
            if mount.mountpoint == candidate:
                return mount if kind == FILE_SYSTEM_TYPE else None
    return None


def ask(mount: Mount) -> Health:
    """How a mount is. Takes no longer than a few seconds, whatever the daemon does."""
    match _attribute(mount.mountpoint, STATUS_ATTRIBUTE):
        case bytes(text):
            return Health(mount, State.LIVE, _table_of(text) or {})
        case OSError(errno=errno.ENOTCONN | errno.ECONNABORTED):
            return Health(mount, State.DEAD)
        case OSError(errno=errno.EACCES | errno.EPERM):
            return Health(mount, State.CLOSED)
        case OSError():
            return Health(mount, State.LIVE)  # it answers, though not this question
        case _:
            return Health(mount, State.HANGING)


def above(path: str) -> Mount | None:
    """The mount of llmfs that `path` lies in, or None. Where mounts are stacked, the uppermost counts."""
    try:
        unresolved = Path(os.path.normpath(os.path.abspath(path)))
        # As it is written first: to resolve it asks the mount, which may be dead or hang.
        return _above(unresolved) or _above(Path(os.path.realpath(path)))
    except ValueError:
        raise UsageError("a path cannot contain a null byte") from None


def _above(path: Path) -> Mount | None:
    uppermost = {mount.mountpoint: (mount, kind) for mount, kind in _table()}
    for place in (path, *path.parents):
        if place in uppermost:
            mount, kind = uppermost[place]
            return mount if kind == FILE_SYSTEM_TYPE else None
    return None


def explain(path: str, mount: Mount) -> dict[str, Any]:
    """What the daemon of `mount` tells of the file at `path`. Raises LlmfsError with what to do where it does not."""
    match _attribute(Path(path), EXPLAIN_ATTRIBUTE):
        case bytes(text) if (says := _table_of(text)) is not None:
            return says
        case OSError(errno=errno.ENOENT | errno.ENOTDIR):
            raise LlmfsError(f"there is no {one_line(path)}")
        case OSError(errno=errno.ENOTCONN | errno.ECONNABORTED):
            name = show(mount.mountpoint)
            raise LlmfsError(f"the mount at {name} is dead: clean up with llmfs umount {name}")
        case OSError(errno=errno.EACCES | errno.EPERM):
            raise LlmfsError(f"{one_line(path)} may not be read by you, or is neither a file nor a directory")
        case OSError(errno=errno.ENODATA | errno.ENOTSUP):
            raise LlmfsError(f"the mount at {show(mount.mountpoint)} is of an llmfs that cannot explain: remount it")
        case OSError() as error:
            raise LlmfsError(f"cannot ask about {one_line(path)}: {reason(error)}") from error
        case None:
            raise LlmfsError(f"the mount at {show(mount.mountpoint)} does not answer")
        case _:
            raise LlmfsError(f"the mount at {show(mount.mountpoint)} gave an answer that makes no sense")


def _attribute(path: Path, name: str) -> bytes | OSError | None:
    """An extended attribute; None where no answer comes.

    Nothing interrupts a system call on a hanging mount but the end of the process: hence a thread that may stay.
    """
    answer: list[bytes | OSError] = []

    def get() -> None:
        try:
            answer.append(os.getxattr(path, name))
        except OSError as error:
            answer.append(error)

    thread = threading.Thread(target=get, daemon=True)
    thread.start()
    thread.join(_ANSWER_S)
    return answer[0] if answer else None


def _table_of(text: bytes) -> dict[str, Any] | None:
    try:
        says = json.loads(text)
    except ValueError:
        return None
    return says if isinstance(says, dict) else None


def unmount(path: str, *, lazy: bool = False, force: bool = False) -> str:
    """Takes the mount at `path` down, dead or alive; returns the line that says so.

    A live one's daemon has exited on return, so that its cache can be mounted again at once; a `lazy` one
    lives on until its last file is closed. By `force` what joins it to its daemon is cut first: whoever waits for it
    gets an error, which ends even waits that no signal ends. Raises UsageError where there is no such mount,
    MountError where it stays.
    """
    mount = at(path)
    if mount is None:
        raise UsageError(_no_mount(path))
    name = show(mount.mountpoint)
    if force:
        _cut(mount)
        if at(path) is None:
            return _ended(name)
    health = ask(mount)
    if health.state is State.HANGING and not lazy:
        how = f"llmfs umount --force {name}"
        raise MountError(f"the mount at {name} does not answer: end it with {'root rights: ' if force else ''}{how}")
    command = ["fusermount3", "-u", *(["-z"] if lazy or force else []), "--", os.fspath(mount.mountpoint)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        raise MountError("fusermount3 is missing: llmfs doctor says how to get it") from None
    if done.returncode != 0:
        if health.state is State.CLOSED:
            raise MountError(f"the mount at {name} is another user's: it takes its owner, or root, to unmount it")
        raise MountError(_why_it_stays(mount, one_line(os.fsdecode(done.stderr).strip()), lazy=lazy or force))
    if force:
        return _ended(name)
    if lazy:
        return f"{name} is detached; its daemon exits when the last file there is closed"
    if health.state is State.LIVE and not _wait_for_exit(health.says):
        raise MountError(f"{name} is unmounted, but its daemon (pid {health.says.get('pid')}) has not exited yet")
    return f"{name} is unmounted"


def _ended(name: str) -> str:
    return f"{name} is unmounted; programs that had files open there get errors"


def _cut(mount: Mount) -> None:
    """Ends the connection between the kernel and the daemon: all requests, those that wait too, fail.

    A daemon that was killed may still hold it: one of its threads can be in the kernel, uninterruptibly, waiting for a
    page that a read holds which the daemon was to answer. See fs/fuse/control.c of the kernel. Raises MountError.
    """
    try:
        with open(f"{_CONNECTIONS}/{mount.connection}/abort", "w", encoding="ascii") as file:
            file.write("1")
    except FileNotFoundError:
        # It is cut already; or that file system is not mounted (a container): umount2(2) does the same for root, and
        # unmounts what is not busy. What came of it is for the caller to see.
        if os.geteuid() == 0:
            _libc.umount2(os.fsencode(mount.mountpoint), _MNT_FORCE)
    except OSError as error:
        raise MountError(
            f"cannot cut off {show(mount.mountpoint)}: {reason(error)}: it takes its owner, or root"
        ) from error


def _wait_for_exit(says: dict[str, Any]) -> bool:
    """Whether the daemon has let go of its cache. Its pid would not do: it may count in another namespace."""
    cache_dir = says.get("cache_dir")
    if not isinstance(cache_dir, str):
        return True
    cache = CacheDir(Path(cache_dir))
    deadline = time.monotonic() + _EXIT_S
    while (holder := cache.holder()) is not None and holder.pid == says.get("pid", holder.pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _why_it_stays(mount: Mount, complaint: str, *, lazy: bool) -> str:
    name = show(mount.mountpoint)
    if "busy" not in complaint or lazy:
        return f"cannot unmount {name}: {complaint.removeprefix('fusermount3: ') or 'fusermount3 failed'}"
    users = _users(mount.mountpoint)
    by = f" ({', '.join(users)})" if users else ""
    return f"{name} is busy{by}: close what uses it, or detach it with llmfs umount --lazy {name}"


def _users(mountpoint: Path) -> list[str]:
    """Up to three processes that keep the mount busy. Reads links alone, which asks the mount nothing."""
    inside = (os.fspath(mountpoint), os.fspath(mountpoint) + "/")
    users = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        links = [f"/proc/{pid}/cwd", f"/proc/{pid}/root"]
        with contextlib.suppress(OSError):
            links += [f"/proc/{pid}/fd/{each}" for each in os.listdir(f"/proc/{pid}/fd")]
        for link in links:
            with contextlib.suppress(OSError):
                target = os.readlink(link)
                if target == inside[0] or target.startswith(inside[1]):
                    with open(f"/proc/{pid}/comm", errors="replace") as file:
                        users.append(f"{one_line(file.read().strip())}, pid {pid}")
                    break
        if len(users) == 3:
            break
    return users


def _no_mount(path: str) -> str:
    for candidate in _names(path):
        for mount, kind in _table():
            if mount.mountpoint == candidate:
                return f"{show(candidate)} is a mount of another kind ({one_line(kind)}), not of llmfs"
    return f"nothing is mounted at {show(_names(path)[-1])}: llmfs status lists the mounts"


def _names(path: str) -> list[Path]:
    """What `path` may be called in the mount table.

    The first resolves all but the last name, for resolving that asks the mount, which may be dead or hang.
    """
    try:
        path = os.path.normpath(os.path.abspath(path))
        parent = os.path.realpath(os.path.dirname(path))
        unresolved = Path(os.path.join(parent, os.path.basename(path)))
        if any(mount.mountpoint == unresolved for mount, _ in _table()):
            return [unresolved]
        return [unresolved, Path(os.path.realpath(path))]
    except ValueError:
        raise UsageError("a path cannot contain a null byte") from None


def _table() -> list[tuple[Mount, str]]:
    """The mount table: each mount and its file system's type. See proc_pid_mountinfo(5)."""
    try:
        with open(_MOUNTINFO, "rb") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise MountError(f"cannot read {_MOUNTINFO}: {reason(error)}") from error
    table = []
    for line in lines:
        before, _, after = line.partition(b" - ")
        fields, (kind, source, *_) = before.split(b" "), after.split(b" ")
        mount = Mount(Path(_unescape(fields[4])), _unescape(source), int(fields[2].rpartition(b":")[2]))
        table.append((mount, kind.decode("ascii", "replace")))
    return table


def _unescape(text: bytes) -> str:
    """A field of the mount table: space, tab, newline and backslash stand there in octal."""
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), text))
