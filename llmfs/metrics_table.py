"""The metrics of a mount as a table in Markdown: python -m llmfs.metrics_table

The table is read off `llmfs.metrics.Metrics`, so it cannot say anything else than the program does. It stands in
examples/prometheus/METRICS.md, which a test holds against what this prints.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from llmfs.metrics import Metrics

_VALUES_SHOWN = 8
"""A label with more values than that (the operations) is shown by its name alone."""

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
    yield "on. A histogram's name is followed by `_bucket`, `_sum` and `_count`; native histograms are not served, for"
    yield "the Python client has none. Reads that the kernel's page cache answers never reach llmfs and are in none of"
    yield "these. How many of the pages that were pushed there are read is estimated from a sample that is held back:"
    yield "`llmfs_push_held_back_used_pages_total / llmfs_push_held_back_pages_total`, with a standard error of"
    yield "sqrt(share x (1 - share) / pages held back)."
    yield ""
    yield "Prefetching by generator: `sequential`, `scan` and `misses` are the mount's own rules, the others the"
    yield "predictor's sources of candidates. Stall seconds are the time of requests that waited for the source; stall"
    yield "seconds *saved* are an estimate: each thing that was fetched ahead and ready when a program asked for it"
    yield "counts for one call on the source of its kind, at the running mean that such calls take at that time."
    yield "It says too much where waits overlap or the source's bandwidth is the limit, too little where a prefetch"
    yield "was late."
    yield ""
    yield "This page is printed by `python -m llmfs.metrics_table`."
    yield ""
    yield "| metric | type | labels | what it says |"
    yield "| --- | --- | --- | --- |"
    for row in table:
        name = row.name if row.kind == "histogram" else row.series[0]
        yield f"| `{name}` | {row.kind} | {_labels(row)} | {row.about} |"


def _labels(row: Row) -> str:
    shown = []
    for name, values in row.labels.items():
        known = ", ".join(values) if values and len(values) <= _VALUES_SHOWN else ""
        shown.append(f"`{name}`: {known}" if known else f"`{name}`")
    return "; ".join(shown)


if __name__ == "__main__":
    main()
