"""The loop's core: asks a controller, and does as it says unless that is hasty or makes no sense.

Hysteresis: a change is made when the controller asked for the same arm `AGREEING` times in a row, and not before an arm
has held for `DWELL` looks; delayed rewards and noisy seconds would have it flicker else. The safe arm is taken at once
where there is nothing to go by (no reading, numbers that are none, nothing fetched for a while).
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from predictor.control.arms import ARMS, CAREFUL, CONTENDED, SAFE, no_bolder
from predictor.control.state import Observer, Reading, Row

DECIDE_S = 1.0
AGREEING = 2
DWELL = 3
IDLE = 5
"""Looks in a row at which no program read: what was learned of the source is old by then."""


class Controller(Protocol):
    """Who chooses. Deterministic: all it knows comes with the calls."""

    name: str

    def choose(self, row: Row, seen: Observer, arm: int) -> int:
        """The arm to go on with, by number. `arm`: the present one."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided at a look, for the log."""

    arm: int
    wanted: int
    was_changed: bool
    row: Row | None

    def __str__(self) -> str:
        return ARMS[self.arm].name


class Steering:
    """Which arm is on."""

    def __init__(self, controller: Controller, agreeing: int = AGREEING, dwell: int = DWELL) -> None:
        self.controller = controller
        self.observer = Observer()
        self.arm = SAFE
        self.changes = 0
        self._agreeing = agreeing
        self._dwell = dwell
        self._wanted = SAFE
        self._times = 0
        self._held = dwell
        self._idle = 0
        self._reads = -1

    def look(self, reading: Reading, is_pressed: bool = False, is_contended: bool = False) -> Decision:
        """A new reading: what arm is on from now. `is_pressed`: memory is short, so that the careful arm is.

        `is_contended`: cores are, so that no arm is on that is bolder than the contended one.
        """
        floor = CONTENDED if is_contended else SAFE
        row = self.observer.row(reading, self.arm)
        self._idle = self._idle + 1 if reading.reads == self._reads else 0
        self._reads = reading.reads
        self._held += 1
        if is_pressed:
            return self._decide(CAREFUL, row, True)
        if row is None or not np.isfinite(row).all() or self._idle >= IDLE:
            return self._decide(floor, row, True)
        wanted = self.controller.choose(row, self.observer, self.arm)
        if not 0 <= wanted < len(ARMS):
            return self._decide(floor, row, True)
        wanted = no_bolder(wanted, floor)
        self._times = self._times + 1 if wanted == self._wanted else 1
        self._wanted = wanted
        is_settled = self._times >= self._agreeing and self._held >= self._dwell
        return self._decide(wanted, row, is_settled or no_bolder(self.arm, floor) != self.arm)

    def _decide(self, wanted: int, row: Row | None, is_due: bool) -> Decision:
        was_changed = is_due and wanted != self.arm
        if was_changed:
            self.arm = wanted
            self.changes += 1
            self._held = 0
        return Decision(self.arm, wanted, was_changed, row)
