"""An engine's memory as NumPy arrays, and back: what predictor.state keeps on disk.

Ids in the arrays are those of the path table in the same snapshot. Arrays from a file are checked before anything is
taken from them; `ValueError` or `KeyError` says that they make no sense.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from predictor.candidates.directory import Directories
from predictor.candidates.history import History
from predictor.candidates.successors import alone, pair, within
from predictor.events import ROOT, PathTable
from predictor.tracker import HORIZONS

if TYPE_CHECKING:
    from predictor.engine import Engine

Arrays = dict[str, npt.NDArray[np.generic]]

PATHS_MAX = 1 << 18
"""Paths kept; a table that grew beyond is cut down to those the history still names."""

PATH_BYTES_MAX = 4096


def take(engine: "Engine", visits: int, with_examples: bool) -> Arrays:
    """The engine's memory, with the latest `visits` visits of its history."""
    history = _history(engine.history, visits)
    is_cut = visits < engine.history.end - engine.history.first or len(engine.paths) > PATHS_MAX
    paths = _Kept(engine.paths, _lineages(engine.paths, history["visit_path"]) if is_cut else engine.paths)
    arrays: Arrays = paths.arrays() | history
    arrays["visit_path"] = paths.rows(history["visit_path"]).astype(np.uint32)
    # Contexts are hashes of ids and cannot be renumbered: those of a table with gaps are counted again from the visits.
    successors = engine.successors.rows() if paths.is_whole else []
    arrays["successors"] = np.array(successors, np.int64).reshape(-1, 3)
    arrays["sizes"] = paths.table([*engine.sizes.items()], 2)
    arrays["uses"] = paths.table([(path, n, at) for path, (n, at) in engine.reuse.uses.items()], 3)
    arrays["reuse"] = np.array(engine.reuse.counts, np.float64)
    arrays["clock"] = np.array([engine.counters["visits"]], np.int64)
    arrays["commands"] = _text([*engine.processes.commands])
    arrays |= take_tables(engine)
    directories = (Directories(0) if is_cut else engine.directories).arrays()
    directories["directories"][:, 0] = paths.rows(directories["directories"][:, 0])
    directories["directory_children"] = paths.rows(directories["directory_children"]).astype(np.uint32)
    arrays |= directories
    if with_examples:
        arrays |= {f"example_{name}": array for name, array in engine.examples.arrays().items()}
    return arrays


class _Kept:
    """The paths of a snapshot: rows 0, 1... of its path table, parents before their children."""

    def __init__(self, table: PathTable, ids: Iterable[int]) -> None:
        self._table = table
        self._ids = np.array(sorted(ids), np.int64)  # of a parent is lower: it was named first
        self.is_whole = len(self._ids) == table.next

    def rows(self, ids: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """The rows of these ids, which are all there."""
        return np.searchsorted(self._ids, ids)

    def table(self, rows: list[tuple[int, ...]], width: int) -> npt.NDArray[np.int64]:
        """An array of those of these rows whose path, their first column, is kept."""
        array = np.array(rows, np.int64).reshape(-1, width)
        array = array[np.isin(array[:, 0], self._ids)]
        array[:, 0] = self.rows(array[:, 0])
        return array

    def arrays(self) -> Arrays:
        ids = self._ids[1:].tolist()
        names = [self._table.name(path) for path in ids]
        return {
            "path_parents": self.rows(np.array([self._table.parent(path) for path in ids], np.int64)).astype(np.uint32),
            "path_lengths": np.array([len(name) for name in names], np.uint16),
            "path_names": np.frombuffer(b"".join(names), np.uint8),
        }


def _lineages(table: PathTable, paths: npt.NDArray[Any]) -> set[int]:
    """These paths, and the directories that they lie in."""
    found = {ROOT}
    for path in np.unique(paths).tolist():
        while path not in found:
            found.add(path)
            path = table.parent(path)
    return found


def take_tables(engine: "Engine") -> Arrays:
    """How often what came true, in general: the part that names no path."""
    arrays: Arrays = {
        "prior_names": _text([name for name, _ in engine.prior.cells]),
        "prior_buckets": np.array([bucket for _, bucket in engine.prior.cells], np.int64),
        "prior_cells": np.array(list(engine.prior.cells.values()), np.float64).reshape(-1, 1 + len(HORIZONS)),
    }
    for name, (rows, _, width) in engine.unseen.tables().items():
        names, numbers = rows()
        arrays[f"{name}_names"] = np.frombuffer(b"\0".join(names), np.uint8)
        arrays[f"{name}_rows"] = np.array(numbers, np.float64).reshape(-1, width)
    return arrays


def _count_successors(engine: "Engine") -> None:
    """Counts successors again from the visits."""
    history = engine.history
    for position in range(history.first, history.end):
        slot = position % history.capacity
        before = history.previous[slot]
        if before in history and before:
            path, last = history.path[slot], history.path[before % history.capacity]
            second = history.previous[before % history.capacity]
            earlier = history.path[second % history.capacity] if second and second in history else -1
            engine.successors.observe(pair(earlier, last), path)
            engine.successors.observe(within(history.command[slot], last), path)
            engine.successors.observe(alone(last), path)


def give_back(engine: "Engine", arrays: Arrays) -> None:
    """Fills an empty engine. Raises ValueError or KeyError for arrays that are no snapshot."""
    _load_paths(engine.paths, arrays)
    known = len(engine.paths)
    _load_history(engine.history, arrays, known)
    engine.successors.load([tuple(row) for row in _table(arrays["successors"], 3, known, 1).tolist()])
    if not len(engine.successors):
        _count_successors(engine)
    engine.sizes.update(_table(arrays["sizes"], 2, known, 0).tolist())
    engine.reuse.uses.update({p: (n, at) for p, n, at in _table(arrays["uses"], 3, known, 0).tolist()})
    reuse = np.asarray(arrays["reuse"], np.float64)
    if reuse.shape != (8, 2) or not np.isfinite(reuse).all() or (reuse <= 0).any():
        raise ValueError("reuse counts")
    engine.reuse.counts[:] = reuse.tolist()
    engine.counters["visits"] = int(np.asarray(arrays["clock"])[0])
    engine.processes.commands.update({name: number for number, name in enumerate(_strings(arrays["commands"]), 1)})
    give_back_tables(engine, arrays)
    engine.directories.load(arrays, known)
    if "example_starts" in arrays:
        examples = {name[8:]: array for name, array in arrays.items() if name.startswith("example_")}
        engine.examples.load(examples)


def give_back_tables(engine: "Engine", arrays: Arrays) -> None:
    """Takes back what `take_tables` gave. Raises ValueError or KeyError for arrays that are no tables."""
    cells = np.asarray(arrays["prior_cells"], np.float64)
    names, buckets = _strings(arrays["prior_names"]), np.asarray(arrays["prior_buckets"], np.int64).tolist()
    if cells.ndim != 2 or cells.shape[1] != 1 + len(HORIZONS) or not np.isfinite(cells).all() or (cells < 0).any():
        raise ValueError("prior counts")
    for name, bucket, cell in zip(names, buckets, cells.tolist(), strict=True):
        engine.prior.cells[name, bucket] = cell
    for name, (_, load, width) in engine.unseen.tables().items():
        if f"{name}_rows" in arrays:  # states of the first version have none
            rows = np.asarray(arrays[f"{name}_rows"], np.float64)
            if rows.ndim != 2 or rows.shape[1] != width or not np.isfinite(rows).all() or (np.abs(rows) > 2**53).any():
                raise ValueError(f"{name}: a table")
            text = np.asarray(arrays[f"{name}_names"], np.uint8).tobytes()
            load(text.split(b"\0") if len(rows) else [], rows.tolist())


def _load_paths(paths: PathTable, arrays: Arrays) -> None:
    parents = np.asarray(arrays["path_parents"], np.int64)
    lengths = np.asarray(arrays["path_lengths"], np.int64)
    blob = np.asarray(arrays["path_names"], np.uint8).tobytes()
    if len(parents) != len(lengths) or int(lengths.sum()) != len(blob):
        raise ValueError("path table")
    if (parents > np.arange(len(parents))).any() or (lengths <= 0).any():
        raise ValueError("path table: a parent after its child")
    ends = np.cumsum(lengths).tolist()
    start = 0
    for number, (parent, end) in enumerate(zip(parents.tolist(), ends, strict=True), 1):
        if paths.intern(parent, blob[start:end]) != number:
            raise ValueError("path table: a name twice")
        start = end


def _history(history: History, visits: int) -> dict[str, npt.NDArray[Any]]:
    first = max(history.first, history.end - visits)
    slots = np.arange(first, history.end) % history.capacity
    ranges = [history.ranges[slot] for slot in slots.tolist()]
    flat = [interval for each in ranges for interval in each]
    links = np.frombuffer(history.next, np.int64)[slots], np.frombuffer(history.previous, np.int64)[slots]
    return {
        "visit_path": np.frombuffer(history.path, np.int64)[slots],
        "visit_command": np.frombuffer(history.command, np.int64)[slots].astype(np.uint32),
        "visit_next": _relative(links[0], first),
        "visit_previous": _relative(links[1], first),
        "visit_flags": np.frombuffer(history.flags, np.uint8)[slots],
        "visit_assumed": np.frombuffer(history.assumed, np.uint8)[slots],
        "visit_intervals": np.array([len(each) for each in ranges], np.uint8),
        "intervals": np.array(flat, np.uint64).reshape(-1, 2),
    }


def _relative(positions: npt.NDArray[np.int64], first: int) -> npt.NDArray[np.uint32]:
    return np.where(positions >= first, positions - first + 1, 0).astype(np.uint32)


def _load_history(history: History, arrays: Arrays, known_paths: int) -> None:
    names = ("path", "command", "next", "previous", "flags", "assumed", "intervals")
    columns = {name: np.asarray(arrays[f"visit_{name}"]).astype(np.int64) for name in names}
    count = len(columns["path"])
    intervals = np.asarray(arrays["intervals"], np.uint64)
    if any(len(column) != count or (column < 0).any() for column in columns.values()):
        raise ValueError("history")
    if count and (
        columns["path"].max() >= known_paths or max(columns["next"].max(), columns["previous"].max()) > count
    ):
        raise ValueError("history: a path or a link leads nowhere")
    if intervals.ndim != 2 or intervals.shape != (int(columns["intervals"].sum()), 2):
        raise ValueError("history: intervals")
    if (intervals[:, 0] >= intervals[:, 1]).any() or (intervals > 2**62).any():
        raise ValueError("history: an interval that is none")
    places = np.arange(1, count + 1)
    if (columns["next"][columns["next"] > 0] <= places[columns["next"] > 0]).any() or (
        columns["previous"] >= places
    ).any():
        raise ValueError("history: a link that leads back")
    flat = [(start, end) for start, end in intervals.tolist()]
    ends = np.cumsum(columns["intervals"]).tolist()
    cut = max(0, count - history.capacity)
    shape = {name: column[cut:].tolist() for name, column in columns.items()}
    start = ends[cut - 1] if cut else 0
    ranges = []
    for end in ends[cut:]:
        ranges.append(tuple(flat[start:end]))
        start = end
    history.fill(
        shape["path"],
        shape["command"],
        [max(0, link - cut) for link in shape["next"]],
        [max(0, link - cut) for link in shape["previous"]],
        shape["flags"],
        shape["assumed"],
        ranges,
    )


def _table(array: npt.NDArray[np.generic], width: int, known_paths: int, path_column: int) -> npt.NDArray[np.int64]:
    table = np.asarray(array, np.int64)
    if table.ndim != 2 or table.shape[1] != width or (table < 0).any():
        raise ValueError("a table")
    if len(table) and table[:, path_column].max() >= known_paths:
        raise ValueError("a table names a path that is not there")
    return table


def _text(strings: list[str]) -> npt.NDArray[np.generic]:
    return np.frombuffer("\0".join(strings).encode("utf-8", "surrogateescape"), np.uint8)


def _strings(array: npt.NDArray[np.generic]) -> list[str]:
    text = np.asarray(array, np.uint8).tobytes().decode("utf-8", "surrogateescape")
    return text.split("\0") if text else []
