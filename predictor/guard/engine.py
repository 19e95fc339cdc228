"""The guard's core: events in, findings out. No I/O, no clock, no randomness: the time is each event's own.

The live mount (llmfs/guard) and the evaluation (bench/guard) drive the same object. Its weights are frozen: nothing
that it sees changes them, so nobody can train it to look away (which is why it shares none with the predictor).

Counting an event takes a few microseconds. The classifier, and the sequence model whose surprise it is told, run only
for a group that shows something to judge, and then once in many of its changes and at each conversion.
"""

from collections import OrderedDict
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from predictor.guard.decisions import (
    CGROUP_EVIDENCE_LIVES_S,
    OF_CGROUP,
    OF_GROUP,
    SCORE_ALERT,
    SPLIT_MIN,
    Evidence,
    Level,
    counts_of,
    level,
)
from predictor.guard.events import Event, Kind
from predictor.guard.files import Conversion, FileWindows
from predictor.guard.windows import GroupWindow, drops_notes, features, tokens

GROUPS_MAX = 1024
CGROUP_GROUPS_MAX = 256
JUDGE_EVERY, JUDGE_EVERY_MAX = 16, 256
"""Changes between two looks: more and more for a group that nothing is found of."""

CHANGES_MIN = 3
"""What training takes for a window."""

NOTES_MIN = 8
"""The same name made in so many directories is worth a look: a ransom note's, or __init__.py."""

UNIFORM_MIN = 3
"""So are so many samples that may be ciphertext."""

Row = npt.NDArray[np.float32]
Sequence = npt.NDArray[np.int64]


class Scorer(Protocol):
    """Says how likely it is that a window is an attack's."""

    def __call__(self, row: Row, sequence: Sequence) -> float:
        """row (FEATURES,), sequence (TOKENS,) -> a probability."""


class Finding(NamedTuple):
    """A process group, or with `is_cgroup` a cgroup, came to a higher level."""

    is_cgroup: bool
    id: int
    level: Level
    score: float | None
    files: int  # that it may have encrypted
    directories: int
    types: int


class _Group:
    __slots__ = ("changes", "evidence", "is_forgiven", "judged_at", "level", "patience", "uniform", "window")

    def __init__(self, time_s: float) -> None:
        self.window = GroupWindow(time_s)
        self.evidence = Evidence()
        self.level = Level.QUIET
        self.is_forgiven = False
        self.changes = 0
        self.judged_at = self.patience = JUDGE_EVERY
        self.uniform = 0


class _Cgroup:
    __slots__ = ("evidence", "groups", "is_forgiven", "level")

    def __init__(self) -> None:
        self.evidence = Evidence(CGROUP_EVIDENCE_LIVES_S)
        self.groups: OrderedDict[int, None] = OrderedDict()
        self.level = Level.QUIET
        self.is_forgiven = False


class GuardEngine:
    """Watches groups and files; says who came to which level."""

    def __init__(self, scorer: Scorer | None = None) -> None:
        """Without a scorer rules decide alone."""
        self.files = FileWindows()
        self._scorer = scorer
        self._groups: OrderedDict[int, _Group] = OrderedDict()
        self._cgroups: OrderedDict[int, _Cgroup] = OrderedDict()

    def observe(self, event: Event) -> list[Finding]:
        """Take in an event. A finding is told once for each rise of a level."""
        group = self._group(event)
        is_new = self.files.is_new(event.file, event.group)
        is_gone = event.kind is Kind.UNLINK and self.files.is_converted(event.file)
        conversion = self.files.take(event)
        group.window.add(event, is_new)
        if event.kind in (Kind.OPEN, Kind.LIST):
            return []
        group.changes += 1
        if conversion is not None:
            return self._converted(event.time_s, conversion)
        if is_gone and group.evidence.drop(event.file):  # who overwrites and then removes, as shred does, keeps nothing
            self._cgroup(event.cgroup).evidence.drop(event.file)
        group.uniform += event.new is not None and event.new.is_uniform and not event.new.has_format
        if group.changes < group.judged_at or not self._is_worth_a_look(group):
            return []
        group.patience = min(2 * group.patience, JUDGE_EVERY_MAX)
        group.judged_at = group.changes + group.patience
        return self._judge_group(event.group, group)

    def forgive(self, is_cgroup: bool, number: int) -> None:
        """A person says that it may: it comes to no level, whatever it does."""
        known = self._cgroup(number) if is_cgroup else self._groups.setdefault(number, _Group(0.0))
        known.is_forgiven, known.level = True, Level.QUIET

    def pardon(self, is_cgroup: bool, number: int) -> None:
        """A person has settled what was found so far: it is held against it no more; what comes is."""
        known = self._cgroup(number) if is_cgroup else self._groups.get(number)
        if known is not None:
            known.evidence.clear()
            known.level = Level.QUIET

    def judged(self, group: int) -> tuple[Row, Sequence] | None:
        """What a group would be judged by now, were it worth a look: features (FEATURES,) and tokens (TOKENS,), to
        learn from. None where it has changed next to nothing."""
        known = self._groups.get(group)
        if known is None or known.changes < CHANGES_MIN:
            return None
        return features((known.window,), counts_of(known.evidence)), tokens((known.window,))

    # --- judging

    def _is_worth_a_look(self, group: _Group) -> bool:
        is_harmful = group.uniform >= UNIFORM_MIN and group.window.hurts
        return bool(len(group.evidence)) or is_harmful or group.window.notes >= NOTES_MIN

    def _converted(self, time_s: float, conversion: Conversion) -> list[Finding]:
        guilty = {number: self._groups[number] for number in conversion.groups if number in self._groups}
        guilty = {number: group for number, group in guilty.items() if not group.is_forgiven}
        findings: list[Finding] = []
        for number, group in guilty.items():
            group.evidence.add(time_s, conversion)
            findings += self._judge_group(number, group)
        for number in conversion.cgroups if guilty else ():
            cgroup = self._cgroup(number)
            if number and not cgroup.is_forgiven:
                cgroup.evidence.add(time_s, conversion)
                findings += self._judge_cgroup(number, cgroup)
        return findings

    def _judge_group(self, number: int, group: _Group) -> list[Finding]:
        return self._risen(False, number, group, group.evidence, [group])

    def _judge_cgroup(self, number: int, cgroup: _Cgroup) -> list[Finding]:
        """By what those did that are not denied themselves."""
        free = [each for each in cgroup.evidence if not any(self._level(who) is Level.DENIED for who in each.groups)]
        if len({who for each in free for who in each.groups}) < SPLIT_MIN:
            return []
        groups = [self._groups[who] for who in cgroup.groups if who in self._groups]
        evidence = Evidence()
        for each in free:
            evidence.add(0.0, each)
        return self._risen(True, number, cgroup, evidence, groups)

    def _risen(
        self,
        is_cgroup: bool,
        number: int,
        who: _Group | _Cgroup,
        evidence: Evidence,
        groups: list[_Group],
    ) -> list[Finding]:
        counts, windows = counts_of(evidence), [group.window for group in groups]
        row = features(windows, counts)
        score = self._scorer(row, tokens(windows)) if self._scorer is not None and not is_cgroup else None
        is_suspicious = drops_notes(row) or (
            score is not None and score >= SCORE_ALERT and any(each.hurts for each in windows)
        )
        reached = level(counts, score, OF_CGROUP if is_cgroup else OF_GROUP, is_suspicious)
        if who.is_forgiven or reached <= who.level:
            return []
        who.level = reached
        return [Finding(is_cgroup, number, reached, score, *counts)]

    # --- who there is

    def _level(self, number: int) -> Level:
        group = self._groups.get(number)
        return group.level if group is not None else Level.QUIET

    def _group(self, event: Event) -> _Group:
        group = self._groups.get(event.group)
        if group is None:
            group = self._groups[event.group] = _Group(event.time_s)
            if len(self._groups) > GROUPS_MAX:
                self._groups.popitem(last=False)
        else:
            self._groups.move_to_end(event.group)
        if event.cgroup:
            members = self._cgroup(event.cgroup).groups
            members[event.group] = None
            if len(members) > CGROUP_GROUPS_MAX:
                members.popitem(last=False)
        return group

    def _cgroup(self, number: int) -> _Cgroup:
        cgroup = self._cgroups.get(number)
        if cgroup is None:
            cgroup = self._cgroups[number] = _Cgroup()
            if len(self._cgroups) > GROUPS_MAX:
                self._cgroups.popitem(last=False)
        return cgroup
