"""`llmfs explain`: why a file is cached or not, what was planned of it, and what is expected of it next."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmfs import mounts
from llmfs.commands.answers import number, policy, rows, table
from llmfs.errors import UsageError, one_line
from llmfs.settings import format_size

if TYPE_CHECKING:
    from rich.text import Text

_OPERATIONS = {"getattr": "stat", "readdir": "list", "absent": "looked for, not there"}
"""What the trace calls an operation, in the words of a program's user."""

_TIERS = {"cache": "from the cache", "joined": "waited for a fetch under way", "source": "from the source"}


def explain(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file or directory in a mount.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="For programs: an object.")] = False,
) -> None:
    """Say why a file was fetched, kept or dropped, and what is expected of it next."""
    mount = mounts.above(path)
    if mount is None:
        raise UsageError(f"{one_line(path)} is in no mount of llmfs: llmfs status lists those there are")
    says = mounts.explain(path, mount)
    if as_json:
        print(json.dumps(says, indent=2))
        return
    from rich.console import Console

    Console(highlight=False, soft_wrap=True).print(render(path, says))


def render(path: str, says: Mapping[str, Any]) -> "Text":
    """A file's explanation for people. What the daemon did not say is left out; nothing is folded."""
    from rich.text import Text

    size = f", {format_size(number(says, 'size_bytes'))}" if says.get("kind") == "file" else ""
    shown = Text.assemble((one_line(path), "bold"), f"  {one_line(str(says.get('kind', '')))}{size}")
    lines = [("cached", _cached(table(says, "cache")) if says.get("kind") == "file" else "")]
    lines += [("", _run(run)) for run in rows(table(says, "cache"), "runs")]
    lines += [("keep", _keep(says) if says.get("kind") == "file" else ""), ("expected", _expected(says))]
    lines += [("" if at else "policies", policy(each)) for at, each in enumerate(rows(says, "policies"))]
    lines += _titled("decided", [_decided(each) for each in rows(says, "decisions")])
    lines += _titled("used", [_used(each) for each in rows(says, "accesses")])
    for label, text in lines:
        if text:
            shown.append(f"\n  {label:<10} ", "dim")
            shown.append(text)
    return shown


def _titled(title: str, texts: list[str]) -> list[tuple[str, str]]:
    if not texts:
        return [(title, "not lately")]
    return [("" if at else title, text) for at, text in enumerate(texts)]


def _cached(cache: Mapping[str, Any]) -> str:
    blocks = number(cache, "blocks")
    if not blocks:
        return "nothing: the file is empty"
    looked_at = number(cache, "looked_at")
    where = f" in its first {looked_at:,.0f}" if looked_at < blocks else ""
    size = format_size(number(cache, "cached_bytes"))
    return f"{number(cache, 'cached'):,.0f} of {blocks:,.0f} blocks{where} ({size})"


def _run(run: Mapping[str, Any]) -> str:
    uses = number(run, "uses")
    unused_of = run.get("unused_of")
    if unused_of:
        return f"{_range(run)}: fetched ahead ({one_line(str(unused_of))}), not used yet"
    return f"{_range(run)}: uses counted lately: {uses:,.0f}"


def _keep(says: Mapping[str, Any]) -> str:
    score = says.get("reuse_score")
    if not isinstance(score, int | float):
        return "the predictor has not said how likely it is used again"
    return f"{_likely(score)}: the least likely is evicted first"


def _likely(score: float) -> str:
    """A score of the predictor's (predictor/reuse.py)."""
    if score < 0:
        return "not to be used again until the rest of its data set was"
    if score > 1:
        return "expected soon, as it came next before"
    return f"{_percent(score)} likely to be used again"


def _expected(says: Mapping[str, Any]) -> str:
    expected = table(says, "expected")
    return f"yes, {_plan(expected)}, since {_ago(expected)}" if expected else "not now"


def _decided(decision: Mapping[str, Any]) -> str:
    by = one_line(str(decision.get("by") or ""))
    what = str(decision.get("what", ""))
    text = f"{_ago(decision):>10} ago  {one_line(what):<10}"
    match what:
        case "planned":
            return f"{text} {_plan(decision)}"
        case "fetched":
            return f"{text} {_range(decision)}, " + (f"ahead of use ({by})" if by else "a program asked for it")
        case "evicted":
            unused = f", never used ({by} had it fetched)" if by else ""
            return f"{text} {_range(decision)}, {_likely(number(decision, 'score'))}{unused}"
        case _:
            return f"{text} what {by} had fetched"


def _plan(plan: Mapping[str, Any]) -> str:
    want = one_line(str(plan.get("want", "")))
    if "offset" in plan:
        want += f" {_range(plan)}"
    score, horizon = _percent(number(plan, "score")), number(plan, "horizon")
    return f"{want}: {score} sure within {horizon:,.0f} accesses ({one_line(str(plan.get('by', '')))})"


def _used(access: Mapping[str, Any]) -> str:
    operation = str(access.get("operation", ""))
    text = f"{_ago(access):>10} ago  {one_line(_OPERATIONS.get(operation, operation)):<10}"
    if "offset" in access:
        text += f" {_range(access)},"
    if "command" in access:
        text += f" by {one_line(str(access['command']))} (pid {number(access, 'pid'):.0f}),"
    tier = _TIERS.get(str(access.get("tier")))
    if tier:
        text += f" {tier} in {number(access, 'latency_ms'):,.2f} ms"
    return text.rstrip(",")


def _range(part: Mapping[str, Any]) -> str:
    offset, length = number(part, "offset"), number(part, "length")
    return f"{format_size(offset)} to {format_size(offset + length) if length else 'its end'}"


def _ago(event: Mapping[str, Any]) -> str:
    seconds = max(0.0, number(event, "ago_s"))
    return (
        f"{seconds:.1f} s"
        if seconds < 60
        else f"{seconds / 60:.1f} min"
        if seconds < 3600
        else f"{seconds / 3600:.1f} h"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"
