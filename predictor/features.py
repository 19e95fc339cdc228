"""What the network sees: a token for each visit of a stream, a row for each candidate. Numbers only, no identities.

Everything is relative (to the visit before, to the directory, to a candidate's generators), so that what was learned
transfers to paths that were never seen. Sizes and counts are logarithms, extensions are hashed into a few buckets.
"""

from math import log1p
from zlib import crc32

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

TOKENS = 16
"""Visits of context the network reads."""

EXTENSIONS = 8
TOKEN_FEATURES = 4 + 5 + 4 + 3 + len(GENERATORS) + 1 + EXTENSIONS
CANDIDATE_FEATURES = 3 * len(GENERATORS) + 12 + EXTENSIONS
PRIOR_COLUMNS = slice(3 * len(GENERATORS) + 1, 3 * len(GENERATORS) + 4)
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
            row[16 + GENERATORS.index(generator)] = 1 / (1 + rank)
        row[16 + len(GENERATORS)] = 1.0
    row[17 + len(GENERATORS) + extension] = 1.0
    return row


class Candidate:
    """A path that may be used soon, and who says so."""

    __slots__ = ("generators", "path", "probability")

    def __init__(self, path: int) -> None:
        self.path = path
        self.generators: dict[str, tuple[int, float]] = {}  # name -> (rank, confidence)
        self.probability = (0.0, 0.0, 0.0)  # within each horizon


def row(
    candidate: Candidate,
    extension: int,
    same_extension: bool,
    same_directory: bool,
    size: int,
    uses: int,
    since_use: int,
    unread_share: float,
    is_set: bool,
    reads: int,
    is_seen: bool,
) -> list[float]:
    """A candidate's features. `since_use`: visits since its last use, -1 for never."""
    values = [0.0] * CANDIDATE_FEATURES
    width = len(GENERATORS)
    for generator, (rank, confidence) in candidate.generators.items():
        column = GENERATORS.index(generator)
        values[column] = 1.0
        values[width + column] = 1 / (1 + rank)
        values[2 * width + column] = confidence
    at = 3 * width
    values[at] = len(candidate.generators) / 4
    values[at + 1 : at + 4] = candidate.probability
    values[at + 4] = log1p(size) / 16
    values[at + 5] = log1p(uses) / 4
    values[at + 6] = log1p(since_use) / 10 if since_use >= 0 else 0.0
    values[at + 7] = 1.0 if is_seen else 0.0
    values[at + 8] = unread_share
    values[at + 9] = 1.0 if is_set else 0.0
    values[at + 10] = log1p(reads) / 8
    values[at + 11] = (2.0 if same_directory else 0.0) + (1.0 if same_extension else 0.0)
    values[at + 12 + extension] = 1.0
    return values
