"""What a directory suggests: the next siblings, the numbered neighbours, and what of it was not read yet.

A program that walks a directory goes on in listing order, in sorted order, or by number. One that reads it in a
shuffled order shows no order to learn, but a set: what it has not read in this epoch. `Directory` keeps, for one
directory, the names as they were last listed and the children that were read in the current epoch. When nearly
everything was read and something is read again, the epoch rolls over.

Files that were never seen are proposed too: that is what the other sources cannot do. Bounded: `NAMES_MAX` names a
directory, `DIRECTORIES_MAX` directories, and the names of all of them together.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain, count, islice
from typing import Any

import numpy as np
import numpy.typing as npt

from predictor.events import PathTable

NAMES_MAX = 1 << 16
DIRECTORIES_MAX = 2048
SIBLINGS = 8
NUMBERED = 4
UNREAD = 32

SET_AFTER = 6
"""Different files of a directory read before its unread set is proposed."""

_NUMBER = re.compile(rb"(\d+)")


def natural(name: bytes) -> list[bytes | int]:
    """A key that sorts `part9` before `part10`."""
    return [int(part) if i % 2 else part for i, part in enumerate(_NUMBER.split(name))]


class Directory:
    """The children of one directory, as far as they are known."""

    __slots__ = (
        "_natural",
        "epochs",
        "folders",
        "listed",
        "place",
        "read",
        "reads",
        "steps",
        "unread",
        "version",
        "walk",
        "whole",
    )

    def __init__(self) -> None:
        self.listed: list[int] = []  # path ids in listing order
        self.place: dict[int, int] = {}  # path id -> index in `listed`
        self._natural: tuple[list[int], dict[int, int]] | None = None
        self.unread: dict[int, None] = {}  # of this epoch, in listing order
        self.read: dict[int, None] = {}  # in this epoch, in the order of reading
        self.reads = 0  # different files read, all epochs
        self.epochs = 0
        self.steps = 0  # visits to its children
        self.walk = 0.0  # how often lately the next child visited was a proposed sibling
        self.whole = 0  # files read to their end, minus files that were not
        self.folders: set[int] = set()  # children that are directories
        self.version = 0  # of the listing: no two listings have the same

    @property
    def size(self) -> int:
        """Names in memory."""
        return len(self.listed or self.unread) + len(self.read)

    def set_children(self, children: list[int]) -> None:
        """The directory was listed."""
        self.listed = children
        self.version = next(_VERSIONS)
        self.place = {child: index for index, child in enumerate(children)}
        self._natural = None
        self.unread = {child: None for child in children if child not in self.read and child not in self.folders}

    def walked(self, child: int, before: int) -> None:
        """A stream visited `child` after its sibling `before`: learns whether this directory is walked in order."""
        here, there = self.place.get(before), self.place.get(child)
        if here is None or there is None:
            return
        self.steps += 1
        order = self._natural[1] if self._natural is not None else self.place
        is_next = 0 < there - here <= SIBLINGS or 0 < order[child] - order[before] <= SIBLINGS
        self.walk += (is_next - self.walk) / min(self.steps + 1, 16)

    def use(self, child: int) -> None:
        """A child's data was used."""
        self.unread.pop(child, None)
        if child not in self.read:
            self.reads += 1
            self.read[child] = None
            if len(self.read) > NAMES_MAX:
                self.read = dict.fromkeys(islice(self.read, NAMES_MAX // 2, None))
        elif len(self.read) >= SET_AFTER and len(self.unread) <= len(self.read) // 32:
            self.epochs += 1  # read again, with (nearly) nothing left: the next epoch began
            self.unread = dict.fromkeys(self.listed) if self.listed else dict(self.read)
            self.unread.pop(child, None)
            self.read = {child: None}

    @property
    def is_set(self) -> bool:
        """Whether programs read this directory as a set, rather than a few files of it."""
        return self.epochs > 0 or (len(self.read) >= SET_AFTER and len(self.read) * 16 >= len(self.listed) // 16)

    def siblings(self, child: int, paths: PathTable) -> list[int]:
        """The next ones in listing order, then those in natural order."""
        index = self.place.get(child)
        if index is None:
            return []
        found = dict.fromkeys(self.listed[index + 1 : index + 1 + SIBLINGS])
        order, place = self._sorted(paths)
        index = place[child]
        found.update(dict.fromkeys(order[index + 1 : index + 1 + SIBLINGS]))
        return list(found)

    def unread_ones(self, child: int, extension: bytes, paths: PathTable, limit: int = UNREAD) -> list[int]:
        """Children of the same extension not read in this epoch, those after `child` in listing order first."""
        if not self.is_set:
            return []
        found: list[int] = []
        for other in self._unread_after(child, 4 * limit):
            if extension_of(paths.name(other)) == extension:
                found.append(other)
                if len(found) >= limit:
                    break
        return found

    def _unread_after(self, child: int, looked_at: int) -> Iterator[int]:
        """Up to so many unread ones, from `child` on in listing order and round. A shuffled reader comes by another
        place each time: were they the first ones always, all but these would be proposed when these were read."""
        index = self.place.get(child)
        if index is None or len(self.unread) <= looked_at:
            return islice(self.unread, looked_at)
        around = chain(islice(self.listed, index + 1, None), self.listed)
        return (other for other in islice(around, looked_at) if other in self.unread)

    def _sorted(self, paths: PathTable) -> tuple[list[int], dict[int, int]]:
        if self._natural is None:
            order = sorted(self.listed, key=lambda child: natural(paths.name(child)))
            self._natural = order, {child: index for index, child in enumerate(order)}
        return self._natural


_VERSIONS = count(1)


class Directories:
    """All directories' states, the least recently used forgotten beyond DIRECTORIES_MAX or `names_max` names."""

    def __init__(self, names_max: int) -> None:
        self._states: OrderedDict[int, Directory] = OrderedDict()
        self._names_max = names_max
        self._names = 0

    def get(self, path: int) -> Directory:
        state = self._states.get(path)
        if state is None:
            state = self._states[path] = Directory()
            if len(self._states) > DIRECTORIES_MAX:
                self._forget_oldest()
        else:
            self._states.move_to_end(path)
        return state

    def find(self, path: int) -> Directory | None:
        return self._states.get(path)

    def listed(self, path: int, children: list[int], folders: set[int]) -> None:
        """The directory `path` was listed: its children's ids in order, and which of them are directories."""
        state = self.get(path)
        before = state.size
        state.folders = folders
        state.set_children(children)
        self._grown(state.size - before)

    def used(self, path: int, child: int) -> bool:
        """The data of a child of `path` was used. True where with it a new epoch of the set began."""
        state = self.get(path)
        size, epochs = state.size, state.epochs
        state.use(child)
        self._grown(state.size - size)
        return state.epochs > epochs

    def _grown(self, names: int) -> None:
        self._names += names
        while self._names > self._names_max and len(self._states) > 1:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        self._names -= self._states.popitem(last=False)[1].size

    def forget_older_half(self) -> None:
        """Forgets those that were used longest ago."""
        for _ in range(len(self._states) // 2):
            self._forget_oldest()

    def paths(self) -> Iterator[int]:
        """All directories and their children that are remembered."""
        for path, state in self._states.items():
            yield path
            yield from state.listed or state.unread
            yield from state.read

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What is kept: the listings and how each directory is read, not where the current epoch stands."""
        states = list(self._states.items())
        children = [child for _, state in states for child in state.listed]
        folders = [child in state.folders for _, state in states for child in state.listed]
        rows = [(path, len(s.listed), s.reads, s.epochs, s.whole, s.steps, s.walk * 2**20) for path, s in states]
        return {
            "directories": np.array(rows, np.int64).reshape(-1, 7),
            "directory_children": np.array(children, np.int64),
            "directory_folders": np.packbits(np.array(folders, np.bool_)),
        }

    def load(self, arrays: dict[str, npt.NDArray[np.generic]], known_paths: int) -> None:
        """Takes back what `arrays` gave; ValueError or KeyError where it makes no sense."""
        rows = np.asarray(arrays["directories"], np.int64)
        children = np.asarray(arrays["directory_children"], np.int64)
        if rows.ndim != 2 or rows.shape[1] != 7 or int(rows[:, 1].sum()) != len(children):
            raise ValueError("directories")
        if (rows[:, :4] < 0).any() or max(rows[:, 0].max(initial=0), children.max(initial=0)) >= known_paths:
            raise ValueError("directories: a path that is not there")
        folders = np.unpackbits(np.asarray(arrays["directory_folders"], np.uint8), count=len(children)).tolist()
        listed = children.tolist()
        at = 0
        for path, length, reads, epochs, whole, steps, walk in rows.tolist():
            own = listed[at : at + length]
            flags = folders[at : at + length]
            self.listed(path, own, {child for child, is_folder in zip(own, flags, strict=True) if is_folder})
            state = self.get(path)
            state.reads, state.epochs, state.whole = reads, epochs, whole
            state.steps, state.walk = steps, walk / 2**20
            at += length


def extension_of(name: bytes) -> bytes:
    """`.bin` of `a.bin`, empty where there is none."""
    dot = name.rfind(b".")
    return name[dot:] if dot > 0 else b""


def trailing_number(name: bytes) -> int | None:
    """The last number in a name, None where there is none or it is too long to be a counter."""
    found = _NUMBER.findall(name)
    return int(found[-1]) if found and len(found[-1]) <= 12 else None


def neighbours(name: bytes, step: int, count: int = NUMBERED) -> list[bytes]:
    """The names `step`, 2 x `step`... away by their last number, zero-padded as `name` is."""
    matches = list(_NUMBER.finditer(name))
    if not matches or not step or len(matches[-1].group()) > 12:
        return []
    last = matches[-1]
    width = len(last.group())
    number = int(last.group())
    found = []
    for times in range(1, count + 1):
        value = number + step * times
        if value < 0:
            break
        found.append(name[: last.start()] + str(value).encode().rjust(width, b"0") + name[last.end() :])
    return found
