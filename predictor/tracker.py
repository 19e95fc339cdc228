"""What became of predictions: each one waits until its path is used or its horizon has passed.

Two things are learned from it. `Prior` counts, for each generator and rank, how often a candidate came true: that is
the count-ranked union, the rules by which candidates are scored while there is no network, and the rival that a network
must beat. And examples for training get their labels.

The clock is the number of visits of the predicting program's group (all processes of its name), so that a pause is no
mistake. Bounded: `PENDING_MAX` predictions, the oldest given up unresolved.
"""

from collections import deque
from collections.abc import Callable, Sequence
from math import log, log1p, tanh
from typing import TYPE_CHECKING, NamedTuple

from predictor.pace import Pace

if TYPE_CHECKING:
    from predictor.guesses import Guess

HORIZONS = (8, 64, 512)
"""Within how many visits a candidate is used; the network has a head for each."""

PENDING_MAX = 32_768
PER_PATH_MAX = 8
"""Predictions of one path that wait at once, not counting those of logged rankings: there are few of these, and an
example that lacks the candidates that wait long would say that waiting is rare."""

BIAS_VISITS = 128.0
"""Visits over which a group's predictions are compared with what came true."""

TRUST_VISITS = 2048.0
"""Visits after which a group's experience with the network counts for a third."""

UNJUDGED_MAX = 4096

LEAD_MAX = 100.0
"""Nothing is trusted so firmly that it takes long to think otherwise."""

TRIES_MAX = 2048.0

OVERALL = -1
"""The bucket of all of a generator's candidates together."""

GIVEN_UP = -1
"""The distance of a prediction whose outcome will not be known."""

Cell = list[float]
"""Tries, and uses within each horizon."""


class Prior:
    """How often candidates came true, by generator and bucket, as Beta-smoothed frequencies that follow change.

    p = (used + STRENGTH x believed) / (tries + STRENGTH), where `believed` is the generator's overall frequency, itself
    smoothed towards a constant. At TRIES_MAX both counts are halved.
    """

    STRENGTH = 4.0
    BELIEVED = (0.1, 0.2, 0.3)

    def __init__(self) -> None:
        self.cells: dict[tuple[str, int], Cell] = {}

    def cell(self, generator: str, bucket: int) -> Cell:
        key = (generator, bucket)
        found = self.cells.get(key)
        if found is None:
            found = self.cells[key] = [0.0, 0.0, 0.0, 0.0]
        return found

    def standing(self, generator: str, bucket: int) -> "Standing":
        """What this generator has to show for candidates of this bucket."""
        overall, cell = self.cell(generator, OVERALL), self.cell(generator, bucket)
        strength = self.STRENGTH
        tries, tries_of_all = cell[0] + strength, overall[0] + strength
        near, middle, far = (
            (used + strength * ((used_of_all + strength * at_first) / tries_of_all)) / tries
            for used, used_of_all, at_first in zip(cell[1:], overall[1:], self.BELIEVED, strict=True)
        )
        return Standing((near, middle, far), log(middle / (1 - middle)), log1p(cell[0]), (cell, overall))

    @staticmethod
    def count(cell: Cell, distance: int | None) -> None:
        """A prediction of this cell came true after `distance` visits, or not at all."""
        if cell[0] >= TRIES_MAX:
            cell[:] = [value / 2 for value in cell]
        cell[0] += 1
        if distance is not None:
            for index, horizon in enumerate(HORIZONS):
                if distance <= horizon:
                    cell[1 + index] += 1


class Standing(NamedTuple):
    """How often a generator's candidates of one bucket came true."""

    chances: tuple[float, float, float]  # of use within each of the HORIZONS
    log_odds: float  # of use within HORIZONS[1]
    log_tries: float
    cells: tuple[Cell, Cell]  # the bucket's, and the generator's over all


def bucket_of(rank: int, confidence: float) -> int:
    """Ranks 0, 1, 2-3, 4-7, 8-15... and confidence in quarters."""
    quarter = int(confidence * 4)
    return ((rank + 1).bit_length() - 1) * 4 + (quarter if quarter < 3 else 3)


class Group:
    """The programs of one name: their visits are the clock of their predictions.

    HORIZONS[1] visits after each prediction it is known how good the prior's and the network's probabilities were, no
    matter which of them was used: *prequential*, each is judged on what it said before. `trust` is how far the network
    is followed, by the exponentially weighted forecaster over the two (Cesa-Bianchi and Lugosi, "Prediction, Learning,
    and Games", 2006, chapter 2), with what lies back discounted. So a network that does harm to these programs falls
    silent, is watched on, and is heard again when it would have done well.
    """

    TRUSTED = 2.0
    """What the network leads by at first, as a logarithm of odds: 0.88 of its correction is made."""
    RATE = 0.1
    """Of learning from a difference of losses. Small, for the candidates of a ranking stand or fall together."""

    __slots__ = ("came_true", "command", "expected", "guesses", "lead", "pace", "pending", "unjudged", "visits")

    def __init__(self, command: str) -> None:
        self.command = command
        self.visits = 0
        self.pending: deque[Prediction] = deque()
        self.unjudged: deque[Prediction] = deque(maxlen=UNJUDGED_MAX)  # beyond it the oldest are not judged
        self.expected = 0.0  # lately, by the prior, within HORIZONS[1]
        self.came_true = 0.0
        self.pace = Pace()
        self.guesses: deque[Guess] = deque()
        self.lead = 0.0  # of the network over the prior: discounted sum of differences of logarithmic losses

    @property
    def bias(self) -> float:
        """By which factor its predictions came true more often lately than the prior said, as a logarithm."""
        return log((self.came_true + 2) / (self.expected + 2))

    @property
    def trust(self) -> float:
        """How much of the network's correction is made, 0 to 1."""
        return 0.5 + 0.5 * tanh(0.5 * (self.TRUSTED + self.RATE * self.lead))

    def tick(self) -> None:
        """A visit was made: judges the predictions that are old enough."""
        self.visits += 1
        self.expected -= self.expected / BIAS_VISITS
        self.came_true -= self.came_true / BIAS_VISITS
        self.lead -= self.lead / TRUST_VISITS
        while self.unjudged and self.visits - self.unjudged[0].at >= HORIZONS[1]:
            self._judge(self.unjudged.popleft())

    def _judge(self, prediction: "Prediction") -> None:
        distance = prediction.distance
        if distance == GIVEN_UP:
            return
        is_used = distance is not None and distance <= HORIZONS[1]
        self.expected += prediction.chance
        self.came_true += is_used
        if prediction.corrected is not None:
            one, other = prediction.chance, prediction.corrected
            gain = log(other / one) if is_used else log((1 - other) / (1 - one))
            self.lead = max(-LEAD_MAX, min(LEAD_MAX, self.lead + gain))


class Prediction:
    """One candidate at one time, waiting for its outcome."""

    __slots__ = ("at", "cells", "chance", "corrected", "distance", "group", "is_done", "path", "resolve")

    def __init__(
        self,
        path: int,
        group: Group,
        cells: Sequence[Cell],
        resolve: Callable[[int | None], None] | None,
        chance: float = 0.0,
        corrected: float | None = None,
    ) -> None:
        """`chance`, `corrected`: what the prior and the network said of its use within HORIZONS[1], strictly between 0
        and 1; a chance of 0: not to be judged."""
        self.path = path
        self.group = group
        self.at = group.visits
        self.cells = cells
        self.resolve = resolve
        self.chance = chance
        self.corrected = corrected
        self.distance: int | None = None
        self.is_done = False


class Tracker:
    """All waiting predictions, found by path."""

    def __init__(self) -> None:
        self._by_path: dict[int, list[Prediction]] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def expect(self, prediction: Prediction) -> None:
        """Waits for `prediction`'s path to be used."""
        waiting = self._by_path.setdefault(prediction.path, [])
        if len(waiting) >= PER_PATH_MAX and prediction.resolve is None:
            oldest = next((index for index, other in enumerate(waiting) if other.resolve is None), None)
            if oldest is not None:
                self._resolve(waiting.pop(oldest), GIVEN_UP)
        waiting.append(prediction)
        if prediction.chance:
            prediction.group.unjudged.append(prediction)
        prediction.group.pending.append(prediction)
        self._waiting += 1

    def is_expected(self, path: int, group: Group, within: int) -> bool:
        """Whether `group` predicted `path` within its last `within` visits."""
        waiting = self._by_path.get(path)
        if waiting is None:
            return False
        since = group.visits - within
        for prediction in waiting[: -PER_PATH_MAX - 1 : -1]:
            if prediction.group is group and prediction.at > since and prediction.cells:
                return True
        return False

    def use(self, path: int) -> bool:
        """`path` was used: resolves what waited for it. True where anything did."""
        waiting = self._by_path.pop(path, None)
        if not waiting:
            return False
        for prediction in waiting:
            self._resolve(prediction, max(1, prediction.group.visits - prediction.at))
        return True

    def tick(self, group: Group) -> None:
        """`group` made a visit: gives up the predictions whose longest horizon has passed."""
        group.tick()
        pending = group.pending
        while pending and (
            pending[0].is_done or group.visits - pending[0].at > HORIZONS[-1] or self._waiting > PENDING_MAX
        ):
            prediction = pending.popleft()
            if prediction.is_done:
                continue
            self._drop(prediction)
            if group.visits - prediction.at > HORIZONS[-1]:
                self._resolve(prediction, None)
            else:
                self._resolve(prediction, GIVEN_UP)

    def settle(self) -> None:
        """No program will go on: what waits does not come true."""
        for waiting in self._by_path.values():
            for prediction in waiting:
                self._resolve(prediction, None)
        self._by_path.clear()

    def abandon(self, group: Group) -> None:
        """`group` will make no more visits: what it predicted is given up."""
        for prediction in group.pending:
            if not prediction.is_done:
                self._drop(prediction)
                self._resolve(prediction, GIVEN_UP)
        group.pending.clear()

    def _drop(self, prediction: Prediction) -> None:
        waiting = self._by_path.get(prediction.path, [])
        if prediction in waiting:
            waiting.remove(prediction)
            if not waiting:
                del self._by_path[prediction.path]

    def _resolve(self, prediction: Prediction, distance: int | None) -> None:
        prediction.is_done = True
        self._waiting -= 1
        prediction.distance = distance
        for cell in prediction.cells if distance != GIVEN_UP else ():
            Prior.count(cell, distance)
        if prediction.resolve is not None:
            prediction.resolve(distance)
