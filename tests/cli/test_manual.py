"""The manual page and shell completion name what there is."""

import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from llmfs import cli, manual, mount_helper, profile, settings
from tests.cli.conftest import World, needs_fuse

REPOSITORY = Path(cli.__file__).parents[1]
PAGE = REPOSITORY / "man" / "llmfs.1"
HELPER_PAGE = REPOSITORY / "man" / "mount.llmfs.8"
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


def test_the_helper_s_page_names_what_it_takes() -> None:
    text = HELPER_PAGE.read_text().replace("\\-", "-")
    (taken,) = re.findall(r'gnu_getopt\(arguments, "([\w:]+)"\)', inspect.getsource(mount_helper.read))
    for letter in taken.replace(":", ""):
        assert re.search(rf"-{letter}\b|-sfnvrw", text), letter
    assert all(name in text for name in settings._FLAGS)
    statuses = {0, mount_helper.USAGE_ERROR, mount_helper.FAILURE}
    assert set(re.findall(r"^\.B (\d+)$", text, re.MULTILINE)) == set(map(str, statuses))


def test_every_command_and_option_is_described() -> None:
    for name, command in COMMANDS.items():
        assert command.help, name
        for parameter in command.params:
            assert parameter.param_type_name == "argument" or parameter.help, f"{name} {parameter.name}"


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
@pytest.mark.parametrize("page", [PAGE, HELPER_PAGE], ids=lambda page: page.name)
def test_man_has_nothing_against_the_page(page: Path) -> None:
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page],
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


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_values_are_offered(world: World, shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(world.root / "data"))
    for name in ("nightly", "notebook", "other"):
        profile.save(profile.Profile(1), profile.place(name))

    def offered(words: str) -> set[str]:
        return set(re.findall(r"[\w-]+", " ".join(completed(world, shell, words))))

    assert {"close-to-open", "strict", "immutable"} <= offered("llmfs mount --consistency ")
    assert "strict" in offered("llmfs mount --consistency s") and "immutable" not in offered(
        "llmfs mount --consistency s"
    )
    for option, word in (
        ("predictor", "sequential"), ("control", "rules"), ("profile", "edge"), ("offline", "ok"),
        ("log-level", "debug"), ("guard", "protect"),
    ):  # fmt: skip
        assert word in offered(f"llmfs mount --{option} "), option
    assert {"nightly", "notebook"} <= offered("llmfs profile replay n")
    assert "other" not in offered("llmfs profile replay n") and "other" in offered("llmfs profile merge x o")


@needs_fuse
def test_mountpoints_are_offered(world: World) -> None:
    assert world.start("mount", world.source, world.mountpoint).status == 0
    for words in ("status", "top", "umount", "guard list", "profile replay x --mount"):
        assert str(world.mountpoint) in completed(world, "bash", f"llmfs {words} {world.root}/"), words


def in_shell(tmp_path: Path, shell: str, script: str) -> str:
    """What a shell prints that has `llmfs` on its PATH."""
    program = tmp_path / "llmfs"
    program.write_text(f"#!{sys.executable}\nfrom llmfs.cli import main\nmain()\n")
    program.chmod(0o755)
    done = subprocess.run(
        [shell, "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)},
    )
    return done.stdout


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


@needs("bash")
def test_bash_takes_the_script(world: World, tmp_path: Path) -> None:
    script = (
        'eval "$(llmfs completion bash)"; COMP_WORDS=(llmfs ev); COMP_CWORD=1; _llmfs_completion llmfs;'
        'echo "${COMPREPLY[@]}"; complete -p llmfs'
    )
    said = in_shell(tmp_path, "bash", script)
    assert set(said.split("\n")[0].split()) == {"evict", "evaluate"}
    assert "-F _llmfs_completion llmfs" in said


@needs("zsh")
def test_zsh_takes_the_script(world: World, tmp_path: Path) -> None:
    script = (
        'autoload -U compinit; compinit -u; eval "$(llmfs completion zsh)"; print ${_comps[llmfs]};'
        '_arguments() { print -r -- "$@" }; words=(llmfs ev); CURRENT=2; _llmfs_completion'
    )
    said = in_shell(tmp_path, "zsh", script)
    assert said.startswith("_llmfs_completion\n") and '"evict"' in said and '"evaluate"' in said and "mount" not in said


@needs("fish")
def test_fish_takes_the_script(world: World, tmp_path: Path) -> None:
    said = in_shell(tmp_path, "fish", 'llmfs completion fish | source; complete -C "llmfs ev"')
    assert {line.split("\t")[0] for line in said.splitlines()} == {"evict", "evaluate"}
