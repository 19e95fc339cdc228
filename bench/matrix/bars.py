"""What llmfs must reach over a source of 2 ms, and whether it did. Computed from samples, nothing typed in by hand."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.matrix.sources import SOURCES
from bench.matrix.summary import Cell, Spread, Summary
from bench.matrix.systems import BINDFS_OVER_NATIVE, COLD, LEARNED, LLMFS, WARM

SOURCE = SOURCES[0]
NO_LOSS = 0.95
_LOADERS = ("loader, in order", "loader, shuffled")
_IMPORTS = ("import numpy", "import torch")
_PUSHED = "fio pushed-4k"


@dataclass(frozen=True, slots=True)
class Bar:
    """One of them. reached: None where nothing was measured that tells."""

    claim: str
    least: float
    reached: float | None

    @property
    def verdict(self) -> str:
        return "not measured" if self.reached is None else "met" if self.reached >= self.least else "missed"


Figure = Callable[[Summary], float | None]


def bars(summary: Summary) -> list[Bar]:
    """All of them, of the first source."""
    return [Bar(claim, least, figure(summary)) for claim, least, figure in _BARS]


def _raw(workload: str, state: str) -> Figure:
    return lambda summary: _median(summary.to_raw(SOURCE.name, workload, LLMFS, state))


def _worst_raw(workloads: Sequence[str], state: str) -> Figure:
    def figure(summary: Summary) -> float | None:
        return _least(_raw(workload, state)(summary) for workload in workloads)

    return figure


def _worst_native(workloads: Sequence[str], state: str) -> Figure:
    def figure(summary: Summary) -> float | None:
        return _least(_median(summary.to_native(SOURCE.name, workload, LLMFS, state)) for workload in workloads)

    return figure


def _of_bandwidth(workload: str) -> Figure:
    def figure(summary: Summary) -> float | None:
        speed = summary.bytes_s(Cell(SOURCE.name, workload, LLMFS, COLD))
        return None if speed is None else speed.median / SOURCE.bandwidth_bytes_s

    return figure


def _later_epochs(summary: Summary) -> float | None:
    """The worst of all epochs after the first, of both orders."""
    return _least(
        _median(summary.part_to_raw(SOURCE.name, workload, epoch))
        for workload in _LOADERS
        for epoch in summary.parts(SOURCE.name, workload)[1:]
    )


def _direct(summary: Summary) -> float | None:
    ours = Cell(SOURCE.name, "fio direct-4k", LLMFS, WARM)
    return _median(summary.ratio(ours, Cell(SOURCE.name, "fio direct-4k", BINDFS_OVER_NATIVE, COLD)))


def _worst_of_all(summary: Summary) -> float | None:
    """Of llmfs as it is mounted by default, in all states and over all sources."""
    return _least(
        _median(summary.to_raw(source, workload, LLMFS, state))
        for source in summary.sources
        for workload in summary.workloads(source)
        for state in (COLD, WARM, LEARNED)
    )


_BARS: Sequence[tuple[str, float, Figure]] = (
    ("4 KiB random reads of a pushed file, of native", 0.95, _worst_native((_PUSHED,), WARM)),
    ("O_DIRECT 4 KiB, one at a time, cached, of bindfs over a warm local directory", 1.0, _direct),
    ("sequential, cold, of the source's bandwidth", 0.9, _of_bandwidth("fio sequential")),
    ("8 interleaved sequential streams, cold, of the source's bandwidth", 0.9, _of_bandwidth("fio interleaved")),
    ("import, warm, of raw", 6.0, _worst_raw(_IMPORTS, WARM)),
    ("import, warm, of native", 0.5, _worst_native(_IMPORTS, WARM)),
    ("import, learned, of raw", 4.0, _worst_raw(_IMPORTS, LEARNED)),
    ("import, first ever, of raw", 2.0, _worst_raw(_IMPORTS, COLD)),
    ("ls -lR, cold, of raw", 5.0, _raw("ls -lR", COLD)),
    ("ls -lR, warm, of raw", 20.0, _raw("ls -lR", WARM)),
    ("git, warm, of native", 0.7, _worst_native(("git",), WARM)),
    ("data loader, half of the data cached, each later epoch, of raw", 1.8, _later_epochs),
    ("SQLite, warm, of raw", 10.0, _raw("SQLite", WARM)),
    ("SQLite, cold, of raw", NO_LOSS, _raw("SQLite", COLD)),
    ("Parquet, warm, of raw", 4.0, _raw("DuckDB", WARM)),
    ("Parquet, cold, of raw", NO_LOSS, _raw("DuckDB", COLD)),
    ("the worst of all cells, of raw", NO_LOSS, _worst_of_all),
)


def _median(spread: Spread | None) -> float | None:
    return None if spread is None else spread.median


def _least(figures: Iterable[float | None]) -> float | None:
    return min((figure for figure in figures if figure is not None), default=None)
