"""What `llmfs status` shows, for any answer that a daemon may give."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from llmfs.commands.status import describe, format_duration, render
from llmfs.mounts import Health, Mount, State
from tests.cli.conftest import World

MOUNT = Mount(Path("/mnt/[bold]fast"), "/mnt/slow")
SAYS: dict[str, Any] = {
    "version": "0.1.0",
    "pid": 42,
    "source": "/mnt/slow",
    "mountpoint": "/mnt/[bold]fast",
    "cache_dir": "/var/cache/x",
    "consistency": "strict",
    "predictor": "learned",
    "predictor_state": "rules",
    "metrics_port": 9464,
    "uptime_s": 7300.5,
    "reads": {"source": 100, "cache": 850, "joined": 50},
    "read_bytes": {"source": 1 << 20, "cache": 3 << 20, "joined": 0},
    "lookups": {"cache": 3, "source": 1},
    "kernel": {"pushed_bytes": 4 << 30, "held_back_pages": 1000, "read_share": 0.64, "read_share_error": 0.015}
    | {"read_bytes": 2 << 30, "read_bytes_error": 64 << 20},
    "prefetch": {"issued": 200, "used_in_time": 150, "used_late": 20, "unused": 10, "issued_bytes": 5 << 20}
    | {"attributes_issued": 40, "attributes_used_in_time": 30, "attributes_used_late": 2, "attributes_unused": 4}
    | {"listings_issued": 10, "listings_used_in_time": 9, "listings_used_late": 0, "listings_unused": 1},
    "waiting": {"suffered_s": 12.34, "saved_s": 3456.7, "saved_by_prefetching_s": 2345.6},
    "cache": {"used_bytes": 1 << 29, "limit_bytes": 1 << 30, "blocks": 4096, "evictions": 7},
    "source_calls": {"requests": 1234, "latency_ms": 2.5, "errors": 0},
    "policies": [
        {"rule": 1, "do": "bypass", "command": ["restic", "borg"], "uid": [0], "requests": 4321, "read_bytes": 5 << 30},
        {"rule": 2, "do": "cache", "share": 0.1, "path": ["*.iso"], "requests": 2, "read_bytes": 100}
        | {"used_bytes": 40 << 20, "limit_bytes": 100 << 20},
        {"rule": 3, "do": "immutable", "path": ["published"], "requests": 0, "read_bytes": 0},
    ],
}
KEYS = st.sampled_from([*SAYS, "issued", "blocks", "kernel", "latency_ms", "do", "share", "path", "new"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


def show(health: Health) -> str:
    console = Console(file=io.StringIO(), width=40, soft_wrap=True, highlight=False)
    console.print(render(health))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_mount_in_full() -> None:
    shown = [*show(Health(MOUNT, State.LIVE, SAYS)).splitlines()]
    assert shown == [
        "/mnt/[bold]fast  over /mnt/slow",
        "  state      live, pid 42, for 2 h 1 min, strict",
        "  reads      1,000: 85.0% cache (3 MiB), 5.0% in flight (0 B), 10.0% source (1 MiB)",
        "  lookups    4: 75.0% cache, 25.0% source",
        "  kernel     4 GiB pushed; about 64% ± 2% read there (2 GiB ± 64 MiB), by 1,000 pages held back",
        "  prefetch   200 (5 MiB): 75.0% used in time, 10.0% used late, 5.0% unused",
        "  names      40: 75.0% used in time, 5.0% used late, 10.0% unused",
        "  listings   10: 90.0% used in time, 0.0% used late, 10.0% unused",
        "  waiting    12.3 s for the source; about 3,456.7 s saved, 2,345.6 s of it by prefetching",
        "  cache      ██████████░░░░░░░░░░ 512 MiB of 1 GiB, 4,096 blocks, 7 evictions",
        "  policies   1: bypass: uid 0; command restic, borg; 4,321 requests, 5 GiB read",
        "             2: cache, share 10%: path *.iso; 2 requests, 100 B read; 40 MiB of 100 MiB held",
        "             3: immutable: path published",
        "  predictor  learned: rules",
        "  source     1,234 requests, 2.50 ms each, 0 errors",
        "  metrics    http://127.0.0.1:9464/metrics",
        "  cached in  /var/cache/x",
    ]


def test_for_whom_a_share_of_the_cache_is_kept() -> None:
    programs = [
        {"process_group": 77, "command": "python", "share": 0.25},
        {"process_group": 78, "command": "", "share": 0.5},
        {"process_group": 79, "command": "cat", "share": None},
    ]
    says = {"control": {"controller": "rules", "arm": "deep-any", "changes": 0, "programs": programs}}
    assert "rules: deep-any, 0 changes, kept of the cache: python 25%, 78 50%" in show(Health(MOUNT, State.LIVE, says))


def test_pushed_pages_of_which_none_was_held_back_yet() -> None:
    shown = show(Health(MOUNT, State.LIVE, {"kernel": {"pushed_bytes": 1 << 20, "held_back_pages": 0}}))
    assert "1 MiB pushed; no estimate of what is read there, with 0 pages held back" in shown


def test_a_mount_that_has_done_nothing() -> None:
    shown = show(Health(MOUNT, State.LIVE, {"reads": {"cache": 0}, "prefetch": {"issued": 0}, "cache": {}}))
    assert shown.count("none yet") == 2


@given(st.dictionaries(KEYS, JSON))
def test_any_answer_can_be_shown(says: dict[str, Any]) -> None:
    show(Health(MOUNT, State.LIVE, says))
    json.dumps(describe(Health(MOUNT, State.LIVE, says)))


@pytest.mark.parametrize("state", list(State))
def test_every_state_is_said(state: State) -> None:
    health = Health(MOUNT, state)
    assert state.value.split()[-1] in show(health)
    assert describe(health) == {"source": "/mnt/slow", "mountpoint": "/mnt/[bold]fast", "state": state.value}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (90061, "1 d 1 h"), (7300, "2 h 1 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_status_of_no_mount_is_a_list(world: World) -> None:
    result = world.run("status", "--json")
    assert result.status == 0
    assert isinstance(json.loads(result.out), list)
