"""The eviction benchmark: traces are read right, the bound is Belady's, and the whole path gives its files."""

import gzip
import json
import lzma
from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bench.eviction import belady, rivals, synthetic, traces
from bench.eviction.__main__ import OURS, UNLEARNED, Cell, main, mean_gaps, worse_than_lru
from predictor.interchange import CSV_COLUMNS, read_any, write_oracle_general
from predictor.trace import TraceError


def blocks_of(path: Path) -> list[int]:
    return [int(block) for block in traces.read(path)]


def test_block_numbers_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.trace.gz"
    path.write_bytes(gzip.compress(b"7\n8\n7\n*\n"))
    assert blocks_of(path) == [7, 8, 7]


def test_little_endian_words(tmp_path: Path) -> None:
    path = tmp_path / "w.trace.xz"
    path.write_bytes(lzma.compress(np.array([3, 900_000, 3], "<u4").tobytes()))
    assert blocks_of(path) == [3, 900_000, 3]


def test_spans_of_the_arc_traces(tmp_path: Path) -> None:
    path = tmp_path / "P.lis.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(b"10 3 0 0\n11 1 0 1\n"))
    assert blocks_of(path) == [10, 11, 12, 11]


def test_sectors_become_blocks_of_their_device(tmp_path: Path) -> None:
    path = tmp_path / "d.trace"
    path.write_text("100 0 6 4 1\n200 1 16 8 0\n")
    assert blocks_of(path) == [0, 1, (1 << 40) + 2]


def test_reads_of_a_csv_become_blocks_as_libcachesim_is_given_them(tmp_path: Path) -> None:
    lines = [",".join(CSV_COLUMNS), "1.0,OPEN,1,cat,/a,0,0", "1.1,READ,1,cat,/a,200000,0", "1.2,READ,1,cat,/b,10,0"]
    path, copy = tmp_path / "t.csv", tmp_path / "t.oracleGeneral.bin"
    path.write_text("\n".join(lines) + "\n")
    write_oracle_general(read_any(path), copy)
    assert len(blocks_of(path)) == 3
    assert blocks_of(path) == blocks_of(copy)


@pytest.mark.parametrize("name", ["a.trace", "a.trace.gz", "a.trace.xz", "a.lis.zst", "a.oracleGeneral", "a.csv"])
def test_rubbish_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"no trace at all")
    with pytest.raises(TraceError, match=name):
        traces.read(path)


def test_directories_give_their_traces_in_order(tmp_path: Path) -> None:
    for name in ("b.trace", "a.csv.gz", "README.md", "deep/c.lis.zst"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in traces.find([tmp_path])] == ["a.csv.gz", "b.trace", "c.lis.zst"]


@given(st.lists(st.integers(0, 4), max_size=9), st.integers(1, 3))
def test_bound_is_what_no_choice_of_victims_exceeds(numbers: list[int], capacity: int) -> None:
    best: dict[frozenset[int], int] = {frozenset(): 0}
    for number in numbers:
        after: dict[frozenset[int], int] = {}
        for held, hits in best.items():
            if number in held:
                choices, gained = [held], 1
            else:
                size = min(len(held), capacity - 1)
                choices, gained = [frozenset(kept) | {number} for kept in combinations(held, size)], 0
            for choice in choices:
                after[choice] = max(after.get(choice, 0), hits + gained)
        best = after
    assert belady.hits(np.array(numbers, np.uint64), capacity) == max(best.values())


def test_epochs_of_every_block_once() -> None:
    for blocks in (synthetic.in_order(50, 3), synthetic.shuffled(Random(1), 50, 3)):
        assert blocks.reshape(3, 50).sum(axis=1).tolist() == [sum(range(50))] * 3


def cell(policy: str, ratio: float | None, share: float = 0.1) -> Cell:
    return Cell("t", share, 10, policy, 0.5, ratio, None)


def test_means_are_over_the_places_where_the_rival_has_a_result() -> None:
    cells = [cell(OURS, 0.45), cell(OURS, 0.3, 0.5), cell("LIRS", 0.4), cell("LIRS", None, 0.5)]
    assert mean_gaps(cells, "LIRS") == pytest.approx((0.1, 0.05, 1))
    assert mean_gaps(cells, OURS) == pytest.approx((0.125, 0.125, 2))
    assert mean_gaps(cells, "ARC") is None


def test_worse_than_lru_begins_above_a_hundredth() -> None:
    cells = [cell("LRU", 0.4), cell("LRU", 0.4, 0.5), cell(OURS, 0.391), cell(OURS, 0.389, 0.5)]
    assert [(found.share, other) for found, other in worse_than_lru(cells)] == [(0.5, 0.4)]


def test_whole_path_writes_figures_and_a_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    trace = tmp_path / "loop.trace"
    trace.write_text("\n".join(str(number) for number in list(range(60)) * 20))
    chosen = ["--policy", OURS, "--policy", UNLEARNED]
    assert main(["--traces", str(trace), *chosen, "--shares", "0.5", "--output", str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "eviction.json").read_text())["results"]
    assert [(each["policy"], each["capacity"]) for each in results] == [(OURS, 30), (UNLEARNED, 30)]
    assert all(each["bound"] - each["gap"] == pytest.approx(each["hit_ratio"]) for each in results)
    assert all(0.3 < each["hit_ratio"] <= each["bound"] for each in results)
    assert (tmp_path / "out" / "eviction.png").read_bytes().startswith(b"\x89PNG")
    assert "Mean gap to Belady" in capsys.readouterr().out


def test_rivals_that_are_missing_are_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rivals, "is_installed", lambda: False)
    assert main(["--policy", "LRU", "--output", str(tmp_path)]) == 1
    assert "pip install 'llmfs[eviction]'" in capsys.readouterr().err


def test_unreadable_trace_is_an_error_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--traces", str(tmp_path / "none.trace"), "--policy", OURS]) == 1
    assert "none.trace" in capsys.readouterr().err
    assert main(["--traces", str(tmp_path), "--policy", OURS]) == 1
    assert "no trace" in capsys.readouterr().err


def test_rivals_agree_with_us_on_lru_and_refuse_what_they_cannot(tmp_path: Path) -> None:
    pytest.importorskip("libcachesim")
    random = Random(9)
    blocks = np.array([int(random.paretovariate(0.5)) % 100 for _ in range(2000)], np.uint64)
    rivals.write(blocks, tmp_path / "trace.bin")
    recent: list[int] = []
    hits = 0
    for block in blocks.tolist():
        hits += block in recent[-10:]
        recent = [each for each in recent if each != block] + [block]
    assert rivals.hit_ratio("LRU", 10, tmp_path / "trace.bin", 60) == pytest.approx(hits / len(blocks), abs=1e-6)
    assert rivals.hit_ratio("S3-FIFO", 1, tmp_path / "trace.bin", 60) is None
