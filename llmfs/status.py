"""What a mount tells of itself in `user.llmfs.status`, read off its metrics."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from llmfs.counter import Count
from llmfs.metrics import SOURCE_OPERATIONS, TIERS, Metrics, read_share
from predictor.events import Tier

ROWS_BYTES = 8 << 10
"""Of the 64 KiB of an extended attribute, for rows whose number and length are a configuration's."""


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
        "kernel": _kernel(metrics),
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
            "attributes_unused": _sum(metrics.prefetch_unused["attributes"]),
            "listings_issued": _sum(metrics.prefetch_issued["listing"]),
            "listings_used_in_time": _sum(metrics.prefetch_in_time["listing"]),
            "listings_used_late": _sum(metrics.prefetch_late["listing"]),
            "listings_unused": _sum(metrics.prefetch_unused["listing"]),
            "dropped": _sum(metrics.prefetch_dropped),
            "by_generator": _by_generator(metrics),
            "by_model": _by_model(metrics),
        },
        "waiting": _waiting(metrics),
        "source_calls": {
            "requests": source_requests,
            "latency_ms": round(1000 * source_seconds / source_requests, 3) if source_requests else 0.0,
            "errors": _sum(metrics.source_error),
        },
    }


def as_fit(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first of them, as far as an extended attribute has room beside all else that it tells."""
    shown, left_bytes = [], ROWS_BYTES
    for row in rows:
        left_bytes -= len(json.dumps(row))
        if left_bytes < 0:
            break
        shown.append(row)
    return shown


def _kernel(metrics: Metrics) -> dict[str, Any]:
    """What was pushed into the kernel's page cache and, once pages were held back, how much of it is read there, with
    standard errors."""
    pushed_bytes, held_back = _count(metrics.pushed_bytes), _count(metrics.held_back)
    figures: dict[str, Any] = {"pushed_bytes": pushed_bytes, "held_back_pages": held_back}
    if held_back:
        share, error = read_share(held_back, _count(metrics.held_back_used))
        figures |= {
            "read_share": round(share, 4),
            "read_share_error": round(error, 4),
            "read_bytes": int(share * pushed_bytes),
            "read_bytes_error": int(error * pushed_bytes),
        }
    return figures


def _waiting(metrics: Metrics) -> dict[str, float]:
    """Seconds over all programs: suffered, and estimates of what all hits saved, and of it what prefetching did.

    A hit counts for one call on the source at the mean since the mount, as instance:llmfs_hits_saved_seconds:rate5m has
    it (examples/prometheus/rules.yml); of prefetching, at the mean of its time, which may be more.
    """
    by_prefetching_s = sum(count.value for counts in metrics.stall_saved.values() for count in counts.values())
    by_hits_s = sum(
        hits[Tier.CACHE].value * calls.sum / calls.count
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


def _by_model(metrics: Metrics) -> dict[str, dict[str, int]]:
    """Of each that decided on any: how many things were fetched ahead, and what became of them."""
    return {
        model: {fate: _count(counters[model]) for fate, counters in metrics.prefetch_by_model.items()}
        for model, counter in metrics.prefetch_by_model["issued"].items()
        if _count(counter)
    }


def _sum(counters: Mapping[Any, Count]) -> int:
    return sum(_count(counter) for counter in counters.values())


def _count(count: Count) -> int:
    return int(count.value)
