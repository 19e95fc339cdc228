"""Whether probabilities are what they say: of all that was given 0.7, seven in ten should come true.

Expected calibration error as in Guo et al., "On calibration of modern neural networks" (ICML 2017): probabilities in
bins of equal width, the distance between what was said and what came true, weighed by how many there were.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 10

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Bin:
    """The predictions between two probabilities."""

    low: float
    count: int
    said: float  # their mean
    came_true: float  # the share that did


def reliability(chances: Floats, outcomes: npt.NDArray[np.bool_], bins: int = BINS) -> list[Bin]:
    """chances (N,), outcomes (N,) -> the bins that are not empty."""
    places = np.minimum((chances * bins).astype(np.int64), bins - 1)
    found = []
    for place in range(bins):
        chosen = places == place
        if chosen.any():
            found.append(
                Bin(place / bins, int(chosen.sum()), float(chances[chosen].mean()), float(outcomes[chosen].mean()))
            )
    return found


def expected_error(table: Sequence[Bin]) -> float:
    """The expected calibration error."""
    total = sum(each.count for each in table)
    return sum(each.count * abs(each.said - each.came_true) for each in table) / total if total else 0.0


def draw_reliability(path: Path, tables: Mapping[str, Sequence[Bin]]) -> None:
    """A PNG: what was said against what came true, a line for each table. Needs matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="calibrated")
    for name, table in tables.items():
        label = f"{name}, error {expected_error(table):.3f}"
        axes.plot([each.said for each in table], [each.came_true for each in table], marker="o", label=label)
    axes.set(xlabel="probability given", ylabel="share that came true", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left")
    figure.savefig(path, dpi=120)


def draw_bars(path: Path, title: str, values: Mapping[str, float], limit: float) -> None:
    """A PNG: a bar for each value, around one; `limit`: a line beyond which is too bad. Needs matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.5 + 0.22 * len(values)), layout="constrained")
    axes = figure.subplots()
    names = list(values)[::-1]
    axes.barh(names, [values[name] - 1 for name in names], left=1)
    axes.axvline(1, color="0.3", linewidth=1)
    axes.axvline(limit, color="tab:red", linewidth=1, linestyle="--")
    axes.set(title=title)
    axes.tick_params(axis="y", labelsize=7)
    figure.savefig(path, dpi=120)
