"""`llmfs top`: what goes on in the mounts, live: who answers, how fast, which files and programs, what is expected."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmfs import control, mounts
from llmfs.commands.answers import number, rows, table
from llmfs.commands.completion import mountpoints
from llmfs.commands.status import describe, format_duration, waiting
from llmfs.errors import LlmfsError, UsageError, one_line, show
from llmfs.settings import format_size

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

ROWS = 8
"""Files, programs and predictions of each mount."""

_TIERS = {"cache": "cache", "joined": "in flight", "source": "source"}


@dataclass(frozen=True, slots=True)
class Sample:
    """What a mount said at one time, and what went on in it in the seconds before."""

    at_s: float
    health: mounts.Health
    activity: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""  # why there is no activity


def top(
    mountpoint: Annotated[
        str | None, typer.Argument(metavar="MOUNTPOINT", show_default=False, autocompletion=mountpoints)
    ] = None,
    interval: Annotated[
        float, typer.Option("--interval", "-d", metavar="SECONDS", min=0.1, max=3600, help="Between two looks.")
    ] = 2.0,
    count: Annotated[
        int | None,
        typer.Option("--count", "-n", metavar="N", min=1, help="Looks (default: until interrupted)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one look, a list of mounts.")] = False,
) -> None:
    """Show what goes on in the mounts, live; without a terminal, one look after the other."""
    before = samples(mountpoint, interval)
    if as_json:
        time.sleep(interval)
        found = samples(mountpoint, interval)
        print(json.dumps([_described(old, new) for old, new in pairs(before, found)], indent=2))
        return
    from rich.console import Console

    console = Console(highlight=False)
    looks = range(count) if count is not None else iter(int, 1)
    try:
        if not console.is_terminal:
            for _ in looks:
                time.sleep(interval)
                before, old = samples(mountpoint, interval), before
                console.print(render(pairs(old, before)))
                sys.stdout.flush()
            return
        from rich.live import Live

        first = render(pairs(before, before), console.height)
        with Live(first, console=console, screen=count is None, auto_refresh=False) as live:
            for _ in looks:
                time.sleep(interval)
                before, old = samples(mountpoint, interval), before
                live.update(render(pairs(old, before), console.height), refresh=True)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None  # the usual way to leave it


def samples(mountpoint: str | None, seconds: float) -> list[Sample]:
    """Raises UsageError where there is no such mount."""
    if mountpoint is None:
        found = mounts.find()
    elif (mount := mounts.at(mountpoint)) is not None:
        found = [mount]
    else:
        raise UsageError(f"there is no mount of llmfs at {one_line(mountpoint)}: llmfs status lists those there are")
    taken = []
    for mount in found:
        health = mounts.ask(mount)
        now_s = time.monotonic()
        if health.state is not mounts.State.LIVE:
            taken.append(Sample(now_s, health))
            continue
        try:
            with control.connected(mount) as daemon:
                taken.append(Sample(now_s, health, daemon.ask({"do": "activity", "seconds": seconds})))
        except LlmfsError as error:
            taken.append(Sample(now_s, health, note=str(error)))
    return taken


def pairs(before: Sequence[Sample], now: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    """Each mount's sample with its last one; a new mount's with itself."""
    known = {(each.health.mount, each.health.says.get("pid")): each for each in before}
    return [(known.get((each.health.mount, each.health.says.get("pid")), each), each) for each in now]


def _described(old: Sample, new: Sample) -> dict[str, Any]:
    activity = {key: value for key, value in new.activity.items() if key != "is_done"}
    return {**describe(new.health), "rates": _rates(old, new), "activity": activity or None}


def _rates(old: Sample, new: Sample) -> dict[str, float]:
    """A second, by what is counted."""
    seconds = new.at_s - old.at_s

    def rate(*keys: str) -> float:
        return (_value(new, *keys) - _value(old, *keys)) / seconds if seconds > 0 else 0.0

    tiers = table(new.health.says, "reads")
    return {
        **{f"reads_{tier}": round(rate("reads", tier), 3) for tier in sorted(tiers)},
        **{f"bytes_{tier}": round(rate("read_bytes", tier), 3) for tier in sorted(tiers)},
        "prefetched_bytes": round(rate("prefetch", "issued_bytes"), 3),
        "source_requests": round(rate("source_calls", "requests"), 3),
    }


def _value(sample: Sample, *keys: str) -> float:
    return number(table(sample.health.says, keys[0]), keys[1])


def render(pairs: Sequence[tuple[Sample, Sample]], lines_max: int | None = None) -> "RenderableType":
    """All mounts for people. So that they fit in `lines_max`, each is shortened: fewer rows, no tables, one line."""
    from rich.console import Group
    from rich.text import Text

    if not pairs:
        return Text("no mount of llmfs on this machine")
    if lines_max is None:
        return Group(*_parts(pairs, ROWS))
    for rows_max in range(ROWS, -2, -1):
        parts = _parts(pairs, rows_max)
        if sum(map(_height, parts)) <= lines_max:
            break
    for part in parts:
        if isinstance(part, Text):
            part.no_wrap, part.overflow = True, "ellipsis"
    return Group(*parts)


def _parts(pairs: Sequence[tuple[Sample, Sample]], rows_max: int) -> "list[Table | Text]":
    """With 0 rows a mount is its head and its tiers, with fewer its head alone."""
    from rich.text import Text

    parts: list[Table | Text] = []
    for old, new in pairs:
        parts += [_head(new), *(_body(old, new, rows_max) if rows_max >= 0 else [])]
        parts += [Text()] if rows_max >= 0 else []
    return parts[:-1] if rows_max >= 0 else parts


def _height(part: "Table | Text") -> int:
    """In lines, where nothing is folded."""
    from rich.text import Text

    return part.plain.count("\n") + 1 if isinstance(part, Text) else 1 + part.row_count


def _head(new: Sample) -> "Text":
    from rich.text import Text

    says = new.health.says
    facts = [new.health.state.value]
    if new.health.state is mounts.State.LIVE:
        facts = [f"up {format_duration(number(says, 'uptime_s'))}", f"predictor {says.get('predictor_state', '?')}"]
        used, limit = (number(table(says, "cache"), key) for key in ("used_bytes", "limit_bytes"))
        facts.append(f"cache {format_size(used)} of {format_size(limit)}")
    shown = Text.assemble(
        (show(new.health.mount.mountpoint), "bold"),
        f" over {one_line(str(says.get('source', new.health.mount.source)))}\n",
        (one_line(", ".join(facts)), "dim" if new.health.state is mounts.State.LIVE else "red"),
    )
    if waited := waiting(table(says, "waiting")):
        shown.append(f"\nwaited {waited}", "dim")
    return shown


def _body(old: Sample, new: Sample, rows_max: int) -> "list[Table | Text]":
    from rich.text import Text

    if new.health.state is not mounts.State.LIVE:
        return []
    parts: list[Table | Text] = [_tiers(_rates(old, new))]
    if new.note:
        return [*parts, Text(one_line(new.note), "dim")]
    if not rows_max:
        return parts
    files, programs, expected = (rows(new.activity, key)[:rows_max] for key in ("files", "programs", "expected"))
    parts.append(_busy("files", files, lambda row: one_line(str(row.get("path") or "."))))
    parts.append(
        _busy("programs", programs, lambda row: f"{one_line(str(row.get('command')))} (pid {number(row, 'pid'):.0f})")
    )
    if expected:
        parts.append(_expected(expected))
    return parts


def _tiers(rates: Mapping[str, float]) -> "Table":
    lines = []
    total = sum(rate for key, rate in rates.items() if key.startswith("reads_"))
    for key, name in _TIERS.items():
        if f"reads_{key}" in rates:
            reads = rates[f"reads_{key}"]
            bar = "█" * round(20 * reads / total) if total > 0 else ""
            lines.append((name, f"{reads:,.1f}", format_size(rates[f"bytes_{key}"]), bar))
    lines.append(("prefetched", "", format_size(rates["prefetched_bytes"]), ""))
    lines.append(("source requests", f"{rates['source_requests']:,.1f}", "", ""))
    return _table(("tier", "reads/s", "bytes/s", ""), lines)


def _busy(title: str, found: Sequence[Mapping[str, Any]], name: Callable[[Mapping[str, Any]], str]) -> "Table":
    lines = []
    for row in found:
        reads = number(row, "reads")
        share = f"{100 * number(row, 'hits') / reads:.0f}%" if reads else ""
        waited = f"{number(row, 'waited_us') / 1e3:,.1f} ms"
        lines.append((name(row), f"{reads:,.0f}", format_size(number(row, "bytes")), share, waited))
    return _table((title, "reads", "bytes", "from cache", "waited"), lines or [("none just now",)])


def _expected(found: Sequence[Mapping[str, Any]]) -> "Table":
    lines = []
    for row in found:
        path, want, by = (one_line(str(row.get(key) or ".")) for key in ("path", "want", "by"))
        lines.append((path, want, f"{100 * number(row, 'score'):.0f}%", by, f"{number(row, 'ago_s'):,.1f} s ago"))
    return _table(("expected next", "what", "how sure", "by", "planned"), lines)


def _table(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> "Table":
    """Cells are text and no markup, whatever the names of files have in them."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    shown.add_column(titles[0], no_wrap=True, overflow="ellipsis", ratio=1)
    for title in titles[1:]:
        shown.add_column(title, justify="right" if title else "left", no_wrap=True, min_width=None if title else 20)
    for line in lines:
        shown.add_row(*map(Text, line))
    return shown
