"""What llmfs does for a Python environment on a slow directory: python -m bench.demo

A real environment (bench/environment.py), a month old, stands on a directory where each request takes 2 ms
(bench/slowdir), as on a network filesystem. The same program, which imports torch and numpy and computes a
little, runs from it:

    native            from the disk below: the floor
    raw               from the slow directory itself: what there is without llmfs
    first time        through llmfs, nothing cached and nothing learned
    cached            again, after a remount
    learned           again, with the cache emptied and what was learned kept
    nothing learned   the control for that: the cache emptied and no predictor

Before each run the kernel forgets everything it cached of the slow directory and of llmfs's own files, so
that what is fast is fast by what llmfs kept. Requests are counted where they arrive, until the mount is
gone: what was fetched in vain is in there. Only the public command line is used.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import environment
from bench.environment import EnvironmentFailedError
from bench.mounted import Llmfs, LlmfsFailedError, drop_pages, llmfs
from bench.report import Bars, Progress, machine, plot, write_json
from bench.slowdir import BuildError, SlowDir

# A run that takes longer than so long, and so many requests one after the other, is broken: raw makes 8,000.
_RUN_TIMEOUT_S = 120.0
_RUN_REQUESTS = 20_000


class WrongOutputError(RuntimeError):
    """A run printed something else than the native one."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of the program came to."""

    name: str
    seconds: float
    source_requests: int
    source_read_bytes: int
    status: Mapping[str, Any] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)

    def hit_rate(self, kind: str) -> float | None:
        """The share of reads or lookups that llmfs answered from its cache; None where it saw none."""
        tiers = self.status.get(kind)
        total = sum(tiers.values()) if isinstance(tiers, dict) else 0
        return tiers.get("cache", 0) / total if tiers and total else None

    def fetched_ahead(self) -> list[tuple[str, int, int, int]]:
        """Who had data fetched ahead: (generator, blocks, used in time, used while on their way), the most first."""
        found = self.status.get("prefetch", {}).get("by_generator", {})
        rows = [(name, of["issued"], of["used_in_time"], of["used_late"]) for name, of in found.items()]
        return sorted(rows, key=lambda row: (-row[1], row[0]))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--latency-ms", type=float, default=2.0, help="of each request (default 2)")
    parser.add_argument("--output", type=Path, default=Path("out/demo.png"), help="the plot; JSON beside it")
    args = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that all is cleaned up
    progress = Progress()
    progress.warn_if_busy()
    described = machine()
    runs: list[Run] = []
    try:
        with tempfile.TemporaryDirectory(prefix="llmfs-demo-", ignore_cleanup_errors=True) as scratch:
            demonstrate(Path(scratch).resolve(), args.latency_ms / 1e3, progress, runs.append)
    except KeyboardInterrupt:
        print("interrupted; everything is unmounted and removed", file=sys.stderr)
        return 130
    except (BuildError, EnvironmentFailedError, LlmfsFailedError, WrongOutputError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    _report(runs, described, args.latency_ms, args.output, progress)
    return 0


def demonstrate(
    scratch: Path,
    latency_s: float,
    progress: Progress,
    done: Callable[[Run], None],
    *,
    packages: Sequence[str] = environment.PROGRAM_PACKAGES,
    program: str = environment.PROGRAM,
) -> None:
    """Carries out all runs in an empty directory, and reports each when it is done.

    Raises BuildError, EnvironmentFailedError, LlmfsFailedError, WrongOutputError.
    """
    backing, slow_dir, mountpoint = scratch / "backing", scratch / "slow", scratch / "mount"
    for directory in (backing, slow_dir, mountpoint):
        directory.mkdir()
    with progress.step(f"copying a Python environment with {', '.join(packages)}"):
        environment.build(backing / "env", packages)
        expected = environment.complete(backing / "env", program)

    def run(name: str, root: Path) -> float:
        started_s = time.monotonic()
        timeout_s = _RUN_TIMEOUT_S + _RUN_REQUESTS * latency_s
        output = environment.run(root / "env", program, timeout_s=timeout_s)
        seconds = time.monotonic() - started_s
        if output != expected:
            raise WrongOutputError(f"{name}: the program printed {output!r}, natively {expected!r}")
        return seconds

    def bare(name: str, doing: str, root: Path, slow: SlowDir) -> None:
        with progress.step(doing) as said:
            slow.drop_kernel_caches()
            slow.reset_counters()
            seconds = run(name, root)
            done(_counted(Run(name, seconds, 0, 0), slow, said))

    def through(name: str, doing: str, slow: SlowDir, *options: str) -> None:
        with progress.step(doing) as said:
            slow.drop_kernel_caches()
            drop_pages(cache_dir)
            slow.reset_counters()
            with Llmfs(slow_dir, mountpoint, cache_dir, *options) as mounted:
                seconds = run(name, mountpoint)
                status = mounted.status()
            done(_counted(Run(name, seconds, 0, 0, status), slow, said))

    cache_dir = scratch / "cache"
    with SlowDir(backing, slow_dir, latency_s, has_ctime=False) as slow:  # a month old, by all its times
        bare("native", "running it from the disk below", backing, slow)
        bare("raw", f"running it from the slow directory, {latency_s * 1e3:g} ms a request", slow_dir, slow)
        through("llmfs, first time", "running it through llmfs for the first time", slow)
        through("llmfs, cached", "again, after a remount", slow)
        llmfs("cache", "clear", "--cache-dir", str(cache_dir))
        through("llmfs, learned", "again, with the cache emptied and what was learned kept", slow)
        llmfs("cache", "clear", "--cache-dir", str(cache_dir))
        through("llmfs, no predictor", "again, with the cache emptied and no predictor", slow, "--predictor=off")


def _counted(run: Run, slow: SlowDir, said: list[str]) -> Run:
    counters = {name: value for name, value in slow.counters.items() if value}
    said += [f"{run.seconds:.1f} s", f"{slow.requests:,} requests to the source"]
    return Run(run.name, run.seconds, slow.requests, counters.get("bytes_read", 0), run.status, counters)


def _report(runs: list[Run], described: Mapping[str, Any], latency_ms: float, output: Path, progress: Progress) -> None:
    raw_s = next(run.seconds for run in runs if run.name == "raw")
    rows = [
        (
            run.name,
            f"{run.seconds:.2f}",
            f"{raw_s / run.seconds:.1f}x",
            f"{run.source_requests:,}",
            f"{run.source_read_bytes / 1e6:,.0f}",
            _percent(run.hit_rate("reads")),
            _percent(run.hit_rate("lookups")),
        )
        for run in runs
    ]
    title = f"import torch, numpy from a directory with {latency_ms:g} ms a request"
    columns = ("", "seconds", "vs raw", "source requests", "MB read", "read hits", "lookup hits")
    progress.table(title, columns, rows)
    for run in runs:
        if ahead := run.fetched_ahead():
            progress.table(
                f"{run.name}: fetched ahead",
                ("by", "blocks", "used in time", "used late", "of use"),
                [(by, f"{n:,}", f"{used:,}", f"{late:,}", _percent((used + late) / n)) for by, n, used, late in ahead],
            )
    as_json = output.with_suffix(".json")
    result = {
        "machine": described,
        "latency_ms": latency_ms,
        "runs": [{**asdict(run), "times_raw": raw_s / run.seconds} for run in runs],
    }
    write_json(as_json, result)
    names = [run.name for run in runs]
    panels = [
        Bars("time of the program", names, [run.seconds for run in runs], "seconds"),
        Bars("requests that reached the source", names, [run.source_requests for run in runs], "requests"),
    ]
    is_drawn = plot(output, title, panels)
    progress.files(output, as_json, is_drawn)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


if __name__ == "__main__":
    sys.exit(main())
