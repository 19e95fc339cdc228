"""What `llmfs explain` shows, for any answer that a daemon may give, and what it refuses."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from llmfs.commands.explain import render
from tests.cli.conftest import World, needs_fuse

SAYS: dict[str, Any] = {
    "path": "a.bin",
    "kind": "file",
    "size_bytes": 300_000,
    "cache": {
        "blocks": 3,
        "cached": 2,
        "cached_bytes": 262_144,
        "looked_at": 3,
        "runs": [
            {"offset": 0, "length": 131_072, "uses": 2, "unused_of": None},
            {"offset": 131_072, "length": 131_072, "uses": 0, "unused_of": "history"},
        ],
    },
    "reuse_score": 0.834,
    "expected": {"ago_s": 2.13, "by": "history", "want": "attributes", "score": 0.91, "horizon": 64},
    "decisions": [
        {"ago_s": 1.2, "what": "used", "by": "history"},
        {"ago_s": 80, "what": "fetched", "by": "", "offset": 0, "length": 131_072},
        {"ago_s": 8000, "what": "evicted", "by": "class", "offset": 0, "length": 131_072, "score": 0.1},
    ],
    "accesses": [
        {"ago_s": 1.2, "operation": "read", "offset": 0, "length": 4096, "pid": 7, "command": "[b]", "tier": "cache"}
        | {"latency_ms": 0.04},
        {"ago_s": 3, "operation": "getattr", "tier": "none", "latency_ms": 0.0},
    ],
    "policies": [{"rule": 1, "do": "bypass", "command": ["restic"]}, {"rule": 4, "do": "immutable", "path": ["*.bin"]}],
}
KEYS = st.sampled_from([*SAYS, "runs", "offset", "length", "ago_s", "what", "by", "score", "command", "new"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


def show(says: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=40, soft_wrap=True, highlight=False)
    console.print(render("/mnt/[bold]/a.bin", says))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_file_in_full() -> None:
    assert show(SAYS).splitlines() == [
        "/mnt/[bold]/a.bin  file, 293 KiB",
        "  cached     2 of 3 blocks (256 KiB)",
        "             0 B to 128 KiB: uses counted lately: 2",
        "             128 KiB to 256 KiB: fetched ahead (history), not used yet",
        "  keep       83% likely to be used again: the least likely is evicted first",
        "  expected   yes, attributes: 91% sure within 64 accesses (history), since 2.1 s",
        "  policies   1: bypass: command restic",
        "             4: immutable: path *.bin",
        "  decided         1.2 s ago  used       what history had fetched",
        "                1.3 min ago  fetched    0 B to 128 KiB, a program asked for it",
        "                  2.2 h ago  evicted    0 B to 128 KiB, 10% likely to be used again,"
        " never used (class had it fetched)",
        "  used            1.2 s ago  read       0 B to 4 KiB, by [b] (pid 7), from the cache in 0.04 ms",
        "                  3.0 s ago  stat      ",
    ]


def test_a_directory_that_nothing_was_decided_about() -> None:
    shown = show({"kind": "directory", "decisions": [], "accesses": [], "expected": None})
    assert shown.count("not lately") == 2 and "not now" in shown and "cached" not in shown


@pytest.mark.parametrize(
    ("score", "says"),
    [(None, "has not said"), (-0.5, "until the rest of its data set"), (1.6, "expected soon"), (0.0, "0%")],
)
def test_every_kind_of_score_is_said(score: float | None, says: str) -> None:
    assert says in show({"kind": "file", "cache": {}, "reuse_score": score})


@given(st.dictionaries(KEYS, JSON))
def test_any_answer_can_be_shown(says: dict[str, Any]) -> None:
    show(says)
    show({**SAYS, **says})


def test_a_file_in_no_mount_is_refused(world: World) -> None:
    assert "is in no mount of llmfs" in world.refuses("explain", world.source, status=2)
    assert "null byte" in world.refuses("explain", "a\0b", status=2)


@needs_fuse
def test_a_mount_that_cannot_explain_and_a_file_that_is_not_there(world: World) -> None:
    world.start("mount", world.source, world.mountpoint)
    try:
        result = world.run("explain", world.mountpoint)
        assert result.status == 1 and "cannot explain" in result.err
        result = world.run("explain", world.mountpoint / "nothing")
        assert result.status == 1 and result.err.count("\n") == 1
    finally:
        world.run("umount", world.mountpoint)


def test_json_is_what_the_daemon_said(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr("llmfs.mounts.above", lambda path: object())
    monkeypatch.setattr("llmfs.mounts.explain", lambda path, mount: SAYS)
    assert json.loads(world.run("explain", "--json", "x").out) == SAYS
