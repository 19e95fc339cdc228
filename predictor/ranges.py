"""Byte ranges of a file: a short sorted tuple of half-open intervals, merged where a fetch would span the gap anyway.

Ranges are values: adding returns a new tuple (or the same one when nothing changed), so that history entries may share
them. Nothing here grows beyond `MAX_INTERVALS`.
"""

Ranges = tuple[tuple[int, int], ...]
"""Half-open byte intervals [start, end), sorted and disjoint."""

GAP_BYTES = 128 << 10
"""Intervals closer than this are merged: the cache's block is no smaller, so that the gap is fetched in any case."""

MAX_INTERVALS = 16
"""More intervals than this are a random reader, whose next visit is better described by a second entry."""


def add(ranges: Ranges, start: int, end: int) -> Ranges | None:
    """`ranges` with [start, end) in it, or None where it would need more than MAX_INTERVALS intervals."""
    if ranges:
        first, last = ranges[-1]
        if first <= start:  # the common cases: read again, or on from where the last read ended
            if end <= last:
                return ranges
            if start <= last + GAP_BYTES:
                return (*ranges[:-1], (first, end))
    merged: list[tuple[int, int]] = []
    for low, high in ranges:
        if high + GAP_BYTES < start or end + GAP_BYTES < low:
            merged.append((low, high))
        else:
            start, end = min(start, low), max(end, high)
    merged.append((start, end))
    if len(merged) > MAX_INTERVALS:
        return None
    merged.sort()
    return tuple(merged)


def union(one: Ranges, other: Ranges) -> Ranges:
    """Both, as far as MAX_INTERVALS allows; what does not fit of `other` is left out."""
    for start, end in other:
        one = add(one, start, end) or one
    return one


def total(ranges: Ranges) -> int:
    """Bytes covered."""
    return sum(end - start for start, end in ranges)
