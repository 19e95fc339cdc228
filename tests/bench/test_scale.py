"""The flood that the predictor is measured in: its shape, and that what is said of it comes from the engine."""

import random
from itertools import islice
from pathlib import Path

import pytest

from bench import scale
from bench.report import Progress
from predictor.engine import Engine
from predictor.limits import Limits


def test_the_flood_never_repeats_a_file_and_has_directories_of_all_sizes() -> None:
    directories = list(islice(scale.flood(random.Random(1)), 600))
    sizes = sorted(len(names) for _, names in directories)
    assert 10 <= sizes[0] < 20 and 500 < sizes[-1] <= 1000
    files = [f"{directory}/{name}" for directory, names in directories for name in names]
    assert len(set(files)) == len(files) and len({directory for directory, _ in directories}) == 600


def test_paths_are_numbered_anew_and_the_engine_follows() -> None:
    engine = Engine(limits=Limits(paths_in_use=100))
    measurement = scale.Measurement(engine, 2000, seed=1)
    assert sum(measurement.pass_by(2000)) == 2000
    assert engine.counters["unknown"] == 0
    assert len(engine.paths) > 2000


def test_a_small_flood_is_measured_drawn_and_planned_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scale, "PERIOD", 1000)
    monkeypatch.setattr(scale, "GAPS", (300,))
    result = scale.measure(4000, 1, Progress())
    assert result.samples[-1].files == pytest.approx(4000, abs=1000) and result.events > 4000 and result.unknown == 0
    assert result.runs[-1][1] > 0.9  # the program that comes back is planned
    assert [gap for gap, _ in result.gaps] == [300]
    assert all(sample.rss_mib > 1 and 0 < sample.p50_us <= sample.p99_us for sample in result.samples)
    scale.show(result, Progress())
    assert "resident" in capsys.readouterr().out
    pytest.importorskip("matplotlib")
    assert scale.draw(tmp_path / "out" / "x.png", result)
    assert (tmp_path / "out" / "x.png").read_bytes().startswith(b"\x89PNG")
