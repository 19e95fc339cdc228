"""A directory that is really slow, fails when told to, and counts what reached it.

    with SlowDir(backing, mountpoint, latency_s=0.002) as slow:
        slow.fail(["read"], errno.EIO, name_contains="weights")
        ...
        print(slow.counters["read"], slow.counters["bytes_read"])

The file system itself is C (slowdir.c): it serves tens of thousands of requests a second, hundreds at once,
so that what is measured over it is the latency asked for and not its own. This module starts it, talks to it
through one page of shared memory, and ends it. However this process ends, slowdir unmounts itself.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.slowdir.build import BuildError, binary
from bench.slowdir.control import Control, Word

__all__ = ["FREE_BY_DEFAULT", "BuildError", "SlowDir"]

# What costs a network filesystem no round trip that somebody waits for. A flush has nothing to do: what was
# written went through.
FREE_BY_DEFAULT = ("flush", "forget", "release", "releasedir")

_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 5.0


class SlowDir:
    """`backing`, seen at `mountpoint` with a delay for each request. A context manager.

    latency_s: how long each request waits, but those of `free_operations`.
    bandwidth_bytes_s: what all reads and writes share; None is unlimited.
    entry_timeout_s, attr_timeout_s, negative_timeout_s: how long the kernel may believe names, attributes (by
        default as long as names) and that a name is not there.
    threads: how many requests may wait at once; max_background: how many of them may be readahead.
    has_ctime: False: the time of the contents' last change stands for that of any change, as in sshfs, for SFTP has no
        other. So files that were copied a minute ago can be old.
    options: further mount options, such as "allow_other" or "ro".
    """

    def __init__(
        self,
        backing: Path,
        mountpoint: Path,
        latency_s: float = 0.002,
        bandwidth_bytes_s: float | None = None,
        *,
        entry_timeout_s: float = 1.0,
        attr_timeout_s: float | None = None,
        negative_timeout_s: float = 0.0,
        free_operations: Iterable[str] = FREE_BY_DEFAULT,
        threads: int = 256,
        max_background: int = 256,
        has_ctime: bool = True,
        options: Iterable[str] = (),
    ) -> None:
        self.backing = backing.resolve()
        self.mountpoint = mountpoint.resolve()
        self._latency_s = latency_s
        self._bandwidth_bytes_s = bandwidth_bytes_s
        self._fixed = {
            Word.ENTRY_TIMEOUT_NS: _ns(entry_timeout_s),
            Word.ATTR_TIMEOUT_NS: _ns(entry_timeout_s if attr_timeout_s is None else attr_timeout_s),
            Word.NEGATIVE_TIMEOUT_NS: _ns(negative_timeout_s),
            Word.THREADS: threads,
            Word.MAX_BACKGROUND: max_background,
            Word.HAS_CTIME: has_ctime,
        }
        self._free_operations = tuple(free_operations)
        self._options = ("fsname=slowdir", "subtype=slowdir", "default_permissions", *options)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: Control | None = None
        self._baseline: dict[str, int] = {}

    # -- life

    def __enter__(self) -> Self:
        self.mount()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.unmount()

    def mount(self) -> None:
        """Mounts; returns when the first request would be answered. Raises BuildError, RuntimeError."""
        if self._process is not None:
            raise RuntimeError(f"{self.mountpoint} is mounted already")
        program = binary()
        self._control = Control()
        for index, value in self._fixed.items():
            self._control[index] = value
        try:
            self._process = subprocess.Popen(
                [program, self.backing, self.mountpoint, self._control.path, "-o", ",".join(self._options)],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,  # Ctrl-C is for us: what is mounted over it goes first
            )
            self._await_ready(self._process, self._control)
            self._control[Word.FREE_MASK] = self._control.mask(self._free_operations)
            self.set_latency(self._latency_s)
            self.set_bandwidth(self._bandwidth_bytes_s)
        except BaseException:
            self.unmount()
            raise
        self.reset_counters()

    def unmount(self) -> None:
        """Unmounts, also while files are open or requests hang: those end with an error. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            self._end(process)
        if self._control is not None:
            self._control.close()
            self._control = None

    def _await_ready(self, process: subprocess.Popen[bytes], control: Control) -> None:
        for _ in _until(_START_TIMEOUT_S):
            if control[Word.READY]:
                return
            if process.poll() is not None:
                reason = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
                raise RuntimeError(f"slowdir could not mount {self.mountpoint}: {reason}")
        raise RuntimeError(f"slowdir was not ready within {_START_TIMEOUT_S:.0f} s")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()  # it wakes what hangs, unmounts lazily and leaves
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            command = ["fusermount3", "-u", "-z", "-q", str(self.mountpoint)]
            subprocess.run(command, check=False, stderr=subprocess.DEVNULL)
        if process.stderr is not None:
            process.stderr.close()

    @property
    def control(self) -> Control:
        """The shared page. Raises RuntimeError when it is not mounted."""
        if self._control is None:
            raise RuntimeError(f"{self.mountpoint} is not mounted")
        return self._control

    @property
    def pid(self) -> int:
        """Of the process that serves. Raises RuntimeError when it is not mounted."""
        if self._process is None:
            raise RuntimeError(f"{self.mountpoint} is not mounted")
        return self._process.pid

    # -- what reached it

    @property
    def counters(self) -> dict[str, int]:
        """Since the last reset: requests of each operation, and bytes_read, bytes_written, delayed (how
        many requests had to wait), delayed_ns (for how long) and faulted (how many failed on purpose)."""
        return {name: value - self._baseline.get(name, 0) for name, value in self._raw_counters().items()}

    @property
    def requests(self) -> int:
        """Since the last reset: the requests that somebody waited for."""
        counters = self.counters
        return sum(counters[name] for name in self.control.operations() if name not in self._free_operations)

    @property
    def hung(self) -> int:
        """How many requests hang now."""
        return self.control[Word.HUNG]

    @property
    def peak_waiting(self) -> int:
        """How many requests were waiting at once, at most, since the last reset."""
        return self.control[Word.PEAK_WAITING]

    def reset_counters(self) -> None:
        self._baseline = self._raw_counters()
        self.control[Word.PEAK_WAITING] = 0

    def _raw_counters(self) -> dict[str, int]:
        control = self.control
        raw = {name: control[Word.REQUESTS + bit] for name, bit in control.operations().items()}
        for word in (Word.BYTES_READ, Word.BYTES_WRITTEN, Word.DELAYED, Word.DELAYED_NS, Word.FAULTED):
            raw[word.name.lower()] = control[word]
        return raw

    # -- how it behaves

    def set_latency(self, latency_s: float) -> None:
        """From the next request on."""
        self.control[Word.LATENCY_NS] = _ns(latency_s)

    def set_bandwidth(self, bandwidth_bytes_s: float | None) -> None:
        """From the next request on; None is unlimited."""
        self.control[Word.BANDWIDTH_BYTES_S] = max(1, int(bandwidth_bytes_s)) if bandwidth_bytes_s else 0

    def fail(self, operations: Iterable[str], errno: int, name_contains: str | bytes | None = None) -> None:
        """These operations fail with `errno` until healed; only where the name contains `name_contains`.

        The name is the last component, as last looked up; a rename goes by both. Replaces an earlier `fail`.
        """
        control = self.control
        mask = control.mask(operations)
        control[Word.FAULT_MASK] = 0
        control.set_fault_name(os.fsencode(name_contains or b""))
        control[Word.FAULT_ERRNO] = errno
        control[Word.FAULT_MASK] = mask

    def hang(self, operations: Iterable[str], name_contains: str | bytes | None = None) -> None:
        """These operations are not answered until healed or unmounted; a program that waits can be killed.

        Each takes one of `threads`. Replaces an earlier `hang`, without waking what hangs already.
        """
        control = self.control
        mask = control.mask(operations)
        control[Word.HANG_MASK] = 0
        control.set_hang_name(os.fsencode(name_contains or b""))
        control[Word.HANG_MASK] = mask

    def heal(self) -> None:
        """No more faults and hangs; what hung goes on."""
        control = self.control
        control[Word.FAULT_MASK] = control[Word.HANG_MASK] = 0
        control[Word.HEAL_GENERATION] += 1

    def drop_kernel_caches(self, timeout_s: float = 30.0) -> None:
        """Makes the kernel forget all it caches of this mount: names, attributes and (if not in use) pages.

        By notifying the kernel of every inode that it knows: needs no root, touches no other filesystem, and
        works while files are open or another filesystem is mounted over this one. That a name is not there is
        forgotten only by `negative_timeout_s`. Raises TimeoutError when a page of a hanging read is in the
        way.
        """
        process, control = self._process, self.control
        assert process is not None and process.stdin is not None
        drops_done = control[Word.DROPS_DONE]
        process.stdin.write(b"d")
        process.stdin.flush()
        for _ in _until(timeout_s):
            if control[Word.DROPS_DONE] > drops_done:
                return
        raise TimeoutError(f"the kernel did not drop its caches of {self.mountpoint} within {timeout_s:g} s")


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _until(timeout_s: float) -> Iterator[None]:
    """Once a millisecond, for so long."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        yield
        time.sleep(0.001)
