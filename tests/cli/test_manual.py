"""The manual page and shell completion name what there is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from llmfs import cli, manual
from tests.cli.conftest import World

REPOSITORY = Path(cli.__file__).parents[1]
PAGE = REPOSITORY / "man" / "llmfs.1"
ROOT: Any = typer.main.get_command(cli.app)
COMMANDS = dict(manual.commands(ROOT))


def test_the_page_that_is_checked_in_is_of_this_command_line() -> None:
    assert PAGE.read_text() == manual.page(), "make it anew: python -m llmfs.manual > man/llmfs.1"


def test_the_page_names_every_command_and_every_option() -> None:
    text = manual.page().replace("\\-", "-")
    assert len(COMMANDS) > 15 and "profile record" in COMMANDS
    for name, command in COMMANDS.items():
        _, found, section = text.partition(f".SS \\fBllmfs {name}\\fR")
        assert found, f"llmfs {name}"
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("-") and option != "--help":
                    assert f"\\fB{option}\\fR" in section.partition("\n.S")[0], f"llmfs {name} {option}"


def test_every_command_and_option_is_described() -> None:
    for name, command in COMMANDS.items():
        assert command.help, name
        for parameter in command.params:
            assert parameter.param_type_name == "argument" or parameter.help, f"{name} {parameter.name}"


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_has_nothing_against_the_page() -> None:
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", PAGE],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "MANWIDTH": "100"},
    )
    assert (done.returncode, done.stderr) == (0, "")


# --- completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_printed_for_each_shell(world: World, shell: str) -> None:
    result = world.run("completion", shell)
    assert result.status == 0 and "_LLMFS_COMPLETE" in result.out and f"complete_{shell}" in result.out


def test_another_shell_is_refused(world: World) -> None:
    assert "csh" in world.refuses("completion", "csh", status=2)


def completed(world: World, shell: str, words: str) -> list[str]:
    """What the shell is offered after these words."""
    asked = {"_LLMFS_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": words}
    asked |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    asked |= {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", "from llmfs.cli import main; main()"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={**os.environ, **asked},
    )
    return done.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_and_options_are_offered(world: World, shell: str) -> None:
    def offers(words: str, *offered: str) -> bool:
        said = " ".join(completed(world, shell, words))
        return all(each in said for each in offered)

    assert offers("llmfs ", "mount", "profile", "warm", "evict")
    assert offers("llmfs pro", "profile") and not offers("llmfs pro", "umount")
    assert offers("llmfs profile ", "record", "replay")
    assert offers("llmfs mount --ca", "--cache-dir", "--cache-size")
    assert offers("llmfs completion ", "bash", "zsh", "fish")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_takes_the_script(world: World, tmp_path: Path) -> None:
    program = tmp_path / "llmfs"
    program.write_text(f"#!{sys.executable}\nfrom llmfs.cli import main\nmain()\n")
    program.chmod(0o755)
    script = (
        'eval "$(llmfs completion bash)"; COMP_WORDS=(llmfs ev); COMP_CWORD=1; _llmfs_completion llmfs;'
        'echo "${COMPREPLY[@]}"; complete -p llmfs'
    )
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert done.stdout.split("\n")[0].split() == ["evict", "evaluate"] or set(done.stdout.split()) >= {"evict"}
    assert "-F _llmfs_completion llmfs" in done.stdout
