"""`python -m predictor.shipping TRACE...`: makes what is shipped from recordings, if it is fit for that.

Prints how the tables and the network do on programs that had no part in them, a program a line, and how well calibrated
their probabilities are; writes what is worth it. `make pretrain` records and runs this. MODEL_CARD.md has the figures.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from predictor import experience, ranker
from predictor.calibration import Bin, draw_bars, draw_reliability, expected_error, reliability
from predictor.features import CANDIDATE_FEATURES, TOKEN_FEATURES, TOKENS
from predictor.leave_one_out import WORST_RATIO, InUse, LeftOut, is_fit_to_ship, leave_one_out
from predictor.pretraining import (
    FEW,
    Workload,
    augmented,
    family_of,
    loss_of_prior,
    play,
    pretrain,
    recordings_of,
    with_experience,
)
from predictor.ranker import NetworkRanker, Weights
from predictor.state import replace
from predictor.tracker import HORIZONS


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes what is shipped; returns the exit status."""
    parser = argparse.ArgumentParser(prog="predictor.shipping", description=__doc__.partition("\n")[0])
    parser.add_argument("traces", nargs="+", type=Path, help="as bench.record writes them: NAME-1.trace, NAME-2.trace")
    parser.add_argument("--output", type=Path, default=ranker.SHIPPED.parent, help="where the files go")
    parser.add_argument(
        "--plots", type=Path, metavar="DIR", help="draw calibration and ratios there (needs matplotlib)"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep there the networks that a family was left out of"
    )
    options = parser.parse_args(arguments)

    def progress(what: str, share: float) -> None:
        print(f"{share:4.0%} {what}", file=sys.stderr, flush=True)

    runs = recordings_of(options.traces, progress)
    blank = []
    for number, name in enumerate(runs):
        progress(f"replaying {name}", number / len(runs))
        blank.append(play(name, frozenset({family_of(name)}), runs[name]))
    workloads = with_experience(runs, blank, progress)
    if show_experience(blank, workloads):
        arrays = experience.save(experience.gather([workload.engine for workload in blank]))
        write(
            options.output / experience.SHIPPED.name,
            lambda file: np.savez_compressed(file, allow_pickle=False, **arrays),
        )
    more = augmented(runs, blank, progress)

    def keep(family: str, weights: Weights) -> None:
        if options.keep is not None:
            data = ranker.dump_weights(weights)
            write(options.keep / f"without-{family}.safetensors", lambda file: file.write(data))

    results = leave_one_out(runs, workloads, more, progress, keep)
    show_network(results)
    show_calibration(results)
    if options.plots is not None:
        draw(options.plots, results)
    if not is_fit_to_ship(results):
        print("the network is not fit to be shipped: not written")
        return 0
    weights = pretrain([*workloads, *more])
    data = ranker.dump_weights(weights)
    write(options.output / ranker.SHIPPED.name, lambda file: file.write(data))
    print(f"one ranking of 64 candidates takes the network {cost_us(weights):.0f} us here (median)")
    return 0


def show_experience(blank: Sequence[Workload], informed: Sequence[Workload]) -> bool:
    """Prints what the others' experience does for a first run; whether it is worth shipping."""
    print("first runs that begin blank -> with what other families have in common")
    print(f"{'left out':16} {'loss of the prior':>17} {'names covered':>16} {'accuracy':>16} {'blocks':>16} accuracy")
    gains, losses = [], []
    for before, after in zip(blank, informed, strict=True):
        one = other = 0.0
        if before.rankings and after.rankings:
            one, other = loss_of_prior(before), loss_of_prior(after)
        if min(before.rankings, after.rankings) >= FEW:
            losses.append(other / one)
        a, b = before.first, after.first
        gains.append(b.coverage + b.block_coverage - a.coverage - a.block_coverage)
        print(
            f"{before.name:16} {one:7.4f} -> {other:6.4f} {a.coverage:6.3f} -> {b.coverage:5.3f} "
            f"{a.accuracy:6.3f} -> {b.accuracy:5.3f} {a.block_coverage:6.3f} -> {b.block_coverage:5.3f} "
            f"{a.block_accuracy:5.3f} -> {b.block_accuracy:5.3f}"
        )
    print(f"mean ratio of losses {np.mean(losses or [1]):.3f}; mean gain {np.mean(gains):.3f}")
    return sum(gains) > 0 and max(losses, default=0.0) <= WORST_RATIO


def show_network(results: Sequence[LeftOut]) -> None:
    """Prints a line for each workload left out."""
    print("left out: loss of the counts, of the network in use, their ratio, that of the network if always followed;")
    print("          coverage and accuracy of the plans, counts -> network, and the ratio of their harmonic means")
    for result in results:
        counts, network = result.by_counts, result.by_network
        print(
            f"{result.name:16} {result.rankings:5} {counts.loss:7.4f} {network.loss:7.4f} {result.ratio:6.3f} "
            f"{result.ratio_alone:6.3f}   {counts.coverage:5.3f} -> {network.coverage:5.3f}   "
            f"{counts.accuracy:5.3f} -> {network.accuracy:5.3f}   {result.gain:6.3f}"
        )
    ratios = [result.ratio for result in results if result.rankings >= FEW]
    gains = [result.gain for result in results]
    print(f"ratio of losses: mean {np.mean(ratios):.3f}, worst {max(ratios):.3f} (of {FEW} rankings or more)")
    print(f"ratio of the plans' worth: mean {np.mean(gains):.3f}, worst {min(gains):.3f}")


def show_calibration(results: Sequence[LeftOut]) -> None:
    """Prints how reliable the probabilities were of programs left out, each workload weighing as it has candidates."""
    for name, used in (
        ("counts", [result.by_counts for result in results]),
        ("network", [result.by_network for result in results]),
    ):
        for index, horizon in enumerate(HORIZONS):
            table = _reliability(used, index)
            print(f"{name}, within {horizon} visits: expected calibration error {expected_error(table):.4f}")
            for each in table:
                print(f"  {each.low:.1f}- {each.count:8,} said {each.said:.3f} came true {each.came_true:.3f}")


def draw(place: Path, results: Sequence[LeftOut]) -> None:
    """Writes the PNGs."""
    place.mkdir(parents=True, exist_ok=True)
    for index, horizon in enumerate(HORIZONS):
        tables = {
            "counts": _reliability([result.by_counts for result in results], index),
            "network": _reliability([result.by_network for result in results], index),
        }
        draw_reliability(place / f"calibration-{horizon}.png", tables)
    ratios = {result.name: result.ratio for result in results if result.rankings >= FEW}
    draw_bars(place / "losses.png", "loss, network by counts, family left out", ratios, WORST_RATIO)
    gains = {result.name: result.gain for result in results}
    draw_bars(place / "plans.png", "worth of plans, network by counts, family left out", gains, 1 / WORST_RATIO)


def _reliability(used: Sequence[InUse], horizon: int) -> list[Bin]:
    chances = np.concatenate([each.served[:, horizon] for each in used]).astype(np.float64)
    distances = np.concatenate([each.distances for each in used])
    return reliability(chances, (distances > 0) & (distances <= HORIZONS[horizon]))


def cost_us(weights: Weights, candidates: int = 64, times: int = 400) -> float:
    """Median wall time of the network for one ranking."""
    network = NetworkRanker(weights)
    rng = np.random.default_rng(0)
    tokens = rng.random((TOKENS, TOKEN_FEATURES), np.float32)
    rows = rng.random((candidates, CANDIDATE_FEATURES), np.float32)
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        network(tokens, rows)
        spent.append(time.perf_counter() - began)
    return float(np.median(spent)) * 1e6


def write(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Writes a file whole or not at all, and says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, fill)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
