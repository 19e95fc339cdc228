"""Which files and programs are treated in a way of their own: the `[[mount.policy]]` tables of the configuration.

A rule has conditions, all of which must hold, and says what to do:

- `bypass`: reads leave the cache as it is. What is cached is served, for it is the same bytes, and does not count as
  used; all else comes from the source and is not kept.
- `no-prefetch`: what is read is kept, and nothing is fetched ahead.
- `cache`: as if there was no rule, which makes exceptions from those that follow; with a `share`, no more than that
  part of the cache is for it.
- `immutable`: the files never change: what was seen of them is believed for ever.

The last one says what files are, so it goes by the path alone. The others say what is done with an access, and of
those that match the first counts. Whom `bypass` and `no-prefetch` are for, the predictor does not hear of: a backup
that reads everything once teaches it nothing that would help anybody.

Patterns of paths and cgroups know `*` and `?` within a name, `[...]`, and `**` across names. One that names a directory
(or a cgroup) is for all in it; one without a slash is for a name at any depth. Paths are relative to the source.

Pure. Matching costs some microseconds a rule, so it is done once a process and once an open file, not once a read.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

CONDITIONS = ("cgroup", "uid", "command", "path")

COMMAND_BYTES_MAX = 15
"""What the kernel keeps of a command's name (TASK_COMM_LEN in proc_pid_comm(5))."""

_TOKEN = re.compile(r"\*\*/|/\*\*$|\*\*|\*|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)


class Do(StrEnum):
    """What a rule says; see the module's head."""

    CACHE = "cache"
    BYPASS = "bypass"
    NO_PREFETCH = "no-prefetch"
    IMMUTABLE = "immutable"


OF_ACCESSES: tuple[Do, ...] = (Do.CACHE, Do.BYPASS, Do.NO_PREFETCH)
"""What is said of an access, and not of a file."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions and what to do where they hold. An empty condition always holds; of several values one has to."""

    do: Do = Do.CACHE
    share: float | None = None  # of the cache, up to 1
    cgroup: tuple[str, ...] = ()  # patterns
    uid: tuple[int, ...] = ()
    command: tuple[str, ...] = ()  # patterns of the command's name
    path: tuple[str, ...] = ()  # patterns

    @property
    def is_by_path_alone(self) -> bool:
        return not (self.cgroup or self.uid or self.command)


@dataclass(frozen=True, slots=True)
class Process:
    """What rules ask of a process. `cgroups` are several in the first version of control groups, one in the second."""

    cgroups: tuple[str, ...]
    uid: int
    command: str


@dataclass(slots=True)
class Tally:
    """A rule by its number, from 1 in the order of the configuration, and what was answered as it says."""

    number: int
    rule: Rule
    group: int = 0
    requests: int = 0
    read_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Treatment:
    """What is done with an access. `group` numbers the shares from 1; 0 is all that has none of its own.

    `tally` of the rule that says so, where one does. `program`: the process group that it is of, 0: unknown.
    """

    is_bypassing: bool = False
    is_prefetched: bool = True
    group: int = 0
    tally: Tally | None = field(default=None, compare=False, repr=False)
    program: int = 0


ORDINARY = Treatment()

Candidates = tuple[tuple[re.Pattern[str] | None, Treatment], ...]
"""The rules that a process meets, in their order, as far as the path is left to be asked; None: any path."""


class Rules:
    """All rules of a mount."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._immutable = [_any_of(rule.path) for rule in rules if rule.do is Do.IMMUTABLE]
        self._rules: list[tuple[Rule, re.Pattern[str] | None, Treatment]] = []
        self.tallies: list[Tally] = []
        """Of all rules, in their order."""
        shares: list[float] = []
        for number, rule in enumerate(rules, 1):
            if rule.share is not None:
                shares.append(rule.share)
            tally = Tally(number, rule, len(shares) if rule.share is not None else 0)
            self.tallies.append(tally)
            if rule.do is Do.IMMUTABLE:
                continue
            treatment = Treatment(
                is_bypassing=rule.do is Do.BYPASS, is_prefetched=rule.do is Do.CACHE, group=tally.group, tally=tally
            )
            self._rules.append((rule, _any_of(rule.path) if rule.path else None, treatment))
        self.shares = tuple(shares)
        """Of the cache, by group: the first is group 1."""
        self.sharers = tuple(tally.rule for tally in self.tallies if tally.group)
        """The rules of the groups."""
        self.by_path = self._candidates(lambda rule: rule.is_by_path_alone)
        """What is met whoever asks, as when a file is fetched ahead."""

    def __bool__(self) -> bool:
        return bool(self._rules)

    def met_by(self, process: Process) -> Candidates:
        """The rules whose conditions on processes hold."""
        return self._candidates(lambda rule: _is_met(rule, process))

    def is_immutable(self, path: Callable[[], str]) -> bool:
        """Whether a file, by its path relative to the source, never changes."""
        return bool(self._immutable) and any(each.fullmatch(path()) is not None for each in self._immutable)

    def about(self, path: str) -> list[Tally]:
        """The rules that hold for a path, for some process at least: those after one for everybody say nothing."""
        found: list[Tally] = []
        is_decided = False
        for tally in self.tallies:
            rule = tally.rule
            if rule.path and _any_of(rule.path).fullmatch(path) is None:
                continue
            if rule.do is Do.IMMUTABLE:
                found.append(tally)
            elif not is_decided:
                found.append(tally)
                is_decided = rule.is_by_path_alone
        return found

    def _candidates(self, is_met: Callable[[Rule], bool]) -> Candidates:
        found: list[tuple[re.Pattern[str] | None, Treatment]] = []
        for rule, pattern, treatment in self._rules:
            if is_met(rule):
                found.append((pattern, treatment))
                if pattern is None:
                    break
        return tuple(found)


def decide(candidates: Candidates, path: Callable[[], str]) -> Treatment:
    """What the first rule says that matches the path as well. `path` is asked only where it matters."""
    shown = None
    for pattern, treatment in candidates:
        if pattern is None:
            return treatment
        if shown is None:
            shown = path()
        if pattern.fullmatch(shown) is not None:
            return treatment
    return ORDINARY


def described(tally: Tally) -> dict[str, Any]:
    """A rule as JSON can hold it, as it stands in the configuration."""
    rule = tally.rule
    said = {name: getattr(rule, name) for name in ("share", *CONDITIONS)}
    return {"rule": tally.number, "do": rule.do.value} | {name: each for name, each in said.items() if each}


def translate(pattern: str) -> str:
    """The regular expression of a pattern, to be matched in full. Raises re.error where it makes none."""
    is_anchored = "/" in pattern.rstrip("/")
    parts = []
    for token in _TOKEN.findall(pattern.strip("/")):
        match token:
            case "**/":
                parts.append("(?:[^/]+/)*")
            case "/**":
                parts.append("/.+")
            case "**":
                parts.append(".*")
            case "*":
                parts.append("[^/]*")
            case "?":
                parts.append("[^/]")
            case _ if len(token) > 1:  # a set of characters
                parts.append("(?!/)[" + ("^" if token[1] == "!" else "") + _set(token) + "]")
            case _:
                parts.append(re.escape(token))
    expression = f"(?:{'' if is_anchored else '(?:.*/)?'}{''.join(parts)})(?:/.*)?"
    re.compile(expression)
    return expression


def _set(token: str) -> str:
    inside = token[2:-1] if token[1] == "!" else token[1:-1]
    return re.sub(r"([\\\[\]^&~|])", r"\\\1", inside)


def _is_met(rule: Rule, process: Process) -> bool:
    if rule.uid and process.uid not in rule.uid:
        return False
    if rule.command and not any(_command(each).fullmatch(process.command) for each in rule.command):
        return False
    if not rule.cgroup:
        return True
    pattern = _any_of(rule.cgroup)
    return any(pattern.fullmatch(cgroup.strip("/")) for cgroup in process.cgroups)


@lru_cache(256)
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)), re.DOTALL)


@lru_cache(256)
def _command(pattern: str) -> re.Pattern[str]:
    """A name without wildcards is cut as the kernel cuts it."""
    if not re.search(r"[*?\[]", pattern):
        return re.compile(re.escape(pattern.encode()[:COMMAND_BYTES_MAX].decode("utf-8", "replace")))
    return re.compile(translate(pattern).removesuffix("(?:/.*)?"), re.DOTALL)
