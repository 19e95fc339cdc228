"""What programs have in common, shipped with the package, so that the first hour is not blind.

Not what programs read, but how they read: how often each candidate source is right at which rank (the prior's cells),
which kinds of files are read whole and which are only looked at, which names come with which, how much of a directory
is used. It is gathered from recordings of real programs (bench.record) by `python -m predictor.training`, each
workload weighing the same, and taken for little: what a mount sees itself soon outweighs it.

Names of directories and whole names are left out, apart from those that stand in templates that several names share.
An engine starts from it only where there is no state. Loaded without executing anything; a damaged file is ignored.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from predictor.candidates.derived import Template
from predictor.engine import Engine
from predictor.snapshot import give_back_tables, take_tables

Arrays = dict[str, npt.NDArray[np.generic]]

SHIPPED = Path(__file__).parent / "weights" / "experience.npz"
VERSION = 1
ANY = 0

CELL_TRIES = 32.0
"""What a cell of the prior weighs: as many outcomes of its own outweigh it."""

USAGE_VISITS = 16.0
TEMPLATE_TRIES = 12.0
COHORT_FILES = 64.0
SHARED_BY = 8.0
"""A template that came true less often is a peculiarity of one tree."""

log = logging.getLogger(__name__)


def gather(engines: Sequence[Engine]) -> Engine:
    """An engine with nothing but what these have in common."""
    common = Engine()
    cells: dict[tuple[str, int], list[float]] = {}
    for engine in engines:
        engine.unseen.settle()
        for key, cell in engine.prior.cells.items():
            _add(cells.setdefault(key, [0.0] * 4), cell, 4 * CELL_TRIES)
        _add_usage(common, engine)
        _add_templates(common, engine)
        _add_cohorts(common, engine)
    for key, cell in cells.items():
        _add(common.prior.cell(*key), cell, CELL_TRIES)
    for table, limit in (
        (common.unseen.usage.classes, USAGE_VISITS),
        (common.unseen.cohorts.classes, COHORT_FILES),
    ):
        for values in table.values():
            _limit(values, limit)
    return common


def save(common: Engine) -> Arrays:
    """The arrays of a shipped file."""
    return take_tables(common) | {"version": np.array([VERSION])}


def give(engine: Engine, path: Path = SHIPPED) -> bool:
    """Gives a new engine the shipped experience. False where there is none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays: Arrays = {name: stored[name] for name in stored.files}
        if int(arrays["version"][0]) != VERSION:
            raise ValueError("another version")
        give_back_tables(engine, arrays)
    except FileNotFoundError:
        return False
    except Exception as error:  # whatever damaged bytes make of the decoders
        log.warning("the shipped experience is not used: %s: %s", type(error).__name__, error)
        return False
    return True


def _add(total: list[float], cell: Sequence[float], limit: float) -> None:
    """Adds counts, the first of which counts the tries, as if there had been at most `limit`."""
    scale = min(1.0, limit / cell[0]) if cell[0] else 0.0
    for index, value in enumerate(cell):
        total[index] += value * scale


def _limit(values: list[float], limit: float) -> None:
    scale = min(1.0, limit / max(values)) if max(values) else 0.0
    if len(values) == 5:  # usage: bytes are no counts
        most = max(values[0], values[4])
        scale = min(1.0, limit / most) if most else 0.0
    values[:] = [value * scale for value in values]


def _add_usage(common: Engine, engine: Engine) -> None:
    for (command, extension), cell in engine.unseen.usage.classes.items():
        if command == ANY and len(extension) <= 8:
            total = common.unseen.usage.classes.setdefault((ANY, extension), [0.0] * 5)
            scale = min(1.0, 4 * USAGE_VISITS / max(cell[0], cell[4], 1.0))
            for index, value in enumerate(cell):
                total[index] += value * scale


def _add_templates(common: Engine, engine: Engine) -> None:
    ours, theirs = common.unseen.derived, engine.unseen.derived
    for kind, templates in theirs.templates.items():
        tries = theirs.kinds.get(kind, [0.0])[0]
        kept: dict[Template, float] = {t: n for t, n in templates.items() if n >= max(SHARED_BY, tries / 2)}
        if kind[1] != ANY or not kept:
            continue
        scale = TEMPLATE_TRIES / tries
        ours.kinds.setdefault(kind, [0.0])[0] += TEMPLATE_TRIES
        known = ours.templates.setdefault(kind, {})
        for template, count in kept.items():
            known[template] = known.get(template, 0.0) + count * scale


def _add_cohorts(common: Engine, engine: Engine) -> None:
    for (command, extension, size), totals in engine.unseen.cohorts.classes.items():
        if command == ANY and len(extension) <= 8:
            _add(common.unseen.cohorts.classes.setdefault((ANY, extension, size), [0.0, 0.0]), totals, 1e9)
