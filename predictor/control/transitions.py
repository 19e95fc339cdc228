"""What the learned controller is trained on."""

from dataclasses import dataclass

from predictor.control.state import Row


@dataclass(frozen=True, slots=True)
class Transition:
    """A decision and what came of it. `after`: the next row, None at the end of a run."""

    row: Row  # (FEATURES,)
    arm: int
    reward_s: float
    after: Row | None
