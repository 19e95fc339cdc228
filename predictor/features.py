"""What the network sees: a token for each visit of a stream, a row for each candidate. Numbers only, no identities.

Everything is relative (to the visit before, to the directory, to a candidate's generators), so that what was learned
transfers to paths that were never seen. Sizes and counts are logarithms, extensions are hashed into a few buckets.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import log1p
from typing import NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt

from predictor.tracker import Standing

Matrix = npt.NDArray[np.float32]

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


@lru_cache(maxsize=1024)
def extension_bucket(extension: bytes) -> int:
    """A stable bucket for an extension, with its dot; 0 is for none."""
    return 1 + crc32(extension) % (EXTENSIONS - 1) if extension else 0


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
    proposals: "Proposals | None",
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
        for generator, (rank, _) in proposals.items():
            row[16 + _COLUMN[generator]] = 1 / (1 + rank)
        row[16 + len(GENERATORS)] = 1.0
    row[17 + len(GENERATORS) + extension] = 1.0
    return row


Proposals = dict[str, tuple[int, float]]
"""Generator -> (rank, confidence)."""


class Candidate:
    """A path that may be used soon, and who says so."""

    __slots__ = ("generators", "path", "probability", "standings")

    def __init__(self, path: int) -> None:
        self.path = path
        self.generators: Proposals = {}
        self.standings: list[Standing] = []  # beside each
        self.probability = (0.0, 0.0, 0.0)  # within each horizon


class Known(NamedTuple):
    """What is known of a candidate beside who proposes it."""

    size: int  # bytes, 0 where it is not known
    uses: int  # visits so far
    since_use: int  # visits of all streams since the last one, -1 for never
    unread_share: float  # of its directory's files, not read in this epoch
    is_in_set: bool  # its directory is read as a set
    reads: int  # different files of its directory that were read
    has_same_directory: bool  # as the stream's last visit
    has_same_extension: bool
    was_absent: bool  # when it was visited last
    was_read: bool
    extension: int  # its bucket


def situation(bias: float, group_visits: int, stream_visits: int, candidates: int) -> tuple[float, ...]:
    """What all candidates of a ranking share. `bias`: by which factor, as a logarithm, the group's predictions came
    true more often lately than the prior said."""
    return bias, log1p(group_visits) / 8, log1p(stream_visits) / 8, log1p(candidates) / 4


def rows(candidates: Sequence[Candidate], known: Sequence[Known], shared: Sequence[float]) -> Matrix:
    """The candidates of a ranking: (N, CANDIDATE_FEATURES), by columns, for there are dozens of them each time."""
    count = len(candidates)
    values = np.zeros((count, CANDIDATE_FEATURES), np.float32)
    flat = values.reshape(-1)
    places: list[int] = []
    said: list[float] = []
    for index, candidate in enumerate(candidates):
        base = index * CANDIDATE_FEATURES
        for (generator, (rank, confidence)), standing in zip(
            candidate.generators.items(), candidate.standings, strict=True
        ):
            column = base + _EACH * _COLUMN[generator]
            places += (column, column + 1, column + 2, column + 3, column + 4)
            said += (1.0, 1 / (1 + rank), confidence, standing.log_odds / 4, standing.log_tries / 8)
    flat[places] = said
    values[:, PRIOR_COLUMNS] = [candidate.probability for candidate in candidates]
    facts = np.array(known, np.float64)  # (N, len(Known))
    size, uses, since_use, share, is_in_set, reads = facts[:, :6].T  # (N,) each
    values[:, _CANDIDATE] = [len(candidate.generators) / 4 for candidate in candidates]
    values[:, _CANDIDATE + 1] = np.log1p(size) / 16
    values[:, _CANDIDATE + 2] = np.log1p(uses) / 4
    values[:, _CANDIDATE + 3] = np.log1p(np.maximum(since_use, 0)) / 10
    values[:, _CANDIDATE + 4] = uses > 0
    values[:, _CANDIDATE + 5] = share
    values[:, _CANDIDATE + 6] = is_in_set
    values[:, _CANDIDATE + 7] = np.log1p(reads) / 8
    values[:, _CANDIDATE + 8 : _SITUATION] = facts[:, 6:10]
    values[:, _SITUATION:_RANKING] = shared
    values[np.arange(count), CANDIDATE_FEATURES - EXTENSIONS + facts[:, 10].astype(np.int64)] = 1.0
    _place(values)
    return values


def _place(rows: Matrix) -> None:
    """Fills in each row's place among all of its ranking: (N, CANDIDATE_FEATURES), by the prior."""
    chances = np.clip(rows[:, PRIOR_COLUMNS.start + 1], 1e-3, 1 - 1e-3)  # (N,)
    logits = np.log(chances / (1 - chances))
    order = np.argsort(-chances, kind="stable")
    ranks = np.empty(len(rows), np.float32)
    ranks[order] = np.arange(len(rows))
    rows[:, _RANKING] = 1 / (1 + ranks)
    rows[:, _RANKING + 1] = (logits.max() - logits) / 8
    rows[:, _RANKING + 2] = np.log1p(chances.sum() - chances) / 4  # what the others are expected to take
