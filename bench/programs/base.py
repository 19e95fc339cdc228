"""What a recorded workload is, and how its programs are run: with the same settings for all of them."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

PROGRAM_TIMEOUT_S = 180.0

SETTING = {"LC_ALL": "C", "TZ": "UTC", "GIT_CONFIG_NOSYSTEM": "1", "PYTHONHASHSEED": "0"} | {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "A"), ("EMAIL", "a@example.org"))
}

WORDS = (
    "alder",
    "birch",
    "cedar",
    "dogwood",
    "elm",
    "fir",
    "ginkgo",
    "hazel",
    "ivy",
    "juniper",
    "larch",
    "maple",
    "oak",
    "pine",
    "rowan",
)
"""What names and texts are made of."""


class ProgramFailedError(RuntimeError):
    """A recorded program failed; the message says which and how."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of program. Its name is that of its files; up to the first hyphen, that of its family: of programs that
    are too alike for one of them to be called unseen by what was trained on another."""

    name: str
    prepare: Callable[[Path], None]
    run: Callable[[Path], None]
    needs: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """The programs and Python packages it needs that are not installed here."""
        return missing(self.needs, self.modules)


def missing(programs: Iterable[str], modules: Iterable[str]) -> list[str]:
    """Which of these programs and Python packages are not installed here."""
    return [program for program in programs if shutil.which(program) is None] + [
        module for module in modules if importlib.util.find_spec(module) is None
    ]


def run(directory: Path, *command: str, text: str = "", status: tuple[int, ...] = (0,)) -> None:
    """Runs a program. Raises ProgramFailedError where its exit status is none of `status`."""
    try:
        result = subprocess.run(
            command,
            cwd=directory,
            input=text.encode(),
            capture_output=True,
            env=os.environ | SETTING,
            timeout=PROGRAM_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProgramFailedError(f"{command[0]}: {error}") from error
    if result.returncode not in status:
        said = (result.stderr or result.stdout).decode(errors="replace").strip()
        last = (said or f"exit status {result.returncode}").splitlines()[-1]
        raise ProgramFailedError(f"{' '.join(command[:3])}: {last}")


def output(*command: str) -> str:
    """What a program says."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
