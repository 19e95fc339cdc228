"""Applies the rules of `policy/rules.py` to what happens in a mount: asks /proc who a process is, and remembers it.

A process is asked about once in a while, not once a request: a stream (a process and its command) keeps its answer for
`BELIEVED_S`. An open file keeps what was decided when it was opened, whoever reads it later. What a file is treated as
when it is fetched ahead stands in its inode: as its path says, or as who opened it last and is prefetched for, who may
be an exception.

Where there are no rules, none of this costs more than looking whether there are any.

Programs that compete for the cache are told apart by their process groups (`policy/partition.py`): what a shell starts
as one job, with all that it starts in turn. Those of one control group are not taken together.
"""

import dataclasses
import os
import time
from collections.abc import Callable, Sequence

from llmfs.inodes import Inode, path_below
from llmfs.policy.rules import ORDINARY, Candidates, Process, Rule, Rules, Treatment, decide

BELIEVED_S = 10.0
"""How long a process counts as of the control group and user that it was of."""

STREAMS_MAX = 4096
PROGRAMS_MAX = 1024


class Treatments:
    """What is done with accesses, by who makes them and to what."""

    def __init__(
        self,
        rules: Sequence[Rule],
        process_of: Callable[[int], tuple[int, str] | None],
        now_s: Callable[[], float] = time.monotonic,
        tells_programs: bool = True,
    ) -> None:
        """`process_of` a stream: thread-group id and command (recorder.py). `tells_programs`: apart (`by_program`)."""
        self._tells_programs = tells_programs
        self._process_of = process_of
        self._now_s = now_s
        self._of_program: dict[tuple[int, Treatment], Treatment] = {}
        self.take(rules)

    def take(self, rules: Sequence[Rule]) -> None:
        """Go by these rules from now on. What is open already stays as it is."""
        self.rules = Rules(rules)
        self._known: dict[tuple[int, int], tuple[float, Candidates]] = {}
        self._of_program.clear()

    def of(self, stream: int, pid: int, uid: int, path: Callable[[], str]) -> Treatment:
        """What is done with an access of a process to a path relative to the source."""
        return decide(self._met_by(stream, pid, uid), path) if self.rules else ORDINARY

    def by_program(self, treatment: Treatment, pid: int) -> Treatment:
        """The same, of the programs that the process belongs to."""
        if not self._tells_programs:
            return treatment
        try:
            program = os.getpgid(pid) if pid > 0 else 0
        except OSError:
            return treatment
        known = self._of_program.get((program, treatment))
        if known is None:
            if len(self._of_program) >= PROGRAMS_MAX:
                self._of_program.clear()
            known = dataclasses.replace(treatment, program=program)
            self._of_program[program, treatment] = known
        return known

    def judge(self, inode: Inode) -> None:
        """Note in an inode what it is treated as whoever asks, until somebody opens it who may be prefetched for."""
        if self.rules.by_path:
            inode.treatment = decide(self.rules.by_path, lambda: shown_path(inode))
        elif inode.treatment is not ORDINARY:
            inode.treatment = ORDINARY
        inode.is_immutable = self.rules.is_immutable(lambda: shown_path(inode))

    def _met_by(self, stream: int, pid: int, uid: int) -> Candidates:
        now_s = self._now_s()
        known = self._known.get((stream, uid))
        if known is not None and now_s - known[0] < BELIEVED_S:
            return known[1]
        process = self._process_of(stream)
        met = self.rules.met_by(Process(cgroups_of(pid), uid, process[1] if process is not None else ""))
        if len(self._known) >= STREAMS_MAX:
            self._known.clear()
        self._known[stream, uid] = (now_s, met)
        return met


def shown_path(inode: Inode, name: bytes | None = None) -> str:
    """The path relative to the source of an inode, or of a name in it, as patterns are held against."""
    path = path_below(inode)
    if name is not None:
        path = path + b"/" + name if path else name
    return os.fsdecode(path)


def command_of(pid: int) -> str:
    """The command's name of a process; "" where it is gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def cgroups_of(pid: int) -> tuple[str, ...]:
    """The control groups of a process, as cgroups(7) has them in /proc; none where it cannot be told."""
    if pid <= 0:
        return ()
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return ()
    return tuple(path for line in lines if (path := line.split(":", 2)[-1]).startswith("/"))
