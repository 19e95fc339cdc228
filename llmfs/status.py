"""What a mount tells of itself in `user.llmfs.status`, read off its metrics."""

from collections.abc import Mapping
from typing import Any

from llmfs.metrics import SOURCE_OPERATIONS, TIERS, Metrics
from predictor.events import Tier


def status_of(metrics: Metrics) -> dict[str, Any]:
    """The figures of a mount since it was mounted, as JSON can hold them."""
    source_requests, source_seconds = 0, 0.0
    for operation in SOURCE_OPERATIONS:
        series = metrics.source[operation]
        source_seconds += series.sum
        source_requests += series.count
    return {
        "reads": {name: _count(metrics.reads[tier]) for tier, name in TIERS.items()},
        "read_bytes": {name: _count(metrics.read_bytes[tier]) for tier, name in TIERS.items()},
        "lookups": {name: _count(metrics.metadata[tier]) for tier, name in TIERS.items()},
        "prefetch": {
            "issued": _sum(metrics.prefetch_issued["data"]),
            "issued_bytes": _sum(metrics.prefetch_issued_bytes),
            "used_in_time": _sum(metrics.prefetch_in_time["data"]),
            "used_late": _sum(metrics.prefetch_late["data"]),
            "used_bytes": _sum(metrics.prefetch_in_time_bytes) + _sum(metrics.prefetch_late_bytes),
            "unused": _sum(metrics.prefetch_unused["data"]),
            "unused_bytes": _sum(metrics.prefetch_unused_bytes),
            "attributes_issued": _sum(metrics.prefetch_issued["attributes"]),
            "attributes_used_in_time": _sum(metrics.prefetch_in_time["attributes"]),
            "attributes_used_late": _sum(metrics.prefetch_late["attributes"]),
            "listings_issued": _sum(metrics.prefetch_issued["listing"]),
            "dropped": _count(metrics.prefetch_dropped),
            "by_generator": _by_generator(metrics),
        },
        "waiting": _waiting(metrics),
        "source_calls": {
            "requests": source_requests,
            "latency_ms": round(1000 * source_seconds / source_requests, 3) if source_requests else 0.0,
            "errors": _sum(metrics.source_error),
        },
    }


def _waiting(metrics: Metrics) -> dict[str, float]:
    """Seconds over all programs: suffered, and estimates of what all hits saved, and of it what prefetching did.

    A hit counts for one call on the source at the mean since the mount, as instance:llmfs_hits_saved_seconds:rate5m has
    it (examples/prometheus/rules.yml); of prefetching, at the mean of its time, which may be more.
    """
    by_prefetching_s = sum(
        counter._value.get() for counters in metrics.stall_saved.values() for counter in counters.values()
    )
    by_hits_s = sum(
        hits[Tier.CACHE]._value.get() * calls.sum / calls.count
        for hits, calls in ((metrics.reads, metrics.source["read"]), (metrics.metadata, metrics.source["lookup"]))
        if calls.count
    )
    return {
        "suffered_s": round(sum(metrics.stall_seconds().values()), 3),
        "saved_s": round(max(by_hits_s, by_prefetching_s), 3),
        "saved_by_prefetching_s": round(by_prefetching_s, 3),
    }


def _by_generator(metrics: Metrics) -> dict[str, dict[str, int]]:
    """Of each that had data fetched: how many blocks, and what became of them."""
    return {
        generator: {
            "issued": issued,
            "used_in_time": _count(metrics.prefetch_in_time["data"][generator]),
            "used_late": _count(metrics.prefetch_late["data"][generator]),
            "unused": _count(metrics.prefetch_unused["data"][generator]),
        }
        for generator, counter in metrics.prefetch_issued["data"].items()
        if (issued := _count(counter))
    }


def _sum(counters: Mapping[str, Any]) -> int:
    return sum(_count(counter) for counter in counters.values())


def _count(counter: Any) -> int:
    return int(counter._value.get())
