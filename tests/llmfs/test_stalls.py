"""The event loop waits for the cache's disk a small share of the time, however slow that disk is."""

import random

from hypothesis import given
from hypothesis import strategies as st

from llmfs.policy.stalls import ALLOWANCE_S, LONGEST_PAUSE_S, SHARE, Stalls


def test_a_wait_now_and_then_is_borne() -> None:
    stalls = Stalls()
    wait_s = ALLOWANCE_S / 2
    for number in range(1000):
        assert stalls.waited(wait_s, number * 1.01 * wait_s / SHARE) == 0


def test_waits_that_add_up_end_in_a_pause() -> None:
    stalls = Stalls()
    assert stalls.waited(ALLOWANCE_S * 0.7, 1.0) == 0
    pause_s = stalls.waited(ALLOWANCE_S * 0.7, 1.2)
    assert pause_s > 0
    assert stalls.paused_until_s == 1.2 + pause_s
    assert stalls.waited(ALLOWANCE_S * 0.7, 1.2 + pause_s) == 0


@given(st.integers(), st.floats(0.003, 2.0))
def test_waits_are_a_small_share_of_the_time(seed: int, longest_s: float) -> None:
    dice, stalls = random.Random(seed), Stalls()
    now_s = began_s = 1000.0
    waited_s = 0.0
    for _ in range(300):
        now_s = max(now_s, stalls.paused_until_s) + dice.choice((0.0, 0.001))
        wait_s = dice.uniform(0.002, longest_s)
        now_s += wait_s
        waited_s += wait_s
        stalls.waited(wait_s, now_s)
    # What is owed at the end has not been paid yet.
    assert waited_s <= SHARE * (max(now_s, stalls.paused_until_s) - began_s) * 1.01 + ALLOWANCE_S


def test_no_pause_is_for_ever() -> None:
    stalls = Stalls()
    assert stalls.waited(1000.0, 1000.0) == LONGEST_PAUSE_S
