"""Windows per process group: counters of what it did lately, and its last operations as tokens.

Two periods are kept, the running one and the one before it, so that nothing is forgotten at the stroke of a clock and
adding costs a few increments. Windows of several groups add up to that of their cgroup. Sets are bounded: beyond the
bounds breadth is proven anyway.
"""

from collections import deque
from collections.abc import Iterable
from math import log1p

import numpy as np
import numpy.typing as npt

from predictor.guard.events import Event, Kind, extension

PERIOD_S = 600.0
SET_MAX = 512
TOKENS = 64
"""The last operations whose surprise is taken."""

HURT_MIN = 3
NOTES_MIN = 24
NOTE_SHARE_MIN = 0.5

NO_TOKEN = 0
_PLACES, _CONTENTS = 3, 3
VOCABULARY = 1 + len(Kind) * _PLACES * _CONTENTS

FEATURES = (
    "conversions", "conversion_directories", "conversion_types",
    "samples", "uniform_share", "uniform_new", "mean_rise",
    "opens", "lists", "creates", "truncates", "unlinks", "renames", "extension_changes", "replacements", "mkdirs",
    "old_files_hurt", "directories", "types_opened", "types_hurt",
    "note_directories", "note_share", "note_foreign_share", "events_per_s",
    "surprise_mean", "surprise_late",
)  # fmt: skip
"""Columns of a row of features, in order. The two last are the sequence model's."""


class _Period:
    """Counters of one period."""

    __slots__ = ("counts", "directories", "hurt", "made", "named", "names", "rise_bits", "types_hurt", "types_opened")

    def __init__(self) -> None:
        self.counts = dict.fromkeys(_COUNTERS, 0)
        self.rise_bits = 0.0
        self.directories: set[int] = set()  # in which it changed something
        self.made: set[int] = set()  # those that it made itself
        self.hurt: set[int] = set()  # files that were there before
        self.types_opened: set[bytes] = set()
        self.types_hurt: set[bytes] = set()
        self.names: dict[bytes, set[int]] = {}  # of what it made, and where
        self.named: dict[bytes, int] = {}  # and how often

    def add(self, other: "_Period") -> None:
        for name, count in other.counts.items():
            self.counts[name] += count
        self.rise_bits += other.rise_bits
        for mine, theirs in (
            (self.directories, other.directories),
            (self.made, other.made),
            (self.hurt, other.hurt),
        ):
            mine.update(theirs)
        self.types_opened |= other.types_opened
        self.types_hurt |= other.types_hurt
        for made, places in other.names.items():
            self.names[made] = self.names.get(made, set()) | places
            self.named[made] = self.named.get(made, 0) + other.named[made]


_COUNTERS = (
    "samples", "uniform", "uniform_new", "opens", "lists", "creates", "truncates", "unlinks", "renames",
    "extension_changes", "replacements", "mkdirs",
)  # fmt: skip
_COUNTER_OF = {
    Kind.OPEN: "opens", Kind.LIST: "lists", Kind.CREATE: "creates", Kind.WRITE: "samples", Kind.TRUNCATE: "truncates",
    Kind.UNLINK: "unlinks", Kind.RENAME: "renames", Kind.MKDIR: "mkdirs",
}  # fmt: skip


class GroupWindow:
    """What one process group did in the last 10 to 20 minutes."""

    __slots__ = ("_before", "_began_s", "_now", "_previous", "notes", "times_s", "tokens")

    def __init__(self, time_s: float) -> None:
        self._began_s = time_s
        self._now = _Period()
        self._before = _Period()
        self._previous: tuple[int, int] = (0, 0)  # file and directory of the last operation
        self.tokens: deque[int] = deque(maxlen=TOKENS)
        self.times_s: deque[float] = deque(maxlen=TOKENS)
        self.notes = 0  # directories in which the name stands that it made most often, in any period

    @property
    def hurts(self) -> bool:
        """Whether it has changed or removed files that were there: who makes new ones alone harms nobody."""
        return len(self._now.hurt) >= HURT_MIN or len(self._before.hurt) >= HURT_MIN

    def add(self, event: Event, is_new: bool) -> None:
        """Count an event; `is_new`: its file was made while we looked."""
        if event.time_s - self._began_s > PERIOD_S:
            is_stale = event.time_s - self._began_s > 2 * PERIOD_S
            self._before = _Period() if is_stale else self._now
            self._now, self._began_s = _Period(), event.time_s
        period = self._now
        counts = period.counts
        counts[_COUNTER_OF[event.kind]] += 1
        self.tokens.append(self._token(event))
        self.times_s.append(event.time_s)
        self._previous = (event.file, event.directory)
        if event.kind is Kind.OPEN:
            _put(period.types_opened, extension(event.name))
            return
        if event.kind is Kind.LIST:
            return
        _put(period.directories, event.directory)
        if event.kind is Kind.MKDIR:
            _put(period.made, event.file)
        elif event.kind is Kind.CREATE:
            places = period.names.get(event.name)
            if places is None and len(period.names) < SET_MAX:
                places = period.names[event.name] = set()
            if places is not None:
                _put(places, event.directory)
                period.named[event.name] = period.named.get(event.name, 0) + 1
                self.notes = max(self.notes, len(places))
        elif not is_new:
            _put(period.hurt, event.file)
            _put(period.types_hurt, extension(event.name))
        if event.kind is Kind.WRITE:
            self._count_write(event, is_new, period)
        elif event.kind is Kind.RENAME:
            counts["replacements"] += event.victim != 0
            counts["extension_changes"] += not is_new and extension(event.new_name) != extension(event.name)

    def _count_write(self, event: Event, is_new: bool, period: _Period) -> None:
        if event.new is not None and event.new.is_uniform and not event.new.has_format:
            period.counts["uniform"] += 1
            period.counts["uniform_new"] += is_new
        if event.new is not None and event.old is not None:
            period.rise_bits += max(0.0, event.new.entropy_bits - event.old.entropy_bits)

    def _token(self, event: Event) -> int:
        file, directory = self._previous
        place = 0 if event.file == file else 1 if event.directory == directory else 2
        content = 0 if event.new is None else 1 if not event.new.is_uniform or event.new.has_format else 2
        return 1 + (int(event.kind) * _PLACES + place) * _CONTENTS + content


def features(windows: Iterable[GroupWindow], conversions: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """A row (len(FEATURES),) over windows that count as one; the surprises, the last two, are 0.

    `conversions`: their number, directories and types.
    """
    whole = _Period()
    times_s: list[float] = []
    for window in windows:
        whole.add(window._before)
        whole.add(window._now)
        times_s += window.times_s
    times_s = sorted(times_s)[-TOKENS:]
    counts = whole.counts
    samples, creates = max(1, counts["samples"]), max(1, counts["creates"])
    note, places = max(whole.names.items(), key=lambda item: len(item[1]), default=(b"", set()))
    foreign = len(places - whole.made)
    span_s = times_s[-1] - times_s[0] if times_s else 0.0
    values = {
        **{name: log1p(counts[name]) for name in _COUNTERS if name not in ("uniform", "uniform_new", "samples")},
        "conversions": log1p(conversions[0]),
        "conversion_directories": log1p(conversions[1]),
        "conversion_types": log1p(conversions[2]),
        "samples": log1p(counts["samples"]),
        "uniform_share": counts["uniform"] / samples,
        "uniform_new": log1p(counts["uniform_new"]),
        "mean_rise": whole.rise_bits / samples,
        "old_files_hurt": log1p(len(whole.hurt)),
        "directories": log1p(len(whole.directories)),
        "types_opened": log1p(len(whole.types_opened)),
        "types_hurt": log1p(len(whole.types_hurt)),
        "note_directories": log1p(len(places)) if note else 0.0,
        "note_share": whole.named.get(note, 0) / creates,
        "note_foreign_share": foreign / max(1, len(places)),
        "events_per_s": log1p(len(times_s) / max(span_s, 0.1)),
    }
    return np.array([values.get(name, 0.0) for name in FEATURES], np.float32)


def drops_notes(row: npt.NDArray[np.float32]) -> bool:
    """Whether a window is that of a program that leaves a file of one name in directory after directory, none of which
    it made, and makes little else: a ransom note's way, and hardly anything else's."""
    return foreign_notes(row) >= NOTES_MIN and float(row[FEATURES.index("note_share")]) >= NOTE_SHARE_MIN


def foreign_notes(row: npt.NDArray[np.float32]) -> float:
    """In how many directories that it did not make a window's commonest new name stands."""
    known = dict(zip(FEATURES, row.tolist(), strict=True))
    return float(np.expm1(known["note_directories"]) * known["note_foreign_share"])


def tokens(windows: Iterable[GroupWindow]) -> npt.NDArray[np.int64]:
    """The last operations of these windows in order of time: (TOKENS,), `NO_TOKEN` before the first."""
    merged = sorted(
        (pair for window in windows for pair in zip(window.times_s, window.tokens, strict=True)), key=lambda p: p[0]
    )
    last = [token for _, token in merged[-TOKENS:]]
    return np.array([NO_TOKEN] * (TOKENS - len(last)) + last, np.int64)


def _put(members: "set[int] | set[bytes]", member: "int | bytes") -> None:
    if len(members) < SET_MAX:
        members.add(member)  # type: ignore[arg-type]
