"""What is fetched ahead next, and when nothing is."""

import pytest

from llmfs.policy.planning import (
    EXPECTED_LIMIT,
    JUDGED_BYTES,
    NAMES_AT_ONCE,
    PACE_LEAST,
    PATIENCE_S,
    QUEUE_LIMIT,
    REACH,
    SURE_SCORE,
    UNUSED_SHARE,
    UNUSED_SHARE_PROVEN,
    Drop,
    Job,
    Planning,
)
from predictor.plan import Want

MIB = 1 << 20
CACHE_BYTES = 100 * MIB


Dropped = list[tuple[Drop, int]]


@pytest.fixture
def dropped() -> Dropped:
    return []


@pytest.fixture
def planning(dropped: Dropped) -> Planning[int]:
    return Planning(lambda: CACHE_BYTES, lambda why, count: dropped.append((why, count)))


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


def test_what_has_waited_too_long_is_dropped(planning: Planning[int], dropped: Dropped) -> None:
    planning.push(0, a_job(1, queued_s=0.0))
    planning.push(1, a_job(2, queued_s=1.0))
    job = planning.pop(PATIENCE_S + 0.5)
    assert job is not None
    assert job.place == 2
    assert dropped == [(Drop.LATE, 1)]


def test_the_queue_is_bounded(planning: Planning[int], dropped: Dropped) -> None:
    for place in range(QUEUE_LIMIT + 5):
        planning.push(0, a_job(place))
    assert len(planning) == QUEUE_LIMIT
    assert dropped == 5 * [(Drop.FULL, 1)]


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


def a_look(place: int, name: bytes, want: Want = Want.ATTRIBUTES) -> Job[int]:
    return Job(want, place, (name,), 0, 0, "test", 0.0, 0.5)


def test_a_name_is_looked_at_no_longer_before_its_use_than_a_look_lasts(planning: Planning[int]) -> None:
    planning.looks_last_s = 2.0
    reach = int(REACH * 2.0 * PACE_LEAST)
    planning.push(reach, a_look(1, b"soon"))
    planning.push(reach + 10, a_look(1, b"later"))
    planning.push(reach + 11, a_look(1, b"cached", Want.DATA), is_look=True)
    planning.push(9 * reach, a_look(1, b"data", Want.DATA))  # lasts
    popped = [job.path[0] for job in iter(lambda: planning.pop(0.0), None)]
    assert popped == [b"soon", b"data"]
    assert [planning.accessed() for _ in range(10)] == [False] * 9 + [True]
    assert planning.has_more(0.0)
    assert [job.path[0] for job in iter(lambda: planning.pop(0.0), None)] == [b"later"]
    assert planning.accessed()
    assert [job.path[0] for job in iter(lambda: planning.pop(0.0), None)] == [b"cached"]


def test_programs_that_are_quick_are_looked_further_ahead_of(planning: Planning[int]) -> None:
    planning.looks_last_s = 2.0
    planning.push(4000, a_look(1, b"far"))
    assert planning.pop(0.0) is None
    for _ in range(3000):
        planning.accessed()
    assert planning.pop(0.1) is not None or planning.pop(1.0) is not None
    assert planning.lead_s(planning.accesses + 3000, 1.0) == pytest.approx(1.0)


def test_names_of_a_directory_are_told_that_are_wanted_before_long(planning: Planning[int]) -> None:
    planning.looks_last_s = 2.0
    for number in range(NAMES_AT_ONCE + 8):
        planning.push(number, a_look(1, b"%d" % number))
    planning.push(0, a_look(2, b"elsewhere"))
    planning.push(10**6, a_look(3, b"in a long time"))
    assert list(planning.names_in(1, 0.0)) == [b"%d" % number for number in range(NAMES_AT_ONCE)]
    assert planning.names_in(1, 0.0)[b"0"] == "test"
    first = planning.pop(0.0)
    assert first is not None and first.path[0] not in planning.names_in(first.place, 0.0)
    assert planning.names_in(3, 0.0) == {} == planning.names_in(4, 0.0)


def test_the_clock_follows_names_whose_time_is_known(planning: Planning[int]) -> None:
    """The kernel answers half of what the program did the last time by itself."""
    for number in range(2000):
        planning.expect(1, b"%d" % number, 2 * number)
    for number in range(2000):
        planning.accessed(1, b"%d" % number)
    assert planning.accesses == pytest.approx(4000, abs=20)
    planning.expect(1, b"much later", 100_000)
    before = planning.accesses
    planning.accessed(1, b"much later")
    assert planning.accesses < before + 20  # a single one says little


def test_names_that_nobody_asks_for_are_forgotten(planning: Planning[int]) -> None:
    for number in range(EXPECTED_LIMIT + 10):
        planning.expect(1, b"%d" % number, number)
    assert len(planning._expected) == EXPECTED_LIMIT


def test_names_held_back_for_who_has_ended_make_room_for_what_is_used_before(
    planning: Planning[int], dropped: Dropped
) -> None:
    planning.looks_last_s = 0.01
    for number in range(QUEUE_LIMIT):
        planning.push(1000 + number, a_look(1, b"%d" % number))
    assert planning.pop(0.0) is None and len(planning) == QUEUE_LIMIT
    assert not planning.push(10 * QUEUE_LIMIT, a_look(2, b"later still"))
    assert dropped == [(Drop.FULL, 1)]
    assert planning.push(0, a_job(2)) and planning.push(0, a_look(3, b"now"))
    assert dropped == [(Drop.FULL, 1), (Drop.FULL, QUEUE_LIMIT // 2)] and len(planning) == QUEUE_LIMIT // 2 + 2
    assert [job.place for job in iter(lambda: planning.pop(0.0), None)] == [2, 3]
    assert planning.push(1000 + QUEUE_LIMIT - 1, a_look(1, b"%d" % (QUEUE_LIMIT - 1)))  # it waits no longer


def test_what_is_read_meanwhile_is_not_fetched_any_more(planning: Planning[int]) -> None:
    whole, part = Job(Want.DATA, 1, (b"name",), 0, 0, "test", 0.0, 0.5), a_job(2, offset=4096)
    assert planning.push(0, whole) and planning.push(1, part)
    planning.was_read(7, (1, b"name"), 0, 9000, size=10_000)  # not to its end
    planning.was_read(2, None, 0, 8000, size=10_000)  # not to the end of what was wished for
    planning.was_read(2, None, 8000, 10_000, size=10_000)  # nor from its beginning
    assert planning.pop(0.0) is whole
    assert planning.push(0, whole)
    planning.was_read(7, (1, b"name"), 0, 10_000, size=10_000)
    planning.was_read(2, None, 0, 8192, size=10_000)
    assert planning.pop(0.0) is None
    assert planning.push(0, a_job(2, offset=4096)), "it may be wished for again"
    assert planning.pop(0.0) is not None
