"""The controller in a live mount: who steers, and what is told of it."""

from tests.mount.conftest import World, eventually
from tests.mount.test_metrics import samples


def test_rules_steer_unless_told_otherwise(world: World) -> None:
    m = world.mount("--metrics-port", "0", "--log-level", "debug")
    assert m.status()["control"] == {"controller": "rules", "arm": "deep-any", "changes": 0}
    decisions = ("llmfs_control_decisions_total", ())
    eventually(lambda: samples(m)[decisions] >= 2, 20, "two looks")
    assert samples(m)["llmfs_control_arm", (("arm", "deep-any"),)] == 1
    assert "rules: deep-any, 0 changes" in world.llmfs("status", m.path)
    eventually(lambda: "arm deep-any, wanted" in m.log(), 20, "a decision in the log")


def test_nobody_steers_where_that_is_wanted(world: World) -> None:
    m = world.mount("--control", "off")
    assert m.status()["control"] == {}


def test_without_weights_the_rules_steer(world: World) -> None:
    world.expect_complaint("no weights for the learned controller")
    m = world.mount("--control", "learned")
    assert m.status()["control"]["controller"] in ("rules", "learned")
