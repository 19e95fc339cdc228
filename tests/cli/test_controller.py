"""`llmfs train-controller`: what it plays, where the weights go, and what it refuses."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from llmfs.cache_dir import CacheDir
from llmfs.config import Control
from llmfs.control_loop import controller_of
from llmfs.replay import training
from llmfs.replay.episodes import Draw
from llmfs.replay.training import Candidate, Figures, Recipe, Report
from llmfs.settings import default_cache_dir
from predictor.control import network
from predictor.control.network import SHAPES
from tests.cli.conftest import World

BETTER, WORSE = Figures(0.9, 1.0), Figures(1.0, 1.2)


@pytest.fixture
def cache(world: World) -> CacheDir:
    cache = CacheDir(default_cache_dir(world.source))
    cache.prepare(world.source)
    return cache


class Played:
    """Stands in for the training, which takes hours."""

    def __init__(self) -> None:
        self.proves = BETTER
        self.asked: list[tuple[Recipe, Draw, int]] = []

    def make(self, recipe: Recipe, draw: Draw, jobs: int, tell: Callable[[str, float], None]) -> Report:
        tell("round [1]", 0.5)
        self.asked.append((recipe, draw, jobs))
        weights = {name: np.full(shape, name == "scale", np.float32) for name, shape in SHAPES.items()}
        candidate = Candidate(1, weights, self.proves)
        return Report(1234, [candidate], candidate, self.proves, Figures(0.95, 1.01))


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    played = Played()
    monkeypatch.setattr(training, "make", played.make)
    return played


def test_the_next_mount_steers_by_what_proved_better(world: World, cache: CacheDir, played: Played) -> None:
    result = world.run("train-controller", "--source", world.source, "--rounds", "2", "--jobs", "3")
    assert (result.status, result.err) == (0, "")
    assert "1,234 decisions costs 0.900" in result.out and f"better; it is in {cache.learned}/" in result.out
    ((recipe, draw, jobs),) = played.asked
    assert (recipe.rounds, draw.traces, jobs) == (2, (), 3)  # nothing was recorded yet: made programs alone
    steering = controller_of(Control.LEARNED, cache.learned)
    assert steering is not None and steering.name == "learned"


def test_what_is_no_better_changes_nothing(world: World, cache: CacheDir, played: Played) -> None:
    played.proves = WORSE
    assert "not better, so nothing was changed" in world.run("train-controller", "--source", world.source).out
    assert not (cache.learned / network.NAME).exists()


def test_weights_go_where_they_are_wanted_with_the_verdict(world: World, played: Played) -> None:
    played.proves = WORSE
    trace, file = world.root / "recorded.csv", world.root / "w.safetensors"
    trace.touch()
    assert f"not better; it is in {file}" in world.run("train-controller", trace, "-o", file).out
    assert played.asked[0][1].traces == (str(trace),)
    assert network.load(file).name == "learned"
    missing = world.root / "missing" / "w"
    assert world.refuses("train-controller", "-o", missing, status=1).startswith(f"cannot write {missing}: ")


def test_what_is_refused(world: World, played: Played) -> None:
    assert "say for which cache" in world.refuses("train-controller", status=2)
    assert "there is no cache at" in world.refuses("train-controller", "--source", world.source, status=1)
    missing = Path("/no/trace")
    assert "there is no trace /no/trace" in world.refuses("train-controller", missing, "-o", "x", status=2)
    assert played.asked == []


def test_a_trace_that_says_nothing_is_refused_in_one_line(world: World) -> None:
    noise = world.root / "noise.csv"
    noise.write_text("no,columns\n")
    assert "cannot read the trace" in world.refuses("train-controller", noise, "-o", world.root / "w", status=1)
