"""`llmfs status`: how the mounts are, for people and for programs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmfs import mounts
from llmfs.commands.answers import number, policy, rows, table
from llmfs.commands.completion import mountpoints
from llmfs.errors import UsageError, one_line, show
from llmfs.settings import format_size
from llmfs.web.address import read_address

if TYPE_CHECKING:
    from rich.text import Text

_TIERS = {"cache": "cache", "joined": "in flight", "source": "source"}
"""What the daemon calls a tier, what people are told, in the order of their speed."""


PINS_SHOWN = 4


def status(
    mountpoint: Annotated[
        str | None, typer.Argument(metavar="MOUNTPOINT", show_default=False, autocompletion=mountpoints)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: an object for a named mount, else a list of them.")
    ] = False,
) -> None:
    """Show how the mounts are: hit rates, prefetches, cache, predictor, source."""
    if mountpoint is None:
        found = mounts.find()
    elif (mount := mounts.at(mountpoint)) is not None:
        found = [mount]
    else:
        raise UsageError(f"there is no mount of llmfs at {one_line(mountpoint)}: llmfs status lists those there are")
    healths = [mounts.ask(each) for each in found]
    if as_json:
        described = [describe(each) for each in healths]
        print(json.dumps(described if mountpoint is None else described[0], indent=2))
        return
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    if not healths:
        console.print("no mount of llmfs on this machine")
    for place, health in enumerate(healths):
        if place:
            console.print()
        console.print(render(health))


def describe(health: mounts.Health) -> dict[str, Any]:
    """What `--json` says of one mount: all that the daemon said, and the state that it is in."""
    return {
        "source": health.mount.source,
        **health.says,
        "mountpoint": str(health.mount.mountpoint),
        "state": health.state.value,
    }


def render(health: mounts.Health) -> "Text":
    """One mount for people. What the daemon did not say is left out. Nothing is folded: paths are copied from here."""
    from rich.text import Text

    says = health.says
    shown = Text.assemble(
        (show(health.mount.mountpoint), "bold"),
        "  over ",
        one_line(str(says.get("source", health.mount.source))),
    )
    is_ill = health.state is not mounts.State.LIVE
    for label, text in [("state", _state(health)), *_lines(says)]:
        shown.append(f"\n  {label:<10} ", "dim")
        shown.append(text, "red" if is_ill else "")
    return shown


def _state(health: mounts.Health) -> str:
    name = show(health.mount.mountpoint)
    match health.state:
        case mounts.State.DEAD:
            return f"dead: its daemon is gone; clean up with llmfs umount {name}"
        case mounts.State.HANGING:
            return f"not answering; end it with llmfs umount --force {name}"
        case mounts.State.CLOSED:
            return "another user's: no access"
    says = health.says
    facts = ["live"]
    if "pid" in says:
        facts.append(f"pid {says['pid']}")
    if "uptime_s" in says:
        facts.append(f"for {format_duration(number(says, 'uptime_s'))}")
    if "consistency" in says:
        facts.append(one_line(str(says["consistency"])))
    return ", ".join(facts)


def _lines(says: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and text of each line that the daemon's answer has figures for."""
    lines = [
        ("reads", _by_tier(table(says, "reads"), table(says, "read_bytes"))),
        ("lookups", _by_tier(table(says, "lookups"), {})),
        ("kernel", _kernel(table(says, "kernel"))),
        ("prefetch", _prefetch(table(says, "prefetch"), "")),
        ("names", _prefetch(table(says, "prefetch"), "attributes_")),
        ("listings", _prefetch(table(says, "prefetch"), "listings_")),
        ("waiting", waiting(table(says, "waiting"))),
        ("cache", _cache(table(says, "cache"))),
        ("pinned", _pinned(table(says, "pinned"))),
        *(("" if at else "policies", _policy(each)) for at, each in enumerate(rows(says, "policies"))),
        ("profile", _profile(table(says, "profile"))),
        ("predictor", _predictor(says)),
        ("control", _control(table(says, "control"))),
        ("guard", _guard(table(says, "guard"))),
        ("source", _source(table(says, "source_calls"))),
        ("metrics", f"http://127.0.0.1:{says['metrics_port']}/metrics" if says.get("metrics_port") else ""),
        ("page", _page(says)),
        ("cached in", one_line(str(says.get("cache_dir", "")))),
    ]
    return [(label, text) for label, text in lines if text]


def _by_tier(counts: Mapping[str, Any], sizes: Mapping[str, Any]) -> str:
    if not counts:
        return ""
    total = sum(number(counts, tier) for tier in counts)
    if not total:
        return "none yet"
    known = [tier for tier in _TIERS if tier in counts] + [tier for tier in counts if tier not in _TIERS]
    shares = []
    for tier in known:
        size = f" ({format_size(number(sizes, tier))})" if tier in sizes else ""
        shares.append(f"{_share(number(counts, tier), total)} {_TIERS.get(tier, one_line(tier))}{size}")
    return f"{total:,.0f}: {', '.join(shares)}"


def _kernel(figures: Mapping[str, Any]) -> str:
    """What the kernel was given of files' bytes, and an estimate of what of it programs read there."""
    pushed_bytes = number(figures, "pushed_bytes")
    if not pushed_bytes:
        return ""
    held_back = f"{number(figures, 'held_back_pages'):,.0f} pages held back"
    if "read_share" not in figures:
        return f"{format_size(pushed_bytes)} pushed; no estimate of what is read there, with {held_back}"
    share, error = 100 * number(figures, "read_share"), 100 * number(figures, "read_share_error")
    read = f"{format_size(number(figures, 'read_bytes'))} ± {format_size(number(figures, 'read_bytes_error'))}"
    return f"{format_size(pushed_bytes)} pushed; about {share:.0f}% ± {error:.0f}% read there ({read}), by {held_back}"


def _prefetch(figures: Mapping[str, Any], prefix: str) -> str:
    """What became of the blocks fetched ahead; with a prefix, of the attributes or listings."""
    if f"{prefix}issued" not in figures:
        return ""
    issued = number(figures, f"{prefix}issued")
    if not issued:
        return "none yet"
    shares = [
        f"{_share(number(figures, prefix + key), issued)} {words}"
        for key, words in (("used_in_time", "used in time"), ("used_late", "used late"), ("unused", "unused"))
        if prefix + key in figures
    ]
    size_bytes = number(figures, f"{prefix}issued_bytes")
    size = f" ({format_size(size_bytes)})" if size_bytes else ""
    return f"{issued:,.0f}{size}: {', '.join(shares)}"


def waiting(figures: Mapping[str, Any]) -> str:
    """Seconds over all programs. What was saved is an estimate (llmfs/status.py)."""
    if "suffered_s" not in figures:
        return ""
    by_prefetching_s = number(figures, "saved_by_prefetching_s")
    saved_s = max(number(figures, "saved_s"), by_prefetching_s)
    saved = f"about {saved_s:,.1f} s saved, {by_prefetching_s:,.1f} s of it by prefetching"
    return f"{number(figures, 'suffered_s'):,.1f} s for the source; {saved}"


def _cache(figures: Mapping[str, Any]) -> str:
    if not figures:
        return ""
    used, limit = number(figures, "used_bytes"), number(figures, "limit_bytes")
    width = 20
    full = min(width, round(width * used / limit)) if limit else 0
    facts = [f"{'█' * full}{'░' * (width - full)} {format_size(used)} of {format_size(limit)}"]
    facts += [f"{number(figures, key):,.0f} {key}" for key in ("blocks", "evictions") if key in figures]
    return ", ".join(facts)


def _page(says: Mapping[str, Any]) -> str:
    """Where the mount's page is, for who may read its cache directory."""
    where = read_address(Path(str(says.get("cache_dir", "")))) if says.get("web") is True else None
    return one_line(where or "")


def _pinned(figures: Mapping[str, Any]) -> str:
    paths = figures.get("paths")
    if not isinstance(paths, list) or not paths:
        return ""
    named = ", ".join(one_line(str(path)) or "all of it" for path in paths[:PINS_SHOWN])
    more = number(figures, "pins") - len(paths[:PINS_SHOWN])
    named += f" and {more:,.0f} more" if more > 0 else ""
    return f"{number(figures, 'files'):,.0f} files ({format_size(number(figures, 'bytes'))}): {named}"


def _policy(figures: Mapping[str, Any]) -> str:
    """A rule, and what came under it; of one that says what files are nothing does."""
    facts = [policy(figures)]
    if figures.get("do") != "immutable":
        facts.append(f"{number(figures, 'requests'):,.0f} requests, {format_size(number(figures, 'read_bytes'))} read")
    if "limit_bytes" in figures:
        used, limit = number(figures, "used_bytes"), number(figures, "limit_bytes")
        facts.append(f"{format_size(used)} of {format_size(limit)} held")
    return "; ".join(facts)


def _profile(figures: Mapping[str, Any]) -> str:
    """The bounds of memory and threads that it goes by, and why these."""
    facts = [one_line(str(figures[key])) for key in ("name", "reason") if figures.get(key)]
    return ", ".join(facts)


def _predictor(says: Mapping[str, Any]) -> str:
    kind, state = says.get("predictor"), says.get("predictor_state")
    return one_line(": ".join(str(each) for each in (kind, state if state != kind else None) if each))


def _control(figures: Mapping[str, Any]) -> str:
    """The setting that the controller chose, such as `rules: middle-any`."""
    if not figures:
        return ""
    words = f"{one_line(str(figures.get('controller', '')))}: {one_line(str(figures.get('arm', '')))}"
    words += f", {number(figures, 'changes'):,.0f} changes"
    short = figures.get("short_of")
    sharers = [each for each in rows(figures, "programs") if each.get("share") is not None]
    if sharers:
        words += ", kept of the cache: " + ", ".join(
            f"{one_line(str(each.get('command') or each.get('process_group')))} {number(each, 'share'):.0%}"
            for each in sharers
        )
    if isinstance(short, list) and short:
        words += f", stepping back: short of {one_line(' and '.join(map(str, short)))}"
    return words


def _guard(figures: Mapping[str, Any]) -> str:
    """What the guard may do, and who is held up or told of, such as `protect: 1 denied (llmfs guard list)`."""
    if not figures:
        return ""
    mode = one_line(str(figures.get("mode", "")))
    if figures.get("is_down") is True:
        return f"{mode}: off since it failed, the log says how"
    levels = [level for level in ("denied", "throttled", "alerted") if number(figures, level)]
    found = ", ".join(f"{number(figures, level):,.0f} {level}" for level in levels)
    return f"{mode}: {found} (llmfs guard list)" if found else mode


def _source(figures: Mapping[str, Any]) -> str:
    facts = [f"{number(figures, 'requests'):,.0f} requests"] if "requests" in figures else []
    if "latency_ms" in figures:
        facts.append(f"{number(figures, 'latency_ms'):.2f} ms each")
    if "errors" in figures:
        facts.append(f"{number(figures, 'errors'):,.0f} errors")
    return ", ".join(facts)


def format_duration(seconds: float) -> str:
    """`3 d 4 h`, `5 min 6 s`: the two largest units that matter."""
    whole = int(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{count} {unit}" for count, unit in parts[:2])


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}%"
