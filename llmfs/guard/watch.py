"""The guard of a mount: tells the core what is done, acts on what it finds, and answers a person's questions.

Modes bound what is done about a finding: `watch` tells (log, metric, hook), `throttle` also delays the group's changes,
`protect` also refuses them with EROFS. Reads are never held up. What is done is kept with the actor (`actors.py`), so
that a write of anybody else costs one comparison.

It runs on the event loop and waits for nothing. Whoever calls it passes over what it raises (`operations.py`): a fault
is counted and logged once, and after `FAULTS_MAX` the guard stays out of the way.
"""

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from llmfs.config import GuardMode
from llmfs.guard.actors import Actor, Actors, Cgroup
from llmfs.guard.allowed import Allowed
from llmfs.guard.hook import Hook
from llmfs.guard.undo import Entry, Undo
from llmfs.inodes import Inode
from llmfs.metrics import Metrics
from predictor.guard.decisions import Level
from predictor.guard.engine import Finding, GuardEngine, Scorer
from predictor.guard.events import Event, Kind
from predictor.guard.looks import SAMPLE_BYTES, SAMPLE_BYTES_MIN, Look, look

log = logging.getLogger(__name__)

FAULTS_MAX = 100
HIGHEST = {
    GuardMode.OFF: Level.QUIET,
    GuardMode.WATCH: Level.ALERTED,
    GuardMode.THROTTLE: Level.THROTTLED,
    GuardMode.PROTECT: Level.DENIED,
}

OPENED_MAX = 256
"""Files opened by a group that has changed nothing since: the core hears of them when it does."""

RUNS_EACH = 8
"""Runs of writes of a handle of which each is looked at; then one in `RUNS_EACH`: a database writes here and there."""

SAMPLE_AFTER_BYTES = (1 << 20, 4 << 20)
"""A long run in a file that was there is looked at again after so many bytes: the first time, and each time after;"""

SAMPLE_NEW_AFTER_BYTES = (1 << 20, 32 << 20)
"""and one in a new file, of which less is to be feared."""

JUDGED_BYTES = 1024
"""Small writes that follow each other are judged together, once they are so many bytes or the handle is closed."""

FINDINGS_MAX = 200


class Writing:
    """What is seen of one handle's writes."""

    __slots__ = (
        "actor",
        "inode",
        "is_new",
        "next_offset",
        "offset",
        "old",
        "pending",
        "runs",
        "sample_at",
        "told_bytes",
        "written",
    )

    def __init__(self, actor: Actor, inode: Inode, is_new: bool) -> None:
        self.actor = actor
        self.inode = inode
        self.is_new = is_new
        self.next_offset = -1
        self.written = 0
        self.sample_at = 0
        self.told_bytes = 0  # how large the file was when its content was last told of
        self.runs = 0
        self.pending: bytearray | None = None  # the beginning of a run
        self.offset = 0  # where it began
        self.old: Look | None = None  # what was there


class Found(NamedTuple):
    """A finding, for a person."""

    time_s: float
    ref: str
    finding: Finding
    command: str
    program: str
    uid: int


class Guard:
    """The guard of one mount."""

    def __init__(
        self,
        mode: GuardMode,
        directory: Path,
        scorer: Scorer | None,
        undo: Undo | None,
        hook: Hook | None,
        metrics: Metrics,
        observe: Callable[[Event], None] | None = None,
    ) -> None:
        """`observe` is told every event, for recordings."""
        self.undo = undo
        self.actors = Actors()
        self.engine = GuardEngine(scorer)
        self.metrics = metrics
        self._allowed = Allowed(directory)
        self._hook = hook
        self._mode = mode
        self._highest = HIGHEST[mode]
        self._observe = observe
        self._opened: OrderedDict[int, deque[Event]] = OrderedDict()
        self._found: OrderedDict[str, Found] = OrderedDict()
        self._faults = 0

    @property
    def is_down(self) -> bool:
        return self._faults >= FAULTS_MAX

    def fault(self) -> None:
        """Something raised, and is being passed over."""
        self.metrics.faults["guard"].inc()
        self._faults += 1
        if self._faults == 1:
            log.exception("the guard failed, and is passed over")
        elif self._faults == FAULTS_MAX:
            log.error("the guard failed %d times: it is off until the next mount", self._faults)

    # --- what is done

    def opened(self, actor: Actor, inode: Inode, name: bytes, directory: int) -> None:
        """A file was opened for reading."""
        waiting = self._opened.get(actor.id)
        if waiting is None:
            waiting = self._opened[actor.id] = deque(maxlen=OPENED_MAX)
            if len(self._opened) > OPENED_MAX:
                self._opened.popitem(last=False)
        kind = Kind.LIST if inode.attributes.is_directory else Kind.OPEN
        waiting.append(Event(time.time(), kind, actor.id, actor.cgroup.id, inode.id, directory, name))

    def did(
        self,
        kind: Kind,
        actor: Actor,
        file: int,
        directory: int,
        name: bytes,
        size_bytes: int = 0,
        new: Look | None = None,
        old: Look | None = None,
        new_directory: int = 0,
        new_name: bytes = b"",
        victim: int = 0,
        victim_size_bytes: int = 0,
    ) -> None:
        """A change is being made or was: `predictor.guard.events`."""
        for event in self._opened.pop(actor.id, ()):
            self._tell(event)
        event = Event(
            time.time(), kind, actor.id, actor.cgroup.id, file, directory, name, size_bytes, new, old, new_directory,
            new_name, victim, victim_size_bytes,
        )  # fmt: skip
        self._tell(event)

    def wrote(self, writing: Writing, offset: int, data: bytes, peek: Callable[[Inode, int, int], Any]) -> None:
        """A write is about to be made. `peek(inode, offset, length)`: the bytes there, if they are at hand."""
        if writing.pending is not None and offset == writing.next_offset:
            writing.pending += data[: SAMPLE_BYTES - len(writing.pending)]
        elif offset != writing.next_offset or writing.written >= writing.sample_at:
            self._begin_run(writing, offset, data, peek)
        writing.next_offset = offset + len(data)
        writing.written += len(data)
        if writing.pending is not None and len(writing.pending) >= JUDGED_BYTES:
            self._judge_run(writing)

    def _begin_run(self, writing: Writing, offset: int, data: bytes, peek: Callable[[Inode, int, int], Any]) -> None:
        self.closing(writing)
        after_bytes = SAMPLE_NEW_AFTER_BYTES if writing.is_new else SAMPLE_AFTER_BYTES
        writing.sample_at = writing.written + after_bytes[writing.written > 0]
        writing.runs += 1
        if writing.runs > RUNS_EACH and writing.runs % RUNS_EACH:
            return
        if not writing.is_new:
            before = peek(writing.inode, offset, SAMPLE_BYTES)
            writing.old = look(before, is_head=not offset) if before else writing.old
        writing.pending = bytearray(data[:SAMPLE_BYTES])
        writing.offset = offset

    def closing(self, writing: Writing) -> None:
        """A run ends: what is left of it is judged as it is."""
        if writing.pending is not None and len(writing.pending) >= SAMPLE_BYTES_MIN:
            self._judge_run(writing)
        writing.pending = None

    def closed(self, writing: Writing) -> None:
        """A handle is closed. How large a new file of ciphertext became is told, to be held against what is lost."""
        self.closing(writing)
        inode = writing.inode
        size_bytes = max(inode.size, writing.next_offset)
        if writing.is_new and writing.told_bytes not in (0, size_bytes) and self.engine.files.has_ciphertext(inode.id):
            self.did(Kind.WRITE, writing.actor, inode.id, *place(inode), size_bytes)

    def _judge_run(self, writing: Writing) -> None:
        assert writing.pending is not None
        inode, sample = writing.inode, writing.pending
        writing.pending = None
        directory, name = place(inode)
        size_bytes = max(inode.size, writing.next_offset)
        writing.told_bytes = size_bytes
        new = look(sample, is_head=not writing.offset)
        self.did(Kind.WRITE, writing.actor, inode.id, directory, name, size_bytes, new, writing.old)

    def _tell(self, event: Event) -> None:
        if self._observe is not None:
            self._observe(event)
        for finding in self.engine.observe(event):
            self._act(finding)

    # --- what is done about it

    def _act(self, finding: Finding) -> None:
        who: Actor | Cgroup | None
        who = self.actors.cgroup(finding.id) if finding.is_cgroup else self.actors.by_id(finding.id)
        if who is None:
            return
        if self._is_allowed(who):
            self.engine.forgive(finding.is_cgroup, finding.id)
            return
        level = min(finding.level, self._highest)
        who.level = max(who.level, level)
        found = _found(who, finding)
        self._found[found.ref] = found
        if len(self._found) > FINDINGS_MAX:
            self._found.popitem(last=False)
        if self.undo is not None:
            for ref in self._refs(who):
                self.undo.suspect(ref)
        self.metrics.guard_findings[level.name.lower()].inc()
        log.warning(
            "%s (%s, uid %d) is %s: %d files in %d directories may have been encrypted (score %s); llmfs guard list",
            found.ref, found.command or "?", found.uid, level.name.lower(), finding.files, finding.directories,
            "none" if finding.score is None else f"{finding.score:.3f}",
        )  # fmt: skip
        if self._hook is not None:
            self._hook.run(
                {
                    "id": found.ref, "level": level.name.lower(), "command": found.command, "program": found.program,
                    "uid": str(found.uid), "files": str(finding.files), "directories": str(finding.directories),
                }
            )  # fmt: skip

    def _refs(self, who: Actor | Cgroup) -> list[str]:
        if isinstance(who, Actor):
            return [who.ref]
        assert self.undo is not None
        return list({entry.ref for _, entry in self.undo.of(lambda entry: entry.cgroup == who.path)})

    # --- what a person asks

    async def list(self, request: Mapping[str, Any], figures: dict[str, Any], _: object) -> None:
        """Who was found, and what is kept of whom."""
        rows: dict[str, dict[str, Any]] = {}
        for found in self._found.values():
            who = self._who(found)
            rows[found.ref] = {
                "id": found.ref,
                "level": self._standing(who),
                "command": found.command,
                "program": found.program,
                "uid": found.uid,
                "since_s": found.time_s,
                "score": found.finding.score,
                "files": found.finding.files,
                "directories": found.finding.directories,
                "kept": 0,
                "kept_bytes": 0,
            }
        for number, entry in self.undo.of(lambda _: True) if self.undo is not None else []:
            refs = [entry.ref] if entry.ref in rows else []
            refs += [ref for ref in (_cgroup_ref(entry.cgroup),) if ref in rows]
            for ref in refs or [entry.ref]:
                row = rows.setdefault(
                    ref, {"id": ref, "level": "quiet", "command": entry.command, "kept": 0, "kept_bytes": 0}
                )
                row["kept"] += 1
                row["kept_bytes"] += self.undo.disk_bytes(number) if self.undo is not None else 0
        figures["rows"] = list(rows.values())

    async def allow(self, request: Mapping[str, Any], figures: dict[str, Any], _: object) -> None:
        """A person says that it may, now and after remounts; `once`: that what was found so far is settled. Raises
        ValueError, OSError."""
        found = self._found.get(str(request.get("id")))
        who = self._who(found) if found is not None else None
        if found is None or who is None:
            raise ValueError("no such group was found since the mount: see llmfs guard list")
        if request.get("once") is True:
            self.engine.pardon(found.finding.is_cgroup, found.finding.id)
            who.level = Level.QUIET
            figures["allowed"] = f"{found.ref}, until it is found again"
            log.info("%s may go on, a person says", found.ref)
            return
        if isinstance(who, Actor):
            who.program = found.program
        figures["allowed"] = self._allowed.allow(who)
        self.engine.forgive(found.finding.is_cgroup, found.finding.id)
        who.level = Level.QUIET
        log.info("%s is allowed by a person: %s", found.ref, figures["allowed"])

    def described(self) -> dict[str, Any]:
        """For `llmfs status`: the mode, and how many are at which level now."""
        standings = [self._standing(self._who(found)) for found in self._found.values()]
        return {
            "mode": self._mode.value,
            "is_down": self.is_down,
            **{level.name.lower(): standings.count(level.name.lower()) for level in Level if level},
        }

    def _standing(self, who: Actor | Cgroup | None) -> str:
        """What a person is told of it: its level, or that it is allowed."""
        if who is None:
            return Level.QUIET.name.lower()
        return "allowed" if self._is_allowed(who) else who.level.name.lower()

    def _is_allowed(self, who: Actor | Cgroup) -> bool:
        return self._allowed.has_cgroup(who) if isinstance(who, Cgroup) else self._allowed.has(who)

    def wanted(self, ref: str) -> Callable[[Entry], bool]:
        """The entries that belong to what a person names."""
        return lambda entry: entry.ref == ref or _cgroup_ref(entry.cgroup) == ref

    def _who(self, found: Found) -> Actor | Cgroup | None:
        if found.finding.is_cgroup:
            return self.actors.cgroup(found.finding.id)
        return self.actors.by_id(found.finding.id)


def place(inode: Inode) -> tuple[int, bytes]:
    """The directory and name that an inode was last seen under."""
    return (inode.place[0].id, inode.place[1]) if inode.place is not None else (0, b"")


def _found(who: Actor | Cgroup, finding: Finding) -> Found:
    if isinstance(who, Cgroup):
        return Found(time.time(), _cgroup_ref(who.path), finding, "", "", -1)
    return Found(time.time(), who.ref, finding, who.command, who.program, who.uid)


def _cgroup_ref(path: str) -> str:
    return f"cgroup:{path}"
