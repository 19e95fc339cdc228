"""From evidence to a level: quiet, alerted, throttled, denied.

*Invariant*: nobody is denied without a content signal (files that became what may be their ciphertext) and breadth
(several of them, over directories or types). A score, and so any surprise, can at most alert without the former.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

from predictor.guard.files import Conversion

EVIDENCE_LIVES_S = 24 * 3600.0
"""Conversions are so rare otherwise that a day of them is held against a group: slowness does not help."""

CGROUP_EVIDENCE_LIVES_S = 3600.0
"""A cgroup may be all that a person runs in a session, who may encrypt a file now and then."""

EVIDENCE_MAX = 256

NARROW_MIN = 6
"""Conversions that count as broad where all are of one type in one directory."""

SCORE_ALERT = 0.98
SCORE_DENY = 0.9


class Level(IntEnum):
    """What is done about a group."""

    QUIET = 0
    ALERTED = 1
    THROTTLED = 2
    DENIED = 3


class Least(NamedTuple):
    """Conversions that denying takes: where the classifier is confident, and without it."""

    confident: int
    alone: int


OF_GROUP = Least(3, 5)
"""Encrypting by hand, file by file, is a person's right: two or four within a day."""

OF_CGROUP = Least(7, 8)
"""More, for it holds what has nothing to do with each other; and a score of what many programs did in turn says nothing
of any: with it two of ten sessions of everyday commands were denied, without it none (MODEL_CARD.md)."""

SPLIT_MIN = 3
"""Groups that a cgroup's conversions come from, or it is these groups' matter."""


class Evidence:
    """The conversions that a group, or a cgroup, had a hand in."""

    __slots__ = ("_found", "_lives_s")

    def __init__(self, lives_s: float = EVIDENCE_LIVES_S) -> None:
        self._lives_s = lives_s
        self._found: OrderedDict[int, tuple[float, Conversion]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Conversion]:
        return iter([conversion for _, conversion in self._found.values()])

    def add(self, time_s: float, conversion: Conversion) -> None:
        """Take in a conversion, and forget those that are too old or too many."""
        self._found[conversion.file] = (time_s, conversion)
        while len(self._found) > EVIDENCE_MAX or time_s - next(iter(self._found.values()))[0] > self._lives_s:
            self._found.popitem(last=False)

    def drop(self, file: int) -> bool:
        """Forget what was found of a file; whether anything was."""
        return self._found.pop(file, None) is not None

    def clear(self) -> None:
        """Forget them all."""
        self._found.clear()


def counts_of(conversions: Iterable[Conversion]) -> tuple[int, int, int]:
    """Files, their directories, their types."""
    found = list(conversions)
    return len(found), len({each.directory for each in found}), len({each.extension for each in found})


def level(
    counts: tuple[int, int, int], score: float | None, least: Least = OF_GROUP, is_suspicious: bool = False
) -> Level:
    """The level that conversions (files, directories, types) and the classifier's score, if there is one, ask for.

    `is_suspicious`: it is to be told of for another reason.
    """
    files, directories, types = counts
    is_broad = directories >= 2 or types >= 2 or files >= NARROW_MIN
    is_confident = score is not None and score >= SCORE_DENY
    if is_broad and files >= (least.confident if is_confident else least.alone):
        return Level.DENIED
    if files >= (least.confident - 1 if is_confident else least.confident):
        return Level.THROTTLED
    if files >= least.confident - 1 or is_suspicious:
        return Level.ALERTED
    return Level.QUIET
