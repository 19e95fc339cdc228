"""Scores one stream's candidates: by the count-ranked prior, or by the network where there is one.

Where there is a network it is followed as far as it has proved itself on programs of this name (tracker.Group).

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
    """The network: probabilities of use within each horizon, and when."""

    def __call__(self, tokens: Matrix, candidates: Matrix) -> tuple[Matrix, Matrix]:
        """tokens (TOKENS, TOKEN_FEATURES), candidates (N, CANDIDATE_FEATURES) -> probabilities (N, len(HORIZONS)),
        quartiles of the visits until the use (N, 3)."""


def between(prior: Matrix, network: Matrix, trust: float) -> Matrix:
    """Probabilities (N, H) from the prior's (`trust` 0) to the network's (1), their logits mixed."""
    one, other = np.clip(prior, 1e-4, 1 - 1e-4), np.clip(network, 1e-4, 1 - 1e-4)
    logits = (1 - trust) * np.log(one / (1 - one)) + trust * np.log(other / (1 - other))
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


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
        """(candidate, probability of use, about so many visits from now), the most probable first. `clock`: visits so
        far of all streams."""
        candidates = self._proposer.candidates(stream)
        stream.proposals = {c.path: {name: rank for name, (rank, _) in c.generators.items()} for c in candidates}
        if not candidates:
            return []
        for candidate in candidates:
            self._believe(candidate)
        prior = scores = np.array([candidate.probability for candidate in candidates], np.float32)
        network: Matrix | None = None
        visits: Matrix | None = None
        is_logged = self._examples.is_due()
        example = None
        if ranker is not None or is_logged:
            tokens, rows = self._inputs(stream, candidates, clock)
            if ranker is not None:
                network, visits = ranker(tokens, rows)
                scores = between(prior, network, stream.group.trust)
            if is_logged:
                example = self._examples.begin(tokens, rows, scores)
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
                        float(network[index, 1]) if network is not None else None,
                    )
                )
        ranked = []
        for index in np.argsort(-scores[:, 1], kind="stable").tolist():
            chances = scores[index].tolist()
            nearest = next((number for number, chance in enumerate(chances) if chance >= 0.5), 1)
            horizon = HORIZONS[nearest]
            if visits is not None:
                horizon = max(1, min(horizon, round(float(visits[index, 1]))))
            ranked.append((candidates[index], chances[nearest], horizon))
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
