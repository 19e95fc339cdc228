"""Runs a person's command for each finding: a mail, a desktop notification, a log of another kind.

The command is split as a shell would and run without one; what was found is in its environment. A few at a time, each
for a minute at most; beyond that findings are still logged and counted.
"""

import logging
import os
import shlex
import subprocess
import threading
from collections.abc import Mapping

from llmfs.errors import UsageError, one_line

log = logging.getLogger(__name__)

AT_ONCE = 4
TIMEOUT_S = 60.0


def words(command: str) -> list[str]:
    """The command's words. Raises UsageError where there are none, or a quote is left open."""
    try:
        found = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--guard-hook '{one_line(command)}' is no command: {error}") from None
    if not found:
        raise UsageError("--guard-hook takes a command, such as 'notify-send llmfs'")
    return found


class Hook:
    """A command to run."""

    def __init__(self, command: str) -> None:
        self._words = words(command)
        self._free = threading.Semaphore(AT_ONCE)

    def run(self, told: Mapping[str, str]) -> None:
        """Run it with `LLMFS_GUARD_NAME` for each thing told; returns at once."""
        if not self._free.acquire(blocking=False):
            log.warning("the guard's hook is busy: a finding was not told")
            return
        environment = os.environ | {f"LLMFS_GUARD_{name.upper()}": value for name, value in told.items()}
        threading.Thread(target=self._run, args=(environment,), name="guard-hook", daemon=True).start()

    def _run(self, environment: dict[str, str]) -> None:
        try:
            done = subprocess.run(
                self._words,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=TIMEOUT_S,
                check=False,
            )
            if done.returncode:
                log.warning("the guard's hook ended with status %d", done.returncode)
        except (OSError, subprocess.TimeoutExpired) as error:
            log.warning("the guard's hook failed: %s", error)
        finally:
            self._free.release()
