"""What was decided about files lately, and why: the answer to `llmfs explain`.

A few decisions a file, of a few thousand files: what was planned, fetched, used or evicted last. What is decided alike
of one block after the other is one decision, as of the last of them. Noting one takes microseconds, is done where a
fetch or an eviction takes far longer, and never again while a block is used: how often it was is the eviction policy's
own count. Plans are kept as they come, and looked through when somebody asks.

Pure: the time comes in with each call.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import islice
from typing import NamedTuple

from predictor.plan import PlanItem, Want

FILES_MAX = 8192
DECISIONS_MAX = 16
"""Of a file: the oldest go first. All of them together are 15 MB at most."""

PLANNED_MAX = 16_384
"""Items of the last plans, 4 MB."""


class What(StrEnum):
    PLANNED = "planned"  # the predictor expects a use
    FETCHED = "fetched"  # from the source
    USED = "used"  # for the first time since it was fetched ahead, in time
    LATE = "used late"  # likewise, and the program had to wait for a part of the fetch
    EVICTED = "evicted"


class Decision(NamedTuple):
    """One decision. Bytes [offset, offset + length); a length of 0 is none, or of a plan for data: to the end."""

    at_s: float  # wall clock
    what: What
    who: str  # the generator; empty: because a program asked for it
    want: str = ""  # PLANNED: attributes, listing or data
    offset: int = 0
    length: int = 0
    score: float = 0.0  # PLANNED: probability of use within `horizon` accesses. EVICTED: of reuse
    horizon: int = 0


class Decisions:
    """Remembers them by file: by path what was planned, by inode number what was done."""

    def __init__(self, files_max: int = FILES_MAX, planned_max: int = PLANNED_MAX) -> None:
        self._files_max = files_max
        self._files: OrderedDict[int, list[Decision]] = OrderedDict()
        self._planned_max = planned_max
        self._plans: deque[tuple[float, Sequence[PlanItem]]] = deque()
        self._planned = 0

    def __len__(self) -> int:
        return len(self._files)

    def planned(self, items: Sequence[PlanItem], at_s: float) -> None:
        """The predictor expects that these are used."""
        self._plans.append((at_s, items))
        self._planned += len(items)
        while self._planned > self._planned_max and len(self._plans) > 1:
            self._planned -= len(self._plans.popleft()[1])

    def fetched(self, inode_id: int, who: str, offset: int, length: int, at_s: float) -> None:
        """Bytes came from the source; `who` had them fetched ahead, or nobody: a program asked for them."""
        self._note(inode_id, Decision(at_s, What.FETCHED, who, "", offset, length))

    def used(self, inode_id: int, who: str, was_late: bool, at_s: float) -> None:
        """A program used for the first time what `who` had fetched ahead."""
        self._note(inode_id, Decision(at_s, What.LATE if was_late else What.USED, who))

    def evicted(self, inode_id: int, who: str, offset: int, length: int, score: float, at_s: float) -> None:
        """A block left the cache; `who` had fetched it ahead, for nobody used it, or it is empty."""
        self._note(inode_id, Decision(at_s, What.EVICTED, who, "", offset, length, score))

    def of(self, path: bytes, inode_id: int) -> list[Decision]:
        """Those about a file, the oldest first."""
        planned = [_planned(item, at_s) for at_s, items in self._plans for item in items if item.path == path]
        return sorted(planned[-DECISIONS_MAX:] + self._files.get(inode_id, []), key=lambda decision: decision.at_s)

    def done(self, inode_id: int) -> list[Decision]:
        """What was done about a file, the oldest first: without what was planned, which takes looking through plans."""
        return self._files.get(inode_id, [])

    def expected(self, count: int) -> list[tuple[bytes, Decision]]:
        """The paths that were planned last, the latest plan first."""
        latest = ((item, at_s) for at_s, items in reversed(self._plans) for item in items)
        return [(item.path, _planned(item, at_s)) for item, at_s in islice(latest, count)]

    def _note(self, file: int, decision: Decision) -> None:
        decisions = self._files.get(file)
        if decisions is None:
            decisions = self._files[file] = []
            if len(self._files) > self._files_max:
                self._files.popitem(last=False)
        else:
            self._files.move_to_end(file)
        if decisions and _goes_on(decisions[-1], decision):
            first = decisions.pop()
            decision = decision._replace(offset=first.offset, length=first.length + decision.length)
        decisions.append(decision)
        if len(decisions) > DECISIONS_MAX:
            del decisions[0]


def latest(plans: Iterable[tuple[bytes, Decision]], count: int) -> list[tuple[bytes, Decision]]:
    """Of plans, the latest first, the first `count`, one a path and kind: what is planned again says nothing new."""
    told: dict[tuple[bytes, str], Decision] = {}
    for path, plan in plans:
        if len(told) >= count:
            break
        told.setdefault((path, plan.want), plan)
    return [(path, plan) for (path, _), plan in told.items()]


def _planned(item: PlanItem, at_s: float) -> Decision:
    offset, length = (item.offset, item.length) if item.want is Want.DATA else (0, 0)
    want = item.want.name.lower()
    return Decision(at_s, What.PLANNED, item.generator, want, offset, length, item.score, item.horizon)


def _goes_on(last: Decision, decision: Decision) -> bool:
    """Whether it is the same of the bytes that follow: many blocks must not push out what was decided before."""
    is_alike = (decision.what, decision.who) == (last.what, last.who)
    return is_alike and decision.offset == last.offset + last.length
