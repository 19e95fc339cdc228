"""What programs have in common, shipped with the package, so that the first hour is not blind.

Not what programs read, but how: which kinds of files are read whole and which are only looked at, and which names come
with which. It is gathered from recordings of real programs (bench.record) by `make pretrain` (predictor.shipping), each
workload weighing the same, and taken for little: what a mount sees itself soon outweighs it. How often each candidate
source is right is not in it: that differs from program to program, and on some of those left out it did harm.

Names of directories and whole names are left out, apart from those that stand in templates that several names share.
An engine starts from it only where there is no state. Loaded without executing anything; a damaged file is ignored.
"""

import logging
import re
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

USAGE_VISITS = 16.0
TEMPLATE_TRIES = 12.0
SHARED_BY = 8.0
"""A template that came true less often is a peculiarity of one tree."""

SEEN_BEFORE = 8.0
"""An extension that fewer names had is none."""

_MADE_UP = re.compile(rb"[0-9]{5}|[^A-Za-z0-9._/-]")
"""In suffixes of temporary files: numbers of processes, addresses."""

log = logging.getLogger(__name__)


def gather(engines: Sequence[Engine]) -> Engine:
    """An engine with nothing but what these have in common."""
    common = Engine()
    for engine in engines:
        _add_usage(common, engine)
        _add_templates(common, engine)
    for values in common.unseen.usage.classes.values():
        _limit(values, USAGE_VISITS)
    return common


def save(common: Engine) -> Arrays:
    """The arrays of a shipped file."""
    return take_tables(common) | {"version": np.array([VERSION])}


def give(engine: Engine, path: Path = SHIPPED) -> bool:
    """Gives a new engine the shipped experience. False where there is none that can be read."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
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


def _limit(cell: list[float], limit: float) -> None:
    scale = min(1.0, limit / max(cell[0], cell[4], 1.0))
    cell[:] = [value * scale for value in cell]


def _add_usage(common: Engine, engine: Engine) -> None:
    for (command, extension), cell in engine.unseen.usage.classes.items():
        if command == ANY and cell[0] + cell[4] >= SEEN_BEFORE and not _MADE_UP.search(extension):
            total = common.unseen.usage.classes.setdefault((ANY, extension), [0.0] * 5)
            scale = min(1.0, 4 * USAGE_VISITS / max(cell[0], cell[4], 1.0))
            for index, value in enumerate(cell):
                total[index] += value * scale


def _add_templates(common: Engine, engine: Engine) -> None:
    ours, theirs = common.unseen.derived, engine.unseen.derived
    for kind, templates in theirs.templates.items():
        tries = theirs.kinds.get(kind, [0.0])[0]
        kept: dict[Template, float] = {
            t: n for t, n in templates.items() if n >= max(SHARED_BY, tries / 2) and not _MADE_UP.search(t[1])
        }
        if kind[1] != ANY or not kept or _MADE_UP.search(kind[2]):
            continue
        scale = TEMPLATE_TRIES / tries
        ours.kinds.setdefault(kind, [0.0])[0] += TEMPLATE_TRIES
        known = ours.templates.setdefault(kind, {})
        for template, count in kept.items():
            known[template] = known.get(template, 0.0) + count * scale
