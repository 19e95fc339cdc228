"""What was measured: a sample for each run, kept in one JSON file that grows as they come.

The file is whole at any moment, so that an interrupted run loses the sample it was at and no other, and the next
one can go on from it.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

FORMAT = 1


class SamplesError(ValueError):
    """The file is not one of ours; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Key:
    """Which run it was."""

    source: str
    workload: str
    system: str
    state: str
    round: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of a workload.

    seconds: what the program waited and worked. bytes_s: for work that ends by the clock, how fast it went.
    parts: seconds by part, of workloads that have parts.
    source_requests, source_bytes, source_operations: what reached the slow directory until the mount was gone, the
    last by kind.
    cpu_s, memory_bytes, anonymous_bytes: of all processes of the filesystem, during the run and at its end; None where
    it has none.
    status: what llmfs said of itself. error: why it is no result; then the figures are 0.
    """

    key: Key
    seconds: float = 0.0
    bytes_s: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    source_requests: int = 0
    source_bytes: int = 0
    source_operations: Mapping[str, int] = field(default_factory=dict)
    cpu_s: float | None = None
    memory_bytes: int | None = None
    anonymous_bytes: int | None = None
    status: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def speed(self) -> float:
        """In bytes or runs a second: what ratios are taken of. Only of a sample without an error."""
        return self.bytes_s if self.bytes_s is not None else 1.0 / self.seconds


class Samples:
    """All samples of a file, and what machine they were measured on."""

    def __init__(self, path: Path, machine: Mapping[str, Any]) -> None:
        self.path = path
        self.machine = dict(machine)
        self._samples: dict[Key, Sample] = {}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises SamplesError, OSError."""
        try:
            content = json.loads(path.read_text())
            if content["format"] != FORMAT:
                raise SamplesError(f"{path} is of format {content['format']}, this is {FORMAT}: measure anew")
            samples = cls(path, content["machine"])
            for each in content["samples"]:
                sample = Sample(**{**each, "key": Key(**each["key"])})
                samples._samples[sample.key] = sample
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise SamplesError(f"{path} holds no samples of this benchmark: {error!r}") from error
        return samples

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples.values())

    def __contains__(self, key: Key) -> bool:
        """Whether it was measured, and with a result: what failed is tried again."""
        return key in self._samples and not self._samples[key].error

    def add(self, sample: Sample) -> None:
        """Keeps it, also on disk."""
        self._samples[sample.key] = sample
        self.write()

    def write(self) -> None:
        content = {"format": FORMAT, "machine": self.machine, "samples": [asdict(sample) for sample in self]}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(partial, self.path)
