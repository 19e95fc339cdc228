"""What a person wants to stay in the cache, remembered over mounts.

A pin is a path relative to the source, of a file or of a directory with all below it. Beside the path stand the ids of
the files that it meant when it was last looked at, so that eviction knows them from the first moment of a mount on,
without looking anything up. Pins do not overlap: one above others takes their place.

They lie in a file of their own in the cache directory, in JSON, written whole or not at all: the records in LMDB are
thrown away when the machine dies, which would be a poor reason to forget what a person asked for. A file that is
damaged, or is none of ours, counts as no pins, and is said so in the log.
"""

import base64
import contextlib
import json
import logging
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

NAME = "pins.json"
FILES_MAX = 20_000
"""Files of all pins: eleven bytes each on the disk, which have to find room beside the log."""

PINS_MAX = 1_000
SHOWN_MAX = 20
"""Pins named in the status, an extended attribute of 64 KiB."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A path, as os.fsdecode has it ("" is the root), and the files that it meant when it was last looked at."""

    path: str
    ids: frozenset[int]
    size_bytes: int

    def is_above(self, path: str) -> bool:
        return not self.path or path == self.path or path.startswith(self.path + "/")


class Pins:
    """The pins of one mount."""

    def __init__(self, directory: Path) -> None:
        """Reads what a former mount left in its cache directory."""
        self._file = directory / NAME
        self._pins: dict[str, Pin] = {}
        self._ids: frozenset[int] = frozenset()
        try:
            self._take(_unpacked(self._file.read_bytes()))
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            log.warning("what was pinned is forgotten: cannot read %s (%s)", self._file, error)

    def __iter__(self) -> Iterator[Pin]:
        return iter(tuple(self._pins.values()))

    def __len__(self) -> int:
        return len(self._pins)

    @property
    def files(self) -> int:
        return len(self._ids)

    @property
    def size_bytes(self) -> int:
        return sum(pin.size_bytes for pin in self._pins.values())

    def holds(self, inode_id: int) -> bool:
        """Whether a file is pinned, by its id."""
        return inode_id in self._ids

    def above(self, path: str) -> Pin | None:
        """The pin that a path is part of."""
        return next((pin for pin in self._pins.values() if pin.is_above(path)), None)

    def put(self, pin: Pin) -> None:
        """Pin it, in place of those below it. Raises OSError, and pins nothing, where it cannot be written down."""
        self._change([*(each for each in self if not pin.is_above(each.path)), pin])

    def remove(self, path: str) -> list[Pin]:
        """Let go of the pins at a path and below it; returns them. Raises OSError where it cannot be written down."""
        whole = Pin(path, frozenset(), 0)
        gone = [pin for pin in self if whole.is_above(pin.path)]
        if gone:
            self._change([pin for pin in self if pin not in gone])
        return gone

    def described(self) -> dict[str, Any]:
        """For the status, as JSON can hold it."""
        shown = [os.fsencode(pin.path).decode("utf-8", "backslashreplace") for pin in self][:SHOWN_MAX]
        return {"pins": len(self), "files": self.files, "bytes": self.size_bytes, "paths": shown}

    def _change(self, pins: list[Pin]) -> None:
        unfinished = self._file.with_name(NAME + ".new")
        try:
            unfinished.write_bytes(_packed(pins))
            unfinished.replace(self._file)
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink()
        self._take(pins)

    def _take(self, pins: Iterable[Pin]) -> None:
        self._pins = {pin.path: pin for pin in pins}
        self._ids = frozenset().union(*(pin.ids for pin in self._pins.values()))


def _packed(pins: Iterable[Pin]) -> bytes:
    rows = [
        {
            "path": pin.path,
            "bytes": pin.size_bytes,
            "ids": base64.b64encode(struct.pack(f"<{len(pin.ids)}Q", *sorted(pin.ids))).decode("ascii"),
        }
        for pin in pins
    ]
    return json.dumps({"pins": rows}).encode("ascii")


def _unpacked(data: bytes) -> list[Pin]:
    """Raises ValueError."""
    try:
        pins = []
        for row in json.loads(data)["pins"]:
            ids = base64.b64decode(row["ids"], validate=True)
            numbers = struct.unpack(f"<{len(ids) // 8}Q", ids)
            os.fsencode(row["path"])
            pins.append(Pin(row["path"], frozenset(numbers), int(row["bytes"])))
        return pins
    except (TypeError, KeyError, AttributeError, struct.error, RecursionError) as error:
        raise ValueError("it is no list of pins") from error
