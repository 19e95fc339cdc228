"""Gap to Belady's bound of the mount's eviction and of its rivals: python -m bench.eviction [--traces PATH...]

Each trace is replayed with a cache of 1%, 10% and 50% of its blocks, all of one size. Without traces, two synthetic
ones are: epochs in order and shuffled. A gap is a difference of hit ratios: 0.05 is five hits in a hundred requests
less than the bound. A rival that refuses a size or is not done in time has no result there; its mean, and ours beside
it, are then over the others.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import mean

import numpy as np

from bench.eviction import belady, rivals, synthetic, traces
from bench.eviction.traces import Blocks
from bench.report import Bars, Progress, machine, plot, write_json
from llmfs.blocks import BLOCK_BYTES
from llmfs.policy.eviction import Eviction
from llmfs.policy.ghosts import FIXED_RULES, RULES
from llmfs.policy.segments import Rule
from predictor.trace import TraceError

SHARES = (0.01, 0.1, 0.5)

OURS = "llmfs"
UNLEARNED = "llmfs, not learned"
RULE_SETS: dict[str, tuple[Rule, ...]] = {OURS: RULES, UNLEARNED: FIXED_RULES} | {
    f"llmfs, {rule.name} alone": (rule,) for rule in RULES
}
DEFAULT = (OURS, UNLEARNED, *rivals.RIVALS)

WORSE_THAN_LRU = 0.01


@dataclass(frozen=True, slots=True)
class Cell:
    """One policy on one trace with one size."""

    trace: str
    share: float
    capacity: int
    policy: str
    bound: float
    hit_ratio: float | None
    us_per_request: float | None  # of our own only: a rival's process has other things to do

    @property
    def gap(self) -> float | None:
        return None if self.hit_ratio is None else self.bound - self.hit_ratio


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it; returns the exit status."""
    options = _parse(arguments)
    progress = Progress()
    policies: list[str] = options.policy or list(DEFAULT)
    if not rivals.is_installed() and any(name in rivals.RIVALS for name in policies):
        print(f"bench.eviction: {rivals.MISSING}", file=sys.stderr)
        if options.policy:
            return 1
        policies = [name for name in policies if name not in rivals.RIVALS]
    cells: list[Cell] = []
    try:
        for name, blocks in _workloads(options.traces, options.limit, options.seed):
            cells += run(name, blocks, policies, options.shares, options.timeout, progress)
    except (TraceError, OSError) as error:
        print(f"bench.eviction: {error}", file=sys.stderr)
        return 1
    if not cells:
        print("bench.eviction: there is no trace in these directories", file=sys.stderr)
        return 1
    _show(progress, cells, policies)
    figures = options.output / "eviction.json"
    results = [asdict(cell) | {"gap": cell.gap} for cell in cells]
    write_json(figures, {"machine": machine(), "results": results})
    drawing = options.output / "eviction.png"
    progress.files(drawing, figures, plot(drawing, "Mean gap to Belady", _bars(cells, policies)))
    return 0


def replay(blocks: Blocks, capacity: int, rules: tuple[Rule, ...]) -> tuple[int, float]:
    """Our own policy's hits, and the seconds of CPU that it took."""
    numbers, order = np.unique(blocks, return_inverse=True)
    names = [int(number).to_bytes(8, "big") for number in numbers]
    requests = [names[number] for number in order.tolist()]
    policy, hits = Eviction(capacity * BLOCK_BYTES, rules), 0  # of the mount's size: it decides how thin ghosts sample
    began_s = time.process_time()
    for key in requests:
        if policy.touch(key) is not None:
            hits += 1
        else:
            policy.admit(key, BLOCK_BYTES)
            policy.victims()
    return hits, time.process_time() - began_s


def run(
    trace: str, blocks: Blocks, policies: Sequence[str], shares: Sequence[float], timeout_s: float, progress: Progress
) -> list[Cell]:
    """All policies on one trace with all sizes."""
    cells: list[Cell] = []
    footprint = len(np.unique(blocks))
    with tempfile.TemporaryDirectory(prefix="llmfs-eviction-") as directory:
        copy = Path(directory) / "trace.bin"
        if any(policy in rivals.RIVALS for policy in policies):
            rivals.write(blocks, copy)
        for share in shares:
            capacity = max(1, int(footprint * share))
            with progress.step(f"{trace}, {len(blocks):,} requests, {capacity:,} of {footprint:,} blocks") as said:
                bound = belady.hits(blocks, capacity) / len(blocks)
                said.append(f"Belady {bound:.3f}")
                for policy in policies:
                    ratio, us = None, None
                    if policy in rivals.RIVALS:
                        ratio = rivals.hit_ratio(policy, capacity, copy, timeout_s)
                    else:
                        hits, cpu_s = replay(blocks, capacity, RULE_SETS[policy])
                        ratio, us = hits / len(blocks), cpu_s / len(blocks) * 1e6
                    cells.append(Cell(trace, share, capacity, policy, bound, ratio, us))
                    said.append(f"{policy} {_ratio(ratio)}")
    return cells


def mean_gaps(cells: Sequence[Cell], policy: str, share: float | None = None) -> tuple[float, float, int] | None:
    """A policy's mean gap, ours over the same traces and sizes, and how many those are; None where it has none."""
    ours = {(cell.trace, cell.share): cell.gap for cell in cells if cell.policy == OURS}
    pairs = [
        (cell.gap, ours.get((cell.trace, cell.share)) or 0.0)
        for cell in cells
        if cell.policy == policy and cell.gap is not None and share in (None, cell.share)
    ]
    return (mean(gap for gap, _ in pairs), mean(own for _, own in pairs), len(pairs)) if pairs else None


def worse_than_lru(cells: Sequence[Cell], policy: str = OURS) -> list[tuple[Cell, float]]:
    """Where a policy hits less often than LRU by more than a hundredth of the requests, and what LRU has there."""
    lru = {(cell.trace, cell.share): cell.hit_ratio for cell in cells if cell.policy == "LRU"}
    found: list[tuple[Cell, float]] = []
    for cell in cells:
        other = lru.get((cell.trace, cell.share))
        if cell.policy != policy or cell.hit_ratio is None or other is None:
            continue
        if cell.hit_ratio < other - WORSE_THAN_LRU:
            found.append((cell, other))
    return found


def _workloads(paths: list[Path], limit: int | None, seed: int) -> Iterator[tuple[str, Blocks]]:
    """Names and blocks, read as they are needed: a trace can take half a gigabyte."""
    if not paths:
        yield "epochs in order", synthetic.in_order()
        yield "epochs shuffled", synthetic.shuffled(Random(seed))
    for path in traces.find(paths):
        blocks = traces.read(path)[:limit]
        if not len(blocks):
            raise TraceError(f"{path}: no block is read in this trace")
        yield traces.name_of(path), blocks


def _show(progress: Progress, cells: list[Cell], policies: list[str]) -> None:
    shares = sorted({cell.share for cell in cells})
    by_place: dict[tuple[str, float], dict[str, Cell]] = {}
    for cell in cells:
        by_place.setdefault((cell.trace, cell.share), {})[cell.policy] = cell
    rows = []
    for (trace, share), row in by_place.items():
        gaps = {policy: cell.gap for policy, cell in row.items() if cell.gap is not None and policy in rivals.RIVALS}
        best = min(gaps, key=lambda policy: gaps[policy], default="-")
        any_cell = next(iter(row.values()))
        shown = [_ratio(row[policy].hit_ratio) if policy in row else "-" for policy in (OURS, UNLEARNED, "LRU", "LIRS")]
        best_ratio = f"{best} {_ratio(row[best].hit_ratio)}" if best in row else "-"
        rows.append([trace, f"{share:.0%}", f"{any_cell.bound:.3f}", *shown, best_ratio])
    progress.table(
        "Hit ratios",
        ("trace", "cache", "Belady", OURS, "not learned", "LRU", "LIRS", "best rival"),
        rows,
    )
    rows = []
    for policy in policies:
        means = [mean_gaps(cells, policy, share) for share in shares]
        overall = mean_gaps(cells, policy)
        if overall is not None:
            gap, own, count = overall
            by_share = [f"{each[0]:.4f}" if each else "-" for each in means]
            rows.append([policy, *by_share, f"{gap:.4f}", f"{own:.4f}", str(count)])
    columns = ("policy", *(f"{share:.0%}" for share in shares), "mean", f"{OURS} there", "places")
    progress.table("Mean gap to Belady, smaller is better", columns, rows)
    behind = worse_than_lru(cells)
    for cell, other in behind:
        place = f"{cell.trace} at {cell.share:.0%}"
        progress.console.print(
            f"worse than LRU by over {WORSE_THAN_LRU:.0%}: {place}: {cell.hit_ratio:.3f}, LRU {other:.3f}"
        )
    if not behind and "LRU" in policies:
        progress.console.print(f"nowhere worse than LRU by over {WORSE_THAN_LRU:.0%} of the requests")
    own_us = [cell.us_per_request for cell in cells if cell.policy == OURS and cell.us_per_request is not None]
    if own_us:
        progress.console.print(f"{OURS}: {min(own_us):.1f} to {max(own_us):.1f} us of CPU a request")


def _bars(cells: list[Cell], policies: list[str]) -> list[Bars]:
    """A panel for each size. Policies that have no result somewhere are marked: their mean is over fewer traces."""
    places = len({cell.trace for cell in cells})
    panels = []
    for share in sorted({cell.share for cell in cells}):
        means = {policy: mean_gaps(cells, policy, share) for policy in policies}
        shown = [(name if each[2] == places else f"{name} *", each[0]) for name, each in means.items() if each]
        shown.sort(key=lambda pair: pair[1])
        title = f"cache of {share:.0%} of the blocks; * not on all traces"
        panels.append(Bars(title, [name for name, _ in shown], [gap for _, gap in shown], "hit ratio below the bound"))
    return panels


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3f}"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.eviction", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--traces", nargs="+", type=Path, default=[], metavar="PATH", help="files and directories")
    parser.add_argument(
        "--policy",
        action="append",
        choices=[*RULE_SETS, *rivals.RIVALS],
        metavar="NAME",
        help="one, as often as wanted",
    )
    parser.add_argument("--shares", nargs="+", type=_share, default=list(SHARES), help="of the trace's blocks")
    parser.add_argument("--limit", type=_count, help="only so many requests of each trace")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for a rival on one trace and size")
    parser.add_argument("--seed", type=int, default=1, help="of the shuffled epochs")
    parser.add_argument("--output", type=Path, default=Path("out/eviction"), help="where JSON and plot go")
    return parser.parse_args(arguments)


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError("a share is above 0 and at most 1")
    return share


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("at least one request")
    return count


if __name__ == "__main__":
    sys.exit(main())
