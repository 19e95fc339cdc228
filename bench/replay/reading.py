"""Traces of all kinds as recordings: of llmfs, CSV, DLIO; block traces and oracleGeneral; fio's iolog; made ones."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np

from bench.eviction import traces
from bench.replay.synthetic import SYNTHETIC
from llmfs.blocks import PAGE_BYTES
from predictor.events import ACCESS, FLAG_WRITE, Op, PathTable, Stream
from predictor.recording import Recording, load, record
from predictor.trace import Batch, TraceError

BETWEEN_BLOCKS_NS = 500_000
"""Block traces without times, and iologs, are played at this pace beside what they wait."""

_BLOCKS = (".lis", ".oracleGeneral")
_FIO = b"fio version "


def read_recording(trace: str, seed: int) -> Recording:
    """The recording that a command line names. Raises TraceError or OSError; KeyError for an unknown made one."""
    kind, _, name = trace.partition(":")
    if kind == "synthetic":
        return SYNTHETIC[name](Random(seed))
    path = Path(trace)
    if not path.is_file():
        return load(path)
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(_FIO):
        return _iolog(path)
    stem = traces.stem(path)
    if stem.suffix in _BLOCKS or (stem.suffix == ".trace" and path.suffix != ".trace"):
        return _blocks(path)
    if stem.suffix == ".trace" and head[:1].isdigit():
        return _blocks(path)
    return load(path)


def _blocks(path: Path) -> Recording:
    """Blocks are pages of one file, numbered by first use: what lies between used ones is not in the trace."""
    _, numbers = np.unique(traces.read(path), return_inverse=True)
    records = np.zeros(len(numbers), ACCESS)
    records["time_ns"] = np.arange(len(numbers), dtype=np.uint64) * BETWEEN_BLOCKS_NS
    records["offset"] = numbers.astype(np.uint64) * PAGE_BYTES
    records["length"] = PAGE_BYTES
    paths = PathTable()
    records["path"] = paths.intern_path(b"blocks")
    records["op"] = Op.READ
    return _recording(path, paths, records)


def _iolog(path: Path) -> Recording:
    """fio's iolog, version 2 (`FILE add|open|close`, `FILE ACTION OFFSET LENGTH`) or 3 (milliseconds before each)."""
    paths = PathTable()
    rows: list[tuple[int, ...]] = []
    with path.open("rb") as file:
        is_timed = file.readline().split()[2:3] == [b"3"]
        for number, line in enumerate(file, 2):
            words = line.split()
            if not words:
                continue
            try:
                time_ns = int(words.pop(0)) * 1_000_000 if is_timed else len(rows) * BETWEEN_BLOCKS_NS
                name, action = words[0], words[1]
                which = paths.intern_path(name)
                if action == b"open":
                    rows.append((time_ns, 0, 0, 0, which, 0, Op.OPEN, 0, 0, 0))
                elif action in (b"read", b"write"):
                    op, flags = (Op.READ, 0) if action == b"read" else (Op.WRITE, FLAG_WRITE)
                    rows.append((time_ns, int(words[2]), int(words[3]), 0, which, 0, op, 0, flags, 0))
            except (ValueError, IndexError) as error:
                raise TraceError(f"{path}: line {number}: {error}") from error
    try:
        records = np.array(rows, ACCESS)
    except OverflowError as error:
        raise TraceError(f"{path}: an offset or a length that no file has") from error
    return _recording(path, paths, records)


def _recording(path: Path, paths: PathTable, records: "np.ndarray[tuple[int], np.dtype[np.void]]") -> Recording:
    def batches() -> Iterator[Batch]:
        yield Batch(paths, {0: Stream(0, 1, "replay")}, records)

    return record(path.name, batches())
