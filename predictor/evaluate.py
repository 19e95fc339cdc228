"""How good the plans are: traces replayed through the engine and its rivals, predicted before they are learned.

    python -m predictor.evaluate TRACE...      one trace: played twice, as a first and a second run

*Coverage* is the share of files (names that do not exist included) that were planned before a run touched them first,
as with a cache that begins the run empty and keeps everything. *Accuracy* is the share of planned files that the run
touched at all. The same for 128 KiB blocks of data, for those that plan ranges. `seen` and `new` split coverage by
whether the file was touched before in an earlier run. Plans are asked for once every `BURST` accesses, as a mount does;
rivals may answer at every access. Nothing is said about time here: that is for replay against a slow source.

What a directory lists is `predictor.recording`'s to say: where that is only what the trace touches, siblings, unread
sets and cohorts look far better than they are.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from predictor import ranker
from predictor.baselines.catalogue import RIVALS
from predictor.baselines.rival import BLOCK_BYTES, TOUCHES, Access, Rival, Wish
from predictor.engine import Engine
from predictor.events import FLAG_WRITE, Op, PathTable
from predictor.plan import PlanItem, Want
from predictor.ranking import Ranker
from predictor.recording import Recording, load, renumbered
from predictor.trace import Records

BURST = 8
"""Accesses between two plans: a cold program waits for each access, a warm one is a few ahead of us."""

if TYPE_CHECKING:
    from rich.table import Table

RIVALS_SHOWN = ("last successor", "order 2", "siblings")
"""The rivals that cost little to ask; `--rivals` names others."""


@dataclass(slots=True)
class Result:
    """One planner on one run."""

    planner: str
    run: str
    events: int = 0
    seconds: float = 0.0  # of CPU
    each_us: list[float] = field(default_factory=list)  # an access, by burst
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
            "microseconds_p50": self.p50_us,
        }

    @property
    def microseconds(self) -> float:
        """Of CPU an access, on the mean."""
        return self.seconds * 1e6 / max(1, self.events)

    @property
    def p50_us(self) -> float:
        return median(self.each_us) if self.each_us else 0.0


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
            started = time.thread_time()
            engine.observe(new_paths, new_streams, part)
            for directory in (*wished, *part["path"][part["op"] == Op.READDIR].tolist()):
                if directory not in listed:
                    listed.add(directory)
                    children = recording.children.get(directory, [])
                    kinds = [4 if child in recording.folders else 8 for child in children]
                    engine.listing(directory, [recording.paths.name(child) for child in children], kinds)
            items = engine.plan()
            seconds = time.thread_time() - started
            result.seconds += seconds
            result.each_us.append(seconds * 1e6 / len(part))
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
            started = time.thread_time()
            if op == Op.READDIR:
                _list(rival, recording, path, listed)
            wishes = rival.access(access)
            for wish in wishes:
                if wish.want is Want.LISTING:
                    _list(rival, recording, wish.path, listed)
            seconds = time.thread_time() - started
            result.seconds += seconds
            result.each_us.append(seconds * 1e6)
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
                recording = renumbered(recording, table) if table is not None else recording
                table = recording.paths
            rival = rival or RIVALS[name](table)
            results.append(replay_rival(rival, recording, seen))
            seen |= results[-1].touched
    return results


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

    table = Table(title="planned before the first touch of a run; microseconds of CPU an access, mean and median")
    headings = ("run", "planner", "files", "coverage", "seen", "new", "accuracy", "blocks", "accuracy", "us", "p50")
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
                f"{result.microseconds:.0f}",
                f"{result.p50_us:.0f}",
            )
        table.add_section()
    return table


if __name__ == "__main__":
    sys.exit(main())
