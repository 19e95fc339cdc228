"""What is fetched ahead next, and when nothing is."""

import pytest

from llmfs.policy.planning import (
    JUDGED_BYTES,
    PATIENCE_S,
    QUEUE_LIMIT,
    SURE_SCORE,
    UNUSED_SHARE,
    UNUSED_SHARE_PROVEN,
    Job,
    Planning,
)
from predictor.plan import Want

MIB = 1 << 20
CACHE_BYTES = 100 * MIB


@pytest.fixture
def dropped() -> list[int]:
    return []


@pytest.fixture
def planning(dropped: list[int]) -> Planning[int]:
    return Planning(lambda: CACHE_BYTES, dropped.append)


def a_job(place: int, offset: int = 0, score: float = 0.5, queued_s: float = 0.0) -> Job[int]:
    return Job(Want.DATA, place, (), offset, 4096, "test", queued_s, score)


def test_what_is_used_first_is_fetched_first(planning: Planning[int]) -> None:
    for place, horizon in ((1, 64), (2, 8), (3, 512)):
        assert planning.push(horizon, a_job(place))
    planning.accesses += 100  # a later wish's horizon counts from a later access
    planning.push(0, a_job(4))
    order = [job.place for job in iter(lambda: planning.pop(0.0), None)]
    assert order == [2, 1, 4, 3]


def test_each_thing_waits_once(planning: Planning[int]) -> None:
    assert planning.push(0, a_job(1))
    assert not planning.push(0, a_job(1))
    assert planning.push(0, a_job(1, offset=4096))
    assert len(planning) == 2
    planning.pop(0.0)
    assert planning.push(0, a_job(1))


def test_what_has_waited_too_long_is_dropped(planning: Planning[int], dropped: list[int]) -> None:
    planning.push(0, a_job(1, queued_s=0.0))
    planning.push(1, a_job(2, queued_s=1.0))
    job = planning.pop(PATIENCE_S + 0.5)
    assert job is not None
    assert job.place == 2
    assert dropped == [1]


def test_the_queue_is_bounded(planning: Planning[int], dropped: list[int]) -> None:
    for place in range(QUEUE_LIMIT + 5):
        planning.push(0, a_job(place))
    assert len(planning) == QUEUE_LIMIT
    assert sum(dropped) == 5


def test_unused_bytes_are_bounded_by_a_share_of_the_cache(planning: Planning[int]) -> None:
    planning.fetched(int(UNUSED_SHARE * CACHE_BYTES) + 1)
    planning.push(0, a_job(1))
    planning.push(9, Job(Want.LISTING, 2, (), 0, 0, "test", 0.0, 0.5))
    names = planning.pop(0.0)  # moves no bytes
    assert names is not None
    assert names.want is Want.LISTING
    assert planning.pop(0.0) is None
    planning.used(MIB)
    waited = planning.pop(0.0)
    assert waited is not None
    assert waited.place == 1


def test_who_proves_right_may_have_more_of_the_cache(planning: Planning[int]) -> None:
    planning.fetched(JUDGED_BYTES)
    planning.used(JUDGED_BYTES)
    planning.fetched(int(UNUSED_SHARE_PROVEN * CACHE_BYTES) - 1)
    assert planning.has_room
    planning.wasted(MIB)
    planning.fetched(MIB)
    assert not planning.has_room


def test_waste_leaves_only_what_is_sure(planning: Planning[int]) -> None:
    planning.fetched(JUDGED_BYTES)
    planning.wasted(JUDGED_BYTES // 2)
    assert planning.is_wasting
    assert not planning.push(0, a_job(1, score=SURE_SCORE / 2))
    assert planning.push(0, a_job(2, score=SURE_SCORE))
    planning.used(JUDGED_BYTES // 2)
    assert not planning.is_wasting
    assert planning.push(0, a_job(1, score=SURE_SCORE / 2))
