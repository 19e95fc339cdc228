"""Medians, spread and ratios of samples. Pure: samples in, figures out.

Ratios are taken within a round, where both were measured minutes apart, and summed up over the rounds: a machine's
speed drifts, ratios much less.
"""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.matrix.samples import Sample
from bench.matrix.systems import COLD, LLMFS, NATIVE, RAW


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One place of the matrix; its samples are those of the rounds."""

    source: str
    workload: str
    system: str
    state: str


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle, the least and the most of some figures, and how many they are."""

    median: float
    least: float
    most: float
    count: int

    @classmethod
    def of(cls, figures: Iterable[float]) -> "Spread | None":
        """None of no figures."""
        ordered = sorted(figures)
        return cls(statistics.median(ordered), ordered[0], ordered[-1], len(ordered)) if ordered else None


class Summary:
    """All cells of some samples. What failed counts nowhere but in `failures`."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._cells: dict[Cell, dict[int, Sample]] = {}
        self.failures: list[Sample] = []
        for sample in samples:
            if sample.error:
                self.failures.append(sample)
                continue
            key = sample.key
            cell = Cell(key.source, key.workload, key.system, key.state)
            self._cells.setdefault(cell, {})[key.round] = sample

    @property
    def sources(self) -> list[str]:
        return list(dict.fromkeys(cell.source for cell in self._cells))

    def workloads(self, source: str) -> list[str]:
        return list(dict.fromkeys(cell.workload for cell in self._cells if cell.source == source))

    def columns(self, source: str) -> list[tuple[str, str]]:
        """Systems and states."""
        return list(dict.fromkeys((cell.system, cell.state) for cell in self._cells if cell.source == source))

    def samples(self, cell: Cell) -> list[Sample]:
        return list(self._cells.get(cell, {}).values())

    def seconds(self, cell: Cell) -> Spread | None:
        return Spread.of(sample.seconds for sample in self.samples(cell))

    def bytes_s(self, cell: Cell) -> Spread | None:
        """None of work that does not end by the clock."""
        return Spread.of(sample.bytes_s for sample in self.samples(cell) if sample.bytes_s is not None)

    def ratio(self, cell: Cell, other: Cell) -> Spread | None:
        """How many times as fast as another cell."""
        ours, theirs = self._cells.get(cell, {}), self._cells.get(other, {})
        return Spread.of(ours[number].speed / theirs[number].speed for number in ours.keys() & theirs.keys())

    def to_raw(self, source: str, workload: str, system: str, state: str) -> Spread | None:
        return self.ratio(Cell(source, workload, system, state), Cell(source, workload, RAW, COLD))

    def to_native(self, source: str, workload: str, system: str, state: str) -> Spread | None:
        return self.ratio(Cell(source, workload, system, state), Cell(source, workload, NATIVE, COLD))

    def part_to_raw(self, source: str, workload: str, part: str) -> Spread | None:
        """Of the first run through llmfs, one of its parts."""
        ours = self._cells.get(Cell(source, workload, LLMFS, COLD), {})
        raw = self._cells.get(Cell(source, workload, RAW, COLD), {})
        return Spread.of(
            raw[number].parts[part] / ours[number].parts[part]
            for number in ours.keys() & raw.keys()
            if part in ours[number].parts and part in raw[number].parts
        )

    def parts(self, source: str, workload: str) -> list[str]:
        samples = self.samples(Cell(source, workload, RAW, COLD))
        return list(samples[0].parts) if samples else []

    def cost(self, source: str, system: str, state: str) -> "Cost | None":
        """What a system's processes took, over all workloads.

        Served is what the program asked for: what the slow directory itself sent for it without a cache, or what fio
        read.
        """
        cpu_s, served, memory, anonymous = 0.0, 0.0, [], []
        for workload in self.workloads(source):
            needed = self._needed_bytes(source, workload)
            for sample in self.samples(Cell(source, workload, system, state)):
                if sample.cpu_s is None or needed is None:
                    continue
                cpu_s += sample.cpu_s
                served += sample.bytes_s * sample.seconds if sample.bytes_s is not None else needed
                memory.append(float(sample.memory_bytes or 0))
                anonymous.append(float(sample.anonymous_bytes or 0))
        resident, private = Spread.of(memory), Spread.of(anonymous)
        if resident is None or private is None or not served:
            return None
        return Cost(cpu_s / (served / 1e9), resident, private)

    def _needed_bytes(self, source: str, workload: str) -> float | None:
        raw = Spread.of(sample.source_bytes for sample in self.samples(Cell(source, workload, RAW, COLD)))
        return None if raw is None else raw.median


@dataclass(frozen=True, slots=True)
class Cost:
    """cpu_s_per_gb: processor seconds for each gigabyte served. memory_bytes, anonymous_bytes: at the end of runs."""

    cpu_s_per_gb: float
    memory_bytes: Spread
    anonymous_bytes: Spread


def losses(summary: Summary, least: float = 0.95) -> Mapping[Cell, Spread]:
    """Where llmfs, in whatever state, is slower than the source itself, the worst first."""
    found = {}
    for source in summary.sources:
        for workload in summary.workloads(source):
            for system, state in summary.columns(source):
                ratio = summary.to_raw(source, workload, system, state)
                if system.startswith(LLMFS) and ratio is not None and ratio.median < least:
                    found[Cell(source, workload, system, state)] = ratio
    return dict(sorted(found.items(), key=lambda item: item[1].median))
