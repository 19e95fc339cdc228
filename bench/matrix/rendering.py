"""The report: README.md with plots beside it, and report.html that holds all in one file. Pure but for `write`.

What is said is said once, as blocks (a heading, a paragraph, a table, a plot), and written down twice.
"""

import base64
import html
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.matrix.bars import SOURCE, bars
from bench.matrix.drawing import draw
from bench.matrix.samples import Samples
from bench.matrix.sources import SOURCES
from bench.matrix.summary import Cell, Spread, Summary, losses
from bench.matrix.systems import COLD, LLMFS, NATIVE, RAW
from bench.matrix.workloads import WORKLOADS
from bench.report import Progress

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto }
th, td { padding: .25em .7em; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left } img { max-width: 100% }
"""


@dataclass(frozen=True, slots=True)
class Heading:
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """The first column is text, the others are figures."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Plot:
    """A file beside the report."""

    name: str
    text: str


Block = Heading | Paragraph | Table | Plot
_Figures = tuple[Sequence[str], Sequence[Sequence[str]]]


def write(samples: Samples, output: Path, progress: Progress) -> None:
    """The report of what there is, below `output`; plots where matplotlib is installed."""
    summary = Summary(samples)
    output.mkdir(parents=True, exist_ok=True)
    plots = [source for source in summary.sources if draw(output / _plot_name(source), summary, source)]
    blocks = report(summary, samples.machine, plots)
    (output / "README.md").write_text(as_markdown(blocks))
    (output / "report.html").write_text(as_html(blocks, {name: output / name for name in map(_plot_name, plots)}))
    for source in summary.sources:
        title = f"{source}: times as fast as the slow directory itself (median of the rounds)"
        progress.table(title, *_ratios(summary, source, {NATIVE, LLMFS}))
    rows = [(bar.claim, f"{bar.least:g}", _figure(bar.reached), bar.verdict) for bar in bars(summary)]
    progress.table(f"bars ({SOURCE.description})", ("", "at least", "reached", ""), rows)
    progress.console.print(f"report: {output / 'README.md'}, {output / 'report.html'}", markup=False)
    progress.console.print(f"figures: {samples.path}", markup=False)


def report(summary: Summary, machine: Mapping[str, Any], plots: Sequence[str]) -> list[Block]:
    """plots: the sources that have one."""
    return [
        Heading("Benchmark: workloads, systems, states, sources"),
        *_introduction(machine),
        Heading(f"Bars, over a source of {SOURCE.description}"),
        _bars(summary),
        *(block for source in summary.sources for block in _source(summary, source, source in plots)),
        Heading("What is slower than the source itself"),
        *_losses(summary),
        Heading("What did not run"),
        *_left_out(summary, machine),
        Heading("The workloads"),
        Table(("workload", "what it does"), [(workload.name, workload.does) for workload in WORKLOADS]),
    ]


def as_markdown(blocks: Sequence[Block]) -> str:
    return "\n\n".join(_markdown(block, is_first=number == 0) for number, block in enumerate(blocks)) + "\n"


def as_html(blocks: Sequence[Block], plots: Mapping[str, Path]) -> str:
    """One file that needs no other: the plots are in it. plots: the file of each name."""
    body = "\n".join(_html(block, plots) for block in blocks)
    head = f"<meta charset='utf-8'><title>llmfs: benchmark</title><style>{_STYLE}</style>"
    return f"<!doctype html>\n<html lang='en'><head>{head}</head>\n<body>\n{body}\n</body></html>\n"


# -- what is said


def _introduction(machine: Mapping[str, Any]) -> Iterator[Block]:
    memory = machine.get("memory_bytes", 0) / (1 << 30)
    packages = ", ".join(f"{name} {version}" for name, version in machine.get("packages", {}).items())
    rivals = ", ".join(machine.get("rivals", {}).values())
    yield Paragraph(
        f"Made by `python -m bench.matrix` on {machine.get('date', '')}, commit {machine.get('commit', '')}: "
        f"{machine.get('cpus', '')} cores ({machine.get('processor', '')}), {memory:.0f} GiB of memory, "
        f"{machine.get('distribution', '')}, Linux {machine.get('kernel', '')}, Python {machine.get('python', '')}, "
        f"{packages}. {f'Rivals: {rivals}. ' if rivals else ''}"
        f"Load when it began: {machine.get('load_1min', 0):.1f}."
    )
    yield Paragraph(
        "All files are a month old. Raw is the slow directory itself, native the directory behind it, in memory: the "
        "ideal. Cold: never seen before. Warm: mounted again with the cache kept. Learned: mounted again, the cache "
        "emptied, what was learned kept. Before each run the kernel forgets what it cached. Every output was compared "
        "with the native one. A ratio is the median over the rounds of that within a round, more than 1 is faster; in "
        "brackets the least and the most."
    )


def _bars(summary: Summary) -> Table:
    rows = [(bar.claim, f"{bar.least:g}", _figure(bar.reached), bar.verdict) for bar in bars(summary)]
    return Table(("claim", "at least", "reached", "verdict"), rows)


def _source(summary: Summary, name: str, has_plot: bool) -> Iterator[Block]:
    description = next((source.description for source in SOURCES if source.name == name), name)
    yield Heading(f"Source {name}: {description}")
    if has_plot:
        yield Plot(_plot_name(name), f"times as fast as raw, source {name}")
    yield Paragraph("Times as fast as raw:")
    yield Table(*_ratios(summary, name))
    yield Paragraph("Seconds, or MB/s for fio jobs:")
    yield Table(*_absolute(summary, name))
    yield Paragraph("Parts of a workload through llmfs, in its first run, times as fast as raw:")
    yield Table(*_parts(summary, name))
    yield Paragraph("Requests that reached the source, medians; raw's are what the workload needs without a cache:")
    yield Table(*_requests(summary, name))
    yield Paragraph(
        "What the processes of a filesystem cost: processor time for a gigabyte served, over all workloads; memory at "
        "the end of runs, median and most (all: shared pages by share; own: in no file):"
    )
    yield Table(*_costs(summary, name))


def _ratios(summary: Summary, source: str, systems: Container[str] | None = None) -> _Figures:
    """Of these systems: a terminal has not got room for all."""
    columns = [
        column
        for column in summary.columns(source)
        if column != (RAW, COLD) and (systems is None or column[0] in systems)
    ]
    rows = [
        (workload, *(_spread(summary.to_raw(source, workload, *column)) for column in columns))
        for workload in summary.workloads(source)
    ]
    return ("workload", *map(_column, columns)), rows


def _absolute(summary: Summary, source: str) -> _Figures:
    columns = summary.columns(source)
    rows = [
        (workload, *(_measured(summary, Cell(source, workload, *column)) for column in columns))
        for workload in summary.workloads(source)
    ]
    return ("workload", *map(_column, columns)), rows


def _measured(summary: Summary, cell: Cell) -> str:
    if (speed := summary.bytes_s(cell)) is not None:
        return f"{speed.median / 1e6:,.1f} MB/s"
    seconds = summary.seconds(cell)
    return "" if seconds is None else f"{seconds.median:.2f}"


def _parts(summary: Summary, source: str) -> _Figures:
    rows = [
        (workload, part, _spread(summary.part_to_raw(source, workload, part)))
        for workload in summary.workloads(source)
        for part in summary.parts(source, workload)
        if len(summary.parts(source, workload)) > 1
    ]
    return ("workload", "part", "cold"), rows


def _requests(summary: Summary, source: str) -> _Figures:
    columns = [column for column in summary.columns(source) if column[0] != NATIVE]

    def requests(cell: Cell) -> str:
        spread = Spread.of(sample.source_requests for sample in summary.samples(cell))
        return "" if spread is None else f"{spread.median:,.0f}"

    rows = [
        (workload, *(requests(Cell(source, workload, *column)) for column in columns))
        for workload in summary.workloads(source)
    ]
    return ("workload", *map(_column, columns)), rows


def _costs(summary: Summary, source: str) -> _Figures:
    rows: list[Sequence[str]] = []
    for column in summary.columns(source):
        if (cost := summary.cost(source, *column)) is not None:
            sizes = [f"{size / 1e6:,.0f}" for spread in (cost.memory_bytes, cost.anonymous_bytes) for size in
                     (spread.median, spread.most)]  # fmt: skip
            rows.append((_column(column), f"{cost.cpu_s_per_gb:.1f}", *sizes))
    return ("", "CPU s per GB", "all MB", "at most", "own MB", "at most"), rows


def _losses(summary: Summary) -> Iterator[Block]:
    rows = [(cell.source, cell.workload, _column((cell.system, cell.state)), _spread(ratio))
            for cell, ratio in losses(summary).items()]  # fmt: skip
    if rows:
        yield Table(("source", "workload", "through", "times as fast as raw"), rows)
    else:
        yield Paragraph("Nothing: no workload took longer through llmfs, in no state.")


def _left_out(summary: Summary, machine: Mapping[str, Any]) -> Iterator[Block]:
    left_out = [(name, f"needs {', '.join(lacking)}") for name, lacking in machine.get("left_out", {}).items()]
    failed = {(each.key.workload, each.key.system, each.key.source, each.error) for each in summary.failures}
    rows = [
        *left_out,
        *((f"{workload}, {system}, {source}", error) for workload, system, source, error in sorted(failed)),
    ]
    yield Table(("what", "why"), rows) if rows else Paragraph("Everything ran.")


def _column(column: tuple[str, str]) -> str:
    system, state = column
    return system if state == COLD and system in (RAW, NATIVE) else f"{system}, {state}"


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return ""
    middle = _figure(spread.median)
    return middle if spread.count == 1 else f"{middle} [{_figure(spread.least)}-{_figure(spread.most)}]"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 10 else f"{value:,.1f}"


def _plot_name(source: str) -> str:
    return f"{source}.png"


# -- how it is written


def _markdown(block: Block, *, is_first: bool) -> str:
    match block:
        case Heading(text):
            return f"{'#' if is_first else '##'} {text}"
        case Paragraph(text):
            return text
        case Plot(name, text):
            return f"![{text}]({name})"
        case Table(columns, rows):
            ruler = ["---", *["---:"] * (len(columns) - 1)]
            return "\n".join(
                f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in (columns, ruler, *rows)
            )


def _html(block: Block, plots: Mapping[str, Path]) -> str:
    match block:
        case Heading(text):
            return f"<h2>{html.escape(text)}</h2>"
        case Paragraph(text):
            return f"<p>{html.escape(text)}</p>"
        case Plot(name, text):
            data = base64.b64encode(plots[name].read_bytes()).decode()
            return f"<p><img alt='{html.escape(text, quote=True)}' src='data:image/png;base64,{data}'></p>"
        case Table(columns, rows):
            head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
            body = "\n".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
            return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"
