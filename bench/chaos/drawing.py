"""What a scenario sampled while it went on, drawn over its minutes: a panel for each series, from zero."""

from collections.abc import Mapping, Sequence
from pathlib import Path


def draw(path: Path, title: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> bool:
    """Draws the series (minutes, value) below each other into a PNG; False where matplotlib is not installed."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    size = (9, 1.5 * len(series) + 1.0)
    figure, all_axes = pyplot.subplots(len(series), 1, figsize=size, sharex=True, squeeze=False)
    for (name, samples), axes in zip(series.items(), all_axes[:, 0], strict=True):
        minutes, values = zip(*samples, strict=True)
        axes.plot(minutes, values, color="#2f6db3", linewidth=1)
        axes.set_title(name, fontsize=10, loc="left")
        axes.set_ylim(0, 1.15 * max(*values, 1.0))  # growth is to be seen as what it is: a share of the whole
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[-1, 0].set_xlabel("minutes", fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return True
