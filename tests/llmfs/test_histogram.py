"""The histogram of the request path says what prometheus-client's own would."""

import prometheus_client
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from llmfs.histogram import Histogram

BUCKETS = (0.001, 0.01, 0.1, 1.0)


@given(st.lists(st.floats(0, 10), max_size=30))
def test_same_text_as_the_library(values: list[float]) -> None:
    ours_registry, theirs_registry = CollectorRegistry(), CollectorRegistry()
    ours = Histogram("time_seconds", "Time.", ["operation", "tier"], [("read", "cache")], BUCKETS, ours_registry)
    theirs = prometheus_client.Histogram(
        "time_seconds", "Time.", ["operation", "tier"], buckets=BUCKETS, registry=theirs_registry
    ).labels("read", "cache")
    for value in values:
        ours["read", "cache"].observe(value)
        theirs.observe(value)
    theirs_text = [line for line in generate_latest(theirs_registry).decode().splitlines() if "_created" not in line]
    assert generate_latest(ours_registry).decode().splitlines() == theirs_text
    assert ours["read", "cache"].count == len(values)
