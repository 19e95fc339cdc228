"""How results are shown: progress while they come, then a table, a plot and a JSON file."""

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

# Enough for the tables here. A pipe has no width of its own, and 80 columns fold them.
_PLAIN_WIDTH = 130


class Progress:
    """A spinner on a terminal, a line for each step elsewhere."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        if not self.console.is_terminal:
            self.console = Console(highlight=False, width=_PLAIN_WIDTH)

    @contextmanager
    def step(self, doing: str) -> Iterator[list[str]]:
        """Says what is done now. What the caller appends to the list is said when it is done."""
        said: list[str] = []
        if self.console.is_terminal:
            with self.console.status(f"{doing} ..."):
                yield said
            self.console.print(f"[green]✓[/green] {doing}{_ending(said)}")
        else:
            yield said
            self.console.print(f"{doing}{_ending(said)}", markup=False)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The first column is text, the others are figures."""
        table = Table(box=box.SIMPLE_HEAD)
        for number, column in enumerate(columns):
            table.add_column(column, justify="right" if number else "left", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        self.console.print(title, style="bold", markup=False)
        self.console.print(table)

    def warn_if_busy(self) -> None:
        """Before anything is measured: other programs at work make all figures worse, unevenly."""
        load, cpus = os.getloadavg()[0], os.cpu_count() or 1
        if load > cpus / 2:
            self.console.print(f"this machine is busy (load {load:.1f} on {cpus} processors): mind the figures")

    def files(self, drawing: Path, figures: Path, is_drawn: bool) -> None:
        """Names what was written."""
        self.plotted(drawing, is_drawn)
        self.console.print(f"figures: {figures}", markup=False)

    def plotted(self, drawing: Path, is_drawn: bool) -> None:
        """Names a plot, or says how to get it."""
        missing = "none: matplotlib is not installed (pip install 'llmfs[bench]')"
        self.console.print(f"plot: {drawing if is_drawn else missing}", markup=False)


def _ending(said: Sequence[str]) -> str:
    return f": {', '.join(said)}" if said else ""


def machine() -> dict[str, Any]:
    """What figures depend on."""
    return {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_1min": os.getloadavg()[0],
    }


def write_json(path: Path, result: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")


@dataclass(frozen=True, slots=True)
class Bars:
    """One panel of a plot: a bar for each label."""

    title: str
    labels: Sequence[str]
    values: Sequence[float]
    unit: str


def plot(path: Path, title: str, panels: Sequence[Bars]) -> bool:
    """Draws panels beside each other into a PNG; False where matplotlib is not installed."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    longest = max(len(panel.labels) for panel in panels)
    size = (5.2 * len(panels) + 1.5, 0.5 * longest + 1.4)
    figure, all_axes = pyplot.subplots(1, len(panels), figsize=size, squeeze=False)
    for panel, axes in zip(panels, all_axes[0], strict=True):
        bars = axes.barh(panel.labels, panel.values, color=[_colour(label) for label in panel.labels])
        axes.bar_label(bars, labels=[_figure(value) for value in panel.values], padding=3, fontsize=9)
        axes.set_title(panel.title, fontsize=10, loc="left")
        axes.set_xlabel(panel.unit, fontsize=9)
        axes.invert_yaxis()
        axes.margins(x=0.18)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return True


def _colour(label: str) -> str:
    return "#2f6db3" if "llmfs" in label else "#9aa0a6"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == 0 else f"{value:,.2f}"
