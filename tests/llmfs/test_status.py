"""What a mount tells of itself, read off its metrics."""

import os

import pytest

from llmfs.metrics import Metrics
from llmfs.status import status_of
from predictor.events import Tier


def test_what_hits_saved_is_what_the_dashboard_calls_so() -> None:
    metrics = Metrics(os.getpid)
    for seconds in (0.01, 0.03):
        metrics.observe_source("read", seconds, 0)
    metrics.observe_source("lookup", 0.002, 0)
    metrics.reads[Tier.CACHE].inc(100)
    metrics.reads[Tier.SOURCE].inc(7)
    metrics.metadata[Tier.CACHE].inc(500)
    metrics.prefetch_used("data", "history", was_late=False, size_bytes=1)
    waiting = status_of(metrics)["waiting"]
    assert waiting["saved_s"] == pytest.approx(100 * 0.02 + 500 * 0.002)
    assert 0 < waiting["saved_by_prefetching_s"] < waiting["saved_s"]


def test_what_prefetching_saved_is_a_part_of_what_was_saved() -> None:
    metrics = Metrics(os.getpid)
    metrics.observe_source("read", 0.001, 0)
    for _ in range(9):
        metrics.prefetch_used("data", "history", was_late=False, size_bytes=1)
    waiting = status_of(metrics)["waiting"]
    assert waiting["saved_s"] == waiting["saved_by_prefetching_s"] == pytest.approx(0.009)


def test_a_mount_that_never_asked_saved_nothing_that_it_claims() -> None:
    metrics = Metrics(os.getpid)
    metrics.reads[Tier.CACHE].inc(100)
    assert status_of(metrics)["waiting"]["saved_s"] == 0
