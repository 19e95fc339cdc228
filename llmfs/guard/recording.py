"""Writes the guard's events to a file, for training and evaluation: one msgpack array after the other."""

import msgpack

from predictor.guard.events import Event


class Recording:
    """Takes events. Only a developer's mount has one (`wiring.py: RECORD_TO`)."""

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (for the mount's life)

    def __call__(self, event: Event) -> None:
        self._file.write(msgpack.packb(tuple(event)))
