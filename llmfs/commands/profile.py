"""`llmfs profile`: what programs read, recorded, merged, trimmed, and fetched before they run again."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from llmfs import control, mounts, profile
from llmfs.commands.completion import mountpoints, profiles
from llmfs.commands.progress import shown_progress
from llmfs.commands.upkeep import Json, fetch_named, fetched
from llmfs.errors import LlmfsError, UsageError, one_line, reason, show
from llmfs.settings import format_size, parse_size

app = typer.Typer(help="Record what a program reads, and have it ready before it runs again, here or elsewhere.")

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A name, or with a slash in it a file.", show_default=False, autocompletion=profiles
    ),
]
Mountpoint = Annotated[
    str | None,
    typer.Option(
        "--mount",
        metavar="MOUNTPOINT",
        help="Which mount (default: the one you are in, or the only one).",
        autocompletion=mountpoints,
    ),
]
Size = Annotated[str | None, typer.Option("--max-size", metavar="SIZE", help="Leave out what would be more bytes.")]


@app.command()
def record(
    name: Name,
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND", help="What to run, and its arguments.", show_default=False)
    ],
    mountpoint: Mountpoint = None,
    replace: Annotated[bool, typer.Option("--replace", help="Forget earlier runs instead of adding to them.")] = False,
    max_size: Size = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: an object, on stderr.")] = False,
) -> None:
    """Run COMMAND and keep what it, and what it starts, reads through the mount. The exit status is the command's."""
    path, limit = profile.place(name), parse_size(max_size) if max_size else None
    known = profile.Profile()
    if not replace and path.exists():
        known = profile.load(path)
    with control.connected(_mount(mountpoint)) as daemon:
        daemon.ask({"do": "record"})
        try:
            status = subprocess.run(command, check=False).returncode
        except OSError as error:
            raise UsageError(f"cannot run {one_line(command[0])}: {(error.strerror or '').lower()}") from None
        files: list[Any] = []
        while part := daemon.ask({"do": "recorded"}).get("files"):
            files += part
    try:
        found = profile.Profile(1, profile.taken(files))
    except ValueError as error:
        raise LlmfsError(f"the mount's answer makes no sense: {error}") from error
    merged = known.merged(found)
    if limit is not None:
        merged = merged.trimmed(limit)
    profile.save(merged, path)
    text = f"{show(path)}: {_described(merged)}; this one used {_described(found)}"
    print(json.dumps(_figures(path, merged)) if as_json else text, file=sys.stderr)  # stdout is the command's
    raise typer.Exit(status if status >= 0 else 128 - status)  # as a shell has it


@app.command()
def replay(name: Name, mountpoint: Mountpoint = None, max_size: Size = None, as_json: Json = False) -> None:
    """Fetch into the cache what a profile names, in its order; exit status 1 where some could not be."""
    chosen = profile.load(profile.place(name))
    if max_size:
        chosen = chosen.trimmed(parse_size(max_size))
    files = chosen.described()
    with shown_progress(not as_json) as show_progress:
        total = fetch_named(_mount(mountpoint), files, show_progress)
    print(json.dumps({key: int(value) for key, value in total.items()}) if as_json else fetched(total, len(files)))
    if total["errors"]:
        raise typer.Exit(1)


@app.command()
def merge(
    name: Name,
    others: Annotated[
        list[str],
        typer.Argument(metavar="OTHER", help="What to add to it.", show_default=False, autocompletion=profiles),
    ],
    as_json: Json = False,
) -> None:
    """Add other profiles to one, which is made where it is missing."""
    path = profile.place(name)
    merged = profile.load(path) if path.exists() else profile.Profile()
    for other in others:
        merged = merged.merged(profile.load(profile.place(other)))
    _save(merged, path, as_json=as_json)


@app.command()
def trim(
    name: Name,
    size: Annotated[str, typer.Argument(metavar="SIZE", help="Such as 2G.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Cut a profile down to SIZE: what most runs used stays first, then what was used first."""
    path = profile.place(name)
    _save(profile.load(path).trimmed(parse_size(size)), path, as_json=as_json)


@app.command(name="list")
def list_profiles(as_json: Annotated[bool, typer.Option("--json", help="For programs: a list.")] = False) -> None:
    """Name the profiles there are."""
    described = []
    for path in sorted(profile.directory().glob("*.json")):
        with contextlib.suppress(LlmfsError):
            found = profile.load(path)
            described.append((path, found))
    if as_json:
        print(json.dumps([{"name": path.stem, **_figures(path, found)} for path, found in described], indent=2))
        return
    for path, found in described:
        print(f"{one_line(path.stem)}: {_described(found)}")
    if not described:
        print(f"no profile in {show(profile.directory())}")


@app.command(name="show")
def show_profile(name: Name, as_json: Json = False) -> None:
    """List what a profile names, in its order, and how many bytes of each."""
    path = profile.place(name)
    found = profile.load(path)
    if as_json:
        print(json.dumps({**_figures(path, found), "names": found.described()}, indent=2))
        return
    for named, used in found.files.items():
        print(f"{format_size(used.size_bytes):>10}  {one_line(named) or '.'}")
    print(f"{show(path)}: {_described(found)}")


@app.command()
def delete(name: Name) -> None:
    """Delete a profile; what is cached stays."""
    path = profile.place(name)
    found = profile.load(path)
    try:
        path.unlink()
    except OSError as error:
        raise LlmfsError(f"cannot delete {show(path)}: {reason(error)}") from error
    print(f"{show(path)} is deleted: {_described(found)}")


def _save(found: profile.Profile, path: Path, *, as_json: bool) -> None:
    profile.save(found, path)
    print(json.dumps(_figures(path, found)) if as_json else f"{show(path)}: {_described(found)}")


def _figures(path: Path, found: profile.Profile) -> dict[str, Any]:
    figures = {"runs": found.runs, "files": len(found.files), "bytes": found.size_bytes}
    return {"path": os.fsdecode(path), **figures}


def _described(found: profile.Profile) -> str:
    runs = f"{found.runs:,} run{'s' * (found.runs != 1)}"
    return f"{runs}, {len(found.files):,} names, {format_size(found.size_bytes)}"


def _mount(mountpoint: str | None) -> mounts.Mount:
    """The mount that is meant. Raises UsageError where that is not clear."""
    if mountpoint is not None:
        mount = mounts.at(mountpoint)
        if mount is None:
            raise UsageError(
                f"there is no mount of llmfs at {one_line(mountpoint)}: llmfs status lists those there are"
            )
        return mount
    mount = mounts.above(os.getcwd())
    if mount is not None:
        return mount
    found = mounts.find()
    if len(found) == 1:
        return found[0]
    raise UsageError(
        "say which mount, with --mount MOUNTPOINT" if found else "there is no mount of llmfs: mount one first"
    )
