"""The metrics of a mount as a table in Markdown: python -m llmfs.metrics_table

The table is read off `llmfs.metrics.Metrics`, so it cannot say anything else than the program does. It stands in
examples/prometheus/METRICS.md, which a test holds against what this prints.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from llmfs.metrics import LOCAL_RULES, Metrics

_VALUES_SHOWN = 8
"""A label with more values than that (the operations) is shown by its name alone."""

RULES = tuple(dict.fromkeys(name for names in LOCAL_RULES.values() for name in names))

_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}


@dataclass(frozen=True, slots=True)
class Row:
    """One metric. `series` are the names that it has in Prometheus."""

    name: str
    kind: str
    series: tuple[str, ...]
    labels: dict[str, list[str]]
    about: str


def main() -> None:
    print(markdown(rows(_registry())), end="")


def rows(registry: CollectorRegistry | None = None) -> list[Row]:
    """All metrics of a mount, in the order of llmfs/metrics.py."""
    return [_row(metric) for metric in (registry or _registry()).collect()]


def markdown(table: list[Row]) -> str:
    """The page, its heading included."""
    return "".join(f"{line}\n" for line in _lines(table))


def _registry() -> CollectorRegistry:
    return Metrics(os.getpid).registry


def _row(metric: Metric) -> Row:
    labels: dict[str, dict[str, None]] = {}
    for sample in metric.samples:
        for name, value in sample.labels.items():
            if name != "le":
                labels.setdefault(name, {})[value] = None
    return Row(
        metric.name,
        metric.type,
        tuple(metric.name + suffix for suffix in _SUFFIXES[metric.type]),
        {name: [value for value in values if value] for name, values in labels.items()},
        metric.documentation,
    )


def _lines(table: list[Row]) -> Iterator[str]:
    yield "# The metrics of a mount"
    yield ""
    yield "`llmfs mount --metrics-port PORT` serves them at `http://127.0.0.1:PORT/metrics`; all count from the mount"
    yield "on. A histogram's name is followed by `_bucket`, `_sum` and `_count`. Native histograms are not served: the"
    yield "Python client has no metric that keeps one (as of 0.26), and writes one that a collector brings along as"
    yield "OpenMetrics 2.0 alone, which Prometheus does not ask for."
    yield ""
    yield "Reads that the kernel's page cache answers never reach llmfs and are in none of these. How many of the pages"
    yield "that were pushed there are read is estimated from a sample, n pages that are held back, of which u are read:"
    yield "u / n, with a standard error of sqrt((u + 1)(n - u + 1) / (n + 3)) / (n + 2), which is that of the rule of"
    yield "succession. `rules.yml` records both, and the bytes."
    yield ""
    yield "Prefetching by generator:"
    yield _names(RULES)
    yield "are the mount's own rules, though the predictor, too, calls `sequential` what it reads ahead; the others are"
    yield "the predictor's sources of candidates. By model: what decided on it, a rule, how often such came true"
    yield "(`counts`), or a network, where it weighs more than the counts. What was fetched ahead counts at most"
    yield "once, as used or as unused: what still waits is in neither, nor are names that were found absent."
    yield ""
    yield "Stall seconds are the time of requests that waited for the source; stall seconds *saved* are an estimate:"
    yield "each thing that was fetched ahead and ready when a program asked for it counts for one call on the source of"
    yield "its kind, at the running mean that such calls take at that time. It says too much where waits overlap or the"
    yield "source's bandwidth is the limit, too little where a prefetch was late."
    yield ""
    yield "This page is printed by `python -m llmfs.metrics_table`."
    yield ""
    yield "| metric | type | labels | what it says |"
    yield "| --- | --- | --- | --- |"
    for row in table:
        name = row.name if row.kind == "histogram" else row.series[0]
        yield f"| `{name}` | {row.kind} | {_labels(row)} | {row.about} |"


def _names(names: Sequence[str]) -> str:
    *others, last = (f"`{name}`" for name in names)
    return f"{', '.join(others)} and {last}"


def _labels(row: Row) -> str:
    shown = []
    for name, values in row.labels.items():
        known = ", ".join(values) if values and len(values) <= _VALUES_SHOWN else ""
        shown.append(f"`{name}`: {known}" if known else f"`{name}`")
    return "; ".join(shown)


if __name__ == "__main__":
    main()
