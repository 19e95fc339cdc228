"""What steering prefetches is worth: python -m bench.control [--traces TRACE...]

Each controller steers the same replays of mixed and shifting programs over sources that are contended in different
ways, each from an empty cache. The cost of a run is the seconds that programs waited, and a price for bytes fetched in
vain and for processor time (predictor/control/reward.py). Shown relative to the safe arm, which is no control; fixed
arms are judged in hindsight, over all scenarios together and in each one by itself. The rules are shown without and
with shares of the cache (llmfs/policy/partition.py), all others without.

The rule by which weights are shipped, stated before they were trained: the mean cost over the scenarios is less than
the rules', and no scenario costs more than 5% more than no control. `llmfs train-controller` makes them.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.control.runs import DIVIDED, FIXED, run, scenarios_of
from bench.report import Bars, Progress, machine, plot, write_json
from llmfs.replay.episodes import in_parallel
from llmfs.replay.training import WORSE
from predictor.control import network
from predictor.control.arms import ARMS, SAFE
from predictor.trace import TraceError

BEST_FIXED, BEST_EACH = "best fixed arm", "best arm of each"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it; returns the exit status."""
    options = _parse(arguments)
    progress = Progress()
    names = [f"{FIXED}{arm.name}" for number, arm in enumerate(ARMS) if number == SAFE or not options.quick]
    names += ["aimd", "discounted ucb", "rules", DIVIDED]
    try:
        learned = network.load(options.weights) if options.weights else network.shipped()
        which = (options.seed, options.accesses, tuple(options.traces), options.drawn)
        scenarios = scenarios_of(*which)
    except (OSError, ValueError, TraceError) as error:
        print(f"bench.control: {error}", file=sys.stderr)
        return 1
    weights = learned.weights if learned is not None else None
    if weights is not None:
        names.append("learned")
    costs: dict[str, dict[str, float]] = {name: {} for name in names}
    stalls: dict[str, dict[str, float]] = {name: {} for name in names}
    runs = [(*which, number, name, weights) for number in range(len(scenarios)) for name in names]
    spent = in_parallel(run, runs, options.jobs)
    for scenario in scenarios:
        with progress.step(scenario.name) as said:
            for name in names:
                made = next(spent)
                costs[name][scenario.name], stalls[name][scenario.name] = made.cost_s, made.stall_s
            said.append(f"{costs[f'{FIXED}{ARMS[SAFE].name}'][scenario.name]:.1f} s without control")
    best = min((name for name in costs if name.startswith(FIXED)), key=lambda name: sum(costs[name].values()))
    progress.console.print(f"the best arm for all in hindsight: {best.removeprefix(FIXED)}", markup=False)
    _show(progress, _with_hindsight(costs, best), _with_hindsight(stalls, best), options.output)
    return 0


def _with_hindsight(found: dict[str, dict[str, float]], best: str) -> dict[str, dict[str, float]]:
    """With the best fixed arm of all scenarios together, and the best of each, which nobody can know."""
    fixed = {name: values for name, values in found.items() if name.startswith(FIXED)}
    each = {scenario: min(values[scenario] for values in fixed.values()) for scenario in fixed[best]}
    others = {name: values for name, values in found.items() if name not in fixed}
    return {"no control": fixed[f"{FIXED}{ARMS[SAFE].name}"], BEST_FIXED: fixed[best], BEST_EACH: each} | others


def _show(
    progress: Progress, costs: dict[str, dict[str, float]], stalls: dict[str, dict[str, float]], output: Path
) -> None:
    base = costs["no control"]
    relative = {
        name: {scenario: cost / base[scenario] for scenario, cost in values.items()} for name, values in costs.items()
    }
    progress.table(
        "cost, relative to no control",
        ("scenario", "stall, s", *(name for name in costs if name != "no control")),
        [
            (
                scenario,
                f"{stalls['no control'][scenario]:.2f}",
                *(f"{values[scenario]:.2f}" for name, values in relative.items() if name != "no control"),
            )
            for scenario in base
        ],
    )
    means = {name: sum(values.values()) / len(values) for name, values in relative.items()}
    progress.table(
        "over all scenarios",
        ("controller", "mean stall, s", "mean of relative cost", "worst", "never worse than 5%"),
        [
            (
                name,
                f"{sum(stalls[name].values()) / len(stalls[name]):.2f}",
                f"{means[name]:.3f}",
                f"{max(values.values()):.2f}",
                "yes" if max(values.values()) <= WORSE else "no",
            )
            for name, values in relative.items()
        ],
    )
    write_json(output, {"machine": machine(), "costs_s": costs, "stalls_s": stalls})
    drawing = output.with_suffix(".png")
    labels = [f"llmfs, {name}" if name in ("rules", DIVIDED, "learned") else name for name in means]
    panels = [
        Bars("mean", labels, list(means.values()), "cost, relative to no control"),
        Bars("worst", labels, [max(values.values()) for values in relative.values()], "cost, relative to no control"),
    ]
    progress.files(drawing, output, plot(drawing, "steering prefetches, in replay", panels))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.control", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--accesses", type=int, default=1600, help="of each program (default: 1600)")
    parser.add_argument("--traces", nargs="+", default=[], metavar="TRACE", help="recordings to mix as well")
    parser.add_argument("--drawn", type=int, default=0, metavar="N", help="N scenarios drawn as for training instead")
    parser.add_argument("--weights", type=Path, help="of the learned controller (default: those shipped, if any)")
    parser.add_argument("--quick", action="store_true", help="of the fixed arms only the safe one")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="at a time (default: all cores)")
    parser.add_argument("--output", type=Path, default=Path("out/control.json"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
