"""The metrics of a mount as a table in Markdown: python -m llmfs.metrics_table

The table is read off `llmfs.metrics.Metrics`, so it cannot say anything else than the program does. It stands in
examples/prometheus/METRICS.md, which a test holds against what this prints.
"""

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
    """One metric. `series` are the names that it has in Prometheus, without the `_created` of each."""

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
    metrics = Metrics()
    metrics.predictor_statistic("")  # its names are the predictor's own: a child shows that there is a label
    return metrics.registry


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
    yield "on. A histogram's name is followed by `_bucket`, `_sum` and `_count`. Every counter and histogram also has a"
    yield "`_created` series, the time it began. Reads that the kernel's page cache answers never reach llmfs and are"
    yield "in none of these."
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
