"""Who acts: process groups and the cgroups that they are in.

A process group is what a shell starts as one job and what a program's children stay in; one thread of many, or one of
the processes that share an attack, says too little. Groups are told apart by their number and the start of their
leader, for numbers come again. A process of another PID namespace has no number here: all such are one group.
"""

import os
import time
from collections import OrderedDict

from llmfs.treatments import command_of
from predictor.guard.decisions import Level

PIDS_MAX = 4096
ACTORS_MAX = 2048
BELIEVED_S = 0.25
"""A process may come into another group, and its number to another process: looked at again after so long."""


class Cgroup:
    """A control group. Where nothing makes any, as in many a container, all that runs is in one."""

    __slots__ = ("id", "level", "path")

    def __init__(self, number: int, path: str) -> None:
        self.id = number
        self.path = path
        self.level = Level.QUIET


class Actor:
    """A process group."""

    __slots__ = ("cgroup", "command", "id", "level", "pgid", "program", "ref", "started", "uid")

    def __init__(self, number: int, pgid: int, started: str, cgroup: Cgroup, uid: int) -> None:
        self.id = number
        self.pgid = pgid
        self.started = started  # clock ticks since boot, of the leader; "" where that is gone
        self.ref = f"{pgid}-{started or number}"
        """What a person calls it by; unique for as long as the machine runs."""
        self.cgroup = cgroup
        self.uid = uid
        self.level = Level.QUIET  # what is done about it: bounded by the mount's mode
        self.command = ""
        self.program = ""  # the executable that last changed a file


class Actors:
    """Actors by process. All on the event loop."""

    def __init__(self) -> None:
        self._of_pid: OrderedDict[int, tuple[float, Actor]] = OrderedDict()
        self._of_group: OrderedDict[int, Actor] = OrderedDict()
        self._cgroups: dict[str, Cgroup] = {"": Cgroup(0, "")}  # of a process that is gone: not to be judged
        self._last = 0

    def of(self, pid: int) -> Actor:
        """The actor that a thread belongs to."""
        now_s = time.monotonic()
        known = self._of_pid.get(pid)
        if known is not None and now_s < known[0]:
            return known[1]
        actor = self._find(pid)
        self._of_pid[pid] = (now_s + BELIEVED_S, actor)
        if len(self._of_pid) > PIDS_MAX:
            self._of_pid.popitem(last=False)
        actor.program = _program(pid) or actor.program
        return actor

    def by_id(self, number: int) -> Actor | None:
        return next((actor for actor in self._of_group.values() if actor.id == number), None)

    def cgroup(self, number: int) -> Cgroup | None:
        return next((cgroup for cgroup in self._cgroups.values() if cgroup.id == number), None)

    def _find(self, pid: int) -> Actor:
        try:
            pgid = os.getpgid(pid) if pid else 0
        except ProcessLookupError:
            pgid = pid
        started = _started(pgid)
        actor = self._of_group.get(pgid)
        # A group outlives its leader, and keeps its number for as long.
        if actor is None or (started and started != actor.started):
            self._last += 1
            actor = Actor(self._last, pgid, started, self._cgroup(pid), _uid(pid))
            actor.command = command_of(pgid) or command_of(pid)
            self._of_group[pgid] = actor
            if len(self._of_group) > ACTORS_MAX:
                self._forget()
        return actor

    def _forget(self) -> None:
        """The oldest that nothing is done about."""
        for pgid, actor in self._of_group.items():
            if actor.level is Level.QUIET:
                del self._of_group[pgid]
                return
        self._of_group.popitem(last=False)

    def _cgroup(self, pid: int) -> Cgroup:
        path = _cgroup_path(pid)
        cgroup = self._cgroups.get(path)
        if cgroup is None:
            if len(self._cgroups) >= ACTORS_MAX:
                self._cgroups = {name: each for name, each in self._cgroups.items() if each.level or not name}
            self._last += 1
            cgroup = self._cgroups[path] = Cgroup(self._last, path)
        return cgroup


def _started(pid: int) -> str:
    """When a process started, as /proc tells it; "" where there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rsplit(b") ", 1)[1].split()[19].decode()
    except (OSError, IndexError):
        return ""


def _program(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def _uid(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return -1


def _cgroup_path(pid: int) -> str:
    """The unified hierarchy's path of a process; "" where it is gone."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as table:
            return next((line[3:].rstrip("\n") for line in table if line.startswith("0::")), "")
    except OSError:
        return ""
