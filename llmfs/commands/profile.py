"""`llmfs profile`: what programs read, recorded, merged, trimmed, and fetched before they run again."""

import contextlib
import json
import os
import subprocess
import sys
from typing import Annotated, Any

import typer

from llmfs import control, mounts, profile
from llmfs.commands.answers import number
from llmfs.commands.upkeep import Json, shown_progress
from llmfs.errors import LlmfsError, UsageError, one_line, show
from llmfs.settings import format_size, parse_size

app = typer.Typer(help="Record what a program reads, and have it ready before it runs again, here or elsewhere.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name, or with a slash in it a file.", show_default=False)]
Mountpoint = Annotated[
    str | None,
    typer.Option("--mount", metavar="MOUNTPOINT", help="Which mount (default: the one you are in, or the only one)."),
]
Size = Annotated[str | None, typer.Option("--max-size", metavar="SIZE", help="Leave out what would be more bytes.")]


@app.command()
def record(
    name: Name,
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND...", help="What to run, and its arguments.", show_default=False)
    ],
    mountpoint: Mountpoint = None,
    replace: Annotated[bool, typer.Option("--replace", help="Forget earlier runs instead of adding to them.")] = False,
    max_size: Size = None,
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
    print(f"{show(path)}: {_described(merged)}; this one used {_described(found)}", file=sys.stderr)
    raise typer.Exit(status if status >= 0 else 128 - status)  # as a shell has it


@app.command()
def replay(name: Name, mountpoint: Mountpoint = None, max_size: Size = None, as_json: Json = False) -> None:
    """Fetch into the cache what a profile names, in its order; exit status 1 where some could not be."""
    chosen = profile.load(profile.place(name))
    if max_size:
        chosen = chosen.trimmed(parse_size(max_size))
    files = chosen.described()
    total = dict.fromkeys(("files", "fetched_bytes", "missing", "errors"), 0.0)

    def told(said: dict[str, Any]) -> str:
        done, fetched, missing, errors = (total[key] + number(said, key) for key in total)
        text = f"{done:,.0f} of {len(files):,} files are ready, {format_size(fetched)} fetched now"
        text += f"; {missing:,.0f} are not there" if missing else ""
        return text + (f"; {errors:,.0f} could not be read" if errors else "")

    with control.connected(_mount(mountpoint)) as daemon, shown_progress(not as_json) as show_progress:
        for start in range(0, len(files), control.FILES_AT_ONCE):
            part = files[start : start + control.FILES_AT_ONCE]
            said = daemon.ask({"do": "replay", "files": part}, lambda said: show_progress(told(said)))
            for key in total:
                total[key] += number(said, key)
            show_progress(told({}))
    print(json.dumps({key: int(value) for key, value in total.items()}) if as_json else told({}))
    if total["errors"]:
        raise typer.Exit(1)


@app.command()
def merge(
    name: Name,
    others: Annotated[list[str], typer.Argument(metavar="OTHER...", help="What to add to it.", show_default=False)],
) -> None:
    """Add other profiles to one, which is made where it is missing."""
    path = profile.place(name)
    merged = profile.load(path) if path.exists() else profile.Profile()
    for other in others:
        merged = merged.merged(profile.load(profile.place(other)))
    profile.save(merged, path)
    print(f"{show(path)}: {_described(merged)}")


@app.command()
def trim(
    name: Name,
    size: Annotated[str, typer.Argument(metavar="SIZE", help="Such as 2G.", show_default=False)],
) -> None:
    """Cut a profile down to SIZE: what most runs used stays first, then what was used first."""
    path = profile.place(name)
    trimmed = profile.load(path).trimmed(parse_size(size))
    profile.save(trimmed, path)
    print(f"{show(path)}: {_described(trimmed)}")


@app.command(name="list")
def list_profiles(as_json: Annotated[bool, typer.Option("--json", help="For programs: a list.")] = False) -> None:
    """Name the profiles there are."""
    described = []
    for path in sorted(profile.directory().glob("*.json")):
        with contextlib.suppress(LlmfsError):
            found = profile.load(path)
            described.append((path.stem, found))
    if as_json:
        rows = [
            {"name": name, "runs": found.runs, "files": len(found.files), "bytes": found.size_bytes}
            for name, found in described
        ]
        print(json.dumps(rows, indent=2))
        return
    for name, found in described:
        print(f"{one_line(name)}: {_described(found)}")
    if not described:
        print(f"no profile in {show(profile.directory())}")


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
