"""What `llmfs top` shows of many mounts on a small terminal."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from llmfs.commands.top import Sample, render
from llmfs.mounts import Health, Mount, State

FILE = {"path": "src/a.py", "reads": 3, "bytes": 4096, "hits": 1, "waited_us": 100}
PROGRAM = {"pid": 7, "command": "cc", "reads": 3, "bytes": 4096, "hits": 1, "waited_us": 100}
EXPECTED = {"path": "src/b.py", "want": "data", "score": 0.5, "by": "history", "ago_s": 1.0}
SAYS: dict[str, Any] = {
    "source": "/mnt/" + "slow/" * 40,
    "uptime_s": 100,
    "reads": {"source": 1, "cache": 2, "joined": 0},
    "read_bytes": {"source": 1, "cache": 2, "joined": 0},
    "waiting": {"suffered_s": 1.0, "saved_s": 3.0, "saved_by_prefetching_s": 2.0},
}


def sample(number: int) -> Sample:
    health = Health(Mount(Path(f"/fast{number}"), "/mnt/slow"), State.LIVE, SAYS)
    return Sample(1.0, health, {"files": [FILE] * 20, "programs": [PROGRAM] * 20, "expected": [EXPECTED] * 20})


def shown(mounts: int, lines_max: int | None) -> list[str]:
    console = Console(file=io.StringIO(), width=80, highlight=False)
    console.print(render([(sample(number), sample(number)) for number in range(mounts)], lines_max))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(("mounts", "lines_max"), [(1, 50), (1, 24), (2, 50), (3, 24), (5, 24)])
def test_all_mounts_fit_on_the_terminal(mounts: int, lines_max: int) -> None:
    lines = shown(mounts, lines_max)
    assert len(lines) <= lines_max
    assert [line.split()[0] for line in lines if line.startswith("/fast")] == [f"/fast{n}" for n in range(mounts)]


def test_room_is_used() -> None:
    assert sum("src/a.py" in line for line in shown(1, 50)) == 8
    assert sum("src/a.py" in line for line in shown(2, 50)) >= 6
    assert 0 < sum("src/a.py" in line for line in shown(1, 24)) < 8


def test_elsewhere_nothing_is_left_out() -> None:
    lines = shown(5, None)
    assert sum("src/a.py" in line for line in lines) == 40 and "slow/" * 40 in "".join(lines)


def test_what_was_saved_is_said() -> None:
    assert "waited 1.0 s for the source; about 3.0 s saved, 2.0 s of it by prefetching" in shown(1, 50)
