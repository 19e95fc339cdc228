"""What an arm does to the planning of prefetches."""

from llmfs.policy.planning import Job, Planning
from predictor.control.arms import ARMS, SAFE, Arm
from predictor.plan import Want


def _planning(arm: Arm) -> Planning[str]:
    planning: Planning[str] = Planning(lambda: 1 << 30, lambda why, count: None)
    planning.arm = arm
    return planning


def _job(path: str, score: float, want: Want = Want.DATA) -> Job[str]:
    return Job(want, path, (), 0, 4096, "history", 0.0, score)


def test_no_more_are_handed_out_than_may_run_at_once() -> None:
    planning = _planning(Arm("two", 0.0, 2, 1 << 40))
    for number in range(4):
        planning.push(0, _job(str(number), 1.0))
    job = planning.pop(0.0)
    assert job is not None and planning.pop(0.0) is not None
    assert planning.pop(0.0) is None
    planning.done(job)
    assert planning.pop(0.0) is not None and planning.running == 2


def test_of_what_is_not_sure_enough_the_name_is_fetched_alone() -> None:
    planning = _planning(Arm("sure", 0.8, 16, 1 << 40))
    planning.push(0, _job("unsure", 0.5))
    planning.push(1, _job("sure", 0.9))
    first, second = planning.pop(0.0), planning.pop(0.0)
    assert first is not None and (first.want, first.length) == (Want.ATTRIBUTES, 0)
    assert second is not None and (second.want, second.length) == (Want.DATA, 4096)


def test_bytes_ahead_are_bounded_by_the_arm_where_the_cache_has_room() -> None:
    planning = _planning(Arm("near", 0.0, 16, 1 << 20))
    planning.push(0, _job("data", 1.0))
    planning.fetched(2 << 20)
    assert planning.pop(0.0) is None
    planning.arm = ARMS[SAFE]
    assert planning.pop(0.0) is not None
