"""What was learned, on disk: bounded, versioned, replaced atomically, loaded without executing anything.

    STATE_DIR/state.npz              tables (NumPy arrays only; loaded with allow_pickle=False)
    STATE_DIR/weights.safetensors    the network in use, see predictor.ranker
    STATE_DIR/*.damaged              what could not be read, set aside for whoever wants to know why

A file is written beside its place, synced and renamed, so a crash leaves the old one or the new one. A state that is
damaged, too new or too old is set aside and learning starts from nothing: a predictor without memory is slow, one that
does not start is no use.
"""

import logging
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from predictor import experience
from predictor.engine import Engine
from predictor.limits import Limits

VERSION = 1
NAME = "state.npz"

LIMIT_BYTES = 64 << 20
"""Default for what a state may take on disk, weights not counted (0.2 MB)."""

Arrays = dict[str, npt.NDArray[np.generic]]

log = logging.getLogger(__name__)


def save(engine: Engine, directory: str | os.PathLike[str], limit_bytes: int = LIMIT_BYTES) -> int:
    """Writes the state; returns its size in bytes, never more than `limit_bytes`. Raises OSError as the disk does.

    What does not fit is left out: examples first, then the older half of the history, until it fits.
    """
    visits, examples = engine.limits.history, True
    while True:
        arrays = engine.snapshot(visits, examples)
        arrays["version"] = np.array([VERSION])
        size = sum(array.nbytes for array in arrays.values()) + 512 * len(arrays)  # npz: a header a member
        if size <= limit_bytes:
            break
        if examples:
            examples = False
        elif visits > 16:
            visits //= 2
        else:
            return 0
    Path(directory).mkdir(parents=True, exist_ok=True)
    replace(Path(directory) / NAME, lambda file: np.savez(file, allow_pickle=False, **arrays))
    return (Path(directory) / NAME).stat().st_size


def load(directory: str | os.PathLike[str], limits: Limits | None = None, limit_bytes: int = LIMIT_BYTES) -> Engine:
    """An engine with the state in `directory`, or with the shipped experience where there is none that can be read."""
    path = Path(directory) / NAME
    engine = Engine(limits)
    try:
        with path.open("rb") as file:
            with zipfile.ZipFile(file) as members:
                if sum(member.file_size for member in members.infolist()) > max(limit_bytes, LIMIT_BYTES) * 2:
                    raise ValueError("larger than a state may be")
            file.seek(0)
            with np.load(file, allow_pickle=False) as stored:
                arrays: Arrays = {name: stored[name] for name in stored.files}
        if int(arrays["version"][0]) != VERSION:
            raise ValueError(f"version {int(arrays['version'][0])}")
        engine.restore(arrays)
    except FileNotFoundError:
        return _new(limits)
    except Exception as error:  # whatever damaged bytes make of the decoders: learning starts anew
        log.warning("the predictor's state is set aside: %s: %s", type(error).__name__, error)
        set_aside(path)
        return _new(limits)
    return engine


def _new(limits: Limits | None) -> Engine:
    engine = Engine(limits)
    return engine if experience.give(engine) else Engine(limits)


def replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Puts a new file in `path`'s place, whole or not at all, synced."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(path: Path) -> None:
    """Renames a file that cannot be read, so that it is neither lost nor read again."""
    try:
        path.replace(path.with_name(path.name + ".damaged"))
    except OSError as error:
        log.warning("%s: %s", path, error)
