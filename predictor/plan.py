"""What the predictor answers: what to have ready, why, and how sure it is."""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

RULES = "rules"
COUNTS = "counts"
PRETRAINED = "pretrained"
LEARNED = "learned"
MODELS = (RULES, COUNTS, PRETRAINED, LEARNED)
"""What decided on a prefetch: a rule, whatever came of it before; how often such came true; or a network."""


class Want(IntEnum):
    """What should be ready before it is asked for."""

    ATTRIBUTES = 1  # the name resolves and its attributes are fresh, or its absence is known
    LISTING = 2  # the directory's names
    DATA = 3  # a byte range of a regular file; implies ATTRIBUTES


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One thing to prefetch.

    `path` is relative to the source. `offset` and `length` are bytes and matter for DATA alone; a length of 0 means
    "to the end of the file". `score` is the calibrated probability that the thing is used soon, and `horizon` says
    when: within so many visits of its program, or about so many from now where the network tells. `generator` names the
    candidate source that proposed it, for metrics and `explain`, and `model` what decided on it, for metrics.
    """

    want: Want
    path: bytes
    offset: int
    length: int
    score: float
    horizon: int
    generator: str
    model: str = RULES


class Outcome(IntEnum):
    """What became of a prefetch. The mount reports it; the predictor learns from it."""

    IN_TIME = 1  # used, and ready when it was asked for
    LATE = 2  # used, but the program had to wait for a part of the fetch
    UNUSED = 3  # dropped, evicted or expired without use


class Origin(str):
    """The name of who proposed a prefetch, with the model that decided on it."""

    __slots__ = ("model",)
    model: str


@lru_cache(maxsize=256)
def origin(generator: str, model: str) -> Origin:
    """The one of these names."""
    made = Origin(generator)
    made.model = model
    return made


def model_of(generator: str) -> str:
    """What decided on a prefetch of this generator's."""
    return generator.model if isinstance(generator, Origin) else RULES
