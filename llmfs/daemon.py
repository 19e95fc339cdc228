"""Going to the background: the command returns when the mount is ready, as sshfs does, or says why it is not.

    parent   forks, reads the pipe until the child says "ready" or closes it, reports, exits
    child    a session of its own, no terminal, no descriptors of the caller's, working directory /, a log
    file

*Invariant*: no thread exists when we fork, so nothing that may start one (trio, torch, pyfuse3) is imported
before. The umask is the caller's, for the files that programs will make through the mount are theirs.
"""

import contextlib
import faulthandler
import json
import logging
import logging.handlers
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from io import TextIOWrapper
from pathlib import Path

from llmfs import service
from llmfs.config import LogLevel
from llmfs.errors import LlmfsError, MountError, one_line, show

LOG_BYTES = 1 << 20
"""A log and its predecessor are kept, of this size each."""

_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_log = logging.getLogger(__name__)


class DaemonError(MountError):
    """The daemon broke down instead of saying what is in its way: what it wrote is to be kept."""


Serve = Callable[[Callable[[], None]], None]
"""Serves until unmounted; calls its argument once, when the mount answers."""


def serve_in_foreground(serve: Serve) -> None:
    """Serves in this process and logs to stderr.

    Raises what `serve` raises before the mount is ready, and a DaemonError where it breaks down later.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(service.JournalFormatter() if service.is_journal(2) else logging.Formatter(_LOG_FORMAT))
    _log_to(handler)
    _say_what_kills()
    is_ready = False

    def ready() -> None:
        nonlocal is_ready
        is_ready = True
        service.notify("READY=1")

    try:
        with _unwrapped():
            serve(ready)
    except LlmfsError as error:
        if is_ready:
            raise DaemonError(str(error)) from error
        raise
    except KeyboardInterrupt:
        if not is_ready:
            raise


def serve_in_background(serve: Serve, log: Path) -> None:
    """Returns when a process in the background serves the mount. Raises MountError where it could not come
    up.

    An LlmfsError of the child's arrives with its own words; for anything else it is a DaemonError that names
    the log.
    """
    assert threading.active_count() == 1, "a fork would lose the other threads and keep their locks"
    sys.stdout.flush()
    sys.stderr.flush()
    from_child, to_parent = os.pipe()
    child = os.fork()
    if child == 0:
        _run_child(serve, log, to_parent)
    os.close(to_parent)
    with open(from_child, "rb") as pipe:
        try:
            said = pipe.read()  # until the child is ready or gone: it is the only one to hold the other end
        except KeyboardInterrupt:
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)
            raise
    if said == b"ready":
        return
    _, status = os.waitpid(child, 0)
    if said:
        kind, message = json.loads(said)
        raise DaemonError(message) if kind == "bug" else MountError(message)
    code = os.waitstatus_to_exitcode(status)
    how = f"was killed by signal {-code}" if code < 0 else f"exited with status {code}"
    raise DaemonError(f"llmfs {how} while mounting: see {show(log)}")


def _run_child(serve: Serve, log: Path, to_parent: int) -> None:
    """The child's whole life: never returns, never unwinds into what the parent was doing."""
    status = 1
    try:
        report = _Report(to_parent)
        try:
            _detach(keep=to_parent)
            _log_to(_LogFile(log))
            _say_what_kills()
            with _unwrapped():
                serve(report.ready)
            status = 0
            report.failed("it was unmounted before it was ready")  # says nothing where it was ready
        except LlmfsError as error:
            _log.error("%s", error)
            report.failed(str(error))
        except BaseException as error:
            _log.exception("llmfs failed")
            report.failed(f"cannot mount: {type(error).__name__}: {error}; see {show(log)}", kind="bug")
    finally:
        with contextlib.suppress(Exception):
            logging.shutdown()
        os._exit(status)


def reopen_log() -> None:
    """Has the log of a mount in the background go on in a new file, where somebody moved the old one away."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _LogFile):
            handler.reopen()


def _say_what_kills() -> None:
    """Has the log say so when a signal ends us that Python cannot catch, as SIGBUS where the cache's disk is dying."""
    faulthandler.enable(2, all_threads=False)


@contextlib.contextmanager
def _unwrapped() -> Iterator[None]:
    """A single error that a nursery has wrapped in groups is raised as itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if error is group:
            raise
        raise error from error.__cause__


@contextlib.contextmanager
def complaints_of_libraries() -> Iterator[list[str]]:
    """Takes what a library in C writes to stderr; the list has its lines once the context is left.

    libfuse and fusermount3 say there, and nowhere else, why a mount failed. Other threads' lines are taken too.
    """
    lines: list[str] = []
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            file.seek(0)
            lines += [one_line(os.fsdecode(line)) for line in file.read().splitlines()]


class _Report:
    """What the child tells its parent, once: that it is ready, or one line."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_made = False

    def ready(self) -> None:
        self._send(b"ready")

    def failed(self, message: str, kind: str = "error") -> None:
        self._send(json.dumps([kind, one_line(message)]).encode())

    def _send(self, text: bytes) -> None:
        if not self._is_made:
            self._is_made = True
            with contextlib.suppress(BrokenPipeError):  # the parent was killed: the mount is none the worse for it
                os.write(self._descriptor, text)
            os.close(self._descriptor)


def _detach(keep: int) -> None:
    os.setsid()
    os.chdir("/")
    # What the caller's shell holds open (a lock, a pipe somebody waits on) must not live as long as the
    # mount.
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != keep:
            with contextlib.suppress(OSError):  # the one that listed them
                os.close(int(name))
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    os.close(null)


class _LogFile(logging.handlers.RotatingFileHandler):
    """A log of bounded size that stderr goes to as well: libfuse and the interpreter complain there."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=LOG_BYTES, backupCount=1)
        self.setFormatter(logging.Formatter(_LOG_FORMAT))
        self._take_stderr()

    def _open(self) -> TextIOWrapper:
        # The mount clears the umask for its programs' sake; names of files stand in the log, and are nobody else's.
        return open(
            self.baseFilename,
            "a",
            encoding="utf-8",
            errors="backslashreplace",
            opener=lambda path, flags: os.open(path, flags, 0o600),
        )

    def reopen(self) -> None:
        self.acquire()
        try:
            if self.stream is not None:
                self.stream.close()
            self.stream = self._open()
            self._take_stderr()
        finally:
            self.release()

    def _take_stderr(self) -> None:
        if self.stream is not None:
            os.dup2(self.stream.fileno(), 2)

    def doRollover(self) -> None:  # noqa: N802 (the name is logging's)
        super().doRollover()
        self._take_stderr()


def _log_to(handler: logging.Handler) -> None:
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)


def take_log_level(level: LogLevel) -> None:
    """Only what matters so much goes to the log from now on."""
    logging.getLogger().setLevel(level.value.upper())
