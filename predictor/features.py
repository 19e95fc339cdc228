"""What the network sees: a token for each visit of a stream, a row for each candidate. Numbers only, no identities.

Everything is relative (to the visit before, to the directory, to a candidate's generators), so that what was learned
transfers to paths that were never seen. Sizes and counts are logarithms, extensions are hashed into a few buckets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, log1p
from zlib import crc32

import numpy as np
import numpy.typing as npt

GENERATORS = (
    "history",
    "successor2",
    "successor",
    "global",
    "sibling",
    "numbered",
    "unread",
    "children",
)
"""The candidate sources that are ranked, in the order of their columns. Append, never reorder: weights depend on it."""

_COLUMN = {name: index for index, name in enumerate(GENERATORS)}

TOKENS = 16
"""Visits of context the network reads."""

EXTENSIONS = 8
TOKEN_FEATURES = 4 + 5 + 4 + 3 + len(GENERATORS) + 1 + EXTENSIONS

_EACH = 5  # columns a generator: proposes it, rank, confidence, how often such came true, how many such there were
_PRIOR = _EACH * len(GENERATORS)
_CANDIDATE = _PRIOR + 3
_SITUATION = _CANDIDATE + 12
_RANKING = _SITUATION + 4
CANDIDATE_FEATURES = _RANKING + 3 + EXTENSIONS
PRIOR_COLUMNS = slice(_PRIOR, _PRIOR + 3)
"""The columns of a candidate's row with the prior's probabilities within each horizon."""


def extension_bucket(name: bytes) -> int:
    """A stable bucket for a name's extension; 0 is for none."""
    dot = name.rfind(b".")
    return 1 + crc32(name[dot:]) % (EXTENSIONS - 1) if dot > 0 else 0


def signed_log(value: float) -> float:
    """log(1 + |value|) with value's sign, scaled to about one."""
    return log1p(value) / 8 if value >= 0 else -log1p(-value) / 8


def token(
    flags: int,
    relation: int,
    size: int,
    read_bytes: int,
    elapsed_ns: int,
    sibling_step: int,
    number_step: int,
    is_seen: bool,
    proposals: dict[str, int] | None,
    extension: int,
) -> list[float]:
    """One visit. `relation` to the visit before: 0 other place, 1 same directory, 2 parent, 3 child, 4 same file."""
    row = [0.0] * TOKEN_FEATURES
    for bit in range(4):
        if flags >> bit & 1:
            row[bit] = 1.0
    row[4 + relation] = 1.0
    row[9] = log1p(size) / 16
    row[10] = log1p(read_bytes) / 16
    row[11] = log1p(max(0, elapsed_ns) / 1000) / 12
    row[12] = 1.0 if is_seen else 0.0
    row[13] = signed_log(sibling_step)
    row[14] = signed_log(number_step)
    row[15] = 1.0 if abs(number_step) == 1 else 0.0
    if proposals:
        for generator, rank in proposals.items():
            row[16 + _COLUMN[generator]] = 1 / (1 + rank)
        row[16 + len(GENERATORS)] = 1.0
    row[17 + len(GENERATORS) + extension] = 1.0
    return row


class Candidate:
    """A path that may be used soon, and who says so."""

    __slots__ = ("evidence", "generators", "path", "probability")

    def __init__(self, path: int) -> None:
        self.path = path
        self.generators: dict[str, tuple[int, float]] = {}  # name -> (rank, confidence)
        self.evidence: list[tuple[float, float]] = []  # beside each: frequency within HORIZONS[1], tries
        self.probability = (0.0, 0.0, 0.0)  # within each horizon


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a candidate beside who proposes it."""

    extension: int  # its bucket
    has_same_extension: bool  # as the stream's last visit
    has_same_directory: bool
    size: int  # bytes, 0 where it is not known
    uses: int  # visits so far
    since_use: int  # visits of all streams since the last one, -1 for never
    flags: int  # of its last visit, 0 for none
    unread_share: float  # of its directory's files, not read in this epoch
    is_in_set: bool  # its directory is read as a set
    reads: int  # different files of its directory that were read


def situation(bias: float, group_visits: int, stream_visits: int, candidates: int) -> tuple[float, ...]:
    """What all candidates of a ranking share. `bias`: by which factor, as a logarithm, the group's predictions came
    true more often lately than the prior said."""
    return bias, log1p(group_visits) / 8, log1p(stream_visits) / 8, log1p(candidates) / 4


def row(candidate: Candidate, known: Known, shared: Sequence[float]) -> list[float]:
    """A candidate's features; those of its place in the ranking are added by `place`."""
    values = [0.0] * CANDIDATE_FEATURES
    for (generator, (rank, confidence)), (chance, tries) in zip(
        candidate.generators.items(), candidate.evidence, strict=True
    ):
        column = _EACH * _COLUMN[generator]
        values[column : column + _EACH] = (
            1.0,
            1 / (1 + rank),
            confidence,
            log(chance / (1 - chance)) / 4,
            log1p(tries) / 8,
        )
    values[PRIOR_COLUMNS] = candidate.probability
    values[_CANDIDATE:_RANKING] = (
        len(candidate.generators) / 4,
        log1p(known.size) / 16,
        log1p(known.uses) / 4,
        log1p(known.since_use) / 10 if known.since_use >= 0 else 0.0,
        float(known.uses > 0),
        known.unread_share,
        float(known.is_in_set),
        log1p(known.reads) / 8,
        float(known.has_same_directory),
        float(known.has_same_extension),
        float(known.flags & 2 > 0),  # it was not there
        float(known.flags & 8 > 0),  # its data was read
        *shared,
    )
    values[CANDIDATE_FEATURES - EXTENSIONS + known.extension] = 1.0
    return values


def place(rows: npt.NDArray[np.float32]) -> None:
    """Fills in each row's place among all of its ranking: (N, CANDIDATE_FEATURES), by the prior."""
    chances = np.clip(rows[:, PRIOR_COLUMNS.start + 1], 1e-3, 1 - 1e-3)  # (N,)
    logits = np.log(chances / (1 - chances))
    order = np.argsort(-chances, kind="stable")
    ranks = np.empty(len(rows), np.float32)
    ranks[order] = np.arange(len(rows))
    rows[:, _RANKING] = 1 / (1 + ranks)
    rows[:, _RANKING + 1] = (logits.max() - logits) / 8
    rows[:, _RANKING + 2] = np.log1p(chances.sum() - chances) / 4  # what the others are expected to take
