"""Workloads x systems x states x sources, with a report: python -m bench.matrix

    python -m bench.matrix --only git 'ls -lR' --systems llmfs rclone --sources 2ms --rounds 1
    python -m bench.matrix --quick          a part of it, in less than five minutes
    python -m bench.matrix --resume         goes on where a run was interrupted
    python -m bench.matrix --report-only    writes the report of samples anew

Rivals that are not installed are left out, and the report says so. Samples are kept as they come in samples.json below
the output directory, the report is written beside it also when a run is interrupted. The exit status is 1 if a system
of ours failed or gave wrong bytes.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from bench.environment import EnvironmentFailedError
from bench.matrix import rendering
from bench.matrix.description import describe
from bench.matrix.running import Plan, Running
from bench.matrix.samples import Samples, SamplesError
from bench.matrix.sources import SOURCES, Source
from bench.matrix.summary import Summary
from bench.matrix.systems import LLMFS, NATIVE, RAW, SYSTEMS, System
from bench.matrix.workloads import WORKLOADS, Workload
from bench.programs.base import ProgramFailedError
from bench.report import Progress
from bench.slowdir import BuildError

QUICK_WORKLOADS = (
    "python start",
    "import numpy",
    "git",
    "SQLite",
    "loader, shuffled",
    "fio sequential",
    "fio random-4k",
)
QUICK_SYSTEMS = (RAW, NATIVE, LLMFS)

_Named = TypeVar("_Named", Source, System, Workload)


def main() -> int:
    args = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that all is cleaned up
    progress = Progress()
    plan, left_out = _plan(args)
    path = args.output / "samples.json"
    try:
        if args.resume or args.report_only:
            samples = Samples.load(path)
        else:
            samples = Samples(path, describe(plan.systems, left_out))
        if not args.report_only:
            progress.warn_if_busy()
            _measure(plan, samples, args.directory, progress)
    except KeyboardInterrupt:
        print("interrupted: everything is unmounted; --resume goes on", file=sys.stderr)
        if path.exists():
            rendering.write(samples, args.output, progress)
        return 130
    except (BuildError, EnvironmentFailedError, OSError, ProgramFailedError, SamplesError) as error:
        print(f"matrix: {error}", file=sys.stderr)
        return 1
    rendering.write(samples, args.output, progress)
    return 1 if any(sample.key.system.startswith(LLMFS) for sample in Summary(samples).failures) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.matrix", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option, everything, text in (
        ("--only", [workload.name for workload in WORKLOADS], "these workloads"),
        ("--systems", [system.name for system in SYSTEMS], "these systems; raw and native always"),
        ("--sources", [source.name for source in SOURCES], "these sources"),
    ):
        words = f"{text}: {', '.join(everything)}"
        parser.add_argument(option, nargs="+", choices=everything, metavar="NAME", help=words)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--quick", action="store_true", help="one round of a part, over the first source")
    parser.add_argument("--output", type=Path, default=Path("out/matrix"), help="a directory (default out/matrix)")
    parser.add_argument("--directory", type=Path, help="where to work: 3 GB (default: that for temporary files)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--resume", action="store_true", help="measure what is missing in the output")
    what.add_argument("--report-only", action="store_true", help="measure nothing")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds must be 1 or more")
    return args


def _plan(args: argparse.Namespace) -> tuple[Plan, dict[str, list[str]]]:
    """What is measured, and what is left out for something that is missing here."""
    names = args.only or (QUICK_WORKLOADS if args.quick else None)
    workloads = _chosen(WORKLOADS, names)
    names = args.systems or (QUICK_SYSTEMS if args.quick else None)
    systems = _chosen(SYSTEMS, None if names is None else {RAW, NATIVE, *names})
    sources = _chosen(SOURCES, args.sources or ((SOURCES[0].name,) if args.quick else None))
    left_out = {each.name: each.missing() for each in systems} | {each.name: each.missing for each in workloads}
    left_out = {name: lacking for name, lacking in left_out.items() if lacking}
    plan = Plan(
        sources,
        [workload for workload in workloads if workload.name not in left_out],
        [system for system in systems if system.name not in left_out],
        1 if args.quick else args.rounds,
    )
    return plan, left_out


def _chosen(everything: Sequence[_Named], names: Sequence[str] | set[str] | None) -> list[_Named]:
    return [each for each in everything if names is None or each.name in names]


def _measure(plan: Plan, samples: Samples, directory: Path | None, progress: Progress) -> None:
    with tempfile.TemporaryDirectory(prefix="llmfs-matrix-", dir=directory, ignore_cleanup_errors=True) as name:
        Running(plan, Path(name).resolve(), samples, progress).run()


if __name__ == "__main__":
    sys.exit(main())
