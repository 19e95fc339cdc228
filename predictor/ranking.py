"""Scores one stream's candidates: by the count-ranked prior, or by the network where there is one.

Where there is a network it is followed as far as it has proved itself on programs of this name (tracker.Group).

The prior of a candidate is the best of its generators' frequencies at this rank and confidence. (Taking them as
independent chances of coming true would be far too sure: they look at the same past.) Every ranking's candidates are
watched, which is how the frequencies are learned, and one ranking in a few becomes an example for training.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from predictor.candidates.directory import extension_of
from predictor.candidates.history import ABSENT, DATA
from predictor.events import PathTable
from predictor.examples import Examples
from predictor.features import TOKEN_FEATURES, TOKENS, Candidate, Known, extension_bucket, rows, situation
from predictor.proposals import Proposer
from predictor.streams import StreamState
from predictor.tracker import HORIZONS, Cell, Prediction, Prior, Standing, Tracker, bucket_of

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
        stream.proposals = {candidate.path: candidate.generators for candidate in candidates}
        if not candidates:
            return []
        standings: dict[tuple[str, int], Standing] = {}
        for candidate in candidates:
            self._believe(candidate, standings)
        prior = scores = np.array([candidate.probability for candidate in candidates], np.float32)
        network: Matrix | None = None
        visits: Matrix | None = None
        is_logged = self._examples.is_due()
        example = None
        if ranker is not None or is_logged:
            tokens, inputs = self._inputs(stream, candidates, clock)
            if ranker is not None:
                network, visits = ranker(tokens, inputs)
                scores = between(prior, network, stream.group.trust)
            if is_logged:
                example = self._examples.begin(tokens, inputs, scores)
        corrected = network[:, 1].tolist() if network is not None else None
        for index, candidate in enumerate(candidates):
            is_counted = not self._tracker.is_expected(candidate.path, stream.group, HORIZONS[0])
            if is_counted or example is not None:
                self._tracker.expect(
                    Prediction(
                        candidate.path,
                        stream.group,
                        cells(candidate) if is_counted else (),
                        example.resolver(index) if example is not None else None,
                        candidate.probability[1] if is_counted else 0.0,
                        corrected[index] if corrected is not None else None,
                    )
                )
        ranked = []
        every = scores.tolist()
        medians = visits[:, 1].tolist() if visits is not None else None
        for index in np.argsort(-scores[:, 1], kind="stable").tolist():
            chances = every[index]
            nearest = next((number for number, chance in enumerate(chances) if chance >= 0.5), 1)
            horizon = HORIZONS[nearest]
            if medians is not None:
                horizon = max(1, min(horizon, round(medians[index])))
            ranked.append((candidates[index], chances[nearest], horizon))
        return ranked

    def _believe(self, candidate: Candidate, standings: dict[tuple[str, int], Standing]) -> None:
        """The prior of a candidate. `standings`: those of this ranking, of which candidates share a few."""
        near = middle = far = 0.0
        for generator, (rank, confidence) in candidate.generators.items():
            bucket = bucket_of(rank, confidence)
            standing = standings.get((generator, bucket))
            if standing is None:
                standing = standings[generator, bucket] = self._prior.standing(generator, bucket)
            candidate.standings.append(standing)
            one, other, third = standing.chances
            near, middle, far = max(near, one), max(middle, other), max(far, third)
        candidate.probability = near, middle, far

    def _inputs(self, stream: StreamState, candidates: list[Candidate], clock: int) -> tuple[Matrix, Matrix]:
        """What the network sees: tokens (TOKENS, TOKEN_FEATURES), zeros first; rows (N, CANDIDATE_FEATURES)."""
        tokens = np.zeros((TOKENS, TOKEN_FEATURES), np.float32)
        if stream.tokens:
            tokens[TOKENS - len(stream.tokens) :] = list(stream.tokens)
        group = stream.group
        shared = situation(group.bias, group.visits, stream.visits, len(candidates))
        names = self._paths
        here = stream.path if stream.path >= 0 else 0
        own_extension, own_directory = extension_of(names.name(here)), names.parent(here)
        readings: dict[int, tuple[float, bool, int]] = {}  # by directory: most candidates share one
        known = []
        for candidate in candidates:
            path = candidate.path
            visits, last = self._uses.get(path, (0, 0))
            directory = names.parent(path)
            reading = readings.get(directory)
            if reading is None:
                reading = readings[directory] = self._proposer.reading(directory)
            extension = extension_of(names.name(path))
            flags = self._proposer.last_flags(path)
            known.append(
                Known(
                    self._sizes.get(path, 0),
                    visits,
                    clock - last if visits else -1,
                    *reading,
                    directory == own_directory,
                    extension == own_extension,
                    flags & ABSENT > 0,
                    flags & DATA > 0,
                    extension_bucket(extension),
                )
            )
        return tokens, rows(candidates, known, shared)


def cells(candidate: Candidate) -> list[Cell]:
    """The prior's counts that this candidate's outcome is counted in."""
    return [cell for standing in candidate.standings for cell in standing.cells]
