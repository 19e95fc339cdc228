"""What programs that compete are to have of the cache: their curves, the shares, and how eviction keeps to those."""

from random import Random

import pytest
import xxhash

from llmfs.policy.eviction import Eviction
from llmfs.policy.partition import AGREEING, GROUPS_MAX, SAMPLE_BLOCKS, UNITS, Curve, Partition

BLOCK = 1 << 17
CAPACITY = 320 * BLOCK
LOOP, SCAN, OTHER = 1, 2, 3


def key(group: int, number: int) -> bytes:
    return group.to_bytes(4, "big") + number.to_bytes(8, "big")


def digest(group: int, number: int) -> int:
    return xxhash.xxh3_64_intdigest(key(group, number))


def curve_of(blocks: int, requests: int) -> Curve:
    """Of a program that reads so many blocks again and again."""
    curve = Curve()
    for now in range(requests):
        curve.see(digest(1, now % blocks), BLOCK, now, 1, CAPACITY)
    return curve


def test_a_loop_gains_from_all_that_holds_a_part_of_it() -> None:
    gains = curve_of(160, 3200).gains()
    assert len(gains) == UNITS + 1 and gains[0] == 0
    assert gains[UNITS // 2] == pytest.approx(3200 - 160, rel=0.05)  # all of it is there
    assert gains[UNITS // 4] == pytest.approx(gains[UNITS // 2] / 2, rel=0.1)
    assert gains[UNITS] == gains[UNITS // 2]


def test_a_loop_that_is_longer_than_the_cache_gains_from_a_part_of_it() -> None:
    gains = curve_of(960, 4 * 960).gains()
    assert gains[UNITS] == pytest.approx(3 * 960 / 3, rel=0.1)  # a third of it fits


def test_what_is_read_once_gains_nothing() -> None:
    curve = Curve()
    for now in range(5000):
        curve.see(digest(1, now), BLOCK, now, 1, CAPACITY)
    assert curve.requests == 5000 and curve.gains() == [0.0] * (UNITS + 1)


def test_a_sample_says_what_all_of_the_stream_would() -> None:
    """A cache of 20,000 blocks, of whose keys one in eight or sixteen is looked at."""
    partition = Partition(20_000 * BLOCK)
    for now in range(60_000):
        partition.see(LOOP, digest(LOOP, now % 10_000), BLOCK)
    (ratios,) = partition.curves().values()
    assert ratios[2] == pytest.approx(5 / 6, abs=0.1)  # half of the cache holds it
    (curve,) = partition._curves.values()
    assert 0 < len(curve) <= SAMPLE_BLOCKS


def test_who_is_small_is_looked_at_more_closely_when_who_was_large_has_gone() -> None:
    partition = Partition(20_000 * BLOCK)
    for now in range(20_000):
        partition.see(SCAN, digest(SCAN, now), BLOCK)
    for _ in range(20):
        partition.age()
    for now in range(1000):
        partition.see(LOOP, digest(LOOP, now % 100), BLOCK)
    (curve,) = partition._curves.values()
    assert len(curve) == 100


def test_memory_is_bounded_whoever_comes() -> None:
    partition = Partition(CAPACITY)
    for group in range(1, 10 * GROUPS_MAX):
        partition.see(group, 0, BLOCK)
    assert len(partition.curves()) == GROUPS_MAX and 10 * GROUPS_MAX - 1 in partition.curves()


def compete(partition: Partition, requests: int) -> None:
    """A loop of half the cache beside a scan, as fast as each other."""
    for now in range(requests):
        partition.see(LOOP, digest(LOOP, now % 160), BLOCK)
        partition.see(SCAN, digest(SCAN, now), BLOCK)


HALVES = {LOOP: CAPACITY // 2, SCAN: CAPACITY // 2}
CROWDED_OUT = {LOOP: CAPACITY // 8, SCAN: 7 * CAPACITY // 8}


def test_who_gains_has_more_and_who_gains_nothing_gives_way() -> None:
    partition = Partition(CAPACITY)
    compete(partition, 2000)
    changes = [partition.look(CROWDED_OUT) for _ in range(AGREEING)]
    assert changes == [False] * (AGREEING - 1) + [True]
    assert 1 / 8 < partition.shares[LOOP] < partition.wanted[LOOP]
    assert SCAN not in partition.shares and sum(partition.wanted.values()) == pytest.approx(1)


def test_no_more_is_kept_than_would_be_wanted_now() -> None:
    partition = Partition(CAPACITY)
    compete(partition, 2000)
    for _ in range(AGREEING):
        partition.look(CROWDED_OUT)
    for now in range(4000):  # they change their roles, and the loop is a longer one
        partition.see(LOOP, digest(LOOP, 10_000 + now), BLOCK)
        partition.see(SCAN, digest(SCAN, now % 300), BLOCK)
        if now % 400 == 0:
            partition.age()
    before = partition.shares[LOOP]
    assert partition.look(HALVES)
    assert partition.shares[LOOP] == partition.wanted[LOOP] < before


def test_nothing_changes_where_nothing_is_gained() -> None:
    partition = Partition(CAPACITY)
    compete(partition, 2000)
    assert not any(partition.look(HALVES) for _ in range(10))  # all of the loop is there
    assert partition.shares == {} and partition.gain < 0.04


def test_nobody_is_judged_by_little_and_nobody_alone() -> None:
    partition = Partition(CAPACITY)
    compete(partition, 50)
    assert not any(partition.look(CROWDED_OUT) for _ in range(10))
    alone = Partition(CAPACITY)
    for now in range(2000):
        alone.see(LOOP, digest(LOOP, now % 160), BLOCK)
    assert not any(alone.look({LOOP: CAPACITY}) for _ in range(10))


def test_shares_end_with_who_had_them() -> None:
    partition = Partition(CAPACITY)
    compete(partition, 2000)
    for _ in range(AGREEING):
        partition.look(CROWDED_OUT)
    assert partition.shares
    assert partition.look({LOOP: CAPACITY}) and partition.shares == {}  # the scan holds nothing any more
    for _ in range(20):
        partition.age()
    assert partition.curves() == {}


def run(cache: Eviction, requests: int, is_divided: bool) -> int:
    """A program that picks among its blocks, beside three that read theirs once. Returns its hits."""
    drawing, hits = Random(1), 0
    for now in range(requests):
        for group, number in (
            (LOOP, int(250 * drawing.random())),
            *((SCAN, 3 * now + each) for each in range(3)),
        ):
            if cache.get(key(group, number)) is None:
                cache.admit(key(group, number), BLOCK, group=group)
            else:
                cache.touch(key(group, number), group)
                hits += group == LOOP
            cache.victims()
        if is_divided and now % 100 == 99:
            cache.divide()
    return hits


def test_a_division_is_kept_to_and_the_limit_holds() -> None:
    caches = [Eviction(CAPACITY) for _ in range(2)]
    alone, divided = (run(cache, 1500, is_divided) for cache, is_divided in zip(caches, (False, True), strict=True))
    assert divided >= alone
    for cache in caches:
        assert cache.used_bytes <= CAPACITY and sum(cache.held_bytes.values()) == cache.used_bytes


def test_a_block_counts_for_who_used_it_last() -> None:
    cache = Eviction(CAPACITY)
    cache.admit(b"one", BLOCK, group=LOOP)
    cache.admit(b"two", BLOCK, generator="history", group=LOOP)
    assert cache.held_bytes == {LOOP: BLOCK}  # what is fetched ahead is nobody's yet
    cache.touch(b"two", SCAN)
    cache.touch(b"one", SCAN)
    assert cache.held_bytes == {SCAN: 2 * BLOCK}
    cache.admit(b"one", 2 * BLOCK, group=SCAN)
    assert cache.held_bytes == {SCAN: 3 * BLOCK}
    cache.forget(b"one")
    cache.touch(b"two")  # by nobody that is known
    assert cache.held_bytes == {SCAN: BLOCK}
    cache.forget(b"two")
    assert cache.held_bytes == {}


def test_what_is_kept_for_one_is_taken_from_who_holds_too_much_and_not_from_a_third() -> None:
    cache = Eviction(30 * BLOCK)
    for number in range(10):
        for group in (LOOP, SCAN, OTHER):
            cache.admit(key(group, number), BLOCK, group=group)
    cache.partition.shares, cache.partition.wanted = {LOOP: 0.75}, {LOOP: 0.9, SCAN: 0.1}
    for number in range(10, 20):
        cache.admit(key(OTHER, number), BLOCK, group=OTHER)
        cache.victims()
    held = {group: size_bytes // BLOCK for group, size_bytes in cache.held_bytes.items()}
    assert sum(held.values()) == 30
    assert held[LOOP] == 10 and held[SCAN] < 10 and held[OTHER] > 10


def test_who_has_more_than_is_kept_for_it_loses_blocks_as_ever() -> None:
    partition = Partition(CAPACITY)
    partition.shares, partition.wanted = {LOOP: 0.5}, {LOOP: 0.9, SCAN: 0.1}
    assert partition.gives_way_to(LOOP, {LOOP: 4, SCAN: 6}) == SCAN
    assert partition.gives_way_to(LOOP, {LOOP: 5, SCAN: 5}) == 0
    assert partition.gives_way_to(SCAN, {LOOP: 5, SCAN: 5}) == 0
    assert partition.gives_way_to(OTHER, {LOOP: 5, SCAN: 5}) == 0
