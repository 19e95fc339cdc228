"""What was predicted lately, and what came of it. Pure."""

from collections.abc import Callable, Sequence
from typing import Any

from llmfs.decisions import Decision, What, latest

SHOWN_MAX = 14

_OUTCOMES = {What.USED: "in time", What.LATE: "late", What.EVICTED: "unused", What.FETCHED: "ready"}


def stream(
    plans: Sequence[tuple[bytes, Decision]],
    decisions_of: Callable[[bytes], Sequence[Decision]],
    used_at_s: Callable[[bytes], float],
    now_s: float,
) -> list[dict[str, Any]]:
    """The latest predictions first, one a path and kind, as JSON can hold them.

    `decisions_of` a path: what was done about the file; `used_at_s`: when a program used it last, 0 for never.
    """
    return [
        {
            "path": path.decode("utf-8", "backslashreplace"),
            "want": plan.want,
            "by": plan.who,
            "score": round(plan.score, 3),
            "ago_s": round(now_s - plan.at_s, 1),
            "outcome": _outcome(plan, decisions_of(path), used_at_s(path)),
        }
        for path, plan in latest(plans, SHOWN_MAX)
    ]


def _outcome(plan: Decision, decisions: Sequence[Decision], used_at_s: float) -> str:
    """Data is followed block by block; of names and attributes it is only known that somebody came for them."""
    since = [each for each in decisions if each.at_s >= plan.at_s and each.what in _OUTCOMES]
    if plan.want == "data" and since and since[-1].what in (What.USED, What.LATE):
        return _OUTCOMES[since[-1].what]
    if used_at_s >= plan.at_s:
        return "came"
    return _OUTCOMES[since[-1].what] if plan.want == "data" and since else "expected"
