"""`llmfs guard list`, `allow` and `restore`: who was found, that it may, and what it changed as it was before."""

import json
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from llmfs import control
from llmfs.commands.answers import number, rows
from llmfs.commands.completion import mountpoints
from llmfs.commands.progress import shown_progress
from llmfs.commands.upkeep import Json
from llmfs.errors import one_line
from llmfs.settings import format_size

app = typer.Typer(help="See and settle what the guard of a mount has found.")

_HELD_UP = ("throttled", "denied")

Mountpoint = Annotated[
    str,
    typer.Argument(metavar="MOUNTPOINT", help="A mount of llmfs.", show_default=False, autocompletion=mountpoints),
]
Id = Annotated[str, typer.Argument(metavar="ID", help="A group, as llmfs guard list names it.", show_default=False)]


@app.command("list")
def show(
    mountpoint: Mountpoint,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: a list of groups.")] = False,
) -> None:
    """List the groups that were found, what is done about them, and how much is kept to undo."""
    said = _ask(mountpoint, {"do": "guard-list"})
    if as_json:
        print(json.dumps(rows(said, "rows"), indent=2))
        return
    found = rows(said, "rows")
    for row in found:
        print(_line(row))
    if not found:
        print("nobody was found, and nothing is kept")
    if any(number(row, "kept") for row in found):
        print(f"llmfs guard restore {one_line(mountpoint)} ID puts back what is kept of a group")
    if any(row.get("level") in _HELD_UP for row in found):
        print(f"llmfs guard allow {one_line(mountpoint)} ID lets it go on, for good or --once")


@app.command()
def allow(
    mountpoint: Mountpoint,
    group: Id,
    once: Annotated[
        bool, typer.Option("--once", help="Remember nothing: what was found so far is settled, what comes is judged.")
    ] = False,
) -> None:
    """Let a group go on, and what it runs from now on: its program and user are remembered, over mounts too."""
    said = _ask(mountpoint, {"do": "guard-allow", "id": group, "once": once})
    print(f"allowed: {one_line(str(said.get('allowed')))}")


@app.command()
def restore(mountpoint: Mountpoint, group: Id, as_json: Json = False) -> None:
    """Put back what a group has overwritten, cut, removed or renamed, as far as it is kept.

    Exit status 1 where some could not be. New files that it made are left.
    """
    with shown_progress(not as_json) as progress:
        request = {"do": "guard-restore", "id": group}
        with control.connected(control.mount_of(mountpoint)) as daemon:
            said = daemon.ask(request, lambda figures: progress(_restored(figures)))
    if as_json:
        print(json.dumps(said))
    else:
        failed = said.get("failed")
        for path in failed if isinstance(failed, list) else []:
            print(f"not put back: {one_line(str(path))}")
        print(_restored(said))
    if number(said, "errors"):
        raise typer.Exit(1)


def _ask(mountpoint: str, request: dict[str, Any]) -> dict[str, Any]:
    with control.connected(control.mount_of(mountpoint)) as daemon:
        return daemon.ask(request)


def _line(row: Mapping[str, Any]) -> str:
    parts = [one_line(str(row.get("id"))), str(row.get("level"))]
    if row.get("command"):
        parts.append(one_line(f"{row['command']} ({row.get('program') or 'gone'}, uid {row.get('uid')})"))
    if number(row, "files"):
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(number(row, "since_s")))
        files, directories = _count(row, "files", "file"), _count(row, "directories", "directory", "directories")
        parts.append(f"{since}: {files} in {directories} may have been encrypted")
    size = f" ({format_size(number(row, 'kept_bytes'))})" if number(row, "kept_bytes") else ""
    parts.append(f"{_count(row, 'kept', 'copy', 'copies')} kept{size}")
    return "  ".join(parts)


def _count(row: Mapping[str, Any], key: str, one: str, more: str = "") -> str:
    """`1 file`, `2 files`."""
    found = number(row, key)
    return f"{found:,.0f} {one if found == 1 else more or one + 's'}"


def _restored(said: Mapping[str, Any]) -> str:
    text = f"{_count(said, 'files', 'file')} put back ({format_size(number(said, 'bytes'))})"
    return text + (f"; {number(said, 'errors'):,.0f} changes could not be undone" if number(said, "errors") else "")
