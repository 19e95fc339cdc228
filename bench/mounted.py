"""llmfs as its users run it: mounted, asked and unmounted by its command line, in processes of its own."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_MOUNT_TIMEOUT_S = 60.0
# The daemon saves what was learned before it leaves.
_UNMOUNT_TIMEOUT_S = 90.0
# Until the predictor's process has imported what it needs.
_SETTLE_S = 10.0


class LlmfsFailedError(RuntimeError):
    """A command of llmfs failed; the message is what it said."""


class Llmfs:
    """`source` mounted at `mountpoint` through llmfs. A context manager; options as of `llmfs mount`.

    checkout: of the version that serves, by default this one.
    """

    def __init__(
        self, source: Path, mountpoint: Path, cache_dir: Path, *options: str, checkout: Path | None = None
    ) -> None:
        self.source = source
        self.mountpoint = mountpoint
        self.cache_dir = cache_dir
        self._options = options
        self._checkout = checkout

    def __enter__(self) -> Self:
        command = ["mount", str(self.source), str(self.mountpoint), "--cache-dir", str(self.cache_dir)]
        try:
            command += ["--metrics-port", "0", *self._options]
            llmfs(*command, timeout_s=_MOUNT_TIMEOUT_S, checkout=self._checkout)
        except BaseException:
            self._detach()  # interrupted, it may have been mounted all the same
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            llmfs("umount", str(self.mountpoint), timeout_s=_UNMOUNT_TIMEOUT_S)
        except BaseException as failure:
            self._detach()
            if error is None or not isinstance(failure, LlmfsFailedError):
                raise

    def status(self) -> dict[str, Any]:
        """What `llmfs status --json` says."""
        answer = json.loads(llmfs("status", "--json", str(self.mountpoint)))
        return answer if isinstance(answer, dict) else {}

    def settle(self) -> None:
        """Waits until the predictor is there, or long enough: reads are served without it just as well."""
        deadline_s = time.monotonic() + _SETTLE_S
        while time.monotonic() < deadline_s and self.status().get("predictor_state") == "loading":
            time.sleep(0.1)

    def _detach(self) -> None:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            command = ["fusermount3", "-u", "-z", "-q", str(self.mountpoint)]
            subprocess.run(command, check=False, capture_output=True, timeout=10)


def llmfs(*arguments: str, timeout_s: float = 60.0, checkout: Path | None = None) -> str:
    """Runs `llmfs ARGUMENTS`, of this checkout or another; gives what it printed. Raises LlmfsFailedError."""
    command = [sys.executable, "-m", "llmfs", *arguments]
    # `python -m` finds packages in its working directory, wherever we were started, unless PYTHONPATH has others.
    checkout = checkout or Path(__file__).resolve().parent.parent
    try:
        result = subprocess.run(
            command,
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LlmfsFailedError(f"llmfs {arguments[0]} did not end within {timeout_s:.0f} s") from None
    if result.returncode != 0:
        raise LlmfsFailedError(result.stderr.strip() or f"llmfs {arguments[0]}: status {result.returncode}")
    return result.stdout


def drop_pages(directory: Path) -> None:
    """Makes the kernel forget the pages of all files there that nobody has mapped, as after a reboot."""
    for place, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                fd = os.open(os.path.join(place, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    os.fsync(fd)
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(fd)
