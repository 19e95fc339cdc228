"""`llmfs trace export`, `llmfs train` and `llmfs evaluate`: what was seen, exported, learned from, judged by."""

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmfs import settings
from llmfs.budget import Budget
from llmfs.cache_dir import CacheDir, Holder
from llmfs.commands import cache as caches
from llmfs.commands import plots
from llmfs.commands.progress import shown_progress
from llmfs.errors import LlmfsError, UsageError, one_line, reason, show

if TYPE_CHECKING:
    from predictor.ranking import Ranker
    from predictor.trace import Batch

app = typer.Typer(help="Take out the record of what was read.")


@app.callback()
def _trace() -> None:
    """Take out the record of what was read."""


class Format(StrEnum):
    CSV = "csv"
    PARQUET = "parquet"
    ORACLE_GENERAL = "oracle-general"
    FIO = "fio"


_TEXT = (Format.CSV, Format.FIO)

_TABLE_WIDTH = 140
"""Where there is no terminal: the table of results is not to be folded."""


@app.command()
def export(
    source: caches.Source = None,
    cache_dir: caches.Directory = None,
    kind: Annotated[
        Format, typer.Option("--format", help="oracle-general is libCacheSim's, fio an iolog for --read_iolog.")
    ] = Format.CSV,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Default: stdout, for csv and fio.")
    ] = None,
) -> None:
    """Write the trace of a source's mounts in a format that others read."""
    cache = CacheDir(caches.find(source, cache_dir))
    if output in (None, "-"):
        if kind not in _TEXT:
            raise UsageError(f"{kind.value} is not text: name a file with -o FILE")
        with tempfile.NamedTemporaryFile() as file:
            # By way of a file, for the writers want a name, and /dev/stdout would truncate what >> appends to.
            _export(cache, kind, Path(file.name))
            shutil.copyfileobj(file, sys.stdout.buffer)
        return
    path = settings.absolute(output or "")
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        count = _export(cache, kind, unfinished)
        unfinished.replace(path)
    except OSError as error:
        raise LlmfsError(f"cannot write {show(path)}: {reason(error)}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    print(f"{count:,} records are in {show(path)}")


def train(
    traces: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TRACE",
            help="Traces of llmfs, CSV, DLIO; none: what the cache's own mounts saw.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="SOURCE", help="Learn for the mounts of this directory.")
    ] = None,
    cache_dir: caches.Directory = None,
    plot: Annotated[
        str | None, typer.Option("--plot", metavar="FILE.png", help="Draw the losses, the lower the better.")
    ] = None,
) -> None:
    """Learn from traces, for the next mount."""
    drawing = plots.target(plot)
    if source is None and cache_dir is None:
        raise UsageError("say for which cache: --source SOURCE or --cache-dir DIR")
    named = named_traces(traces)
    cache, made = _cache_to_train(source, cache_dir)
    files: list[str | os.PathLike[str]] = [*named] or [cache.trace]
    from predictor import training

    last = cache.last_holder()
    limit_bytes = last.limit_bytes if last else settings.parse_size(settings.DEFAULT_CACHE_SIZE)
    holder = Holder(os.getpid(), str(cache.source()), "", limit_bytes)
    try:
        with (
            cache.locked(holder),
            trace_errors(),
            shown_progress(True) as tell,
        ):  # a mount would overwrite what we learn
            report = training.train(files, cache.learned, tell, limit_bytes=Budget.of(limit_bytes).learned)
    except LlmfsError:
        cache.remove(made)
        raise
    if report is None:
        plot_says = ", so there is nothing to draw" if drawing is not None else ""
        print(f"the tables are learned; there were too few rankings to train a network on{plot_says}")
        return
    verdict = "put in use" if report.is_better else "not better, so the one in use stays"
    print(
        f"the tables are learned; a network trained on {report.examples:,} rankings is {verdict}"
        f" (loss {report.loss:.4f}, the one in use {report.loss_incumbent:.4f}, the prior {report.loss_prior:.4f})"
    )
    if drawing is not None:
        losses = {"counts": report.loss_prior, "in use": report.loss_incumbent, "trained now": report.loss}
        plots.bars(drawing, "loss on rankings that no training saw", {"loss": losses})


def evaluate(
    traces: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TRACE",
            help="Runs in order, of llmfs, CSV, DLIO; one is played twice; none: what the cache's own mounts saw.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="SOURCE", help="The directory whose mounts and network are meant.")
    ] = None,
    cache_dir: caches.Directory = None,
    latest: Annotated[
        int,
        typer.Option("--latest", metavar="N", min=1, help="Of each trace the last N accesses: 10,000 take seconds."),
    ] = 200_000,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: a list of results.")] = False,
    plot: Annotated[str | None, typer.Option("--plot", metavar="FILE.png", help="Draw coverage and accuracy.")] = None,
) -> None:
    """Judge the predictor by traces: what it, and simpler planners, would have planned before it was used."""
    cache = CacheDir(caches.find(source, cache_dir)) if source or cache_dir else None
    if not traces and cache is None:
        raise UsageError("say which traces, or whose: TRACE..., --source SOURCE or --cache-dir DIR")
    named = named_traces(traces)
    drawing = plots.target(plot)
    from predictor import evaluate as evaluation
    from predictor import recording
    from predictor.trace import segments

    if not traces and cache is not None and not segments(cache.trace):
        raise LlmfsError(f"there is no trace in {show(cache.trace)} yet: mount the source and read from it")
    with trace_errors(), shown_progress(True) as tell:
        runs = []
        for path in named or ([cache.trace] if cache else []):
            tell(f"reading {path.name}", 0.0)
            runs.append(recording.latest(recording.load(path), latest))
        if len(runs) == 1:
            runs *= 2
        for run in runs:
            if not run.batches:
                raise LlmfsError(f"there is no access in {one_line(run.name)}")
        results = evaluation.compare(runs, _network(cache), progress=tell)
    if as_json:
        described = [result.figures() for number in range(len(runs)) for result in results[number :: len(runs)]]
        print(json.dumps(described, indent=2))
    else:
        from rich.console import Console

        Console(width=None if sys.stdout.isatty() else _TABLE_WIDTH).print(evaluation.shown(results, len(runs)))
    if drawing is not None:
        last = results[len(runs) - 1 :: len(runs)]
        figures = {
            "coverage: share of files planned before they were used": {each.planner: each.coverage for each in last},
            "accuracy: share of planned files that were used": {each.planner: each.accuracy for each in last},
        }
        plots.bars(drawing, f"the last run, {last[0].run}", figures)


def _network(cache: CacheDir | None) -> "Ranker | None":
    """The cache's own network, else the shipped one, else none."""
    from predictor import ranker

    for path in [*([cache.learned / ranker.NAME] if cache else []), ranker.SHIPPED]:
        try:
            return ranker.load(path)
        except FileNotFoundError:
            continue
        except (OSError, ranker.WeightsError) as error:
            raise LlmfsError(f"cannot read the network {show(path)}: {error}") from error
    return None


def named_traces(traces: list[str] | None) -> list[Path]:
    """The traces that were named. Raises UsageError where one is not there."""
    named = []
    for trace in traces or []:
        named.append(settings.absolute(trace))
        if not named[-1].exists():
            raise UsageError(f"there is no trace {one_line(trace)}")
    return named


def _cache_to_train(source: str | None, cache_dir: str | None) -> tuple[CacheDir, list[Path]]:
    """The cache that is to know more, and the directories that were made for it.

    One that is named by its source may be made here, before the first mount, once it is sure that there is a trace.
    """
    if source is None:
        return CacheDir(caches.find(None, cache_dir)), []
    real_source = settings.absolute(source)
    if not real_source.is_dir():
        raise UsageError(f"there is no source {show(real_source)}")
    cache = CacheDir(settings.absolute(cache_dir) if cache_dir else settings.default_cache_dir(real_source))
    return cache, cache.prepare(real_source)


def _export(cache: CacheDir, kind: Format, path: Path) -> int:
    """Writes the trace of a cache to `path`; returns the number of records."""
    from predictor import interchange
    from predictor.trace import read_trace, segments

    if not segments(cache.trace):
        raise LlmfsError(f"there is no trace in {show(cache.trace)} yet: mount the source and read from it")
    write: Callable[..., int] = {
        Format.CSV: interchange.write_csv,
        Format.PARQUET: interchange.write_parquet,
        Format.ORACLE_GENERAL: interchange.write_oracle_general,
        Format.FIO: interchange.write_fio,
    }[kind]
    with trace_errors(), shown_progress(True) as tell:

        def counted() -> "Iterator[Batch]":
            count = 0
            for batch in read_trace(cache.trace):
                yield batch
                count += len(batch.records)
                tell(f"exporting, {count:,} records")

        return write(counted(), path)


@contextlib.contextmanager
def trace_errors() -> Iterator[None]:
    """What is wrong with a trace is said in one line."""
    from predictor.trace import TraceError

    try:
        yield
    except TraceError as error:
        raise LlmfsError(f"cannot read the trace: {error}") from error
