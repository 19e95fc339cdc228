"""Requests that wait long: a program that is killed gets its answer, and nobody waits for a dead source for ever.

A request that the daemon has read from /dev/fuse keeps its program in an uninterruptible wait until it is answered (the
kernel's fuse_wait_answer, fs/fuse/dev.c). The kernel says FUSE_INTERRUPT when a signal comes, but pyfuse3 does not pass
that on. So the requests that wait longer than `LOOK_AFTER_S` are looked at four times a second: one whose process has a
deadly signal pending (/proc/PID/status) is answered EINTR, one that has waited for the source's time-out ETIMEDOUT.

A cancel scope costs 4-9 us a request, so it is not made while the source is local and fast: what waits there is the
disk.
"""

import errno
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import trio

T = TypeVar("T")

LOOK_AFTER_S = 0.5
LOOK_EVERY_S = 0.25

_DEADLY = sum(
    1 << (number - 1) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM)
)


class _Wait:
    """A request that is being answered."""

    __slots__ = ("errno", "pid", "scope", "started_s")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.started_s = trio.current_time()
        self.scope = trio.CancelScope()
        self.errno = 0


class Patience:
    """Watches over the requests that wait."""

    def __init__(self, source_timeout_s: float | None, is_needed: Callable[[], bool] = lambda: True) -> None:
        """`source_timeout_s`: how long a request may wait for the source; None: for ever."""
        self.timeout_s = source_timeout_s
        self._is_needed = is_needed
        self._waits: dict[_Wait, None] = {}

    async def watch(self, handler: Coroutine[Any, Any, T], pid: int) -> T:
        """The handler's answer. Raises OSError (EINTR, ETIMEDOUT) where it was given up."""
        if not self._is_needed():
            return await handler
        wait = _Wait(pid)
        self._waits[wait] = None
        try:
            with wait.scope:
                return await handler
        finally:
            del self._waits[wait]
        raise OSError(wait.errno, os.strerror(wait.errno))

    async def run(self) -> None:
        """Look after those who wait, until cancelled."""
        while True:
            await trio.sleep(LOOK_EVERY_S)
            now_s = trio.current_time()
            for wait in list(self._waits):
                age_s = now_s - wait.started_s
                if age_s < LOOK_AFTER_S:
                    break  # they are in the order of their arrival
                if self.timeout_s is not None and age_s > self.timeout_s:
                    wait.errno = errno.ETIMEDOUT
                elif has_deadly_signal(wait.pid):
                    wait.errno = errno.EINTR
                else:
                    continue
                wait.scope.cancel()


def has_deadly_signal(pid: int) -> bool:
    """Whether a signal that should end the process is pending for a thread of it, and not blocked."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            masks = dict(line.split(":\t", 1) for line in status if line.startswith(("SigPnd", "ShdPnd", "SigBlk")))
        pending = int(masks["SigPnd"], 16) | int(masks["ShdPnd"], 16)
        return bool(pending & ~int(masks["SigBlk"], 16) & _DEADLY)
    except (OSError, KeyError, ValueError):
        return False
