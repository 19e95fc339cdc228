"""`llmfs completion`: prints what a shell needs to complete commands, options, values and files."""

import os
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

from llmfs import mounts, profile

VARIABLE = "_LLMFS_COMPLETE"
"""Set by the scripts when they ask what may stand at the cursor."""


def mountpoints() -> list[str]:
    """Where something is mounted."""
    return [os.fspath(mount.mountpoint) for mount in mounts.find()]


def profiles() -> list[str]:
    """The profiles that have a name."""
    return sorted(path.stem for path in profile.directory().glob("*.json"))


def choices(kind: type[StrEnum]) -> Callable[[], list[str]]:
    """The words that an option takes."""
    return lambda: list(kind)


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", show_default=False)],
) -> None:
    """Print the shell's completion script: `eval "$(llmfs completion bash)"`, or a file where it looks for such."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # imported there for its users

    print(get_completion_script(prog_name="llmfs", complete_var=VARIABLE, shell=shell.value))


def prepare() -> None:
    """Has a shell that asks be answered in the way that its script expects."""
    if VARIABLE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
