"""What runs when: systems in turn within a round, each workload in all its states, and nothing left behind.

Before a run the kernel forgets what it cached of the slow directory and of what the system keeps on disk; names and
pages of the mount itself went with the last one. The directory behind the slow one stays in memory: it is the ideal,
and a server has memory. A system that fails, or gives wrong bytes, loses its sample and no other's.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.matrix.processes import usage
from bench.matrix.samples import Key, Sample, Samples
from bench.matrix.sources import Source
from bench.matrix.systems import Place, System
from bench.matrix.workloads import Forget, Workload, WorkloadFailedError
from bench.mounted import LlmfsFailedError, drop_pages
from bench.peers import PeerFailedError
from bench.report import Progress
from bench.slowdir import SlowDir

STATUS = ("predictor_state", "reads", "read_bytes", "lookups", "prefetch", "waiting", "source_calls")
"""What is kept of a mount's own figures: they say why it was fast or slow."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. Workloads that lack something here are none of it."""

    sources: Sequence[Source]
    workloads: Sequence[Workload]
    systems: Sequence[System]
    rounds: int

    def units(self) -> Iterator[tuple[Source, int, Workload, System]]:
        """In the order that they run: a source, a round, a workload, then the systems, of which another one begins in
        each round."""
        for source in self.sources:
            for number in range(1, self.rounds + 1):
                for workload in self.workloads:
                    systems = [system for system in self.systems if system.name not in workload.not_through]
                    turn = number % len(systems) if systems else 0
                    if source.name in workload.sources:
                        yield from ((source, number, workload, system) for system in systems[turn:] + systems[:turn])


def states(workload: Workload, system: System) -> list[str]:
    return [state for state in system.states if state in workload.states]


class Running:
    """Carries out a plan in an empty directory."""

    def __init__(self, plan: Plan, scratch: Path, samples: Samples, progress: Progress) -> None:
        self._plan = plan
        self._scratch = scratch
        self._samples = samples
        self._progress = progress
        self._expected: dict[str, str] = {}

    def run(self) -> None:
        """Raises BuildError, and what the trees raise: EnvironmentFailedError, ProgramFailedError, OSError."""
        self._make_trees()
        slow_dir = self._scratch / "slow"
        slow_dir.mkdir()
        for source in self._plan.sources:
            with SlowDir(
                self._scratch / "trees", slow_dir, source.latency_s, source.bandwidth_bytes_s, has_ctime=False
            ) as slow:
                for its_source, number, workload, system in self._plan.units():
                    if its_source is source:
                        self._unit(slow, source, number, workload, system)

    def _make_trees(self) -> None:
        parent = self._scratch / "trees"
        parent.mkdir()
        for workload in self._plan.workloads:
            if not (parent / workload.tree.name).exists():
                with self._progress.step(f"making the files of {workload.name}"):
                    workload.tree.build(parent)
        os.sync()  # or the first runs share the disk with what was just written

    def _unit(self, slow: SlowDir, source: Source, number: int, workload: Workload, system: System) -> None:
        """A workload through a system, in all states one after the other, for each comes out of the one before."""
        keys = [Key(source.name, workload.name, system.name, state, number) for state in states(workload, system)]
        if all(key in self._samples for key in keys):
            return
        backing = self._scratch / "trees" / workload.tree.name
        cache_bytes = None
        if workload.cache_share is not None:
            cache_bytes = int(workload.cache_share * _size(backing))
        place = Place(
            slow.mountpoint / workload.tree.name,
            backing,
            self._scratch / "mount",
            self._scratch / "cache",
            cache_bytes,
        )
        place.mountpoint.mkdir(exist_ok=True)
        try:
            for key in keys:
                said: list[str]
                doing = f"{source.name}, round {number}, {workload.name}, {system.name}, {key.state}"
                with self._progress.step(doing) as said:
                    sample = self._sample(slow, key, workload, system, place)
                    said.append(sample.error or _speed(sample))
                self._samples.add(sample)
                if sample.error:
                    break  # the next state would come out of none
        finally:
            shutil.rmtree(place.cache_dir, ignore_errors=True)

    def _sample(self, slow: SlowDir, key: Key, workload: Workload, system: System, place: Place) -> Sample:
        try:
            system.prepare(place, key.state)
            _forget(slow, place)
            slow.reset_counters()
            with system.mount(place) as mounted:
                before = usage(mounted.pids)
                outcome = workload.run(mounted.root, key.round, _between_parts(slow, place))
                after = usage(mounted.pids)
                status = mounted.status()
                counters, requests, digest = slow.counters, slow.requests, outcome.digest
                if workload.check is not None:
                    digest = workload.check(mounted.root)
            if workload.check is None:  # also what is fetched in vain after its end
                counters, requests = slow.counters, slow.requests
            if digest != self._digest(workload, place, key.round):
                return Sample(key, error="WRONG CONTENT: its digest differs from the native one")
        except (LlmfsFailedError, PeerFailedError, WorkloadFailedError, TimeoutError, OSError) as error:
            return Sample(key, error=f"{type(error).__name__}: {error}"[:500])
        return Sample(
            key,
            outcome.seconds,
            outcome.bytes_s,
            dict(outcome.parts),
            requests,
            counters["bytes_read"],
            {operation: count for operation in slow.control.operations() if (count := counters[operation])},
            after.cpu_s - before.cpu_s if mounted.pids else None,
            after.memory_bytes if mounted.pids else None,
            after.anonymous_bytes if mounted.pids else None,
            {name: status[name] for name in STATUS if name in status},
        )

    def _digest(self, workload: Workload, place: Place, seed: int) -> str:
        """What it reads from the directory behind."""
        if workload.name not in self._expected:
            run = workload.check or (lambda root: workload.run(root, seed, lambda: None).digest)
            self._expected[workload.name] = run(place.backing)
        return self._expected[workload.name]


def _forget(slow: SlowDir, place: Place) -> None:
    slow.drop_kernel_caches()
    if place.cache_dir.exists():
        drop_pages(place.cache_dir)


def _between_parts(slow: SlowDir, place: Place) -> Forget:
    """Drops what lies below the mount; the first part begins where nothing is cached anyway."""
    is_first = True

    def forget() -> None:
        nonlocal is_first
        if not is_first:
            _forget(slow, place)
        is_first = False

    return forget


def _speed(sample: Sample) -> str:
    speed = f"{sample.seconds:.2f} s" if sample.bytes_s is None else f"{sample.bytes_s / 1e6:,.1f} MB/s"
    return f"{speed}, {sample.source_requests:,} requests to the source"


def _size(root: Path) -> int:
    return sum(os.lstat(os.path.join(place, name)).st_size for place, _, names in os.walk(root) for name in names)
