"""What the network is trained on: rankings the engine made, each with what then came true.

An example is one ranking: the stream's tokens, the candidates' rows, the probabilities that it was planned by, and for
each candidate the distance in visits at which it was used (0: not within the longest horizon). It is complete once
every candidate is resolved. The newest are kept in order, older ones in a reservoir, so that what happens rarely is not
forgotten.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from predictor.features import CANDIDATE_FEATURES, TOKEN_FEATURES, TOKENS
from predictor.tracker import GIVEN_UP, HORIZONS

Floats = npt.NDArray[np.floating[Any]]
Matrix = npt.NDArray[np.float32]

KEPT_MAX = 1024
"""The latest, and as many of those before."""

OPEN_MAX = 512
"""Examples that wait for their outcome; a ranking made while so many wait is not logged."""


class Example:
    """One ranking and its outcome."""

    __slots__ = ("_is_whole", "_left", "_log", "distances", "rows", "served", "tokens")

    def __init__(self, log: "Examples", tokens: Floats, rows: Floats, served: Floats) -> None:
        self.tokens = tokens.astype(np.float16)
        self.rows = rows.astype(np.float16)
        self.served = served.astype(np.float16)
        self.distances = np.zeros(len(rows), np.uint16)
        self._left = len(rows)
        self._is_whole = True
        self._log = log

    def resolver(self, index: int) -> Callable[[int | None], None]:
        """What to call with the distance of candidate `index`."""

        def resolve(distance: int | None) -> None:
            if distance == GIVEN_UP:
                self._is_whole = False
            elif distance is not None and distance <= HORIZONS[-1]:
                self.distances[index] = distance
            self._left -= 1
            if self._left == 0:
                self._log.complete(self, self._is_whole)

        return resolve


class Examples:
    """The bounded log."""

    def __init__(self, kept: int = KEPT_MAX) -> None:
        self._kept = kept
        self.recent: deque[Example] = deque()
        self.reservoir: list[Example] = []
        self.completed = 0  # rankings resolved so far
        self.candidates = 0  # their candidates
        self._open = 0
        self._rankings = 0
        self.every = 4  # rankings a logged one

    def is_due(self) -> bool:
        """Asked once a ranking: whether this one is to be logged."""
        self._rankings += 1
        return self._rankings % self.every == 0 and self._open < OPEN_MAX

    def begin(self, tokens: Matrix, rows: Matrix, served: Matrix) -> Example:
        """An example for this ranking."""
        self._open += 1
        return Example(self, tokens, rows, served)

    def complete(self, example: Example, is_whole: bool) -> None:
        """Every candidate is resolved; one that was given up spoils the example."""
        self._open -= 1
        if not is_whole:
            return
        self.completed += 1
        self.candidates += len(example.rows)
        self.recent.append(example)
        if len(self.recent) > self._kept:
            self._keep(self.recent.popleft())

    def _keep(self, example: Example) -> None:
        """Reservoir sampling with a multiplicative hash for chance: the log must not depend on a clock or a seed."""
        if len(self.reservoir) < self._kept:
            self.reservoir.append(example)
            return
        place = (self.completed * 0x9E3779B97F4A7C15 >> 17) % (self.completed or 1)
        if place < self._kept:
            self.reservoir[place] = example

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """All complete examples, oldest first, candidates laid end to end: `starts` (E+1,) cuts them.

        tokens (E, TOKENS, TOKEN_FEATURES), rows (N, CANDIDATE_FEATURES), served (N, H) float16; distances (N,) uint16.
        """
        examples = [*self.reservoir, *self.recent]
        if not examples:
            return {}
        return {
            "tokens": np.stack([e.tokens for e in examples]).reshape(-1, TOKENS, TOKEN_FEATURES),
            "rows": np.concatenate([e.rows for e in examples]),
            "served": np.concatenate([e.served for e in examples]),
            "distances": np.concatenate([e.distances for e in examples]),
            "starts": np.cumsum([0, *(len(e.rows) for e in examples)]).astype(np.int64),
        }

    def load(self, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
        """Takes back what `arrays` gave. Examples of another version's features are left out."""
        if "served" not in arrays:
            return
        tokens, rows = np.asarray(arrays["tokens"], np.float16), np.asarray(arrays["rows"], np.float16)
        served, distances = np.asarray(arrays["served"], np.float16), np.asarray(arrays["distances"], np.uint16)
        starts = np.asarray(arrays["starts"], np.int64)
        if tokens.shape[1:] != (TOKENS, TOKEN_FEATURES) or rows.shape[1:] != (CANDIDATE_FEATURES,):
            return
        if len(starts) != len(tokens) + 1 or len(rows) != starts[-1] or served.shape != (len(rows), len(HORIZONS)):
            raise ValueError("examples")
        if len(distances) != len(rows) or starts[0] != 0 or (np.diff(starts) <= 0).any():
            raise ValueError("examples")
        for index, (start, end) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
            example = Example(self, tokens[index], rows[start:end], served[start:end])
            example.distances = distances[start:end].copy()
            self.recent.append(example)
            if len(self.recent) > self._kept:
                self._keep(self.recent.popleft())
