"""When a source is so fast that reads go past the cache."""

import pytest

from llmfs.policy.speed import SAMPLES_BEFORE_FAST, SourceSpeed


def observe(speed: SourceSpeed, operation: str, seconds: float, times: int = 10 * SAMPLES_BEFORE_FAST) -> None:
    for _ in range(times):
        speed.observe(operation, seconds)


@pytest.mark.parametrize("is_local", [False, True])
def test_a_source_counts_as_slow_until_it_proves_fast(is_local: bool) -> None:
    speed = SourceSpeed()
    speed.is_local = is_local
    assert not speed.is_fast
    observe(speed, "read", 20e-6, SAMPLES_BEFORE_FAST - 1)
    observe(speed, "lookup", 20e-6, SAMPLES_BEFORE_FAST - 1)
    assert not speed.is_fast
    observe(speed, "read", 20e-6)
    observe(speed, "lookup", 20e-6)
    assert speed.is_fast
    observe(speed, "read", 2e-3)
    assert not speed.is_fast


def test_a_network_source_that_reads_ahead_is_not_fast_while_its_names_are_slow() -> None:
    speed = SourceSpeed()
    observe(speed, "lookup", 2e-3)
    observe(speed, "read", 20e-6)
    assert not speed.is_fast
    observe(speed, "lookup", 20e-6)
    assert speed.is_fast


def test_of_a_local_disk_reads_tell() -> None:
    speed = SourceSpeed()
    speed.is_local = True
    observe(speed, "lookup", 2e-3)
    observe(speed, "read", 20e-6)
    assert speed.is_fast
