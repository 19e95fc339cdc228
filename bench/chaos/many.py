"""More open files, names and readers than a daemon likes."""

import os
import resource
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.chaos.place import Daemon, Result, Task, anonymous_mib, descriptors_of, slow_source
from llmfs.blocks import BLOCK_BYTES
from llmfs.machine_profile import DESKTOP
from llmfs.policy.line import PIECE_BYTES_MAX

_MIB = 1 << 20
_NAMES_IN_DIRECTORY = 1000
_OPEN_ONE_IN = 50
_WRITERS = 300
"""Files held open for writing while the tree is walked: those take a descriptor of the daemon's each."""

_INDEX_BYTES = 300  # a block of the cache, as ARCHITECTURE.md has it
_CACHE_BYTES = 1 << 30
_SAMPLE_S = 0.1


def many_handles(task: Task) -> Result:
    """Thousands of files open at the same time, each read."""
    count = task.amount(10_000, 1000)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + 200:
        return Result(skipped=f"ulimit -Hn is {hard}")
    result = Result(f"{count} files open at once, a byte of each read")
    source = task.directory / "source"
    source.mkdir()
    for number in range(count):
        (source / str(number)).write_bytes(bytes([number % 251]))
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    opened: list[int] = []
    with Daemon(source, task.directory, "--predictor", "off") as daemon:
        try:
            opened.extend(os.open(daemon.mountpoint / str(number), os.O_RDONLY) for number in range(count))
            right = sum(os.pread(fd, 1, 0) == bytes([number % 251]) for number, fd in enumerate(opened))
            result.check(right == count, f"{count - right} reads were wrong")
            held = daemon.metric("llmfs_open_handles")
            result.check(held >= count, f"the daemon counts {held:.0f} open files")
            result.figures = {"descriptors": descriptors_of(daemon.pid), "MiB": round(anonymous_mib(daemon.pid))}
        except OSError as error:
            result.failures.append(f"after {len(opened)} files: {error}")
        finally:
            for fd in opened:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        (daemon.mountpoint / "after").write_bytes(b"well")
        result.check((source / "after").read_bytes() == b"well", "it does not write afterwards")
    return result


def many_files(task: Task) -> Result:
    """A tree far larger than the daemon may have descriptors, walked, while files are open for writing."""
    count, limit = task.amount(200_000, 5000), 1024
    result = Result(f"{count} files walked with ulimit -n {limit}")
    source = task.directory / "source"
    for directory in range(count // _NAMES_IN_DIRECTORY):
        made = source / f"d{directory}"
        made.mkdir(parents=True)
        for number in range(_NAMES_IN_DIRECTORY):
            fd = os.open(f"{made}/{number}", os.O_WRONLY | os.O_CREAT, 0o644)
            if number % _OPEN_ONE_IN == 0:
                os.write(fd, f"{directory}/{number}".encode())
            os.close(fd)
    seen = most = 0
    with Daemon(source, task.directory, "--predictor", "sequential", descriptor_limit=limit) as daemon:
        held = [open(daemon.mountpoint / f"w{number}", "wb", buffering=0) for number in range(_WRITERS)]  # noqa: SIM115
        try:
            for place, _, names in os.walk(daemon.mountpoint / "."):
                for name in names:
                    os.lstat(os.path.join(place, name))
                    if name.isdigit() and int(name) % _OPEN_ONE_IN == 0:
                        said = Path(place, name).read_text()
                        right = said == f"{os.path.basename(place)[1:]}/{name}"
                        result.check(right, f"{place}/{name} is wrong")
                seen += sum(map(str.isdigit, names))
                most = max(most, descriptors_of(daemon.pid))
            for file in held:
                file.write(b"still open")
        except OSError as error:
            result.failures.append(f"after {seen} files: {error}")
        finally:
            for file in held:
                file.close()
        result.check(seen == count, f"{seen} of {count} files were listed")
        result.check((source / "w0").read_bytes() == b"still open", "what was held open was not written")
        result.figures = {"most descriptors": most, "MiB": round(anonymous_mib(daemon.pid))}
        result.check(most <= limit, f"{most} descriptors")
    return result


def memory(task: Task) -> Result:
    """Concurrent readers of large files. The daemon's own memory stays below what its constants add up to."""
    readers, size_mib = task.amount(64, 8), task.amount(64, 8)
    result = Result(f"{readers} readers of {size_mib} MiB each")
    stop = threading.Event()
    peak = 0.0
    with slow_source(task.directory) as (backing, slow):
        for number in range(readers):
            with open(backing / str(number), "wb") as file:
                for at in range(size_mib):
                    file.seek(at * _MIB)
                    file.write(_stamp(number, at))
                file.truncate(size_mib * _MIB)
        with Daemon(slow, task.directory, "--cache-size", str(_CACHE_BYTES)) as daemon:
            idle = anonymous_mib(daemon.pid)
            bound = idle + _bound_mib()

            def sample() -> None:
                nonlocal peak
                while not stop.wait(_SAMPLE_S):
                    peak = max(peak, anonymous_mib(daemon.pid))

            sampler = threading.Thread(target=sample)
            sampler.start()
            try:
                with ThreadPoolExecutor(readers) as pool:
                    paths = [daemon.mountpoint / str(number) for number in range(readers)]
                    wrong = sum(pool.map(_wrong_pieces, paths, range(readers)))
            finally:
                stop.set()
                sampler.join()
            result.check(not wrong, f"{wrong} pieces were wrong")
            result.check(peak <= bound, f"{peak:.0f} MiB, more than {bound:.0f}")
            result.figures = {"MiB idle": round(idle), "MiB at most": round(peak), "bound": round(bound)}
    return result


def _bound_mib() -> float:
    """What waits for the two stores, a batch gathered and one being written; blocks kept decoded; fetches on their
    way, ahead and asked for (data, and the answer put together from it); the index. A quarter more for the allocator.
    """
    stores = 2 * 2 * DESKTOP.write_behind_bytes
    hot = DESKTOP.hot_blocks * BLOCK_BYTES
    ahead = DESKTOP.prefetch_threads * PIECE_BYTES_MAX
    asked = DESKTOP.requests_at_once * 2 * BLOCK_BYTES
    index = _CACHE_BYTES // BLOCK_BYTES * _INDEX_BYTES
    return (stores + hot + ahead + asked + index) * 1.25 / _MIB


def _stamp(file: int, at: int) -> bytes:
    return struct.pack("<QQ", file + 1, at)


def _wrong_pieces(path: Path, number: int) -> int:
    """Reads the file in order; how many MiB of it are not what they should be."""
    nothing, wrong, at = bytes(_MIB), 0, 0
    with open(path, "rb", buffering=0) as file:
        while data := file.read(_MIB):
            while len(data) < _MIB and (more := file.read(_MIB - len(data))):
                data += more
            stamp = _stamp(number, at)
            wrong += data[: len(stamp)] != stamp or data[len(stamp) :] != nothing[len(stamp) :]
            at += 1
    return wrong + (at != os.stat(path).st_size // _MIB)
