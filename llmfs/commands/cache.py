"""`llmfs cache info` and `llmfs cache clear`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from llmfs import settings
from llmfs.cache_dir import CacheDir, Holder, read_description
from llmfs.errors import CacheError, UsageError, one_line, show
from llmfs.settings import format_size

app = typer.Typer(help="See and empty what mounts keep on disk.")

Source = Annotated[
    str | None, typer.Argument(metavar="SOURCE", help="The directory that is cached.", show_default=False)
]
Directory = Annotated[
    str | None,
    typer.Option("--cache-dir", metavar="DIR", help="The cache itself, where it is not the source's default one."),
]


@app.command()
def info(
    source: Source = None,
    cache_dir: Directory = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: a list of caches.")] = False,
) -> None:
    """Show what a cache holds and who uses it; all caches of the default place when none is named."""
    if source is None and cache_dir is None:
        described = [read_description(path) for path in _default_caches()]
    else:
        described = [read_description(find(source, cache_dir))]
    if as_json:
        print(json.dumps(described, indent=2))
        return
    for number, each in enumerate(described):
        if number:
            print()
        _print(each)
    if not described:
        print(f"no cache under {show(settings.default_cache_root())}")


@app.command()
def clear(
    source: Source = None,
    cache_dir: Directory = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what was learned, and the trace.")] = False,
) -> None:
    """Empty a cache and keep what was learned."""
    path = find(source, cache_dir)
    freed = CacheDir(path).clear(everything=everything)
    kept = "" if everything else "; what was learned is kept"
    print(f"{show(path)} is empty: {format_size(freed)} freed{kept}")


def find(source: str | None, cache_dir: str | None) -> Path:
    """The cache of a source, or the one named. Raises UsageError where neither or both are named, CacheError
    where there is none."""
    if source is None and cache_dir is None:
        raise UsageError("say which cache: its SOURCE, or --cache-dir DIR")
    if source is not None and cache_dir is not None:
        raise UsageError("name a SOURCE or --cache-dir, not both")
    if cache_dir is not None:
        path, hint = settings.absolute(cache_dir), ""
    else:
        path = settings.default_cache_dir(settings.absolute(source or ""))
        hint = f": if {one_line(source or '')} was mounted with --cache-dir, name that"
    if CacheDir(path).source() is None:
        raise CacheError(f"there is no cache at {show(path)}{hint}")
    return path


def _default_caches() -> list[Path]:
    root = settings.default_cache_root()
    try:
        return sorted(path for path in root.iterdir() if (path / "format").exists())
    except FileNotFoundError:
        return []


def _print(described: dict[str, Any]) -> None:
    holder = described["in_use_by"]
    limit = described["limit_bytes"]
    rows = {
        "source": one_line(described["source"]),
        **{name: format_size(size) for name, size in described["bytes"].items()},
        "total": format_size(described["total_bytes"]) + (f", limit {format_size(limit)}" if limit else ""),
        "in use": f"by {Holder(**holder)}" if holder else "no",
    }
    print(one_line(described["cache_dir"]))
    for label, text in rows.items():
        print(f"  {label:<10} {text}")
