"""Records traces of real programs, run through llmfs: python -m bench.record --output DIR

Each workload (bench/recorded.py) stands on a slow directory of its own (bench/slowdir), is mounted by the public
command line without a predictor, so that nothing but the program decides what is accessed, and runs twice: a first
time, and again after a remount with the kernel's caches dropped. The mount's own access log is the recording:
DIR/NAME-1.trace and DIR/NAME-2.trace, in the format of predictor.trace, and DIR/NAME.tree, all names that were there,
for listings show more than a program touches. What is shipped is trained on them (MODEL_CARD.md); ten minutes or so.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.environment import EnvironmentFailedError
from bench.mounted import Llmfs, LlmfsFailedError, drop_pages
from bench.recorded import WORKLOADS, ProgramFailedError, Workload
from bench.report import Progress
from bench.slowdir import BuildError, SlowDir
from predictor.recording import write_tree
from predictor.trace import TraceWriter, read_trace, segments

RUNS = 2
TRACE_LIMIT_BYTES = 64 << 20


def main() -> int:
    names = [workload.name for workload in WORKLOADS]
    parser = argparse.ArgumentParser(prog="python -m bench.record", description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="a directory for the traces")
    parser.add_argument("--latency-ms", type=float, default=0.3, help="of each request (default 0.3)")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--seconds", type=float, default=600.0, help="begin no workload after so long (default 600)")
    args = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that all is cleaned up
    chosen = [workload for workload in WORKLOADS if not args.only or workload.name in args.only]
    progress = Progress()
    try:
        record(chosen, args.output, args.latency_ms / 1e3, args.seconds, progress)
    except KeyboardInterrupt:
        print("interrupted; everything is unmounted and removed", file=sys.stderr)
        return 130
    except (BuildError, EnvironmentFailedError, LlmfsFailedError, ProgramFailedError) as error:
        print(f"record: {error}", file=sys.stderr)
        return 1
    return 0


def record(
    workloads: Sequence[Workload], output: Path, latency_s: float, limit_s: float, progress: Progress
) -> list[Path]:
    """Records each workload that this machine has the programs for; the files that were written.

    Raises BuildError, EnvironmentFailedError, LlmfsFailedError, ProgramFailedError.
    """
    output.mkdir(parents=True, exist_ok=True)
    began_s = time.monotonic()
    written: list[Path] = []
    for number, workload in enumerate(workloads, 1):
        with progress.step(f"{number}/{len(workloads)} {workload.name}") as said:
            if workload.missing:
                said.append(f"left out: {', '.join(workload.missing)} not installed")
            elif time.monotonic() - began_s > limit_s:
                said.append(f"left out: {limit_s:g} s are over")
            else:
                with tempfile.TemporaryDirectory(prefix="llmfs-record-", ignore_cleanup_errors=True) as scratch:
                    written += _record(workload, Path(scratch).resolve(), output, latency_s, said)
    return written


def _record(workload: Workload, scratch: Path, output: Path, latency_s: float, said: list[str]) -> list[Path]:
    backing, slow_dir, mountpoint = (scratch / name for name in ("backing", "slow", "mount"))
    for directory in (backing, slow_dir, mountpoint):
        directory.mkdir()
    cache_dir = scratch / "cache"
    workload.prepare(backing)
    write_tree(backing, output / f"{workload.name}.tree")
    written = []
    with SlowDir(backing, slow_dir, latency_s) as slow:
        for number in range(1, RUNS + 1):
            slow.drop_kernel_caches()
            if number > 1:
                drop_pages(cache_dir)
            before = set(segments(cache_dir / "trace"))
            began_s = time.monotonic()
            with Llmfs(slow_dir, mountpoint, cache_dir, "--predictor=off"):
                workload.run(mountpoint)
            seconds = time.monotonic() - began_s
            new = [segment for segment in segments(cache_dir / "trace") if segment not in before]
            written.append(output / f"{workload.name}-{number}.trace")
            count = _join(new, scratch / "joined", written[-1])
            said.append(f"run {number}: {count:,} accesses in {seconds:.1f} s")
    return written


def _join(parts: Sequence[Path], scratch: Path, target: Path) -> int:
    """One session's segments as one file that explains itself; the number of accesses in it."""
    scratch.mkdir()
    session = scratch / "session"
    session.mkdir()
    for part in parts:
        shutil.copy(part, session)
    count = 0
    named_paths, named_streams = 1, 0
    # A segment is at most an eighth of the limit.
    with TraceWriter(scratch / "whole", 8 * TRACE_LIMIT_BYTES) as writer:
        for batch in read_trace(session):
            paths, streams = batch.paths, list(batch.streams.values())
            new_paths = [(n, paths.parent(n), paths.name(n)) for n in range(named_paths, len(paths))]
            new_streams = [(s.id, s.tgid, s.command) for s in streams[named_streams:]]
            named_paths, named_streams = len(paths), len(streams)
            writer.append(new_paths, new_streams, batch.records)
            count += len(batch.records)
    (whole,) = segments(scratch / "whole")
    shutil.move(whole, target)
    shutil.rmtree(scratch)
    return count


if __name__ == "__main__":
    sys.exit(main())
