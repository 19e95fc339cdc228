"""How good the plans are: traces replayed through the engine and its rivals, predicted before they are learned.

    python -m predictor.evaluate TRACE...      one trace: played twice, as a first and a second run

*Coverage* is the share of files (names that do not exist included) that were planned before a run touched them first,
as with a cache that begins the run empty and keeps everything. *Accuracy* is the share of planned files that the run
touched at all. The same for 128 KiB blocks of data, for those that plan ranges. `seen` and `new` split coverage by
whether the file was touched before in an earlier run. Plans are asked for once every `BURST` accesses, as a mount does;
rivals may answer at every access. Nothing is said about time here: that is for replay against a slow source.

A trace has no names for its listings. They are taken from NAME.tree beside NAME.trace or NAME-1.trace, where there is
one (`write_tree`); else the listing of a directory is what the trace itself touches there. A real one is longer, which
makes siblings, unread sets and cohorts look far better than they are.
"""

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from predictor import ranker
from predictor.baselines.catalogue import RIVALS
from predictor.baselines.rival import BLOCK_BYTES, TOUCHES, Access, Rival, Wish
from predictor.engine import Engine
from predictor.events import FLAG_WRITE, Op, PathTable, Stream
from predictor.interchange import read_any
from predictor.plan import PlanItem, Want
from predictor.ranking import Ranker
from predictor.trace import Batch, Records

BURST = 8
"""Accesses between two plans: a cold program waits for each access, a warm one is a few ahead of us."""

if TYPE_CHECKING:
    from rich.table import Table

RIVALS_SHOWN = ("last successor", "order 2", "siblings")
"""The rivals that cost little to ask; `--rivals` names others."""


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


@dataclass(slots=True)
class Result:
    """One planner on one run."""

    planner: str
    run: str
    events: int = 0
    seconds: float = 0.0
    touched: set[bytes] = field(default_factory=set)
    planned: set[bytes] = field(default_factory=set)
    covered: set[bytes] = field(default_factory=set)
    new: set[bytes] = field(default_factory=set)
    blocks_read: set[tuple[bytes, int]] = field(default_factory=set)
    blocks_planned: set[tuple[bytes, int]] = field(default_factory=set)
    blocks_covered: set[tuple[bytes, int]] = field(default_factory=set)

    @property
    def coverage(self) -> float:
        return _share(len(self.covered), len(self.touched))

    @property
    def accuracy(self) -> float:
        return _share(len(self.planned & self.touched), len(self.planned))

    @property
    def coverage_seen(self) -> float:
        return _share(len(self.covered - self.new), len(self.touched - self.new))

    @property
    def coverage_new(self) -> float:
        return _share(len(self.covered & self.new), len(self.new))

    @property
    def block_coverage(self) -> float:
        return _share(len(self.blocks_covered), len(self.blocks_read))

    @property
    def block_accuracy(self) -> float:
        return _share(len(self.blocks_planned & self.blocks_read), len(self.blocks_planned))

    def figures(self) -> dict[str, str | int | float | None]:
        """What is reported, as JSON can hold it."""
        has_blocks = bool(self.blocks_planned)
        return {
            "run": self.run,
            "planner": self.planner,
            "accesses": self.events,
            "files": len(self.touched),
            "coverage": self.coverage,
            "coverage_seen": self.coverage_seen,
            "coverage_new": self.coverage_new,
            "accuracy": self.accuracy,
            "block_coverage": self.block_coverage if has_blocks else None,
            "block_accuracy": self.block_accuracy if has_blocks else None,
            "microseconds": self.microseconds,
        }

    @property
    def microseconds(self) -> float:
        return self.seconds * 1e6 / max(1, self.events)


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
        listed.sort(key=lambda child: hash_order(recording.paths.name(child)))


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
        listed.sort(key=lambda child: hash_order(paths.name(child)))
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


def hash_order(name: bytes) -> int:
    """Directories of ext4 and most others are listed in the order of a hash of the names."""
    value = 0xCBF29CE484222325
    for byte in name:
        value = (value ^ byte) * 0x100000001B3 & (2**64 - 1)
    return value


def replay(engine: Engine, recording: Recording, burst: int = BURST, seen: set[bytes] | None = None) -> Result:
    """One run of a recording through the engine, as a mount that was just mounted sends it."""
    result = Result("network" if engine.ranker else "rules", recording.name)
    engine.begin_session(len(recording.paths))
    named_paths, named_streams = 1, 0
    streams = list(recording.streams.values())
    listed: set[int] = set()
    directories = {recording.paths.path(directory): directory for directory in recording.folders}
    for records in recording.batches:
        wished: list[int] = []
        for low in range(0, len(records), burst):
            part = records[low : low + burst]
            _touch(result, recording, part, seen or set())
            last_path, last_stream = int(part["path"].max()), int(part["stream"].max())
            new_paths = [
                [n, recording.paths.parent(n), recording.paths.name(n)] for n in range(named_paths, last_path + 1)
            ]
            new_streams = [[s.id, s.tgid, s.command] for s in streams[named_streams : last_stream + 1]]
            named_paths, named_streams = max(named_paths, last_path + 1), max(named_streams, last_stream + 1)
            started = time.perf_counter()
            engine.observe(new_paths, new_streams, part)
            for directory in (*wished, *part["path"][part["op"] == Op.READDIR].tolist()):
                if directory not in listed:
                    listed.add(directory)
                    children = recording.children.get(directory, [])
                    kinds = [4 if child in recording.folders else 8 for child in children]
                    engine.listing(directory, [recording.paths.name(child) for child in children], kinds)
            items = engine.plan()
            result.seconds += time.perf_counter() - started
            result.events += len(part)
            _plan(result, items, recording.sizes)
            wished = [directories[i.path] for i in items if i.want is Want.LISTING and i.path in directories]
    return result


def replay_rival(rival: Rival, recording: Recording, seen: set[bytes] | None = None) -> Result:
    """One run of a recording through a rival that was made with the recording's path table."""
    result = Result(rival.name, recording.name)
    listed: set[int] = set()
    sizes: dict[int, int] = {}
    names = ("op", "path", "stream", "offset", "length", "time_ns")
    for records in recording.batches:
        columns = (records[name].tolist() for name in names)
        for index, (op, path, stream_id, offset, length, time_ns) in enumerate(zip(*columns, strict=True)):
            _touch(result, recording, records[index : index + 1], seen or set())
            if op in (Op.LOOKUP, Op.OPEN, Op.GETATTR) and offset:
                sizes[path] = offset
            stream = recording.streams[stream_id]
            access = Access(op, path, stream.tgid, stream.command, offset, length, sizes.get(path, 0), time_ns)
            started = time.perf_counter()
            if op == Op.READDIR:
                _list(rival, recording, path, listed)
            wishes = rival.access(access)
            for wish in wishes:
                if wish.want is Want.LISTING:
                    _list(rival, recording, wish.path, listed)
            result.seconds += time.perf_counter() - started
            result.events += 1
            _plan_rival(result, recording, wishes)
    return result


def _list(rival: Rival, recording: Recording, directory: int, listed: set[int]) -> None:
    if directory in recording.folders and directory not in listed:
        listed.add(directory)
        rival.listing(directory, recording.children.get(directory, []), recording.folders)


def _plan_rival(result: Result, recording: Recording, wishes: Sequence[Wish]) -> None:
    path_of = recording.paths.path
    _plan(
        result,
        [PlanItem(w.want, path_of(w.path), w.offset, w.length, 0.0, 0, result.planner) for w in wishes],
        recording.sizes,
    )


def _touch(result: Result, recording: Recording, part: Records, seen: set[bytes]) -> None:
    columns = (part[name].tolist() for name in ("path", "op", "offset", "length", "flags"))
    for number, op, offset, length, flags in zip(*columns, strict=True):
        if op not in TOUCHES or flags & FLAG_WRITE:
            continue
        path = recording.paths.path(number)
        if path not in result.touched:
            result.touched.add(path)
            if path in result.planned:
                result.covered.add(path)
            if path not in seen:
                result.new.add(path)
        if op == Op.READ and length:
            for block in range(offset // BLOCK_BYTES, (offset + length - 1) // BLOCK_BYTES + 1):
                if (path, block) not in result.blocks_read:
                    result.blocks_read.add((path, block))
                    if (path, block) in result.blocks_planned:
                        result.blocks_covered.add((path, block))


def _plan(result: Result, items: Sequence[PlanItem], sizes: dict[bytes, int]) -> None:
    for item in items:
        result.planned.add(item.path)
        if item.want is Want.DATA:
            end = sizes.get(item.path, item.offset + 1)  # nothing is fetched beyond it
            if item.length:
                end = min(end, item.offset + item.length)
            blocks = range(item.offset // BLOCK_BYTES, (max(end, item.offset + 1) - 1) // BLOCK_BYTES + 1)
            result.blocks_planned.update((item.path, block) for block in blocks)


def compare(
    recordings: Sequence[Recording],
    network: Ranker | None,
    rivals: Sequence[str] = RIVALS_SHOWN,
    progress: Callable[[str, float], None] = lambda _what, _share: None,
) -> list[Result]:
    """All planners on all runs in order, each learning as it goes: a planner's results stand together.

    `rivals`: names in the catalogue. `progress` is told what is done next, and how far the whole is, 0 to 1.
    """
    results: list[Result] = []
    count = (1 + (network is not None) + len(rivals)) * len(recordings)
    engines = [Engine()] + ([Engine(ranker=network)] if network is not None else [])
    for engine in engines:
        seen: set[bytes] = set()
        for recording in recordings:
            progress(f"{'network' if engine.ranker else 'rules'} on {recording.name}", len(results) / count)
            results.append(replay(engine, recording, seen=seen))
            seen |= results[-1].touched
    for name in rivals:
        seen = set()
        table: PathTable | None = None
        rival: Rival | None = None
        for recording in recordings:
            progress(f"{name} on {recording.name}", len(results) / count)
            if recording.paths is not table:  # ids are a recording's own
                recording = _renumbered(recording, table) if table is not None else recording
                table = recording.paths
            rival = rival or RIVALS[name](table)
            results.append(replay_rival(rival, recording, seen))
            seen |= results[-1].touched
    return results


def _renumbered(recording: Recording, table: PathTable) -> Recording:
    """The recording with the path ids of `table`."""
    ids = [table.intern_path(recording.paths.path(number)) for number in range(len(recording.paths))]
    batches = []
    for records in recording.batches:
        copy = records.copy()
        copy["path"] = [ids[number] for number in records["path"].tolist()]
        batches.append(copy)
    children = {ids[d]: [ids[child] for child in listed] for d, listed in recording.children.items()}
    folders = {ids[folder] for folder in recording.folders}
    return Recording(recording.name, table, recording.streams, batches, children, folders, recording.sizes)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table; returns the exit status."""
    from rich.console import Console

    parser = argparse.ArgumentParser(prog="predictor.evaluate", description=__doc__.split("\n", 1)[0])
    parser.add_argument("traces", nargs="+", type=Path, metavar="TRACE")
    parser.add_argument("--weights", type=Path, help="a network; default: the shipped one, where there is one")
    parser.add_argument(
        "--rivals",
        nargs="+",
        default=RIVALS_SHOWN,
        choices=RIVALS,
        metavar="NAME",
        help="rivals to compare with: " + ", ".join(RIVALS),
    )
    options = parser.parse_args(arguments)
    recordings = [load(path) for path in options.traces]
    if len(recordings) == 1:
        recordings *= 2
    path = options.weights or (ranker.SHIPPED if ranker.SHIPPED.exists() else None)
    results = compare(recordings, ranker.load(path) if path is not None else None, options.rivals)
    Console(width=None if sys.stdout.isatty() else 140).print(shown(results, len(recordings)))
    return 0


def shown(results: Sequence[Result], runs: int) -> "Table":
    """A table of what `compare` found, run by run."""
    from rich.table import Table

    table = Table(title="planned before the first touch of a run")
    headings = ("run", "planner", "files", "coverage", "seen", "new", "accuracy", "blocks", "accuracy", "us/event")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("run", "planner") else "right", no_wrap=True)
    for number in range(runs):
        for result in results[number::runs]:
            has_blocks = bool(result.blocks_planned)
            table.add_row(
                f"{number + 1} {result.run}",
                result.planner,
                str(len(result.touched)),
                f"{result.coverage:.3f}",
                f"{result.coverage_seen:.3f}",
                f"{result.coverage_new:.3f}",
                f"{result.accuracy:.3f}",
                f"{result.block_coverage:.3f}" if has_blocks else "-",
                f"{result.block_accuracy:.3f}" if has_blocks else "-",
                f"{result.microseconds:.1f}",
            )
        table.add_section()
    return table


if __name__ == "__main__":
    sys.exit(main())
