"""Replays recordings through the engine that a mount runs, and says what it would have done, when, to whom.

An attack is *stopped* when the group, or the cgroup, that makes it comes to be denied; what it had converted by then is
what it *hurt*, and what undo has to put back. *Detected*: it came to any level, which is all that traces without
content can show.
"""

import csv
import gzip
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

from bench.guard.recordings import read
from predictor.guard.decisions import Level
from predictor.guard.engine import GuardEngine, Row, Scorer, Sequence
from predictor.guard.events import Event, Kind
from predictor.guard.training import Examples
from predictor.guard.windows import foreign_notes

SAMPLE_EVERY = 3
"""Changes between two windows that are learned from: an attack is to be known by its third file."""

WINDOWS_MAX = 1000
"""Of a run, in about: a longer one weighs no more (predictor/guard/training.py)."""

THREADS_APART = 8
"""Thread ids of the eBPF traces that follow each other within so many are taken for one process group's: they name
none."""

NAME_BYTES_MAX = 63
"""Longer names are cut in these traces: such a one names no file, and often no note."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """Events of one run. Its family is what is left out together."""

    name: str
    family: str
    is_attack: bool
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a replay came to."""

    level: Level
    hurt: int  # files that had been converted when it was denied, else in all
    seconds: float  # from the first change of who was found to the first finding; nan: there was none
    score: float  # the highest
    groups: int
    notes: int  # directories, not its own, in which a group left files of one name, at most
    groups_at: dict[Level, int]  # groups that came to this level or a higher one
    cgroups_at: dict[Level, int]


def load(directory: Path) -> list[Recorded]:
    """What `python -m bench.guard record` wrote."""
    found = []
    for kind in ("benign", "attacks"):
        for path in sorted((directory / kind).glob("*.events")):
            stem, _, number = path.stem.rpartition("-")
            family = stem if number.isdigit() else path.stem  # one kind of attack, or of session, by its seeds
            found.append(Recorded(path.stem, family, kind == "attacks", tuple(read(path))))
    return [each for each in found if each.events]


def replay(events: Iterable[Event], scorer: Scorer | None) -> Outcome:
    """Drive the engine with a run."""
    scores = [0.0]

    def scored(row: Row, sequence: Sequence) -> float:
        assert scorer is not None
        scores.append(scorer(row, sequence))
        return scores[-1]

    engine = GuardEngine(scored if scorer is not None else None)
    hurt: set[int] = set()
    began_s: dict[int, float] = {}  # by group: its first change
    seconds = float("nan")
    level = Level.QUIET
    groups: set[int] = set()
    levels: dict[tuple[bool, int], Level] = {}
    for event in events:
        groups.add(event.group)
        if event.kind not in (Kind.OPEN, Kind.LIST):
            began_s.setdefault(event.group, event.time_s)
        findings = engine.observe(event)
        if event.old is not None and event.kind is not Kind.CREATE:
            hurt.add(event.victim or event.file)
        for finding in findings:
            if seconds != seconds:
                seconds = event.time_s - (min(began_s.values()) if finding.is_cgroup else began_s[finding.id])
            level = max(level, finding.level)
            levels[finding.is_cgroup, finding.id] = finding.level
        if level is Level.DENIED:
            break
    groups_at, cgroups_at = (
        {each: sum(kind == is_cgroup and at >= each for (kind, _), at in levels.items()) for each in Level if each}
        for is_cgroup in (False, True)
    )
    notes = max((_notes(engine, group) for group in groups), default=0)
    return Outcome(level, len(hurt), seconds, max(scores), len(groups), notes, groups_at, cgroups_at)


def _notes(engine: GuardEngine, group: int) -> int:
    judged = engine.judged(group)
    return round(foreign_notes(judged[0])) if judged is not None else 0


def examples(recorded: Iterable[Recorded]) -> Examples:
    """Windows of these runs as the engine would judge them: whole, and as a trace without content shows them."""
    rows, sequences, labels, numbers = [], [], [], []
    for number, each in enumerate(recorded):
        for events in (each.events, tuple(bare(each.events))):
            engine = GuardEngine()
            every = max(SAMPLE_EVERY, len(events) // WINDOWS_MAX)
            changes = 0
            for event in events:
                engine.observe(event)
                changes += event.kind not in (Kind.OPEN, Kind.LIST)
                if changes % every or event.kind in (Kind.OPEN, Kind.LIST):
                    continue
                judged = engine.judged(event.group)
                if judged is not None:
                    rows.append(judged[0])
                    sequences.append(judged[1])
                    labels.append(each.is_attack)
                    numbers.append(number)
    return Examples(np.array(rows), np.array(sequences), np.array(labels, bool), np.array(numbers))


def bare(events: Iterable[Event]) -> Iterator[Event]:
    """Opens, creations and removals alone, without a look at contents."""
    for event in events:
        if event.kind in (Kind.OPEN, Kind.CREATE, Kind.UNLINK):
            yield event._replace(new=None, old=None)


def ebpf(path: Path) -> Iterator[Event]:
    """A trace of the ebpfangel collector: TS (ns), PID (a thread), TYPE 0 open, 1 create, 2 delete, FILENAME."""
    with gzip.open(path, "rt", errors="replace", newline="") as file:
        table = [row for row in csv.DictReader(file) if row["TYPE"] in ("0", "1", "2")]
    table = [row for row in table if len(row["FILENAME"]) < NAME_BYTES_MAX]
    threads = sorted({int(row["PID"]) for row in table})
    group_of, group = {}, 0
    for before, thread in zip([-THREADS_APART - 1, *threads], threads, strict=False):
        group += thread - before > THREADS_APART
        group_of[thread] = group
    kinds = (Kind.OPEN, Kind.CREATE, Kind.UNLINK)
    for row in table:
        name = row["FILENAME"].encode()
        above, _, last = name.rpartition(b"/")
        time_s, kind = int(row["TS"]) / 1e9, kinds[int(row["TYPE"])]
        yield Event(time_s, kind, group_of[int(row["PID"])], 0, crc32(name) + 1, crc32(above) + 1, last)


def accesses(path: Path) -> Iterator[Event]:
    """A benign trace: ts, op, pid, comm, path, size, offset."""
    kinds = {"OPEN": Kind.OPEN, "OPEN_W": Kind.CREATE, "READDIR": Kind.LIST, "UNLINK": Kind.UNLINK}
    with gzip.open(path, "rt", errors="replace", newline="") as file:
        for row in csv.DictReader(file):
            kind = kinds.get(row["op"])
            if kind is not None:
                name = row["path"].encode()
                above, _, last = name.rpartition(b"/")
                yield Event(float(row["ts"]), kind, int(row["pid"]), 0, crc32(name) + 1, crc32(above) + 1, last)


def median(values: Iterable[float]) -> float:
    found = [value for value in values if value == value]
    return statistics.median(found) if found else float("nan")
