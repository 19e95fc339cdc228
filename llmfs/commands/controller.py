"""`llmfs train-controller`: weights for `--control learned`, from replays of traces and of made programs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmfs import settings
from llmfs.cache_dir import CacheDir
from llmfs.commands import cache as caches
from llmfs.commands.learning import named_traces, trace_errors
from llmfs.commands.progress import shown_progress
from llmfs.errors import LlmfsError, UsageError, reason, show

if TYPE_CHECKING:
    from llmfs.replay.training import Report

STEPS = 6000
"""Of training after each round: more gained nothing on scenarios that were not trained on."""

ACCESSES = 1600
"""Of each program of a scenario: some ten seconds, so some ten decisions, and as many more while it waits."""


def train_controller(
    traces: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TRACE",
            help="Traces of llmfs, CSV, DLIO to mix in; none: what the cache's own mounts saw, if anything.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="SOURCE", help="For the mounts of this directory.")
    ] = None,
    cache_dir: caches.Directory = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Write the weights there, better or not.")
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", min=1, help="Each steered by what was learned before.")
    ] = 3,
    scenarios: Annotated[int, typer.Option("--scenarios", metavar="N", min=1, help="Played in each round.")] = 100,
    judged: Annotated[
        int, typer.Option("--judged", metavar="N", min=1, help="Others to choose by, and as many to prove the choice.")
    ] = 48,
    accesses: Annotated[
        int, typer.Option("--accesses", metavar="N", min=10, help="Of each program of a scenario.")
    ] = ACCESSES,
    jobs: Annotated[
        int | None, typer.Option("--jobs", metavar="N", min=1, help="At a time. [default: as many as cores]")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of all that is drawn.")] = 5,
) -> None:
    """Learn to steer prefetching, for the next mount with --control learned.

    It takes hours: programs that compete are replayed over modelled sources, again and again. What comes of it is used
    by the next mounts of a source if, on replays that it was not made from, it costs less than the rules, and never 5%
    more than no control.
    """
    if source is None and cache_dir is None and output is None:
        raise UsageError("say for which cache, --source SOURCE or --cache-dir DIR, or where to: --output FILE")
    cache = CacheDir(caches.find(source, cache_dir)) if source or cache_dir else None
    files = named_traces(traces)
    from llmfs.replay import training
    from llmfs.replay.episodes import Draw
    from predictor.control import network
    from predictor.trace import segments

    if not files and cache is not None and segments(cache.trace):
        files = [cache.trace]
    recipe = training.Recipe(rounds, scenarios, judged, STEPS, seed)
    draw = Draw(accesses, tuple(map(os.fspath, files)))
    with trace_errors(), shown_progress(True) as tell:
        report = training.make(recipe, draw, jobs or len(os.sched_getaffinity(0)), tell)
    target = None
    if output is not None:
        target = settings.absolute(output)
    elif cache is not None and report.is_better:
        target = cache.learned / network.NAME
    if target is not None:
        try:
            training.save(report.best, target)
        except OSError as error:
            raise LlmfsError(f"cannot write {show(target)}: {reason(error)}") from error
    print(_said(report, target))


def _said(report: "Report", target: Path | None) -> str:
    proved, rules = report.proved, report.rules
    figures = (
        f"a network of {report.decisions:,} decisions costs {proved.mean:.3f} of no control on other replays"
        f" ({proved.worst:.2f} at worst), the rules {rules.mean:.3f} ({rules.worst:.2f})"
    )
    verdict = "better" if report.is_better else "not better"
    if target is None:
        return f"{figures}: {verdict}, so nothing was changed"
    return f"{figures}: {verdict}; it is in {show(target)}, for --control learned"
