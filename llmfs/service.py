"""What a service manager expects of a daemon: to be told how it is, and a log that it can sort.

Nothing here is needed where there is none: without NOTIFY_SOCKET and JOURNAL_STREAM in the environment it does nothing.
See sd_notify(3), systemd.exec(5), sd-daemon(3).
"""

import contextlib
import logging
import os
import socket
import time

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))
"""The least level of each of syslog's priorities."""


def notify(*lines: str) -> bool:
    """Tells the service manager, such as `READY=1`. Whether there is one that takes it."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as stream:
        stream.connect(address)
        stream.sendall("\n".join(lines).encode())
        return True
    return False


def reloading() -> None:
    """Tells it that the configuration is read again; `READY=1` follows. The time is for Type=notify-reload."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def is_journal(descriptor: int) -> bool:
    """Whether what is written there goes to the journal: JOURNAL_STREAM names its device and inode."""
    try:
        there = os.fstat(descriptor)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{there.st_dev}:{there.st_ino}"


class JournalFormatter(logging.Formatter):
    """Lines with a priority before them and no time: the journal has its own. Every line of a traceback has one."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        priority = next(priority for level, priority in _PRIORITIES if record.levelno >= level)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())
