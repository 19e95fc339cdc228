"""The bench of dividing the cache among programs: it has all pairs, and says what cannot be read."""

import json
from pathlib import Path

import pytest

from bench.partition import CACHE_BLOCKS, PACES, PROGRAMS, main, run
from llmfs.blocks import BLOCK_BYTES
from llmfs.policy.eviction import Eviction


def test_all_pairs_are_in_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "partition.json"
    assert main(["--requests", "60", "--bound", "--output", str(output)]) == 0
    cells = json.loads(output.read_text())["cells"]
    assert len(cells) == len(PACES) * len(PROGRAMS) * (len(PROGRAMS) - 1) / 2
    assert "worst x1.000" in capsys.readouterr().out  # nothing is judged by so little


def test_caches_of_their_own_do_not_disturb_each_other() -> None:
    stream = [(number % 2, bytes([number % 2, number // 2 % 5])) for number in range(100)]
    caches = [Eviction(CACHE_BLOCKS * BLOCK_BYTES) for _ in range(2)]
    assert run(stream, caches, is_divided=False) == (90, 0)


def test_a_trace_that_is_none_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--traces", str(tmp_path / "none.trace")]) == 1
    assert "none.trace" in capsys.readouterr().err
