"""Whether a mount can be: every question that can be answered before anything is made is asked here.

What the words of the command line rule out is a UsageError; what this machine rules out as it is now, a
MountError or a CacheError. A race between a check and the mount is harmless: the mount fails then, with a
line that is less kind.
"""

import os
import shutil
import socket
import stat
from pathlib import Path
from typing import NamedTuple

from llmfs import mounts
from llmfs.cache_dir import CacheDir
from llmfs.config import MountConfig
from llmfs.errors import CacheInUseError, MountError, UsageError, reason, show

METRICS_ADDRESS = "127.0.0.1"
FUSE_DEVICE = "/dev/fuse"
FUSE_CONFIGURATION = "/etc/fuse.conf"
INSTALL_FUSE = "sudo apt install fuse3 (Fedora: sudo dnf install fuse3)"


def check(config: MountConfig) -> None:
    """Raises LlmfsError with the first thing that stands in the way of this mount. Changes nothing."""
    if not config.is_offline_ok or os.path.lexists(config.source):
        _check_source(config.source, config.is_offline_ok)
    _check_mountpoint(config.mountpoint)
    _check_apart(config)
    for complaint in (fuse_device(), fusermount(), allow_other() if config.allow_other else None):
        if complaint:
            raise MountError(f"{complaint.what}: {complaint.fix}")
    if config.metrics_port:
        _check_port(config.metrics_port)
    _check_cache(config)


class Complaint(NamedTuple):
    """What stands in the way, and the command that removes it."""

    what: str
    fix: str


def fuse_device() -> Complaint | None:
    """What is wrong with /dev/fuse."""
    try:
        is_device = stat.S_ISCHR(os.stat(FUSE_DEVICE).st_mode)
    except OSError:
        is_device = False
    if not is_device:
        return Complaint(
            f"there is no {FUSE_DEVICE}",
            f"modprobe fuse (in a container: docker run --device {FUSE_DEVICE} --cap-add SYS_ADMIN)",
        )
    if not os.access(FUSE_DEVICE, os.R_OK | os.W_OK, effective_ids=True):
        return Complaint(f"{FUSE_DEVICE} is closed to you", f"sudo chmod 666 {FUSE_DEVICE}")
    return None


def fusermount() -> Complaint | None:
    """What is wrong with fusermount3."""
    if shutil.which("fusermount3") is None:
        return Complaint("fusermount3 is missing", INSTALL_FUSE)
    return None


def allow_other() -> Complaint | None:
    """Why allow_other is not open to this user."""
    if os.geteuid() == 0:
        return None
    try:
        with open(FUSE_CONFIGURATION, errors="replace") as file:
            lines = [line.strip() for line in file]
    except OSError:
        lines = []
    if "user_allow_other" in lines:
        return None
    return Complaint("--allow-other is not allowed here", f"echo user_allow_other | sudo tee -a {FUSE_CONFIGURATION}")


def _check_source(source: Path, is_offline_ok: bool = False) -> None:
    name = show(source)
    try:
        mode = os.stat(source).st_mode
    except FileNotFoundError:
        raise UsageError(f"there is no source {name}") from None
    except OSError as error:
        if is_offline_ok:
            return
        raise MountError(f"cannot read the source {name}: {reason(error)}") from error
    if not stat.S_ISDIR(mode):
        raise UsageError(f"the source {name} is not a directory")
    if not os.access(source, os.R_OK | os.X_OK, effective_ids=True):
        raise MountError(f"cannot read the source {name}: permission denied")


def _check_mountpoint(mountpoint: Path) -> None:
    name = show(mountpoint)
    if (mounted := mounts.at(os.fspath(mountpoint))) is not None:
        state = mounts.ask(mounted).state
        what = "a dead mount" if state is mounts.State.DEAD else "a mount of llmfs already"
        raise MountError(f"there is {what} at {name}: take it down with llmfs umount {name}")
    try:
        mode = os.stat(mountpoint).st_mode
    except FileNotFoundError:
        raise UsageError(f"there is no mount point {name}: make it with mkdir {name}") from None
    except OSError as error:
        raise MountError(f"cannot use the mount point {name}: {reason(error)}") from error
    if not stat.S_ISDIR(mode):
        raise UsageError(f"the mount point {name} is not a directory")
    if not os.access(mountpoint, os.W_OK, effective_ids=True):
        # fusermount3 insists on it: a user must not hide a directory that is not his to change.
        raise MountError(f"cannot mount at {name}: you need write permission there")


def _check_apart(config: MountConfig) -> None:
    """Each of the three directories must lie outside the others, or the mount would serve or cache itself."""
    source, mountpoint, cache_dir = show(config.source), show(config.mountpoint), show(config.cache_dir)
    elsewhere = "name one elsewhere with --cache-dir"
    if _same(config.source, config.mountpoint):
        raise UsageError(f"source and mount point are the same directory, {source}")
    if _contains(config.source, config.mountpoint):
        raise UsageError(f"the mount point {mountpoint} lies inside the source {source}")
    if _contains(config.mountpoint, config.source):
        raise UsageError(f"the source {source} lies inside the mount point {mountpoint}")
    if _contains(config.source, config.cache_dir):
        raise UsageError(f"the cache directory {cache_dir} lies inside the source {source}: {elsewhere}")
    if _contains(config.mountpoint, config.cache_dir):
        raise UsageError(f"the cache directory {cache_dir} lies inside the mount point {mountpoint}: {elsewhere}")
    if _contains(config.cache_dir, config.source):
        raise UsageError(f"the source {source} lies inside the cache directory {cache_dir}: {elsewhere}")
    if _contains(config.cache_dir, config.mountpoint):
        raise UsageError(f"the mount point {mountpoint} lies inside the cache directory {cache_dir}: {elsewhere}")


def _contains(outer: Path, inner: Path) -> bool:
    """Whether `inner` is `outer` or lies below it, under whatever name: bind mounts count too."""
    return any(_same(outer, each) for each in (inner, *inner.parents))


def _same(one: Path, other: Path) -> bool:
    if one == other:
        return True
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the endpoint does
        try:
            probe.bind((METRICS_ADDRESS, port))
        except OSError as error:
            raise MountError(
                f"cannot serve metrics on port {port}: {reason(error)}; --metrics-port 0 takes any free one"
            ) from error


def _check_cache(config: MountConfig) -> None:
    cache = CacheDir(config.cache_dir)
    cache.check(config.source)
    if cache.holder() is not None:
        raise CacheInUseError(cache.in_use())
