"""What stays when the cache is full: the limit holds, scans pass through, what is used or predicted stays."""

from hypothesis import given
from hypothesis import strategies as st

from llmfs.policy.eviction import NOMINEES, Eviction


def key(number: int) -> bytes:
    return number.to_bytes(4, "big")


def no_score(_: bytes) -> float:
    return 0.0


def fill(policy: Eviction, numbers: range, size: int = 1) -> None:
    for number in numbers:
        policy.admit(key(number), size)
        policy.victims(no_score)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.integers(0, 30), st.integers(1, 40)),
        st.tuples(st.just("touch"), st.integers(0, 30), st.just(0)),
        st.tuples(st.just("forget"), st.integers(0, 30), st.just(0)),
        st.tuples(st.just("old"), st.integers(0, 30), st.integers(1, 40)),
    ),
    max_size=120,
)


@given(steps, st.integers(1, 200), st.floats(0, 1))
def test_limit_holds_and_sizes_add_up(script: list[tuple[str, int, int]], capacity: int, weight: float) -> None:
    policy = Eviction(capacity)
    present: dict[bytes, int] = {}
    for what, number, size in script:
        name = key(number)
        if what == "touch":
            assert (policy.touch(name) is not None) == (name in present)
        elif what == "forget":
            assert (policy.forget(name) is not None) == (name in present)
            present.pop(name, None)
        else:
            policy.admit(name, size, is_old=what == "old")
            present[name] = size
            for gone, resident in policy.victims(lambda each: weight * each[3] / 255):
                assert resident.size_bytes == present.pop(gone)
        assert policy.used_bytes == sum(present.values()) <= capacity
        assert len(policy) == len(present) and all(each in policy for each in present)


def test_block_larger_than_the_cache_does_not_stay_and_does_not_hang() -> None:
    policy = Eviction(10)
    policy.admit(b"big", 11)
    assert [name for name, _ in policy.victims(no_score)] == [b"big"]
    assert policy.used_bytes == 0


def test_scan_of_blocks_used_once_leaves_what_is_in_use() -> None:
    policy = Eviction(100)
    fill(policy, range(50))
    for _ in range(3):
        for number in range(50):
            policy.touch(key(number))
    fill(policy, range(1000, 3000))
    assert sum(key(number) in policy for number in range(50)) >= 45


def test_newcomer_that_returns_after_its_eviction_stays_through_the_next_scan() -> None:
    policy = Eviction(100)
    fill(policy, range(150))
    evicted = next(number for number in range(150) if key(number) not in policy)
    policy.admit(key(evicted), 1)
    policy.victims(no_score)
    fill(policy, range(200, 260))
    assert key(evicted) in policy


def test_of_the_nominees_the_least_likely_to_be_used_again_goes() -> None:
    policy = Eviction(NOMINEES)
    fill(policy, range(NOMINEES))
    policy.admit(key(99), 1)
    favourites = {key(0): 0.9, key(1): 0.8, key(2): 0.1, key(3): 0.0}
    gone = [name for name, _ in policy.victims(lambda name: favourites.get(name, 0.5))]
    assert gone == [key(3)]


def test_growing_block_counts_once() -> None:
    policy = Eviction(100)
    policy.admit(b"a", 10)
    policy.admit(b"a", 30)
    assert (policy.used_bytes, len(policy)) == (30, 1)
    policy.forget(b"a")
    assert policy.used_bytes == 0
