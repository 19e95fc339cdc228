"""The pages of the documentation that are made from the code: commands, configuration, metrics, the predictor's API.

Each function returns a page in Markdown. `docs/hooks.py` has mkdocs take them in, so that none of them is ever older
than the code; tests hold that nothing is left out.
"""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from llmfs import cli, metrics_table, settings
from llmfs.manual import commands as all_commands
from llmfs.manual import usage

PREDICTOR_MODULES = ("predictor.trace", "predictor.recording", "predictor.events", "predictor.plan", "predictor.engine")
"""What programs outside may build on (examples/replay_a_trace.py does); other modules change as they have to."""


def commands() -> str:
    """All commands of the command line."""
    root: Any = typer.main.get_command(cli.app)
    lines = ["# Commands", "", str(root.help), ""]
    for name, command in all_commands(root):
        lines += [f"## llmfs {name}", "", *_command(name, command), ""]
    lines += ["## Exit status", "", "| status | what it means |", "| --- | --- |"]
    lines += ["| 0 | done |", "| 1 | it failed, or the machine does not allow it as it is |"]
    lines += ["| 2 | it was asked for wrongly |", "| 130 | interrupted |"]
    return "\n".join(lines) + "\n"


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and each.name != "help"]
    words = [f"llmfs {name}", *(["[OPTIONS]"] if options else [])]
    words += [usage(each) for each in arguments]
    yield from ("```text", " ".join(words), "```", "", str(command.help), "")
    rows = [(each.metavar or each.name.upper(), each.help) for each in arguments if each.help]
    for each in options:
        value = "" if each.is_flag else f" {each.metavar or each.name.upper()}"
        rows.append((", ".join((*each.opts, *each.secondary_opts)) + value, each.help or ""))
    if rows:
        yield from ("| | |", "| --- | --- |")
        yield from (f"| {_code(left)} | {_cell(right)} |" for left, right in rows)


def configuration(example: Path) -> str:
    """The configuration file: its keys, and an example that holds all of them."""
    command: Any = dict(all_commands(typer.main.get_command(cli.app)))["mount"]
    about = {option.lstrip("-"): each.help or "" for each in command.params for option in each.opts}
    lines = [
        "# Configuration file",
        "",
        "`llmfs mount --config FILE` reads a TOML file. What stands in `[mount]` is for all mounts, what stands in a",
        'table such as `[mount."/mnt/nas"]` for that source; the command line beats both. Tables `[[mount.policy]]`',
        "say who or what is treated in a way of its own: see [Keep backups out of the cache](../how-to/backups.md).",
        "",
        "| key | takes | what it says |",
        "| --- | --- | --- |",
    ]
    for key in settings.KEYS:
        text = about.get(key) or about.get({"options": "o"}.get(key, ""), "")
        lines.append(f"| `{key}` | {settings.kind_of(key)} | {_cell(text)} |")
    lines += ["", "## With all keys", "", "```toml", example.read_text().rstrip(), "```", ""]
    return "\n".join(lines)


def metrics() -> str:
    """All metrics of a mount."""
    return metrics_table.markdown(metrics_table.rows())


def predictor() -> str:
    """What of the predictor programs outside may use."""
    lines = [
        "# The predictor's Python API",
        "",
        "The package `predictor` knows nothing of mounts: any program that has accesses to tell can drive it.",
        "`examples/replay_a_trace.py` does so in 40 lines. Until 1.0 a minor version may change it.",
        "",
    ]
    for name in PREDICTOR_MODULES:
        module = importlib.import_module(name)
        lines += [f"## {name}", "", *_prose(module), ""]
        for item, thing in vars(module).items():
            if not item.startswith("_") and getattr(thing, "__module__", "") == name and callable(thing):
                lines += _item(item, thing)
    return "\n".join(lines)


def _item(name: str, thing: Any) -> Iterator[str]:
    yield from (f"### {name}", "", "```python", name + _signature(thing), "```", "", *_prose(thing), "")
    if not inspect.isclass(thing):
        return
    for method, member in vars(thing).items():
        function = member.fget if isinstance(member, property) else member
        if not method.startswith("_") and inspect.isfunction(function) and inspect.getdoc(function):
            shown = method if isinstance(member, property) else method + _signature(function)
            yield from (f"**`{shown}`**", "", *_prose(function), "")


def _signature(thing: Any) -> str:
    try:
        text = str(inspect.signature(thing))
    except (TypeError, ValueError):
        return ""
    return re.sub(r"\bnumpy\.|\btyping\.|\bcollections\.abc\.|\bpathlib\.", "", text.replace("self, ", ""))


def _prose(thing: Any) -> list[str]:
    """A docstring as Markdown. Those that dataclasses and enumerations make up, or inherit, say nothing."""
    text = inspect.getdoc(thing) or ""
    own = getattr(thing, "__doc__", None)
    return [] if not own or text.startswith(f"{getattr(thing, '__name__', '')}(") else _escaped(text).splitlines()


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;")


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _cell(text: str) -> str:
    return _escaped(" ".join(text.split())).replace("|", "\\|")
