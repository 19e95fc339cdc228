"""The bounds of an engine's memory and of its zeal, in one place.

With these an engine takes at most 512 MiB of memory, however many files there are: `python -m bench.scale` floods one
with ten million and draws what it takes.
"""

from dataclasses import dataclass

from predictor.events import PATHS_IN_USE


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of memory and of zeal."""

    paths: int = 3 << 17  # in the path table; beyond that it is cut down to those that something refers to
    paths_in_use: int = PATHS_IN_USE  # that the mount may still speak of by their numbers
    history: int = 1 << 16  # visits remembered
    uses: int = 1 << 17  # paths whose visits are counted, for eviction
    contexts: int = 1 << 16  # whose successors are counted
    names: int = 3 << 16  # of directories' listings and files read, all directories together
    streams: int = 512
    groups: int = 256
    examples: int = 1 << 10  # rankings kept to train on, the latest and as many older ones
    outstanding: int = 1 << 16  # planned things remembered, so that they are not planned twice
    plan_items: int = 2048  # answered at once
    ahead_bytes: int = 1 << 30  # planned and not used yet: replays of the past wait beyond that
    min_score: float = 0.25  # below this a candidate is not worth a request for data
    min_score_unseen: float = 0.65  # nor for data of a file that was never seen: one byte in five may be in vain
    min_score_names: float = 0.1  # below this not even one for attributes or a listing, which move no bytes
    planned_again_ns: int = 30_000_000_000  # planned, not used: may be planned again after this
    used_again_ns: int = 2_000_000_000  # used: is ready for at least this long, or while `ahead_bytes` are read


SMALL = Limits(
    paths=3 << 13,
    paths_in_use=3 << 12,
    history=1 << 15,
    uses=1 << 13,
    contexts=1 << 13,
    names=1 << 14,
    streams=64,
    groups=64,
    examples=1 << 6,
    outstanding=1 << 12,
)
"""Where memory is dear. The last 32,000 visits are remembered: one run of `import torch` takes more than 16,000. Of
their paths as many are as these take."""
