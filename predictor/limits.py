"""The bounds of an engine's memory and of its zeal, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of memory and of zeal."""

    history: int = 1 << 16  # visits remembered
    streams: int = 512
    groups: int = 256
    outstanding: int = 1 << 16  # planned things remembered, so that they are not planned twice
    plan_items: int = 2048  # answered at once
    min_score: float = 0.25  # below this a candidate is not worth a request for data
    min_score_unseen: float = 0.65  # nor for data of a file that was never seen: one byte in five may be in vain
    min_score_names: float = 0.1  # below this not even one for attributes or a listing, which move no bytes
    planned_again_ns: int = 30_000_000_000  # planned, not used: may be planned again after this
    used_again_ns: int = 2_000_000_000  # used: is ready for at least this long
