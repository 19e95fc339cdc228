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
from predictor.guard.decisions import SCORE_ALERT, Level
from predictor.guard.engine import Scorer
from predictor.guard.training import no_sequence, train, train_sequence

FOLDS = 5
SYSTEMS = ("rules alone", "without LSTM", "whole")


@dataclass(frozen=True, slots=True)
class Judged:
    """A run and what each system did."""

    recorded: Recorded
    outcomes: dict[str, Outcome]


def judge(recorded: Sequence[Recorded]) -> list[Judged]:
    """Leave out, train, replay."""
    whole = examples(recorded)
    left_out: dict[str, list[int]] = {}
    benign = sorted({each.family for each in recorded if not each.is_attack})
    for number, each in enumerate(recorded):
        key = each.family if each.is_attack else f"benign part {benign.index(each.family) % FOLDS}"
        left_out.setdefault(key, []).append(number)
    sequence = train_sequence(whole)
    judged: dict[int, Judged] = {}
    for key, numbers in left_out.items():
        rest = whole.of(~np.isin(whole.recording, numbers))
        own = sequence if not key.startswith("benign") else train_sequence(rest)
        scorers: dict[str, Scorer | None] = {
            "rules alone": None,
            "without LSTM": train(rest, sequence=no_sequence()),
            "whole": train(rest, sequence=own),
        }
        for number in numbers:
            events = recorded[number].events
            judged[number] = Judged(recorded[number], {name: replay(events, each) for name, each in scorers.items()})
    return [judged[number] for number in sorted(judged)]


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
    lines += ["", "| benign | process groups | system | alerted | throttled | denied |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for name in ("negative", ""):
        of = [each for each in judged if not each.recorded.is_attack and each.recorded.name.startswith(name)]
        for system in SYSTEMS:
            groups = sum(each.outcomes[system].groups for each in of)
            at = [sum(each.outcomes[system].groups_at[level] for each in of) for level in Level if level]
            whose = "hard negatives" if name else "all"
            lines.append(f"| {whose} | {groups} | {system} | {' | '.join(map(str, at))} |")
    return lines


def roc(judged: Sequence[Judged], system: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """False and true positive rates of runs by their highest score, and the area under it."""
    scores = np.array([each.outcomes[system].score for each in judged])  # (N,)
    labels = np.array([each.recorded.is_attack for each in judged])  # (N,)
    order = np.argsort(-scores, kind="stable")
    hits, misses = np.cumsum(labels[order]), np.cumsum(~labels[order])
    is_last = np.append(np.diff(scores[order]) != 0, True)  # ties are one step
    true = np.append(0, hits[is_last] / max(1, hits[-1]))
    false = np.append(0, misses[is_last] / max(1, misses[-1]))
    return false, true, float(np.trapezoid(true, false))


def plot(judged: Sequence[Judged], path: Path) -> None:
    """ROC, files hurt before an attack was stopped, and what each part is worth. Raises OSError."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(13, 4))
    for system in SYSTEMS[1:]:
        false, true, area = roc(judged, system)
        left.plot(false, true, label=f"{system}, area {area:.3f}", drawstyle="steps-post")
    left.set(title="runs by their highest score", xlabel="false positives", ylabel="true positives")
    left.axis((-0.02, 1, 0, 1.02))
    attacks = [each for each in judged if each.recorded.is_attack]
    for system in SYSTEMS:
        hurt = sorted(
            each.outcomes[system].hurt if each.outcomes[system].level is Level.DENIED else math.inf for each in attacks
        )
        middle.plot(hurt, np.arange(1, len(hurt) + 1) / len(hurt), label=system, drawstyle="steps-post")
    middle.set(title="attacks stopped", xlabel="by files hurt", xlim=(0, 20), ylim=(0, 1.02))
    means = [median(float(each.outcomes[system].hurt) for each in attacks) for system in SYSTEMS]
    right.bar_label(right.bar(SYSTEMS, means, color="#2f6db3"), fmt="%.1f")
    right.set(title="files hurt, median")
    for axes in (left, middle):
        axes.legend(fontsize=8)
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def told(name: str, outcome: Outcome) -> str:
    """A line of a table about a trace without content."""
    is_found = outcome.level is not Level.QUIET
    after = f"{outcome.seconds:.2f}" if is_found else "-"
    return f"| {name} | {'detected' if is_found else 'no'} | {after} | {outcome.score:.3f} (of {SCORE_ALERT}) |"
