"""What the predictor answers: what to have ready, why, and how sure it is."""

from dataclasses import dataclass
from enum import IntEnum


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
    candidate source that proposed it, for metrics and `explain`.
    """

    want: Want
    path: bytes
    offset: int
    length: int
    score: float
    horizon: int
    generator: str


class Outcome(IntEnum):
    """What became of a prefetch. The mount reports it; the predictor learns from it."""

    IN_TIME = 1  # used, and ready when it was asked for
    LATE = 2  # used, but the program had to wait for a part of the fetch
    UNUSED = 3  # dropped, evicted or expired without use
