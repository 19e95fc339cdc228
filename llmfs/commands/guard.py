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
    for row in rows(said, "rows"):
        print(_line(row))
    if not rows(said, "rows"):
        print("nobody was found, and nothing is kept")


@app.command()
def allow(mountpoint: Mountpoint, group: Id) -> None:
    """Let a group go on, and what it runs from now on: its program and user are remembered, over mounts too."""
    print(f"allowed: {one_line(str(_ask(mountpoint, {'do': 'guard-allow', 'id': group}).get('allowed')))}")


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
        parts.append(f"{since}: {number(row, 'files'):,.0f} files in {number(row, 'directories'):,.0f} directories")
    parts.append(f"{number(row, 'kept'):,.0f} copies kept")
    return "  ".join(parts)


def _restored(said: Mapping[str, Any]) -> str:
    text = f"{number(said, 'files'):,.0f} files put back ({format_size(number(said, 'bytes'))})"
    return text + (f"; {number(said, 'errors'):,.0f} changes could not be undone" if number(said, "errors") else "")
