"""Plots of figures, for commands that have some. They need matplotlib, which llmfs does not otherwise use."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from llmfs import settings
from llmfs.errors import LlmfsError, UsageError, reason, show


def target(name: str | None) -> Path | None:
    """Where a plot is to go. Raises LlmfsError now, before the work, where it could not be drawn after it."""
    if name is None:
        return None
    path = settings.absolute(name)
    if importlib.util.find_spec("matplotlib") is None:
        raise LlmfsError("a plot needs matplotlib, which is missing: pip install 'llmfs[bench]'")
    if not path.parent.is_dir():
        raise UsageError(f"there is no directory {show(path.parent)} for the plot")
    if path.suffix != ".png":
        raise UsageError(f"a plot is a PNG: name it FILE.png, not {show(path)}")
    return path


def bars(path: Path, title: str, panels: Mapping[str, Mapping[str, float]]) -> None:
    """Draws panels below each other: a title each, and a bar for each label. Raises LlmfsError where the disk does."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    longest = max(len(panel) for panel in panels.values())
    size = (8, (0.35 * longest + 0.9) * len(panels) + 0.5)
    figure, all_axes = pyplot.subplots(len(panels), 1, figsize=size, squeeze=False)
    for (name, panel), axes in zip(panels.items(), all_axes[:, 0], strict=True):
        drawn = axes.barh(list(panel), list(panel.values()), color="#2f6db3")
        axes.bar_label(drawn, fmt="%.3f", padding=3, fontsize=9)
        axes.set_title(name, fontsize=10, loc="left")
        axes.set_xlim(0, 1.12 * max(*panel.values(), 1e-9))
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.tight_layout()
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise LlmfsError(f"cannot write {show(path)}: {reason(error)}") from error
    finally:
        pyplot.close(figure)
