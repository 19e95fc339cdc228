"""What metrics say of what happened, without a mount."""

import errno
import os
from math import sqrt

import pytest
from prometheus_client import generate_latest

from llmfs.metrics import ERROR_CLASSES, GENERATORS, Metrics, error_class, read_share
from llmfs.status import status_of
from predictor.events import Tier
from predictor.plan import MODELS, origin


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(os.getpid)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_prefetch_in_time_saves_the_mean_of_such_calls(metrics: Metrics) -> None:
    for _ in range(100):
        metrics.observe_source("read", 0.01, 0)
        metrics.observe_source("lookup", 0.002, 0)
    metrics.observe_source("read", 9.0, errno.EIO)  # a call that failed is no measure
    metrics.prefetched("data", "history", 1000)
    metrics.prefetch_used("data", "history", was_late=False, size_bytes=1000)
    metrics.prefetch_used("attributes", "scan", was_late=False)
    saved = "llmfs_stall_saved_seconds_total"
    assert value(metrics, saved, kind="data", generator="history") == pytest.approx(0.01)
    assert value(metrics, saved, kind="attributes", generator="scan") == pytest.approx(0.002)
    assert value(metrics, "llmfs_prefetch_used_bytes_total", generator="history", timeliness="in_time") == 1000


def test_mean_follows_the_source(metrics: Metrics) -> None:
    for seconds in [0.001] * 100 + [0.1] * 200:
        metrics.observe_source("read", seconds, 0)
    metrics.prefetch_used("data", "history", was_late=False, size_bytes=1)
    saved = value(metrics, "llmfs_stall_saved_seconds_total", kind="data", generator="history")
    assert saved == pytest.approx(0.1, rel=0.01)


def test_late_prefetch_saves_nothing_that_we_claim(metrics: Metrics) -> None:
    metrics.observe_source("read", 0.01, 0)
    metrics.prefetch_used("data", "history", was_late=True, size_bytes=10)
    assert value(metrics, "llmfs_stall_saved_seconds_total", kind="data", generator="history") == 0
    assert value(metrics, "llmfs_prefetch_used_bytes_total", generator="history", timeliness="late") == 10


def test_stall_is_what_waited_for_the_source(metrics: Metrics) -> None:
    metrics.request["read"][Tier.CACHE].observe(5.0)
    metrics.request["read"][Tier.SOURCE].observe(0.5)
    metrics.request["read"][Tier.JOINED].observe(0.25)
    metrics.request["lookup"][Tier.SOURCE].observe(0.125)
    metrics.request["readdir"][Tier.SOURCE].observe(0.0625)
    stalls = "llmfs_stall_seconds_total"
    assert [value(metrics, stalls, kind=kind) for kind in GENERATORS] == [0.75, 0.125, 0.0625]


def test_unknown_generator_adds_no_series(metrics: Metrics) -> None:
    before = generate_latest(metrics.registry).count(b"\n")
    for kind in GENERATORS:
        metrics.prefetched(kind, "a file's name", 1)
        metrics.prefetch_used(kind, "a file's name", was_late=False, size_bytes=1)
        metrics.prefetch_was_in_vain(kind, "a file's name", 1)
    assert generate_latest(metrics.registry).count(b"\n") == before
    assert value(metrics, "llmfs_prefetch_issued_total", kind="data", generator="other") == 1


def test_evicted_prefetch_counts_as_unused(metrics: Metrics) -> None:
    metrics.evicted("capacity", 100, None)
    metrics.evicted("unused", 10, "history")
    assert value(metrics, "llmfs_prefetch_unused_bytes_total", generator="history") == 10
    assert value(metrics, "llmfs_prefetch_unused_total", kind="data", generator="history") == 1
    assert value(metrics, "llmfs_cache_evicted_bytes_total", reason="capacity") == 100


def test_prefetches_are_told_by_what_decided_on_them(metrics: Metrics) -> None:
    learned, counted = origin("sibling", "learned"), origin("sibling", "counts")
    metrics.prefetched("data", learned, 1000)
    metrics.prefetched("attributes", counted)
    metrics.prefetched("data", "region", 10)
    metrics.prefetch_used("data", learned, was_late=False, size_bytes=400)
    metrics.prefetch_used("attributes", counted, was_late=True)
    metrics.prefetch_was_in_vain("data", "region", 10)
    items, sizes = "llmfs_prefetch_model_items_total", "llmfs_prefetch_model_bytes_total"
    assert [value(metrics, items, model=model, outcome="issued") for model in MODELS] == [1, 1, 0, 1]
    assert value(metrics, items, model="learned", outcome="in_time") == 1
    assert value(metrics, items, model="counts", outcome="late") == 1
    assert value(metrics, items, model="rules", outcome="unused") == 1
    assert value(metrics, sizes, model="learned", outcome="issued") == 1000
    assert value(metrics, sizes, model="learned", outcome="in_time") == 400
    assert value(metrics, sizes, model="rules", outcome="unused") == 10
    assert value(metrics, "llmfs_prefetch_issued_total", kind="data", generator="sibling") == 1


def test_share_of_pushed_pages_that_is_read_is_told_with_its_error(metrics: Metrics) -> None:
    assert "read_share" not in status_of(metrics)["kernel"]
    metrics.pushed_bytes.inc(4_000_000_000)
    for number in range(1000):
        metrics.page_held_back(False)
        if number < 640:
            metrics.page_held_back(True)
    told = status_of(metrics)["kernel"]
    assert told["read_share"] == 0.64 and told["read_share_error"] == pytest.approx(sqrt(0.64 * 0.36 / 1000), abs=1e-4)
    assert told["read_bytes"] == 2_560_000_000
    assert told["read_bytes_error"] == pytest.approx(4e9 * told["read_share_error"], rel=0.01)
    assert read_share(3, 3)[1] > 0.1, "three pages are no certainty"


def test_error_classes_are_apart() -> None:
    members = [number for numbers in ERROR_CLASSES.values() for number in numbers]
    assert len(members) == len(set(members))
    assert [error_class(number) for number in (errno.ENOTCONN, errno.EIO, errno.EDEADLK)] == [
        "unreachable",
        "io",
        "other",
    ]


def test_source_is_gone_until_it_answers(metrics: Metrics) -> None:
    metrics.observe_source("lookup", 0.1, errno.ENOTCONN)
    assert not metrics.is_source_reachable
    assert value(metrics, "llmfs_source_errors_total", **{"class": "unreachable"}) == 1
    metrics.observe_source("lookup", 0.1, errno.EACCES)
    assert metrics.is_source_reachable


def test_predictor_tells_its_losses_after_the_first_training(metrics: Metrics) -> None:
    lag = value(metrics, "llmfs_predictor_lag_seconds")
    assert lag != lag, "it said nothing yet"
    metrics.predictor_told({"events": 5.0, "something_new": 1.0})
    assert value(metrics, "llmfs_predictor_events_total") == 5
    loss = value(metrics, "llmfs_predictor_training_loss", model="shadow")
    assert loss != loss, "none yet"
    metrics.predictor_told({"loss_shadow": 0.25})
    assert value(metrics, "llmfs_predictor_training_loss", model="shadow") == 0.25
