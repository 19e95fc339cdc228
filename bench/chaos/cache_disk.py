"""The cache's disk full, emptied by somebody, read-only from the start or suddenly. Programs notice nothing of it."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.chaos.load import content, make_files
from bench.chaos.place import Daemon, Load, Result, Task, is_alive, slow_source
from bench.mounted import LlmfsFailedError

_DISK = "24m"
_CACHE = "16M"
_FRAGILE_BYTES = 64 << 20


def cache_disk(task: Task) -> Result:
    """Programs read and write while the cache loses the ground below it."""
    if os.geteuid() != 0:
        return Result(skipped="it mounts a tmpfs: as root")
    result = Result("the cache's disk full, deleted from, read-only")
    with slow_source(task.directory) as (backing, slow):
        names = make_files(backing, 300)
        troubles = [(_fill, _small_disk), (_delete, _small_disk)]
        if shutil.which("mkfs.ext4"):
            troubles.append((_break, _fragile_disk))
            result.done += ", suddenly read-only"
        for trouble, disk in troubles:
            place = task.directory / trouble.__name__
            (place / "cache").mkdir(parents=True)
            with disk(place / "cache"), Daemon(slow, place, "--cache-size", _CACHE) as daemon:
                _under_load(daemon, trouble, task, result)
                wrong = [name for name in names if (daemon.mountpoint / name).read_bytes() != content(name)]
                result.check(not wrong, f"{trouble.__doc__}: {len(wrong)} files are wrong")
                result.check(is_alive(daemon.pid), f"{trouble.__doc__}: the daemon has ended")
                result.figures[f"faults, {trouble.__doc__}"] = daemon.metric("llmfs_faults_total", "blocks")
                _again(daemon, trouble.__doc__ or "", names, result)
        _read_only(task, slow, result)
    return result


def _under_load(daemon: Daemon, trouble: object, task: Task, result: Result) -> None:
    assert callable(trouble)
    notes = task.directory / "notes"
    with (
        Load("read", daemon.mountpoint, "1") as reader,
        Load("keep", daemon.mountpoint, "k", notes) as keeper,
    ):
        time.sleep(1.0)
        trouble(daemon.cache_dir)
        time.sleep(task.amount(10, 2))
        for load in (reader, keeper):
            complaint = load.stop()
            result.check(not complaint, f"{trouble.__doc__}: {complaint}")
    for name in notes.read_text().split():
        same = (daemon.mountpoint / name).read_bytes() == content(name)
        result.check(same, f"{trouble.__doc__}: {name} is not what was written")


def _again(daemon: Daemon, trouble: str, names: list[str], result: Result) -> None:
    """What is left of the cache misleads no later mount, which may refuse it in a line where it cannot write."""
    try:
        daemon.umount()
        daemon.mount()
    except LlmfsFailedError as error:
        result.check("Traceback" not in str(error), f"{trouble}, mounted again: {error}")
        result.check(trouble != _delete.__doc__, f"{trouble}, mounted again: {error}")
        return
    wrong = [name for name in names if (daemon.mountpoint / name).read_bytes() != content(name)]
    result.check(not wrong, f"{trouble}, mounted again: {len(wrong)} files are wrong")


def _read_only(task: Task, source: Path, result: Result) -> None:
    """Mounting on a disk that is read-only already."""
    place = task.directory / "read-only"
    (place / "cache").mkdir(parents=True)
    with _small_disk(place / "cache"):
        subprocess.run(["mount", "-o", "remount,ro", place / "cache"], check=True, capture_output=True)
        try:
            with Daemon(source, place, "--cache-size", _CACHE):
                pass
        except LlmfsFailedError as error:
            result.check("Traceback" not in str(error) and str(error).count("\n") == 0, f"read-only: {error}")
        else:
            result.failures.append("read-only: mounted, and nobody was told that there is no cache")


@contextmanager
def _small_disk(path: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK},mode=700", "llmfs-chaos", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=False, capture_output=True)


@contextmanager
def _fragile_disk(path: Path) -> Iterator[None]:
    """A disk that its file system makes read-only when it finds an error on it, as ext4 does by default on Debian."""
    image = path.parent / "disk.img"
    with open(image, "wb") as file:
        file.truncate(_FRAGILE_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop,errors=remount-ro", image, path], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=False, capture_output=True)


def _break(cache_dir: Path) -> None:
    """found damaged, and read-only since"""
    device = os.stat(cache_dir).st_dev
    name = os.path.basename(os.readlink(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"))
    Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("a test", encoding="ascii")


def _fill(cache_dir: Path) -> None:
    """full"""
    with open(cache_dir / "somebody-else", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 12))


def _delete(cache_dir: Path) -> None:
    """deleted"""
    for part in ("meta", "blocks", "trace"):
        shutil.rmtree(cache_dir / part, ignore_errors=True)
