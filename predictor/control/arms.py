"""What a controller chooses among: how sure a prefetch must be, how many run at a time, how far ahead they go."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arm:
    """One setting of the planning of prefetches."""

    name: str
    min_score: float  # data is fetched ahead only at this probability of use or more; its name is in any case
    at_once: int  # prefetches that run at a time
    ahead_bytes: int  # fetched ahead and not used yet; the cache's share bounds it as well


_SCORES = (("any", 0.0), ("likely", 0.5), ("sure", 0.8))
_DEPTHS = (("deep", 1 << 10, 1 << 62), ("middle", 4, 64 << 20), ("shallow", 1, 16 << 20))

ARMS: tuple[Arm, ...] = tuple(
    Arm(f"{depth}-{score}", min_score, at_once, ahead_bytes)
    for depth, at_once, ahead_bytes in _DEPTHS
    for score, min_score in _SCORES
)
"""Scores within depths: arm 3 d + s is of depth d (0: deep) and of score s (0: any)."""

SCORES, DEPTHS = len(_SCORES), len(_DEPTHS)
SAFE = 0
"""The arm that does nothing: the mount as it is without a controller."""

CAREFUL = len(ARMS) - 1
"""The arm that fetches the least."""


CONTENDED = SCORES + 1
"""For cores that are contended: what is likely, four at a time. A fetch takes the core that a program waits for; one
that is used in the end would have taken it anyway."""


def no_bolder(arm: int, than: int) -> int:
    """The arm, with the depth and the score of the other one where those are the more careful ones."""
    return arm_of(max(arm // SCORES, than // SCORES), max(arm % SCORES, than % SCORES))


def arm_of(depth: int, score: int) -> int:
    """The number of an arm, of the nearest where there is none."""
    return SCORES * min(max(depth, 0), DEPTHS - 1) + min(max(score, 0), SCORES - 1)
