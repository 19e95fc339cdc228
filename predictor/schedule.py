"""When to train, and the child that trains.

`Schedule` decides and is pure: enough new resolved candidates, an idle mount, one run at a time, and never more than
`CPU_SHARE` of a core over time. `TrainingChild` acts: it starts the trainer, watches it, and promotes what it made
only if that beat both the weights in use and the count-ranked prior. A run that fails is waited out like one that
succeeded.

While cores are contended a running child is stopped where it is and goes on later; where memory is short it is ended,
for it holds more of it than the mount and the predictor together.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from predictor.examples import Examples
from predictor.ranker import NAME, NetworkRanker, WeightsError, load
from predictor.state import replace
from predictor.trainer import CANDIDATE, EXAMPLES, REPORT, Report

NEW_CANDIDATES = 2048
NEW_RANKINGS = 64
CPU_SHARE = 0.05
SECONDS = 20.0

log = logging.getLogger(__name__)


class Schedule:
    """Whether now is the time. Times are seconds of any monotonic clock."""

    def __init__(self, cpu_share: float = CPU_SHARE, new_candidates: int = NEW_CANDIDATES) -> None:
        self._cpu_share = cpu_share
        self._new_candidates = new_candidates
        self._new_rankings = min(NEW_RANKINGS, new_candidates)
        self._not_before_s = 0.0
        self._candidates = 0
        self._rankings = 0

    def is_due(self, now_s: float, candidates: int, rankings: int, is_idle: bool) -> bool:
        """`candidates`, `rankings`: resolved since the beginning."""
        return (
            is_idle
            and now_s >= self._not_before_s
            and candidates - self._candidates >= self._new_candidates
            and rankings - self._rankings >= self._new_rankings
        )

    def ran(self, now_s: float, cpu_s: float, candidates: int, rankings: int) -> None:
        """A run that began with so many ended, having taken `cpu_s`."""
        self._not_before_s = now_s + cpu_s / self._cpu_share
        self._candidates = candidates
        self._rankings = rankings


class TrainingChild:
    """At most one trainer at a time, in `directory`."""

    def __init__(self, directory: Path, schedule: Schedule | None = None, seconds: float = SECONDS) -> None:
        """`seconds`: of CPU that a run may train for."""
        self._directory = directory
        self._seconds = seconds
        self._schedule = schedule or Schedule()
        self._child: subprocess.Popen[bytes] | None = None
        self._begun_with = (0, 0)
        self._begun_s = 0.0
        self._is_held = self._is_paused = self._is_given_up = False
        self.runs = 0
        self.promotions = 0
        self.seconds = 0.0
        self.report: Report | None = None
        """Of the last run that came to its end."""

    def tick(self, now_s: float, examples: Examples, is_idle: bool) -> NetworkRanker | None:
        """Starts what is due, ends what is done. A network means: use this one from now on."""
        if self._child is not None:
            return self._finish(now_s) if self._child.poll() is not None else None
        if self._is_held:
            return None
        if self._schedule.is_due(now_s, examples.candidates, examples.completed, is_idle):
            self._start(now_s, examples)
        return None

    def hold(self, is_pressed: bool, is_contended: bool) -> None:
        """Memory is short, cores are contended: nothing starts while either is so."""
        self._is_held = is_pressed or is_contended
        if self._child is None:
            return
        if is_pressed:
            self._is_given_up = True
            self._child.kill()  # even where it is paused
        elif is_contended != self._is_paused:
            self._is_paused = is_contended
            self._child.send_signal(signal.SIGSTOP if is_contended else signal.SIGCONT)

    def statistics(self) -> dict[str, float]:
        """What the trainings so far took and achieved."""
        numbers: dict[str, float] = {
            "training_runs": self.runs,
            "training_promotions": self.promotions,
            "training_seconds": self.seconds,
        }
        if self.report is not None:
            numbers |= {
                "loss_shadow": self.report.loss,
                "loss_incumbent": self.report.loss_incumbent,
                "loss_prior": self.report.loss_prior,
            }
        return numbers

    def stop(self) -> None:
        """Ends a running child; what it made so far is lost."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def _start(self, now_s: float, examples: Examples) -> None:
        self._begun_with = (examples.candidates, examples.completed)
        self._begun_s = now_s
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            arrays = examples.arrays()
            replace(self._directory / EXAMPLES, lambda file: np.savez(file, allow_pickle=False, **arrays))
            (self._directory / REPORT).unlink(missing_ok=True)
            self._child = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "predictor.trainer",
                    os.fspath(self._directory),
                    "--seconds",
                    str(self._seconds),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        except OSError as error:
            log.warning("training did not start: %s", error)
            self._schedule.ran(now_s, 20.0, *self._begun_with)

    def _finish(self, now_s: float) -> NetworkRanker | None:
        assert self._child is not None
        status, self._child, self._is_paused = self._child.returncode, None, False
        self.runs += 1
        spent = min(now_s - self._begun_s, 120.0)  # a niced child took no more CPU than it took time
        self.seconds += spent
        self._schedule.ran(now_s, spent, *self._begun_with)
        if self._is_given_up:
            self._is_given_up = False
            log.info("a training was ended: memory is short")
            return None
        try:
            if status != 0:
                raise ValueError(f"the trainer ended with status {status}")
            report = self.report = Report(**json.loads((self._directory / REPORT).read_bytes()))
            if not report.is_better:
                log.info(
                    "trained, not better: %.4f, in use %.4f, prior %.4f",
                    report.loss,
                    report.loss_incumbent,
                    report.loss_prior,
                )
                return None
            network = load(self._directory / CANDIDATE)
            (self._directory / CANDIDATE).replace(self._directory / NAME)
            self.promotions += 1
            log.info("trained: loss %.4f, was %.4f, prior %.4f", report.loss, report.loss_incumbent, report.loss_prior)
            return network
        except (OSError, ValueError, TypeError, WeightsError) as error:
            log.warning("training came to nothing: %s", error)
            return None
