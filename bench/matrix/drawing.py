"""The plot of a source: a row for each workload, a mark for each system and state, on a logarithmic axis."""

from pathlib import Path

from bench.matrix.summary import Summary
from bench.matrix.systems import COLD, LEARNED, LLMFS, NATIVE, RAW, WARM

_MARKS = {COLD: "o", WARM: "D", LEARNED: "^"}
_COLOURS = ("#c0792a", "#3c8d5a", "#8a5fb0", "#b04a5a", "#7d8c2e", "#4a9aa8", "#8c6d5a")


def draw(path: Path, summary: Summary, source: str) -> bool:
    """A PNG; False where matplotlib is not installed."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return False
    workloads = summary.workloads(source)
    columns = [column for column in summary.columns(source) if column != (RAW, COLD)]
    others = [name for name in dict.fromkeys(system for system, _ in columns) if name not in (LLMFS, NATIVE)]
    colours = {LLMFS: "#2f6db3", NATIVE: "#b8bcc2"} | {
        name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(others)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = pyplot.subplots(figsize=(10, 0.42 * len(workloads) + 1.8))
    for system, state in columns:
        points = [
            (ratio.median, row)
            for row, workload in enumerate(workloads)
            if (ratio := summary.to_raw(source, workload, system, state)) is not None
        ]
        axes.plot(
            [ratio for ratio, _ in points],
            [row for _, row in points],
            _MARKS[state],
            label=f"{system}, {state}",
            color=colours[system],
            markersize=8 if system == LLMFS else 5,
            alpha=0.9,
            zorder=3 if system == LLMFS else 2,
        )
    axes.axvline(1, color="#444", linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}x")
    axes.set_yticks(range(len(workloads)), workloads)
    axes.invert_yaxis()
    axes.grid(axis="x", color="#e4e4e4")
    axes.set_xlabel("times as fast as the slow directory itself")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True
