"""What the edge profile's bounds cost in hits: python -m bench.profiles TRACE... [--cache 1G]

Each trace is played twice, as a first and a second run of the same program, and then all of them one after the other
as one mount would see them, once within the bounds of each machine profile: the predictor's tables, the threads, and
the share of the cache that is for blocks. What is learned stays from run to run, the cache is emptied between them. The
*hit ratio* is the share of blocks read that were there, whoever had them fetched; of *names* it is the share that was
known when it was asked for, of those that no program had asked for before.

Status 1 where a hit ratio of the edge profile is more than a hundredth below the desktop's.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.replay.reading import read_recording
from bench.replay.synthetic import SYNTHETIC
from bench.report import Bars, Progress, machine, plot, write_json
from llmfs.block_cache import FILL_SHARE
from llmfs.budget import Budget
from llmfs.machine_profile import DESKTOP, EDGE, MachineProfile
from llmfs.policy.eviction import Eviction
from llmfs.policy.planning import UNUSED_SHARE_PROVEN
from llmfs.replay.outcome import IN_TIME, Outcome
from llmfs.replay.planners import EnginePlanner
from llmfs.replay.simulation import Cache, Simulation
from llmfs.replay.source import Model
from llmfs.replay.workload import Workload, arrange
from llmfs.settings import DEFAULT_CACHE_SIZE, parse_size
from predictor import experience, ranker
from predictor.engine import Engine
from predictor.limits import SMALL, Limits
from predictor.trace import TraceError

TOLERANCE = 0.01
COMPARED = (DESKTOP, EDGE)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One run of one trace, under both profiles."""

    run: str
    outcomes: dict[str, Outcome]

    def hits(self, profile: MachineProfile) -> float:
        return self.outcomes[profile.name].hit_ratio

    def names(self, profile: MachineProfile) -> float:
        counts = self.outcomes[profile.name].names
        return counts[IN_TIME] / sum(counts) if sum(counts) else 0.0

    @property
    def is_within(self) -> bool:
        """Whether edge hits as the desktop does, or more."""
        return self.hits(EDGE) >= self.hits(DESKTOP) - TOLERANCE


def replay(runs: Sequence[Workload], profile: MachineProfile, cache_bytes: int, model: Model) -> list[Outcome]:
    """All runs within the bounds of a profile."""
    capacity_bytes = int(Budget.of(cache_bytes).blocks * FILL_SHARE)
    limits = SMALL if profile.is_predictor_small else Limits()
    engine = Engine(dataclasses.replace(limits, ahead_bytes=int(UNUSED_SHARE_PROVEN * capacity_bytes)))
    experience.give(engine)
    engine.ranker = ranker.load(ranker.SHIPPED) if ranker.SHIPPED.exists() else None
    planner = EnginePlanner(profile.name, engine)
    cache = Cache.empty(Eviction(capacity_bytes))
    bounded = dataclasses.replace(model, demand_limit=profile.demand_threads, prefetch_limit=profile.prefetch_threads)
    outcomes = []
    for number, workload in enumerate(runs):
        if number:
            cache.clear()
        outcomes.append(Simulation(workload, cache, planner, bounded).run())
    return outcomes


def compare(name: str, runs: Sequence[Workload], cache: str, model: Model) -> list[Comparison]:
    """Each run under both profiles, with a cache of the size that `cache` says."""
    found = {each.name: replay(runs, each, parse_size(cache), model) for each in COMPARED}
    return [
        Comparison(f"{name}{number + 1}", {profile: outcomes[number] for profile, outcomes in found.items()})
        for number in range(len(runs))
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it; returns the exit status."""
    options = _parse(arguments)
    progress = Progress()
    model = Model(latency_s=options.latency_ms / 1e3)
    workloads: list[tuple[str, Workload]] = []
    comparisons: list[Comparison] = []
    try:
        for trace in options.traces:
            with progress.step(f"reading {trace}"):
                recording = read_recording(trace, options.seed)
                workloads.append((recording.name, arrange(recording)))
    except (TraceError, OSError) as error:
        print(f"bench.profiles: {error}", file=sys.stderr)
        return 1
    except KeyError as error:
        print(f"bench.profiles: no workload {error}: there are {', '.join(SYNTHETIC)}", file=sys.stderr)
        return 2
    for name, workload in workloads:
        with progress.step(name):
            comparisons += compare(f"{name}, run ", [workload] * 2, options.cache, model)
    if len(workloads) > 1:
        with progress.step("one after the other"):
            comparisons += compare("all of them, ", [workload for _, workload in workloads], options.cache, model)
    is_within = all(each.is_within for each in comparisons)
    _show(progress, comparisons, options.cache)
    write_json(
        options.output,
        {
            "machine": machine(),
            "cache": options.cache,
            "is_within": is_within,
            "runs": [
                {"run": each.run, **{name: outcome.as_json() for name, outcome in each.outcomes.items()}}
                for each in comparisons
            ],
        },
    )
    drawing = options.output.with_suffix(".png")
    progress.files(drawing, options.output, _draw(drawing, comparisons))
    return 0 if is_within else 1


def _show(progress: Progress, comparisons: Sequence[Comparison], cache: str) -> None:
    progress.table(
        f"hit ratio of blocks and of names, and seconds of stall (cache of desktop and edge {cache})",
        ("run", "desktop", "edge", "difference", "names", "edge", "stall", "edge", ""),
        [
            (
                each.run,
                f"{each.hits(DESKTOP):.4f}",
                f"{each.hits(EDGE):.4f}",
                f"{each.hits(EDGE) - each.hits(DESKTOP):+.4f}",
                f"{each.names(DESKTOP):.4f}",
                f"{each.names(EDGE):.4f}",
                f"{each.outcomes[DESKTOP.name].total_stall_s:.2f}",
                f"{each.outcomes[EDGE.name].total_stall_s:.2f}",
                "" if each.is_within else "less than within 1%",
            )
            for each in comparisons
        ],
    )


def _draw(path: Path, comparisons: Sequence[Comparison]) -> bool:
    panels = [
        Bars(each.run, [profile.name for profile in COMPARED], [each.hits(p) for p in COMPARED], "hit ratio")
        for each in comparisons
    ]
    return plot(path, "the machine profiles, replayed", panels)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.profiles", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("traces", nargs="+", metavar="TRACE", help="as bench.replay takes them")
    parser.add_argument("--cache", metavar="SIZE", default=DEFAULT_CACHE_SIZE, help="for both (default: %(default)s)")
    parser.add_argument("--latency-ms", type=float, default=2.0, help="the median of a request (default: 2)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("out/profiles.json"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
