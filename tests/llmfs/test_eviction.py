"""What stays when the cache is full: the limit holds, loops and scans do no harm, what is used or predicted stays."""

import tracemalloc
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmfs.blocks import BLOCK_BYTES
from llmfs.policy.eviction import AHEAD_SHARE, Eviction
from llmfs.policy.ghosts import FIXED_RULES, GHOST_BLOCKS, LRU, MEMORY_BLOCKS, RULES, Ghosts
from llmfs.policy.history import SLOTS_LEAST, SLOTS_PER_BLOCK, History, Past
from llmfs.policy.reuse import LENGTHS, RANKED_EVERY, ReuseTable, cell_of, length_of
from llmfs.policy.segments import NOMINEES, Resident, Rule, Segments

LIRS = FIXED_RULES[0]


def key(number: int) -> bytes:
    return number.to_bytes(8, "big")


def replay(policy: Eviction, numbers: list[int]) -> int:
    """Hits, every block of size 1."""
    hits = 0
    for number in numbers:
        if policy.touch(key(number)) is not None:
            hits += 1
        else:
            policy.admit(key(number), 1)
            policy.victims()
    return hits


steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["admit", "old", "ahead"]), st.integers(0, 30), st.integers(1, 40)),
        st.tuples(st.sampled_from(["touch", "forget", "done", "not done"]), st.integers(0, 30), st.just(0)),
        st.tuples(st.just("capacity"), st.just(0), st.integers(1, 200)),
    ),
    max_size=150,
)
rules = st.one_of(st.just(RULES), st.sampled_from([(rule,) for rule in RULES]))


@settings(deadline=None)  # a timing says nothing here
@given(steps, st.integers(1, 200), st.floats(0, 1), rules)
def test_limit_holds_and_every_block_is_there_or_was_handed_out(
    script: list[tuple[str, int, int]], capacity: int, weight: float, rules: tuple[Rule, ...]
) -> None:
    policy = Eviction(capacity, rules)
    present: dict[bytes, int] = {}
    for what, number, size in script:
        name = key(number)
        match what:
            case "touch":
                assert (policy.touch(name) is not None) == (name in present)
            case "forget":
                assert (policy.forget(name) is not None) == (name in present)
                present.pop(name, None)
            case "done":
                policy.done_with(name)
            case "not done":
                policy.not_done_with(name)
            case "capacity":
                policy.capacity_bytes = size
            case _:
                policy.admit(name, size, "history" if what == "ahead" else None, is_old=what == "old")
                present[name] = size
        for gone, resident in policy.victims(lambda each: weight * each[-1] / 255):
            assert resident.size_bytes == present.pop(gone)
        assert policy.used_bytes == sum(present.values()) <= policy.capacity_bytes
        assert len(policy) == len(present) and all(each in policy for each in present)


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), max_size=400), st.integers(1, 40), st.sampled_from(RULES))
def test_segments_account_for_every_byte_and_share_no_key(numbers: list[int], capacity: int, rule: Rule) -> None:
    segments = Segments(capacity, rule, ReuseTable())
    for now, number in enumerate(numbers, 1):
        resident = segments.get(key(number))
        if resident is not None:
            assert segments.use(key(number), now - resident.used_at, now)
            resident.used_at = now
        else:
            segments.insert(key(number), Resident(1 + number % 3, used_at=now), number % 5, now)
        while segments.used_bytes > capacity:
            segments.evict(now)
        assert not segments.window.keys() & segments.main.keys()
        assert segments.used_bytes == sum(resident.size_bytes for resident in segments.residents())


def test_lru_alone_is_lru() -> None:
    random, policy = Random(1), Eviction(20, (LRU,))
    recent: list[int] = []
    for _ in range(3000):
        number = int(random.paretovariate(0.5)) % 60
        assert (policy.touch(key(number)) is not None) == (number in recent[-20:])
        if number in recent:
            recent.remove(number)
        recent.append(number)
        policy.admit(key(number), 1)
        policy.victims()


def test_same_requests_give_the_same_decisions() -> None:
    random = Random(2)
    numbers = [int(random.paretovariate(0.4)) % 3000 for _ in range(6000)]
    assert replay(Eviction(150), numbers) == replay(Eviction(150), numbers)


def test_loop_longer_than_the_cache_hits_nearly_its_share() -> None:
    blocks, capacity, epochs = 1000, 200, 12
    hits = replay(Eviction(capacity), list(range(blocks)) * epochs)
    assert hits >= 0.85 * capacity * (epochs - 1)
    assert replay(Eviction(capacity, (LRU,)), list(range(blocks)) * epochs) == 0


def test_shuffled_epochs_hit_nearly_the_share_of_the_cache() -> None:
    random, blocks, capacity, epochs = Random(3), 1000, 200, 12
    numbers = [number for _ in range(epochs) for number in random.sample(range(blocks), blocks)]
    hits = replay(Eviction(capacity), numbers)
    assert hits >= 0.85 * capacity * (epochs - 1)
    assert hits > 2 * replay(Eviction(capacity, (LRU,)), numbers)


def test_working_set_that_moves_on_is_followed_as_lru_does() -> None:
    """Nothing comes back after a while: a policy that clings to what was used most would hit nothing."""
    random = Random(4)
    numbers = [at // 40 * 10 + random.randrange(100) for at in range(20_000)]
    ours, lru = replay(Eviction(120), numbers), replay(Eviction(120, (LRU,)), numbers)
    assert ours >= lru - 0.01 * len(numbers)


def test_scan_of_blocks_used_once_leaves_what_is_in_use() -> None:
    policy = Eviction(100)
    replay(policy, list(range(50)) * 4)
    replay(policy, list(range(1000, 3000)))
    assert sum(key(number) in policy for number in range(50)) >= 45


def test_block_larger_than_the_cache_does_not_stay_and_does_not_hang() -> None:
    policy = Eviction(10)
    policy.admit(b"big", 11)
    assert [name for name, _ in policy.victims()] == [b"big"]
    assert policy.used_bytes == 0


def test_of_the_nominees_the_least_likely_to_be_used_again_goes() -> None:
    policy = Eviction(NOMINEES, (LRU,))
    replay(policy, list(range(NOMINEES)))
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


def test_unused_prefetches_have_a_share_of_a_full_cache_and_no_more() -> None:
    policy = Eviction(100)
    replay(policy, list(range(100)) * 3)
    for number in range(1000, 1200):
        policy.admit(key(number), 1, "history")
        policy.victims()
    ahead = sum(key(number) in policy for number in range(1000, 1200))
    assert ahead <= AHEAD_SHARE * 100 + 1
    assert sum(key(number) in policy for number in range(100)) >= 100 - ahead - 1


def test_prefetch_that_nobody_used_goes_before_what_programs_use() -> None:
    policy = Eviction(100)
    policy.admit(key(9999), 1, "history")
    replay(policy, list(range(99)) * 4)
    replay(policy, [200])
    assert key(9999) not in policy


def test_first_use_of_a_prefetch_makes_it_an_ordinary_block() -> None:
    policy = Eviction(100)
    policy.admit(b"ahead", 1, "history")
    resident = policy.touch(b"ahead")
    assert resident is not None and resident.generator is None
    assert resident.uses == 1


def test_what_is_done_with_goes_first_and_stays_where_that_is_taken_back() -> None:
    policy = Eviction(3, (LRU,))
    replay(policy, [1, 2, 3])
    policy.done_with(key(3))
    policy.done_with(key(2))
    policy.not_done_with(key(2))
    replay(policy, [4])
    assert [number for number in (1, 2, 3, 4) if key(number) in policy] == [1, 2, 4]


def test_rule_of_the_ghost_that_hits_most_is_followed() -> None:
    policy, random = Eviction(100, (LIRS, LRU)), Random(8)
    replay(policy, [at // 40 * 10 + random.randrange(80) for at in range(8000)])
    assert policy.rule is LRU
    replay(policy, list(range(10_000, 10_300)) * 40)
    assert policy.rule is LIRS


def test_loop_longer_than_the_ghosts_memory_is_seen_to_hit() -> None:
    blocks = MEMORY_BLOCKS + 100
    policy = Eviction(400)
    assert replay(policy, list(range(blocks)) * 6) >= 4.5 * 400
    assert max(ghost.hits for ghost in policy._ghosts._ghosts) > 0


def test_ghosts_stay_small_when_the_cache_grows() -> None:
    ghosts = Ghosts(100_000, RULES, ReuseTable())
    random = Random(5)
    for now in range(1, 30_000):
        digest = random.getrandbits(64)
        ghosts.see(key(digest), digest, 1, now, blocks=100_000)
    assert all(len(ghost.segments) <= 2 * GHOST_BLOCKS for ghost in ghosts._ghosts)


def test_ghosts_of_a_large_cache_see_a_sample_from_the_beginning() -> None:
    ghosts = Ghosts(40 * GHOST_BLOCKS * BLOCK_BYTES, RULES, ReuseTable())
    random = Random(5)
    for now in range(1, 6401):
        digest = random.getrandbits(64)
        ghosts.see(key(digest), digest, BLOCK_BYTES, now, blocks=now)
    assert {len(ghost.segments) for ghost in ghosts._ghosts} == {len(ghosts._known)}
    assert 50 < len(ghosts._known) < 200


def test_ghosts_know_blocks_that_come_in_pieces_by_their_size_now() -> None:
    """Taken for as small as their first piece is, a ghost would hold all keys that are remembered, and forget none."""
    policy = Eviction(64 * 32)
    for number in range(2 * MEMORY_BLOCKS):
        for pages in (1, 32):
            policy.admit(key(number), pages)
            policy.victims()
    ghosts = policy._ghosts
    assert len(ghosts._known) <= MEMORY_BLOCKS
    for ghost in ghosts._ghosts:
        segments = ghost.segments
        assert segments.used_bytes == sum(resident.size_bytes for resident in segments.residents())
        assert segments.used_bytes <= segments.capacity_bytes
        assert len(segments) <= 64


def test_blocks_too_small_to_be_remembered_all_thin_the_sample() -> None:
    """What a cache holds is large, but many small ones pass through: the ghosts hold more than can be remembered."""
    table = ReuseTable()
    ghosts = Ghosts(4 * MEMORY_BLOCKS, RULES, table)
    for number in range(2 * MEMORY_BLOCKS):
        ghosts.see(key(number), number, 1, number + 1, GHOST_BLOCKS)
    assert len(ghosts._known) <= MEMORY_BLOCKS
    assert ghosts._shift > 0


def test_memory_for_a_block_is_bounded() -> None:
    """What is kept for each block beside its key, the ghosts included."""
    blocks = 20_000
    names = [key(number) for number in range(blocks)]
    tracemalloc.start()
    try:
        policy = Eviction(blocks)
        replay(policy, [0])
        before = tracemalloc.get_traced_memory()[0]
        for name in names:
            policy.admit(name, 1)
            policy.victims()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken < 250 * blocks


def test_history_knows_what_was_put_and_keeps_it_while_it_grows() -> None:
    history, random = History(), Random(6)
    digests = [random.getrandbits(64) for _ in range(500)]
    for at, digest in enumerate(digests, 1):
        history.put(digest, Past(at, at % 7, 5))
    history.fit(SLOTS_LEAST // SLOTS_PER_BLOCK + 1)
    found = [history.take(digest, 1000) for digest in digests]
    assert sum(past == Past(at, at % 7, 5) for at, past in enumerate(found, 1)) >= 490  # some share a slot
    assert history.take(random.getrandbits(64), 1000) is None
    assert history.nbytes == 2 * SLOTS_LEAST * 10


def test_history_halves_uses_and_nothing_else() -> None:
    history = History()
    history.put(1 << 40, Past(3, 9, 77))
    history.halve_uses()
    assert history.take(1 << 40, 10) == Past(3, 4, 77)


@given(st.integers(0, 1 << 30))
def test_lengths_of_gaps_are_in_order(gap: int) -> None:
    assert 0 <= length_of(gap) <= length_of(gap + 1) < LENGTHS


def test_table_ranks_what_returned_above_what_never_did() -> None:
    table = ReuseTable()
    returns, never = cell_of(100, 2), cell_of(0, 1)
    for _ in range(4 * RANKED_EVERY):
        table.learn(returns, 100, returns, blocks=200)
        table.learn(never, 0, never, blocks=200)
    assert table.rank(returns, 10) > table.rank(never, 10)
    assert table.rank(returns, 90) > table.rank(returns, 5000)  # it is overdue: it will not come


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_each_rule_alone_holds_what_is_used_all_the_time(rule: Rule) -> None:
    policy, random = Eviction(50, (rule,)), Random(7)
    numbers = [random.randrange(20) if random.random() < 0.8 else random.randrange(100, 10_000) for _ in range(8000)]
    assert replay(policy, numbers) > 0.7 * len(numbers)


# --- pins


def test_what_is_pinned_is_never_among_the_victims_while_others_are_left() -> None:
    policy, random = Eviction(100), Random(11)
    pinned = {key(number) for number in range(40)}
    for at in range(5000):
        name = key(at) if at < 40 else key(random.randrange(400))
        if policy.touch(name) is None:
            policy.admit(name, 1, "ahead" if random.random() < 0.3 else None)
        if random.random() < 0.05:
            policy.done_with(key(random.randrange(400)))
        gone = {victim for victim, _ in policy.victims(None, pinned.__contains__)}
        assert not gone & pinned and policy.used_bytes <= 100
    assert all(name in policy for name in pinned) and len(policy) == policy.used_bytes
    policy.unpinned(lambda name: False)
    for number in range(1000, 3000):
        policy.admit(key(number), 1)
        policy.victims(None, lambda name: False)
    assert not any(name in policy for name in pinned)


def test_the_limit_holds_even_where_all_is_pinned() -> None:
    policy = Eviction(10)
    for number in range(12):
        policy.admit(key(number), 1)
        assert len(policy.victims(None, lambda name: True)) == (number >= 10)
    assert policy.used_bytes == 10 and policy.forget(key(11)) is not None and policy.used_bytes == 9


def test_a_pinned_block_that_was_put_aside_may_grow_and_be_used() -> None:
    policy = Eviction(4, (LRU,))
    for number in range(5):
        policy.admit(key(number), 1)
        policy.victims(None, lambda name: name == key(0))
    policy.admit(key(0), 2)
    assert policy.touch(key(0)) is policy.get(key(0))
    assert key(1) not in policy and key(0) in policy
    policy.victims(None, lambda name: name == key(0))
    assert policy.used_bytes <= 4 and key(0) in policy
