"""`llmfs warm`, `llmfs evict` and `llmfs check`: have files in a mount's cache, out of it, compared with the source."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from llmfs import control, mounts
from llmfs.commands.answers import number, rows
from llmfs.commands.progress import Show, shown_progress
from llmfs.errors import LlmfsError, UsageError, one_line, reason
from llmfs.settings import absolute, format_size

Json = Annotated[bool, typer.Option("--json", help="For programs: an object.")]

_FIGURES = ("files", "bytes", "fetched_bytes", "left_out", "errors")


def warm(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Files and directories in mounts of llmfs.", show_default=False),
    ],
    wait: Annotated[bool, typer.Option("--wait", help="Return when it is done, and show how far it is.")] = False,
    from_trace: Annotated[
        str | None,
        typer.Option(
            "--from-trace",
            metavar="TRACE",
            help="Fetch what this trace (of llmfs, CSV, DLIO) read, in its order, into the mount that PATH is in.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fetch files, and all below directories, into the cache; exit status 1 where some could not be."""
    if from_trace is not None:
        _warm_from_trace(from_trace, paths, wait=wait, as_json=as_json)
        return
    total = dict.fromkeys(_FIGURES, 0.0)
    before: dict[Path, int] = {}  # bytes, by mount: what is warmed together has to fit together
    with shown_progress(wait and not as_json) as show:
        for path in paths:
            mount = control.mount_of(path)
            with control.connected(mount) as daemon, control.named(path) as inode:
                request = {"do": "warm", "inode": inode, "wait": wait, "before_bytes": before.get(mount.mountpoint, 0)}
                said = daemon.ask(request, lambda said: show(_warmed(total, said)))
            before[mount.mountpoint] = before.get(mount.mountpoint, 0) + int(number(said, "bytes"))
            for name in _FIGURES:
                total[name] += number(said, name)
    if as_json:
        figures = {name: int(total[name]) for name in _FIGURES} if wait else {}
        print(json.dumps({"is_done": wait, **figures}))
    elif wait:
        print(_warmed(total, {}))
    else:
        print("being warmed: llmfs top shows it, and llmfs warm --wait waits for it")
    if total["errors"] or total["left_out"]:
        raise typer.Exit(1)


def _warm_from_trace(trace: str, paths: list[str], *, wait: bool, as_json: bool) -> None:
    if len(paths) > 1:
        raise UsageError("--from-trace takes one PATH: a mount, or any file in it")
    from llmfs.trace_profile import profile_of
    from predictor.interchange import read_any
    from predictor.trace import TraceError

    mount = control.mount_of(paths[0])
    with shown_progress(not as_json) as show:
        show("reading the trace")
        try:
            files = profile_of(read_any(absolute(trace))).described()
        except TraceError as error:
            raise LlmfsError(f"cannot read the trace: {error}") from error
        except OSError as error:
            raise LlmfsError(f"cannot read the trace {one_line(trace)}: {reason(error)}") from error
        total = fetch_named(mount, files, show, wait=wait)
    if as_json:
        figures = {key: int(value) for key, value in total.items()} if wait else {}
        print(json.dumps({"is_done": wait, "named": len(files), **figures}))
    else:
        print(fetched(total, len(files)) if wait else f"being warmed: {len(files):,} files that the trace names")
    if total["errors"]:
        raise typer.Exit(1)


def fetch_named(mount: mounts.Mount, files: list[Any], show: Show, *, wait: bool = True) -> dict[str, float]:
    """Have a mount fetch what a profile names, as `Profile.described` has it; returns what became of it."""
    total = dict.fromkeys(("files", "fetched_bytes", "missing", "errors"), 0.0)

    def tell(said: Mapping[str, Any]) -> None:
        now = {key: value + number(said, key) for key, value in total.items()}
        is_done = sum(now[key] for key in ("files", "missing", "errors"))
        show(fetched(now, len(files)), is_done / len(files) if wait else None)

    with control.connected(mount) as daemon:
        for start in range(0, len(files), control.FILES_AT_ONCE):
            part = files[start : start + control.FILES_AT_ONCE]
            said = daemon.ask({"do": "replay", "files": part, "wait": wait}, tell)
            for key in total:
                total[key] += number(said, key)
            tell({})
    return total


def fetched(total: Mapping[str, float], named: int) -> str:
    """What became of the files that a profile names, in words."""
    text = f"{total['files']:,.0f} of {named:,} files are ready, {format_size(total['fetched_bytes'])} fetched now"
    text += f"; {total['missing']:,.0f} are not there" if total["missing"] else ""
    return text + (f"; {total['errors']:,.0f} could not be read" if total["errors"] else "")


def evict(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file or directory in a mount.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Drop what is cached of a file, or of all below a directory: the next read asks the source."""
    said = _ask("evict", path, _evicted, is_shown=not as_json)
    if as_json:
        print(json.dumps(said))
    else:
        print(_evicted(said))
    if number(said, "errors"):
        raise typer.Exit(1)


def check(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A mount, or what is in one.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Compare what is cached with the source; exit status 1 where cached bytes differ or a file cannot be read.

    What differs is dropped from the cache, so that the next read asks the source.
    """
    said = _ask("check", path, _checked, is_shown=not as_json)
    if as_json:
        print(json.dumps(said))
    else:
        for row in rows(said, "differ"):
            print(f"differs: {one_line(str(row.get('path')))} at {_offsets(row)}")
        print(_checked(said))
    if number(said, "differing") or number(said, "errors"):
        raise typer.Exit(1)


def _ask(do: str, path: str, words: Callable[[Mapping[str, Any]], str], *, is_shown: bool) -> dict[str, Any]:
    mount = control.mount_of(path)
    with control.connected(mount) as daemon, control.named(path) as inode, shown_progress(is_shown) as show:
        return daemon.ask({"do": do, "inode": inode}, lambda said: show(words(said)))


def _warmed(total: Mapping[str, float], said: Mapping[str, Any]) -> str:
    files, size, fetched, left_out, errors = (total[name] + number(said, name) for name in _FIGURES)
    text = f"{files:,.0f} files are cached ({format_size(size)}), {format_size(fetched)} of that fetched now"
    if left_out:
        text += f"; {left_out:,.0f} left out, for the cache would not hold them all"
    return text + (f"; {errors:,.0f} could not be read" if errors else "")


def _evicted(said: Mapping[str, Any]) -> str:
    text = (
        f"{number(said, 'files'):,.0f} files: {number(said, 'blocks'):,.0f} blocks dropped"
        f" ({format_size(number(said, 'bytes'))})"
    )
    return text + (f"; {number(said, 'errors'):,.0f} could not be looked at" if number(said, "errors") else "")


def _checked(said: Mapping[str, Any]) -> str:
    text = (
        f"{number(said, 'files'):,.0f} files, {number(said, 'blocks'):,.0f} cached blocks"
        f" ({format_size(number(said, 'bytes'))}) compared: {number(said, 'differing'):,.0f} files differ"
    )
    if number(said, "changed"):
        text += f"; {number(said, 'changed'):,.0f} have changed in the source, and are fetched anew"
    return text + (f"; {number(said, 'errors'):,.0f} could not be read" if number(said, "errors") else "")


def _offsets(row: Mapping[str, Any]) -> str:
    offsets = row.get("offsets")
    return (
        ", ".join(format_size(each) for each in offsets if isinstance(each, int)) if isinstance(offsets, list) else ""
    )
