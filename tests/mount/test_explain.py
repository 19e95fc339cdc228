"""`llmfs explain` of a mounted file: by whom it was fetched, used and planned."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.mount.conftest import World, drop_pages, eventually


def explained(world: World, path: Path) -> dict[str, Any]:
    answer = json.loads(world.llmfs("explain", "--json", path))
    assert isinstance(answer, dict)
    return answer


def test_a_file_tells_who_fetched_it_and_who_used_it(world: World) -> None:
    (world.backing / "d").mkdir()
    (world.backing / "d" / "f").write_bytes(os.urandom(300_000))
    m = world.mount("--predictor", "off", source=world.slow_source())
    assert len((m / "d/f").read_bytes()) == 300_000
    told = explained(world, m / "d/f")
    assert told["path"] == "d/f" and told["cache"]["blocks"] == told["cache"]["cached"] == 3
    assert {each["what"] for each in told["decisions"]} == {"fetched"}
    reads = [each for each in told["accesses"] if each["operation"] == "read"]
    assert {each["pid"] for each in reads} == {os.getpid()} and {"source"} <= {each["tier"] for each in reads}
    assert explained(world, m / "d")["kind"] == "directory"
    assert "d/f  file" in world.llmfs("explain", m / "d/f")


def test_what_was_read_ahead_is_told_apart_from_what_a_program_asked_for(world: World) -> None:
    (world.backing / "f").write_bytes(os.urandom(8 << 20))
    m = world.mount("--predictor", "sequential", source=world.slow_source())
    with (m / "f").open("rb", buffering=0) as file:
        for _ in range(12):
            file.read(64 << 10)
    told = eventually(
        lambda: next((t for t in [explained(world, m / "f")] if any(each["by"] for each in t["decisions"])), None),
        10,
        "a fetch ahead of use",
    )
    fetched = {each["by"] for each in told["decisions"] if each["what"] == "fetched"}
    assert len(fetched) == 2 and "" in fetched  # the reader's first piece, and what was read ahead of it


def test_a_file_planned_by_the_predictor_says_so(world: World) -> None:
    names = [f"f{number}" for number in range(40)]
    for name in names:
        (world.backing / name).write_bytes(os.urandom(20_000))
    m = world.mount(source=world.slow_source())
    eventually(
        lambda: m.status()["predictor_state"] in ("rules", "pretrained", "learned"), 30, "a predictor that is ready"
    )

    def is_planned() -> bool:
        for name in names:
            (m / name).read_bytes()
            drop_pages(m / name)
        return any(
            each["what"] == "planned" and 0 < each["score"] <= 1
            for name in names[-3:]
            for each in explained(world, m / name)["decisions"]
        )

    eventually(is_planned, 30, "a plan")


def test_other_attributes_are_the_source_s(world: World) -> None:
    (world.backing / "f").write_bytes(b"x")
    m = world.mount()
    assert "user.llmfs.explain" not in os.listxattr(m / "f")
    with pytest.raises(OSError, match=r"No data|not supported"):
        os.getxattr(m / "f", "user.llmfs.explained")
