"""The counter of the request path says what prometheus-client's own would."""

import threading

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from llmfs.counter import Counter

THREADS, TIMES = 8, 5000


@pytest.mark.parametrize("is_shared", [False, True])
@given(st.lists(st.tuples(st.sampled_from(("cache", "source")), st.floats(0, 1e9)), max_size=30))
def test_same_text_as_the_library(is_shared: bool, additions: list[tuple[str, float]]) -> None:
    ours_registry, theirs_registry = CollectorRegistry(), CollectorRegistry()
    ours = Counter("read_bytes", "Bytes.", ["tier"], registry=ours_registry, is_shared=is_shared)
    theirs = prometheus_client.Counter("read_bytes", "Bytes.", ["tier"], registry=theirs_registry)
    for tier in ("cache", "source"):
        ours.labels(tier)
        theirs.labels(tier)
    for tier, amount in additions:
        ours.labels(tier).inc(amount)
        theirs.labels(tier).inc(amount)
    theirs_text = [line for line in generate_latest(theirs_registry).decode().splitlines() if "_created" not in line]
    assert generate_latest(ours_registry).decode().splitlines() == theirs_text


def test_one_without_labels_is_there_from_the_beginning() -> None:
    registry = CollectorRegistry()
    count = Counter("written_bytes", "Bytes.", registry=registry).labels()
    assert registry.get_sample_value("written_bytes_total") == 0
    count.inc()
    assert registry.get_sample_value("written_bytes_total") == count.value == 1


def test_shared_count_loses_nothing() -> None:
    count = Counter("faults", "Faults.", registry=CollectorRegistry(), is_shared=True).labels()
    threads = [threading.Thread(target=lambda: [count.inc() for _ in range(TIMES)]) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count.value == THREADS * TIMES
