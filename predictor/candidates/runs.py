"""Directories that are walked in order: by listing, by name, by number, by one program or several that share the work.

A directory's names in an order are positions, and a walk is a sequential read of positions: what tells sequential
readers of a file from random ones (`baselines/readahead.py`) tells walkers of a directory, with the same windows that
double while the walk goes on, the same tolerance for what is skipped or comes out of turn, several walks at once. Two
orders are followed: that of the listing (tar, find, ls) and that of names with their numbers by value (data sets, shell
patterns), each among all names and among those of one extension.
"""

from collections import OrderedDict

from predictor.baselines.readahead import NEAR_BYTES, Readahead
from predictor.candidates.directory import Directories, Directory, extension_of, natural
from predictor.events import PathTable

WALKS = 256
"""Directories (and extensions) whose walks are followed."""

AHEAD_MAX = 256
"""Names at most that a walk is ahead of its walker."""

PATIENCE = 2
"""Steps in order before a walk is believed: among a few hundred names one happens by chance."""

AT_ONCE = 4
"""Walks of one directory: more would take random steps for walks."""

_UNIT = NEAR_BYTES // 4
"""A position as bytes: four names may be skipped, and a confirmed walk begins with a window of eight."""


class _Order:
    """One order of a directory's names, and the walks through it."""

    __slots__ = ("names", "place", "walks")

    def __init__(self, names: list[int]) -> None:
        self.names = names
        self.place = {path: index for index, path in enumerate(names)}
        self.walks = Readahead(len(names) * _UNIT, AHEAD_MAX * _UNIT, PATIENCE, AT_ONCE)

    def step(self, path: int) -> list[int]:
        """`path` is visited: those that the walk comes to next, as far as they were not given before."""
        index = self.place.get(path)
        if index is None:
            return []
        found: list[int] = []
        for start, length in self.walks.observe(index * _UNIT, _UNIT):
            found += self.names[start // _UNIT : -(-(start + length) // _UNIT)]
        return found


class Runs:
    """The walks through all directories; the least recently walked are forgotten."""

    def __init__(self, paths: PathTable, directories: Directories) -> None:
        self._paths = paths
        self._directories = directories
        self._orders: OrderedDict[tuple[int, bytes | None], tuple[int, list[_Order]]] = OrderedDict()

    def clear(self) -> None:
        """No walk goes on."""
        self._orders.clear()

    def visit(self, path: int) -> list[int]:
        """The names to come, by all names of the directory."""
        return self._step(path, None)

    def read(self, path: int) -> list[int]:
        """The files to come, among those of the same extension."""
        return self._step(path, extension_of(self._paths.name(path)))

    def _step(self, path: int, extension: bytes | None) -> list[int]:
        parent = self._paths.parent(path)
        directory = self._directories.find(parent)
        if directory is None or len(directory.listed) < 2:
            return []
        key = (parent, extension)
        known = self._orders.get(key)
        if known is None or known[0] != directory.version:
            known = self._orders[key] = directory.version, self._orders_of(directory, extension)
            if len(self._orders) > WALKS:
                self._orders.popitem(last=False)
        else:
            self._orders.move_to_end(key)
        found: dict[int, None] = {}
        for order in known[1]:
            found.update(dict.fromkeys(order.step(path)))
        return list(found)

    def _orders_of(self, directory: Directory, extension: bytes | None) -> list[_Order]:
        names = directory.listed
        if extension is not None:
            alike = extension_of
            names = [n for n in names if n not in directory.folders and alike(self._paths.name(n)) == extension]
        by_name = sorted(names, key=lambda path: natural(self._paths.name(path)))
        return [_Order(names)] if by_name == names else [_Order(names), _Order(by_name)]
