"""What the documents name is there: links, files, make targets, modules, commands of llmfs and their options.

They are read as they stand, whichever exist. Where one is wrong, the failure says which, and its words.
"""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from llmfs import cli

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("examples/**/*.md"), *REPOSITORY.glob("bench/**/*.md")])
PAGES = sorted(REPOSITORY.glob("docs/**/*.md"))
"""Of the site. Where their links lead `mkdocs build --strict` judges (tests/test_site.py): some pages are made then."""
OURS = ("llmfs", "predictor", "bench", "tests", "examples", ".ci")

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# A path below one of our directories, wherever it stands; not a part of an address or of another path.
_PATH = re.compile(rf"(?<![\w/.~$}}-])((?:{'|'.join(map(re.escape, OURS))})/[\w./@*-]*)")
_SHELL = ("", "sh", "bash", "shell", "console")

documented = pytest.mark.parametrize(
    "document", [*DOCUMENTS, *PAGES], ids=lambda path: str(path.relative_to(REPOSITORY))
)


def fenced(text: str) -> list[str]:
    """The blocks that are commands, or say not what they are."""
    return [block for language, block in _FENCE.findall(text) if language in _SHELL]


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a shell's lines, as words; comments, prompts, pipes and `VARIABLE=` before them are gone."""
    for line in "\n".join(fenced(text)).replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|\|\||[|;]", re.sub(r"^\s*[$#] ", "", line)):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:
                continue  # prose, a picture
            while words and (words[0] == "sudo" or re.fullmatch(r"\w+=.*", words[0])):
                words.pop(0)
            if words:
                yield [word for word in words if word != "&" and not re.match(r"\d?[<>]", word)]


def spans(text: str) -> list[list[str]]:
    """Inline code, as words."""
    return [span.split() for span in re.findall(r"`([^`\n]+)`", _FENCE.sub("", text))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    for link in _LINK.findall(_FENCE.sub("", text)):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), f"there is no {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.read_text()), f"there is no heading for {link}"


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ +(.*?) *$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@documented
def test_named_files_exist(document: Path) -> None:
    for path in _PATH.findall(document.read_text()):
        named = path.rstrip(".-*" if path.endswith(("*.", "...")) else ".-")
        found = any(REPOSITORY.glob(named)) if "*" in named else (REPOSITORY / named).exists()
        # Outside a checkout's root, a name may be relative to the document.
        assert found or (document.parent / named).exists(), f"there is no {path}"


@documented
def test_named_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    text = document.read_text()
    for words in [*commands(text), *spans(text)]:
        if words[0] == "make":
            named = {word for word in words[1:] if re.fullmatch(r"[a-z][a-z-]*", word)}
            assert named <= targets, f"there is no make {', '.join(named - targets)}"


@documented
def test_named_modules_exist(document: Path) -> None:
    text = document.read_text()
    for words in [*commands(text), *spans(text)]:
        if re.fullmatch(r"(.*/)?python3?", words[0]) and words[1:2] == ["-m"] and words[2:]:
            module = words[2]
            if module.split(".")[0] in OURS:
                place = REPOSITORY / module.replace(".", "/")
                is_program = place.with_suffix(".py").exists() or (place / "__main__.py").exists()
                assert is_program, f"there is no python -m {module}"


@documented
def test_commands_of_llmfs_parse(document: Path) -> None:
    for words in commands(document.read_text()):
        if re.fullmatch(r"(.*/)?llmfs", words[0]) or words[1:3] == ["-m", "llmfs"]:
            arguments = words[1:] if words[1:2] != ["-m"] else words[3:]
            assert complaint(arguments) is None, shlex.join(words)


@documented
def test_inline_options_of_llmfs_exist(document: Path) -> None:
    """Inline, a command may lack its arguments: its name and its options are held against the command line."""
    for words in spans(document.read_text()):
        if words[0] == "llmfs" and words[1:]:
            command, rest = resolve(words[1:])
            known = options(command)
        elif words[0] == "..." or words[0].startswith("--"):
            known, rest = set().union(*map(options, all_commands())), words
        else:
            continue
        named = {re.split(r"[=\]]", word.lstrip("["))[0] for word in rest if re.match(r"\[?--?[a-z]", word)} - {
            "--help"
        }
        assert named <= known, f"{' '.join(words)}: there is no {', '.join(sorted(named - known))}"


def options(command: Any) -> set[str]:
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


def all_commands() -> Iterator[Any]:
    waiting: list[Any] = [typer.main.get_command(cli.app)]
    while waiting:
        yield (command := waiting.pop())
        waiting += getattr(command, "commands", {}).values()


def resolve(arguments: list[str]) -> tuple[Any, list[str]]:
    """The command that these words name, and the words after its name. Fails the test where there is none."""
    command: Any = typer.main.get_command(cli.app)
    rest = list(arguments)
    while getattr(command, "commands", None) and rest and re.match(r"[a-z]", rest[0]):
        names = rest.pop(0).split("|")  # `llmfs cache info|clear`
        missing = [name for name in names if name not in command.commands]
        assert not missing, f"there is no llmfs {' '.join(arguments)}"
        command = command.commands[names[0]]
    return command, rest


def complaint(arguments: list[str]) -> str | None:
    """What the command line has against these words, without doing what they say."""
    command, rest = resolve(arguments)
    try:
        command.make_context("llmfs", rest)
    except Exception as error:
        if type(error).__name__ == "Exit":  # --help, --version
            return None
        return str(error) or type(error).__name__
    return None


def test_command_lines_are_really_judged() -> None:
    assert complaint(["mount", "/a", "/b", "--cache-size", "1G", "-o", "ro"]) is None
    assert complaint(["mount", "/a", "/b", "--cache-sise", "1G"]) is not None
    assert complaint(["mount", "/a"]) is not None
    with pytest.raises(AssertionError):
        resolve(["mont"])


def test_make_help_names_every_public_target() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    shown = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    public = re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)
    assert re.findall(r"^  make ([a-z-]+)", shown, re.MULTILINE) == public
