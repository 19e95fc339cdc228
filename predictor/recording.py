"""Traces in memory, whole, with the listings and sizes that they imply: what evaluation, training and replay play.

A trace has no names for its listings. They are taken from NAME.tree beside NAME.trace or NAME-1.trace, where there is
one (`write_tree`); else the listing of a directory is what the trace itself touches there. A real one is longer.
"""

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from predictor.baselines.rival import TOUCHES
from predictor.events import Op, PathTable, Stream
from predictor.interchange import read_any
from predictor.trace import Batch, Records


@dataclass(slots=True)
class Recording:
    """A trace in memory, with the listings it implies."""

    name: str
    paths: PathTable
    streams: dict[int, Stream]
    batches: list[Records]
    children: dict[int, list[int]]
    folders: set[int]
    sizes: dict[bytes, int] = field(default_factory=dict)  # bytes, as far as the trace tells


def load(path: str | os.PathLike[str]) -> Recording:
    """Reads a trace of either kind whole. Raises TraceError or OSError."""
    recording = record(Path(path).name, read_any(path))
    stem = Path(path).name.partition(".")[0]
    for name in (stem, stem.rpartition("-")[0]):
        tree = Path(path).with_name(f"{name}.tree")
        if name and tree.is_file():
            _add_tree(recording, tree.read_bytes())
            break
    return recording


def latest(recording: Recording, accesses: int) -> Recording:
    """The same recording with the last so many accesses. What is known of directories and sizes stays."""
    kept: list[Records] = []
    for records in reversed(recording.batches):
        if accesses > 0:
            kept.insert(0, records[-accesses:])
            accesses -= len(records)
    return dataclasses.replace(recording, batches=kept)


def write_tree(root: Path, target: Path) -> None:
    """All names below `root`, a NUL after each, a slash before that where it is a directory."""
    names = []
    for place, folders, files in os.walk(os.fsencode(root)):
        below = os.path.relpath(place, os.fsencode(root))
        names += [os.path.normpath(os.path.join(below, name)) + b"/" for name in folders]
        names += [os.path.normpath(os.path.join(below, name)) for name in files]
    target.write_bytes(b"".join(name + b"\0" for name in sorted(names)))


def _add_tree(recording: Recording, names: bytes) -> None:
    touched = {child for listed in recording.children.values() for child in listed}
    for name in names.split(b"\0")[:-1]:
        path = recording.paths.intern_path(name)
        if name.endswith(b"/"):
            recording.folders.add(path)
        if path not in touched:
            recording.children.setdefault(recording.paths.parent(path), []).append(path)
    for listed in recording.children.values():
        listed.sort(key=lambda child: _hash_order(recording.paths.name(child)))


def record(name: str, batches: Iterator[Batch]) -> Recording:
    """A recording of batches."""
    kept: list[Records] = []
    paths, streams = PathTable(), dict[int, Stream]()
    for batch in batches:
        paths, streams = batch.paths, batch.streams
        kept.append(batch.records)
    kept = [_with_sizes(kept)] if kept else []
    present: dict[int, None] = {}
    folders: set[int] = set()
    for records in kept:
        for path, op in zip(records["path"].tolist(), records["op"].tolist(), strict=True):
            if op == Op.READDIR:
                folders.add(path)
            if op in TOUCHES and op != Op.ABSENT:
                while path and path not in present:
                    present[path] = None
                    path = paths.parent(path)
                    folders.add(path)
    children: dict[int, list[int]] = {}
    for path in present:
        children.setdefault(paths.parent(path), []).append(path)
    for listed in children.values():
        listed.sort(key=lambda child: _hash_order(paths.name(child)))
    return Recording(name, paths, streams, kept, children, folders, _sizes(paths, kept))


def _sizes(paths: PathTable, batches: list[Records]) -> dict[bytes, int]:
    sizes: dict[bytes, int] = {}
    for records in batches:
        columns = (records[name].tolist() for name in ("path", "op", "offset", "length"))
        for number, op, offset, length in zip(*columns, strict=True):
            size = offset + length if op == Op.READ else offset if op in (Op.OPEN, Op.LOOKUP, Op.GETATTR) else 0
            if size:
                path = paths.path(number)
                sizes[path] = max(size, sizes.get(path, 0))
    return sizes


def _with_sizes(batches: list[Records]) -> Records:
    """One array, where opens tell the size that reads of nothing reveal: a mount knows it, many traces do not."""
    records = np.concatenate(batches)
    ends = records[(records["op"] == Op.READ) & (records["length"] == 0) & (records["offset"] > 0)]
    sizes = dict(zip(ends["path"].tolist(), ends["offset"].tolist(), strict=True))
    silent = np.flatnonzero((records["op"] == Op.OPEN) & (records["offset"] == 0))
    records["offset"][silent] = [sizes.get(path, 0) for path in records["path"][silent].tolist()]
    return records


def renumbered(recording: Recording, table: PathTable) -> Recording:
    """The recording with the path ids of `table`."""
    ids = {number: table.intern_path(recording.paths.path(number)) for number in recording.paths}
    return moved(recording, recording.name, table, ids, recording.streams)


def moved(
    recording: Recording, name: str, paths: PathTable, ids: dict[int, int], streams: dict[int, Stream]
) -> Recording:
    """The recording with its paths under other ids, those of `paths`, where they may have other names."""
    batches = []
    for records in recording.batches:
        copy = records.copy()
        copy["path"] = [ids[path] for path in records["path"].tolist()]
        batches.append(copy)
    children = {ids[parent]: [ids[child] for child in listed] for parent, listed in recording.children.items()}
    for listed in children.values():
        listed.sort(key=lambda child: _hash_order(paths.name(child)))
    old = {recording.paths.path(number): number for number in recording.paths}
    sizes = {paths.path(ids[old[path]]): size for path, size in recording.sizes.items()}
    return Recording(name, paths, streams, batches, children, {ids[folder] for folder in recording.folders}, sizes)


def _hash_order(name: bytes) -> int:
    """Directories of ext4 and most others are listed in the order of a hash of the names."""
    value = 0xCBF29CE484222325
    for byte in name:
        value = (value ^ byte) * 0x100000001B3 & (2**64 - 1)
    return value
