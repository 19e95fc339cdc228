"""Scores one stream's candidates: by the count-ranked prior, or by the network where there is one.

The prior of a candidate is the best of its generators' frequencies at this rank and confidence. (Taking them as
independent chances of coming true would be far too sure: they look at the same past.) Every ranking's candidates are
watched, which is how the frequencies are learned, and one ranking in a few becomes an example for training.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from predictor.events import PathTable
from predictor.examples import Examples
from predictor.features import TOKEN_FEATURES, TOKENS, Candidate, Known, extension_bucket, place, row, situation
from predictor.proposals import Proposer
from predictor.streams import StreamState
from predictor.tracker import HORIZONS, OVERALL, Prediction, Prior, Tracker, bucket_of

Matrix = npt.NDArray[np.float32]


class Ranker(Protocol):
    """The network: probabilities of use within each horizon."""

    def __call__(self, tokens: Matrix, candidates: Matrix) -> Matrix:
        """tokens (TOKENS, TOKEN_FEATURES), candidates (N, CANDIDATE_FEATURES) -> (N, len(HORIZONS))."""


class Ranking:
    """Ranks candidates and watches what becomes of them."""

    def __init__(
        self,
        paths: PathTable,
        proposer: Proposer,
        prior: Prior,
        tracker: Tracker,
        examples: Examples,
        sizes: dict[int, int],
        uses: dict[int, tuple[int, int]],
    ) -> None:
        self._paths = paths
        self._proposer = proposer
        self._prior = prior
        self._tracker = tracker
        self._examples = examples
        self._sizes = sizes
        self._uses = uses

    def rank(self, stream: StreamState, ranker: Ranker | None, clock: int) -> list[tuple[Candidate, float, int]]:
        """(candidate, probability of use, within so many visits), the most probable first. `clock`: visits so far."""
        candidates = self._proposer.candidates(stream)
        stream.proposals = {c.path: {name: rank for name, (rank, _) in c.generators.items()} for c in candidates}
        if not candidates:
            return []
        for candidate in candidates:
            self._believe(candidate)
        scores = np.array([candidate.probability for candidate in candidates], np.float32)
        example = None
        is_logged = self._examples.is_due()
        if ranker is not None or is_logged:
            tokens, rows = self._inputs(stream, candidates, clock)
            if is_logged:
                example = self._examples.begin(tokens, rows, scores)
            if ranker is not None:
                scores = ranker(tokens, rows)
        for index, candidate in enumerate(candidates):
            is_counted = not self._tracker.is_expected(candidate.path, stream.group, HORIZONS[0])
            if is_counted or example is not None:
                self._tracker.expect(
                    Prediction(
                        candidate.path,
                        stream.group,
                        self.cells(candidate) if is_counted else [],
                        example.resolver(index) if example is not None else None,
                        candidate.probability[1] if is_counted else 0.0,
                    )
                )
        ranked = []
        for index in np.argsort(-scores[:, 1], kind="stable").tolist():
            chances = scores[index].tolist()
            horizon = next((number for number, chance in enumerate(chances) if chance >= 0.5), 1)
            ranked.append((candidates[index], chances[horizon], HORIZONS[horizon]))
        return ranked

    def _believe(self, candidate: Candidate) -> None:
        """The prior of a candidate, and what each of its generators has to show for itself."""
        best = [0.0] * len(HORIZONS)
        for generator, (rank, confidence) in candidate.generators.items():
            bucket = bucket_of(rank, confidence)
            chances = self._prior.probabilities(generator, bucket)
            candidate.evidence.append((chances[1], self._prior.cell(generator, bucket)[0]))
            for horizon, chance in enumerate(chances):
                best[horizon] = max(best[horizon], chance)
        candidate.probability = best[0], best[1], best[2]

    def cells(self, candidate: Candidate) -> list[list[float]]:
        """The prior's counts that this candidate's outcome is counted in."""
        cells = []
        for generator, (rank, confidence) in candidate.generators.items():
            cells.append(self._prior.cell(generator, bucket_of(rank, confidence)))
            cells.append(self._prior.cell(generator, OVERALL))
        return cells

    def _inputs(self, stream: StreamState, candidates: list[Candidate], clock: int) -> tuple[Matrix, Matrix]:
        """What the network sees: tokens (TOKENS, TOKEN_FEATURES), zeros first; rows (N, CANDIDATE_FEATURES)."""
        tokens = np.zeros((TOKENS, TOKEN_FEATURES), np.float32)
        if stream.tokens:
            tokens[TOKENS - len(stream.tokens) :] = list(stream.tokens)
        group = stream.group
        shared = situation(group.bias, group.visits, stream.visits, len(candidates))
        rows = []
        for candidate in candidates:
            path = candidate.path
            visits, last = self._uses.get(path, (0, 0))
            same_extension, same_directory, share, is_set, reads = self._proposer.numbers(candidate, stream)
            known = Known(
                extension_bucket(self._paths.name(path)),
                same_extension,
                same_directory,
                self._sizes.get(path, 0),
                visits,
                clock - last if visits else -1,
                self._proposer.last_flags(path),
                share,
                is_set,
                reads,
            )
            rows.append(row(candidate, known, shared))
        matrix = np.array(rows, np.float32)
        place(matrix)
        return tokens, matrix
