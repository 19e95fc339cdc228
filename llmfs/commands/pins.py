"""`llmfs pin` and `llmfs unpin`: what stays in a mount's cache, whatever else is read."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from llmfs import control
from llmfs.commands.answers import number
from llmfs.commands.progress import shown_progress
from llmfs.commands.upkeep import Json
from llmfs.settings import format_size

Paths = Annotated[
    list[str],
    typer.Argument(metavar="PATH", help="Files and directories in mounts of llmfs.", show_default=False),
]


def pin(paths: Paths, as_json: Json = False) -> None:
    """Fetch files, and all below directories, into the cache and keep them there, over remounts too.

    At most half of the cache can be pinned. Exit status 1 where a file could not be read.
    """
    total = dict.fromkeys(("files", "bytes", "fetched_bytes", "errors"), 0.0)
    with shown_progress(not as_json) as show:
        for path in paths:
            with control.connected(control.mount_of(path)) as daemon, control.named(path) as inode:
                said = daemon.ask({"do": "pin", "inode": inode}, lambda said: show(_pinned(total, said)))
            for name in total:
                total[name] += number(said, name)
    print(json.dumps({name: int(value) for name, value in total.items()}) if as_json else _pinned(total, {}))
    if total["errors"]:
        raise typer.Exit(1)


def unpin(paths: Paths, as_json: Json = False) -> None:
    """Let go of what is pinned at these paths and below them; it stays cached until there is no room."""
    total = dict.fromkeys(("pins", "files", "bytes"), 0.0)
    for path in paths:
        with control.connected(control.mount_of(path)) as daemon, control.named(path) as inode:
            said = daemon.ask({"do": "unpin", "inode": inode})
        for name in total:
            total[name] += number(said, name)
    if as_json:
        print(json.dumps({name: int(value) for name, value in total.items()}))
    else:
        print(f"{total['files']:,.0f} files are not pinned any more ({format_size(total['bytes'])})")


def _pinned(total: Mapping[str, float], said: Mapping[str, Any]) -> str:
    files, size, fetched, errors = (total[name] + number(said, name) for name in total)
    text = f"{files:,.0f} files are pinned ({format_size(size)}), {format_size(fetched)} of that fetched now"
    return text + (f"; {errors:,.0f} could not be read" if errors else "")
