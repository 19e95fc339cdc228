"""Records what the guard is told while real programs and simulated attacks run through a mount.

    DIR/benign/NAME.events, DIR/attacks/FAMILY-SEED.events     msgpack, predictor.guard.events.Event each

Benign programs run in a process group for each command, as a shell would start them. What is shipped is trained on
these alone.
"""

import functools
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgpack

from bench.guard import runs, simulator
from bench.guard.negatives import NEGATIVES
from bench.guard.sessions import SESSIONS
from bench.mounted import Llmfs
from bench.programs import base
from bench.programs.base import Workload
from bench.recorded import WORKLOADS
from bench.report import Progress
from llmfs.guard.wiring import RECORD_TO
from predictor.guard.events import Event, Kind
from predictor.guard.looks import Look


def record(
    output: Path, scratch: Path, seeds: Sequence[int], limit_s: float, progress: Progress, only: str = ""
) -> None:
    """Records all workloads that this machine has the programs for, and attacks of all families with these seeds;
    of either, those whose names begin with `only`."""
    began_s = time.monotonic()
    (output / "benign").mkdir(parents=True, exist_ok=True)
    (output / "attacks").mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        with progress.step(f"attacks, seed {seed}"):
            for family in (name for name in simulator.FAMILIES if name.startswith(only)):
                with runs.environment(**{RECORD_TO: _new(output / "attacks" / f"{family}-{seed}.events")}):
                    runs.attacked(scratch, family, seed, "--guard", "watch")
    for workload in (*NEGATIVES, *SESSIONS, *WORKLOADS):
        if not workload.name.startswith(only):
            continue
        with progress.step(workload.name) as said:
            if workload.missing or time.monotonic() - began_s > limit_s:
                said.append("left out")
                continue
            try:
                _record(workload, output / "benign" / f"{workload.name}.events", scratch)
            except (RuntimeError, OSError) as error:
                said.append(f"failed: {error}")


def _record(workload: Workload, target: Path, scratch: Path) -> None:
    source, mountpoint = scratch / "source", scratch / "mount"
    try:
        for place in (source, mountpoint):
            place.mkdir()
        workload.prepare(source)
        with (
            runs.environment(**{RECORD_TO: _new(target)}),
            Llmfs(source, mountpoint, scratch / "cache", "--predictor", "off", "--guard", "watch"),
        ):
            runs.in_a_group(lambda: _run_in_groups(workload, mountpoint))
    finally:
        for place in scratch.iterdir():
            shutil.rmtree(place, ignore_errors=True)


def _new(target: Path) -> str:
    """A mount adds to what is there: not to an earlier run's."""
    target.unlink(missing_ok=True)
    return str(target)


def _run_in_groups(workload: Workload, mountpoint: Path) -> None:
    """In a child of its own: each command that it starts leads a group."""
    base.subprocess.run = functools.partial(subprocess.run, start_new_session=True)  # type: ignore[attr-defined]
    workload.run(mountpoint)


def read(path: Path) -> Iterator[Event]:
    """The events of a recording; one that was cut ends early."""
    with open(path, "rb") as file:
        for values in msgpack.Unpacker(file, raw=True):
            time_s, kind, group, cgroup, node, directory, name, size_bytes, new, old, *rest = values
            yield Event(
                time_s, Kind(kind), group, cgroup, node, directory, name, size_bytes, _look(new), _look(old), *rest
            )


def _look(values: "list[float] | None") -> Look | None:
    return None if values is None else Look(*values)  # type: ignore[arg-type]
