"""Rankings: by the prior, by a network, and by what lies between; what they leave behind for training."""

import numpy as np
import pytest

from predictor.engine import Engine
from predictor.examples import Examples
from predictor.features import CANDIDATE_FEATURES, PRIOR_COLUMNS, TOKEN_FEATURES, TOKENS
from predictor.plan import COUNTS, PRETRAINED, PlanItem
from predictor.planner import DECISIVE_TRUST
from predictor.ranking import Matrix, between
from predictor.tracker import HORIZONS, Group
from tests.predictor.workload import Mount

NAMES = [f"f{number:02d}.x" for number in range(40)]


class Fixed:
    """A network that says the same of every candidate."""

    def __init__(self, chance: float, visits: float) -> None:
        self._chance = chance
        self._visits = visits

    def __call__(self, tokens: Matrix, candidates: Matrix) -> tuple[Matrix, Matrix]:
        shape = (len(candidates), len(HORIZONS))
        return np.full(shape, self._chance, np.float32), np.full(shape, self._visits, np.float32)


def walk(engine: Engine, files: int) -> list[PlanItem]:
    """A program lists a directory and reads files of it; all that was planned by rank."""
    mount = Mount()
    mount.list_directory(engine, "d", NAMES)
    items = []
    for name in NAMES[:files]:
        mount.read_file(f"d/{name}")
        items += mount.send(engine)
    return [item for item in items if item.generator in ("sibling", "numbered", "unread", "children")]


def test_between_the_prior_and_the_network() -> None:
    prior, network = np.full((4, 3), 0.2, np.float32), np.full((4, 3), 0.8, np.float32)
    np.testing.assert_allclose(between(prior, network, 0.0), prior, atol=1e-6)
    np.testing.assert_allclose(between(prior, network, 1.0), network, atol=1e-6)
    np.testing.assert_allclose(between(prior, network, 0.5), 0.5, atol=1e-6)


def test_what_is_certain_stays_a_number() -> None:
    sure = np.array([[0.0, 1.0, 1.0]], np.float32)
    assert np.isfinite(between(sure, 1 - sure, 0.9)).all()


def test_a_plan_is_for_when_the_network_expects_the_use() -> None:
    items = walk(Engine(ranker=Fixed(0.9, 3.2)), 3)
    assert {item.horizon for item in items} == {3}
    items = walk(Engine(ranker=Fixed(0.9, 400.0)), 3)
    assert {item.horizon for item in items} == {HORIZONS[0]}  # sure that it is used by then


def test_a_network_that_is_wrong_of_these_programs_is_soon_not_followed() -> None:
    engine = Engine(ranker=Fixed(0.01, 8.0))
    mount = Mount()
    for place in range(12):
        mount.list_directory(engine, f"d{place}", NAMES)
        for name in NAMES:
            mount.read_file(f"d{place}/{name}")
            mount.send(engine)
    (group,) = engine.processes._groups.values()
    assert group.trust < 0.1


def test_plans_say_what_decided_on_them(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(ranker=Fixed(0.9, 3.0))
    engine.network = PRETRAINED
    assert {item.model for item in walk(engine, 3)} == {PRETRAINED}
    assert {item.model for item in walk(Engine(), 20)} == {COUNTS}
    monkeypatch.setattr(Group, "trust", DECISIVE_TRUST / 2)
    assert {item.model for item in walk(Engine(ranker=Fixed(0.9, 3.0)), 20)} <= {COUNTS}


def test_examples_keep_what_was_served_and_what_the_prior_said() -> None:
    engine = Engine(ranker=Fixed(0.9, 3.0))
    engine.examples.every = 1
    walk(engine, 20)
    engine.tracker.settle()
    arrays = engine.examples.arrays()
    prior = arrays["rows"][:, PRIOR_COLUMNS].astype(float)
    assert (arrays["served"].astype(float) > prior).mean() > 0.9


def test_examples_of_another_version_are_left_out() -> None:
    examples = Examples()
    arrays = {
        "tokens": np.zeros((1, TOKENS, TOKEN_FEATURES)),
        "rows": np.zeros((2, CANDIDATE_FEATURES)),
        "distances": np.zeros(2, np.uint16),
        "starts": np.array([0, 2]),
    }
    examples.load(arrays | {"prior": np.zeros((2, 3))})  # what was kept before what was served
    assert not examples.arrays()
    examples.load(arrays | {"served": np.zeros((2, 3))})
    assert examples.arrays()["distances"].tolist() == [0, 0]
    with pytest.raises(ValueError, match="examples"):
        examples.load(arrays | {"served": np.zeros((3, 3))})
