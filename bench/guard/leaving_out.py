"""What the guard does about attacks and programs that it was not trained on, with rules alone, without the LSTM, and
whole.

Each family of attacks is left out in turn; benign programs in five parts, by workload. Every run is judged by a model
that has seen neither it nor its family.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.guard.evaluation import Outcome, Recorded, examples, median, replay
from predictor.guard.decisions import Level
from predictor.guard.engine import Scorer
from predictor.guard.model import Model
from predictor.guard.training import Examples, no_sequence, surprised, train, train_classifier, train_sequence

FOLDS = 5
SYSTEMS = ("rules alone", "without LSTM", "whole")
SCORES = ("surprise alone", "without LSTM", "whole")
"""What windows are ranked by: the LSTM's surprise, the classifier without it, and with it."""

WINDOWS_MAX = 200
"""Of each run, for the ROC: scoring one takes half a millisecond."""

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Judged:
    """A run and what each system did."""

    recorded: Recorded
    outcomes: dict[str, Outcome]
    windows: dict[str, npt.NDArray[np.float64]]  # by `SCORES`: of its N windows, (N,)


def judge(recorded: Sequence[Recorded]) -> list[Judged]:
    """Leave out, train, replay."""
    whole = examples(recorded)
    left_out: dict[str, list[int]] = {}
    benign_parts = [f"benign part {number}" for number in range(FOLDS)]
    benign = sorted({each.family for each in recorded if not each.is_attack})
    for number, each in enumerate(recorded):
        key = each.family if each.is_attack else benign_parts[benign.index(each.family) % FOLDS]
        left_out.setdefault(key, []).append(number)
    sequence, nothing = train_sequence(whole), no_sequence()
    known, plain = surprised(whole, sequence), surprised(whole, nothing)
    judged: dict[int, Judged] = {}
    for key, numbers in left_out.items():
        is_left = ~np.isin(whole.recording, numbers)
        without = train_classifier(plain.of(is_left), nothing)
        # Of attacks the LSTM knows nothing: it is another only where benign runs are left out.
        full = train(whole.of(is_left)) if key in benign_parts else train_classifier(known.of(is_left), sequence)
        scorers: dict[str, Scorer | None] = {"rules alone": None, "without LSTM": without, "whole": full}
        for number in numbers:
            outcomes = {name: replay(recorded[number].events, each) for name, each in scorers.items()}
            windows = _scored(whole.of(whole.recording == number), without, full)
            judged[number] = Judged(recorded[number], outcomes, windows)
    return [judged[number] for number in sorted(judged)]


def _scored(windows: Examples, without: Model, full: Model) -> dict[str, npt.NDArray[np.float64]]:
    step = max(1, len(windows.rows) // WINDOWS_MAX)
    chosen = list(zip(windows.rows[::step], windows.sequences[::step], strict=True))
    scorers: tuple[Scorer, ...] = (lambda _, tokens: full.surprise(tokens)[0], without, full)
    return {
        name: np.array([each(row, tokens) for row, tokens in chosen])
        for name, each in zip(SCORES, scorers, strict=True)
    }


def table(judged: Sequence[Judged]) -> list[str]:
    """Lines in Markdown: each family of attacks, and the benign runs."""
    lines = [
        "| left out | runs | system | stopped | files hurt, median | most | seconds to the first finding, median |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    attacks = [each for each in judged if each.recorded.is_attack]
    for family in [*sorted({each.recorded.family for each in attacks}), "all"]:
        of = [each for each in attacks if family in (each.recorded.family, "all")]
        for system in SYSTEMS:
            outcomes = [each.outcomes[system] for each in of]
            stopped = sum(outcome.level is Level.DENIED for outcome in outcomes)
            hurt = [float(outcome.hurt) for outcome in outcomes]
            lines.append(
                f"| {family} | {len(of)} | {system} | {stopped / len(of):.1%} | {median(hurt):.0f} | {max(hurt):.0f}"
                f" | {median(outcome.seconds for outcome in outcomes):.2f} |"
            )
    lines += ["", f"At most: at {CONFIDENCE:.0%} confidence. Cgroups: told of, throttled, denied.", ""]
    lines.append(
        "| benign | groups | system | told of | throttled | denied | told of, at most | denied, at most | cgroups |"
    )
    lines.append("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, whose in (("negative", "hard negatives"), ("session", "sessions"), ("", "all")):
        of = [each for each in judged if not each.recorded.is_attack and each.recorded.name.startswith(name)]
        for system in SYSTEMS:
            outcomes = [each.outcomes[system] for each in of]
            groups = sum(each.groups for each in outcomes)
            at = {level: sum(each.groups_at[level] for each in outcomes) for level in Level if level}
            most = [f"{rate_at_most(at[level], groups):.3%}" for level in (Level.ALERTED, Level.DENIED)]
            cgroups = ", ".join(str(sum(each.cgroups_at[level] for each in outcomes)) for level in at)
            figures = " | ".join([*map(str, at.values()), *most, f"{cgroups} of {len(of)}"])
            lines.append(f"| {whose} | {groups:,} | {system} | {figures} |")
    return lines


def named(judged: Sequence[Judged]) -> list[str]:
    """Lines in Markdown: each hard negative, and what it came to when left out."""
    lines = ["| program | groups | came to | highest score |", "| --- | --- | --- | --- |"]
    for each in judged:
        if each.recorded.name.startswith("negative-"):
            outcome, name = each.outcomes["whole"], each.recorded.name.removeprefix("negative-")
            lines.append(f"| {name} | {outcome.groups} | {outcome.level.name.lower()} | {outcome.score:.3f} |")
    return lines


def rate_at_most(found: int, of: int) -> float:
    """The upper bound of a rate that `found` of `of` show, at `CONFIDENCE` (Clopper and Pearson 1934, one-sided): 3 in
    `of` where none was found."""
    low, high = found / max(1, of), 1.0
    while of and high - low > 1e-7:
        rate = (low + high) / 2
        likely = sum(math.comb(of, k) * rate**k * (1 - rate) ** (of - k) for k in range(found + 1))
        low, high = (rate, high) if likely > 1 - CONFIDENCE else (low, rate)
    return high


def roc(judged: Sequence[Judged], by: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """False and true positive rates of windows by one of `SCORES`, each run weighing the same, and the area below."""
    scores = np.concatenate([each.windows[by] for each in judged])  # (N,)
    labels = np.concatenate([np.full(len(each.windows[by]), each.recorded.is_attack) for each in judged])  # (N,)
    weights = np.concatenate([np.full(len(each.windows[by]), 1 / max(1, len(each.windows[by]))) for each in judged])
    order = np.argsort(-scores, kind="stable")
    hits, misses = np.cumsum((weights * labels)[order]), np.cumsum((weights * ~labels)[order])
    is_last = np.append(np.diff(scores[order]) != 0, True)  # ties are one step
    true, false = np.append(0, hits[is_last] / hits[-1]), np.append(0, misses[is_last] / misses[-1])
    return false, true, float(np.trapezoid(true, false))


def plot(judged: Sequence[Judged], path: Path) -> None:
    """ROC; by system, the files hurt before an attack was stopped, and the delay until it was found. Raises OSError."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(13, 4))
    for by in SCORES:
        false, true, area = roc(judged, by)
        left.plot(false, true, label=f"{by}, area {area:.3f}", drawstyle="steps-post")
    left.set(title="windows by their score", xlabel="false positives", ylabel="true positives")
    left.axis((-0.02, 1, 0, 1.02))
    attacks = [each for each in judged if each.recorded.is_attack]
    shares = np.arange(1, len(attacks) + 1) / len(attacks)
    for system, style in zip(SYSTEMS, ("-", "--", ":"), strict=True):
        outcomes = [each.outcomes[system] for each in attacks]
        hurt = sorted(each.hurt if each.level is Level.DENIED else math.inf for each in outcomes)
        middle.plot(hurt, shares, style, label=system, drawstyle="steps-post")
        delays_s = sorted(math.inf if math.isnan(each.seconds) else each.seconds for each in outcomes)
        right.plot(delays_s, shares, style, label=system, drawstyle="steps-post")
    middle.set(title="attacks stopped", xlabel="by files hurt", xlim=(0, 20), ylim=(0, 1.02))
    right.set(title="attacks found", xlabel="by seconds from the first change", xscale="log", ylim=(0, 1.02))
    for axes in (left, middle, right):
        axes.legend(fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


TOLD = (
    "| trace | found | after seconds | groups found | notes: directories | highest score |",
    "| --- | --- | --- | --- | --- | --- |",
)


def told(name: str, outcome: Outcome) -> str:
    """A line of a table (`TOLD`) about a trace without content."""
    is_found = outcome.level is not Level.QUIET
    after = f"{outcome.seconds:.2f}" if is_found else "-"
    groups = f"{outcome.groups_at[Level.ALERTED]} of {outcome.groups}"
    return f"| {name} | {'yes' if is_found else 'no'} | {after} | {groups} | {outcome.notes} | {outcome.score:.3f} |"
