"""What llmfs does when things go wrong, and when they go on for long: python -m bench.chaos

    kill-mount      the daemon is killed under writes: what fsync acknowledged is in the source, the cache is good
    kill-predictor  the predictor is killed under reads: programs do not notice, it comes back
    kill-push       the daemon is killed where it cannot die: umount --force ends it (as root)
    many-handles    10,000 files open at once
    many-files      200,000 files walked with ulimit -n 1024
    memory          64 readers of large files: the daemon's memory stays below a bound (bench/chaos/many.py)
    cache-disk      the cache's disk full, emptied by somebody, read-only from the start, suddenly (as root)
    cache-slow      the cache's disk slow: reads of what is not cached do not wait for it
    soak            mixed load for half an hour: memory, descriptors, threads, LMDB readers do not grow

The exit status is 1 if a scenario fails.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench.chaos.drawing import draw
from bench.chaos.place import Result, Task
from bench.chaos.scenarios import ELSEWHERE, SCENARIOS
from bench.mounted import LlmfsFailedError
from bench.report import Progress, machine, write_json
from bench.slowdir import BuildError

SHOWN_FAILURES = 10


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less of everything: about two minutes")
    parser.add_argument("--only", nargs="+", choices=list(SCENARIOS), metavar="NAME", help="only these")
    parser.add_argument("--soak-minutes", type=float, default=30.0)
    parser.add_argument("--output", type=Path, default=Path("out/chaos.json"))
    parser.add_argument("--directory", type=Path, help="where to work (default: that for temporary files)")
    args = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that all is cleaned up
    progress = Progress()
    results: dict[str, Result] = {}
    try:
        for name in args.only or SCENARIOS:
            results[name] = run(name, args.quick, args.soak_minutes, args.directory, progress)
            write_json(args.output, as_json(results, args.quick))
    except KeyboardInterrupt:
        return 130
    except BuildError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 1
    show(results, progress)
    draw_series(results, args.output, progress)
    progress.console.print(f"figures: {args.output}", markup=False)
    return 1 if any(result.failures for result in results.values()) else 0


def run(name: str, is_quick: bool, soak_minutes: float, directory: Path | None, progress: Progress) -> Result:
    """One scenario, in a directory of its own. What breaks down in it is its failure. Raises BuildError."""
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"llmfs-{name}-", dir=directory) as work, progress.step(name) as said:
        task = Task(Path(work), is_quick, soak_minutes)
        try:
            result = SCENARIOS[name](task)
        except (LlmfsFailedError, OSError, subprocess.SubprocessError, RuntimeError) as error:
            if isinstance(error, BuildError):
                raise
            result = Result(failures=[f"{type(error).__name__}: {error}"])
        result.figures["s"] = round(time.monotonic() - began_s, 1)
        said.append(verdict(result))
    return result


def verdict(result: Result) -> str:
    return f"left out: {result.skipped}" if result.skipped else "FAILED" if result.failures else "ok"


def show(results: Mapping[str, Result], progress: Progress) -> None:
    """A row each, then what failed and what was left out."""
    rows = [
        (name, result.done, "FAILED" if result.failures else "-" if result.skipped else "ok")
        for name, result in results.items()
    ]
    progress.table("what was done to it", ("scenario", "what was done", "outcome"), rows)
    say = progress.console.print
    for name, result in results.items():
        figures = ", ".join(f"{figure} {value:,.10g}" for figure, value in result.figures.items())
        say(f"{name}: {figures}", markup=False)
    for name, result in results.items():
        for failure in result.failures[:SHOWN_FAILURES]:
            say(f"{name} FAILED: {failure}", markup=False)
        if len(result.failures) > SHOWN_FAILURES:
            say(f"{name}: and {len(result.failures) - SHOWN_FAILURES} more", markup=False)
        if result.skipped:
            say(f"{name} is left out: {result.skipped}", markup=False)
    for name, where in ELSEWHERE.items():
        say(f"{name}: {where}", markup=False)


def draw_series(results: Mapping[str, Result], output: Path, progress: Progress) -> None:
    """What scenarios sampled, as a plot each beside the figures."""
    for name, result in results.items():
        if result.series:
            drawing = output.with_name(f"{output.stem}-{name}.png")
            progress.plotted(drawing, draw(drawing, f"{name}: {result.done}", result.series))


def as_json(results: Mapping[str, Result], is_quick: bool) -> dict[str, object]:
    return {
        "machine": machine(),
        "quick": is_quick,
        "scenarios": {
            name: {
                "done": result.done,
                "outcome": verdict(result),
                "figures": result.figures,
                "failures": result.failures,
                "series": result.series,
            }
            for name, result in results.items()
        },
    }


if __name__ == "__main__":
    sys.exit(main())
