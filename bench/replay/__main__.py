"""Replays traces against a modelled slow source and says what each policy is worth: python -m bench.replay TRACE...

Traces are played in the order given; one alone is played twice, as a first and a second run. What is learned stays from
run to run, the cache is emptied between them (--keep-cache: it is not). The score of a policy is the share of what an
oracle gains over no prefetching: (stall of none - stall) / (stall of none - stall of oracle).
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.replay.bounds import NEVER, Belady, CandidateOracle, Future, OraclePlanner
from bench.replay.lru import Lru
from bench.replay.reading import read_recording
from bench.replay.synthetic import SYNTHETIC
from bench.report import Bars, Progress, machine, plot, write_json
from llmfs.blocks import BLOCK_BYTES, PAGE_BYTES, key_index, key_inode_id
from llmfs.config import Predictor
from llmfs.policy.eviction import Eviction as Ours
from llmfs.policy.planning import UNUSED_SHARE_PROVEN
from llmfs.replay.outcome import AGAIN, NEW, WARM, Outcome
from llmfs.replay.planners import EnginePlanner, NoPlanner, RivalPlanner
from llmfs.replay.simulation import Cache, Eviction, Planner, Simulation
from llmfs.replay.source import Model
from llmfs.replay.tree import pieces
from llmfs.replay.workload import Workload, arrange
from llmfs.settings import parse_size
from predictor import experience, ranker
from predictor.baselines.catalogue import RIVALS
from predictor.engine import Engine
from predictor.events import Op
from predictor.limits import Limits
from predictor.recording import Recording
from predictor.trace import TraceError

OWN = ("none", "rules+lru", "rules", "counts", "network", "candidate oracle", "oracle")
OTHERS = tuple(name for name in RIVALS if name not in OWN)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it; returns the exit status."""
    options = _parse(arguments)
    progress = Progress()
    try:
        recordings = []
        for trace in options.traces:
            with progress.step(f"reading {trace}"):
                recordings.append(read_recording(trace, options.seed))
    except (TraceError, OSError) as error:
        print(f"bench.replay: {error}", file=sys.stderr)
        return 1
    except KeyError as error:
        print(f"bench.replay: no workload {error}: there are {', '.join(SYNTHETIC)}", file=sys.stderr)
        return 2
    if not any(len(records) for recording in recordings for records in recording.batches):
        print("bench.replay: there is no access in these traces", file=sys.stderr)
        return 1
    model = Model(
        options.latency_ms / 1e3, options.spread, options.bandwidth_mb * 1e6, options.concurrency, seed=options.seed
    )
    runs = recordings if len(recordings) > 1 else recordings * 2
    workloads = {id(recording): arrange(recording) for recording in recordings}
    capacity_bytes = _capacity(options.cache, recordings)
    outcomes: list[Outcome] = []
    for name in options.policies:
        with progress.step(name) as said:
            own = replay(name, [workloads[id(run)] for run in runs], model, capacity_bytes, options)
            outcomes += own
            speed = sum(each.events for each in own) / max(1e-9, sum(each.cpu_s for each in own))
            said.append(f"{speed:,.0f} events a second of CPU")
    _show(progress, outcomes, len(runs))
    write_json(
        options.output,
        {
            "machine": machine(),
            "source": {"latency_s": model.latency_s, "bandwidth_bytes_s": model.bandwidth_bytes_s},
            "cache_bytes": capacity_bytes,
            "outcomes": [each.as_json() | {"score": score} for each, score in scored(outcomes, len(runs))],
        },
    )
    drawing = options.output.with_suffix(".png")
    progress.files(drawing, options.output, _draw(drawing, outcomes, len(runs)))
    return 0


def replay(
    name: str, runs: Sequence[Workload], model: Model, capacity_bytes: int, options: argparse.Namespace
) -> list[Outcome]:
    """All runs under one policy."""
    belady = Belady(capacity_bytes, lambda _: 0)
    eviction: Eviction = Ours(capacity_bytes)
    if name == "oracle":
        eviction = belady
    elif name == "rules+lru":
        eviction = Lru(capacity_bytes)
    cache = Cache.empty(eviction)
    planner = _planner(name, cache, options)
    outcomes = []
    for number, workload in enumerate(runs):
        if number and not options.keep_cache:
            cache.clear()
        simulation = Simulation(workload, cache, planner, model)
        if name == "oracle":
            belady.next_use = _next_use(simulation, Future(workload))
        began_s = time.process_time()
        outcome = simulation.run()
        outcome.cpu_s = time.process_time() - began_s
        outcome.run = f"{number + 1}: {outcome.run}"
        outcomes.append(outcome)
    return outcomes


def _next_use(simulation: Simulation, future: Future) -> Callable[[bytes], int]:
    def next_use(key: bytes) -> int:
        path = simulation.numbers.get(key_inode_id(key))
        return future.next_block(path, key_index(key), simulation.issued) if path is not None else NEVER

    return next_use


def _planner(name: str, cache: Cache, options: argparse.Namespace) -> Planner:
    ahead_bytes = int(UNUSED_SHARE_PROVEN * cache.eviction.capacity_bytes)
    if name in ("none", "rules", "rules+lru"):
        return NoPlanner(Predictor.OFF if name == "none" else Predictor.SEQUENTIAL, name)
    if name == "oracle":
        return OraclePlanner()
    if name == "candidate oracle":
        return CandidateOracle(ahead_bytes)
    if name in ("counts", "network"):
        engine = Engine(Limits(ahead_bytes=ahead_bytes))
        if not options.blank:
            experience.give(engine)
        if name == "network":
            engine.ranker = ranker.load(options.network or ranker.SHIPPED)
        return EnginePlanner(name, engine)
    return RivalPlanner(RIVALS[name](cache.tree.paths))


def scored(outcomes: Sequence[Outcome], runs: int) -> list[tuple[Outcome, float | None]]:
    """Each outcome with its score; None where the oracle gains nothing, or one of the two was not run."""
    stalls = {(each.policy, number % runs): each.total_stall_s for number, each in enumerate(outcomes)}
    found: list[tuple[Outcome, float | None]] = []
    for number, each in enumerate(outcomes):
        nothing, oracle = stalls.get(("none", number % runs)), stalls.get(("oracle", number % runs))
        score = None
        if nothing is not None and oracle is not None and nothing > oracle:
            score = (nothing - each.total_stall_s) / (nothing - oracle)
        found.append((each, score))
    return found


def _capacity(text: str, recordings: Sequence[Recording]) -> int:
    """Bytes; a share is of the pages that are read, each once."""
    if not text.endswith("%"):
        return parse_size(text)
    pages: dict[tuple[bytes, int], int] = {}  # a bit for each, by the block that they are in
    for recording in recordings:
        for records in recording.batches:
            reads = records[(records["op"] == Op.READ) & (records["length"] > 0)]
            columns = (reads[name].tolist() for name in ("path", "offset", "length"))
            for path, offset, length in zip(*columns, strict=True):
                name = recording.paths.path(path)
                for block, bits in pieces(offset // PAGE_BYTES, (offset + length - 1) // PAGE_BYTES + 1):
                    pages[name, block] = pages.get((name, block), 0) | bits
    read_bytes = PAGE_BYTES * sum(bits.bit_count() for bits in pages.values())
    return max(BLOCK_BYTES, int(float(text[:-1]) / 100 * read_bytes))


LEGEND = (
    "seconds of stall, all and by what was known of the path: nothing, used in a former run, used in this one; "
    "coverage, accuracy, timeliness, block hit ratio, bytes fetched in vain; p99 of a read's wait in ms"
)


def _show(progress: Progress, outcomes: Sequence[Outcome], runs: int) -> None:
    columns = ("policy", "stall", "score", "new", "warm", "again", "cov", "acc", "time", "hit", "vain", "p99")
    ranked = scored(outcomes, runs)
    progress.console.print(LEGEND, markup=False)
    for number in range(runs):
        of_run = ranked[number::runs]
        first = of_run[0][0]
        progress.table(
            f"run {first.run}: {first.events:,} accesses",
            columns,
            [
                (
                    each.policy,
                    f"{each.total_stall_s:.2f}",
                    "-" if score is None else f"{score:.2f}",
                    *(f"{each.stall_s[kind]:.2f}" for kind in (NEW, WARM, AGAIN)),
                    f"{each.coverage:.2f}",
                    f"{each.accuracy:.2f}",
                    f"{each.timeliness:.2f}",
                    f"{each.hit_ratio:.2f}",
                    f"{each.over_fetched:.0%}",
                    f"{each.read_stall_ms(0.99):.1f}",
                )
                for each, score in of_run
            ],
        )


def _draw(path: Path, outcomes: Sequence[Outcome], runs: int) -> bool:
    panels = []
    for number in range(runs):
        of_run = outcomes[number::runs]
        labels = [f"llmfs, {o.policy}" if o.policy in ("counts", "network") else o.policy for o in of_run]
        panels.append(Bars(f"run {of_run[0].run}", labels, [o.total_stall_s for o in of_run], "stall, s"))
    return plot(path, "what programs waited for a modelled source", panels)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.replay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "traces",
        nargs="+",
        metavar="TRACE",
        help=f"of llmfs, CSV, DLIO, blocks, oracleGeneral, fio iolog, or synthetic:NAME of {', '.join(SYNTHETIC)}",
    )
    parser.add_argument("--latency-ms", type=float, default=2.0, help="the median of a request (default: 2)")
    parser.add_argument("--spread", type=float, default=0.0, help="sigma of its log-normal distribution (default: 0)")
    parser.add_argument("--bandwidth-mb", type=float, default=200.0, help="MB/s of the source (default: 200)")
    parser.add_argument("--concurrency", type=int, default=32, help="requests at a time (default: 32)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache", default="1T", metavar="SIZE", help="bytes, or a share of what is read: 50%%")
    parser.add_argument("--keep-cache", action="store_true", help="the cache survives from run to run")
    parser.add_argument("--blank", action="store_true", help="start without the shipped experience")
    parser.add_argument("--network", type=Path, help="weights (default: those shipped)")
    parser.add_argument("--policies", nargs="+", choices=[*OWN, *OTHERS], metavar="NAME")
    parser.add_argument("--rivals", action="store_true", help="all rivals too")
    parser.add_argument("--output", type=Path, default=Path("out/replay.json"))
    options = parser.parse_args(arguments)
    if options.policies is None:
        has_network = options.network is not None or ranker.SHIPPED.exists()
        options.policies = [name for name in OWN if name != "network" or has_network]
        if options.rivals:
            options.policies[2:2] = OTHERS
    return options


if __name__ == "__main__":
    sys.exit(main())
