"""Names that come with a name: after `x.py` comes `__pycache__/x.cpython-311.pyc`, with `x.c` come `x.o` and `x.h`.

Two names that one stream visits shortly after each other, and that share a stem or are a directory and its child, are
an instance of a template: how to get from one directory to the other, and which suffix takes the other's place.
Templates are counted for each command and suffix, forwards (what follows it) and backwards (what came before it), so
that the name with which something is *planned* can bring along those that will be asked for on the way to it. A
template that mostly came true is applied to stems that were never seen, which is what no table of successors can do.

Pure dictionary work, a few microseconds a visit; bounded by KINDS_MAX and TEMPLATES.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice

from predictor.events import PathTable

TRAIL = 6
"""Visits of a stream within which two names belong together."""

KINDS_MAX = 4096
TEMPLATES = 6
"""Remembered for a kind of name: the least successful goes."""

TRIES_BEFORE = 3
TRIES_MAX = 256.0
ANY = 0
"""The command that stands for all of them."""

Split = tuple[int, int, bytes, bytes, bytes]
"""(path, parent, stem, suffix, kind): the kind is the suffix, and for a name that is not there ABSENT before it."""

ABSENT = b"/"
"""What follows a name that is not there is another thing to try; after one that is there, the search is over."""

Move = tuple[int, bytes]
"""How to get from a name's directory to the other's: SAME, DOWN into a name, UP, or to the CHILD of that name."""

SAME, DOWN, UP, CHILD = range(4)

Template = tuple[Move, bytes]
"""A move, and the suffix there (for CHILD: the whole name)."""

Kind = tuple[bool, int, bytes]
"""(is forwards, command, suffix)."""


def split(paths: PathTable, path: int, is_absent: bool = False) -> Split:
    """A name's stem, up to its first dot but one at the beginning, and the rest."""
    name = paths.name(path)
    dot = name.find(b".", 1)
    stem, suffix = (name, b"") if dot < 0 else (name[:dot], name[dot:])
    return path, paths.parent(path), stem, suffix, ABSENT + suffix if is_absent else suffix


class Derived:
    """Templates with how often they were tried and came true."""

    def __init__(self, paths: PathTable) -> None:
        self._paths = paths
        self.kinds: dict[Kind, list[float]] = {}  # tries
        self.templates: dict[Kind, dict[Template, float]] = {}  # times that they came true

    def observe(self, trail: deque[tuple[int, Split]], command: int, path: int, is_absent: bool) -> None:
        """A stream visits `path` after those in `trail`, which is moved on."""
        here = split(self._paths, path, is_absent)
        for _, there in trail:
            template = self._between(there, here)
            if template is not None:
                self._count(True, command, there[4], template)
            template = self._between(here, there)
            if template is not None:
                self._count(False, command, here[4], template)
        self._try(False, command, here[4])
        trail.append((command, here))
        if len(trail) > TRAIL:
            old_command, old = trail.popleft()
            self._try(True, old_command, old[4])

    def after(self, command: int, path: int, is_absent: bool, least: float) -> Iterator[tuple[int, float]]:
        """(path, probability) of what comes after `path` by templates that come true in at least that share."""
        return self._apply(True, command, split(self._paths, path, is_absent), least)

    def before(self, command: int, path: int, least: float) -> Iterator[tuple[int, float]]:
        """Likewise, of what is asked for on the way to `path`."""
        return self._apply(False, command, split(self._paths, path), least)

    def _between(self, one: Split, other: Split) -> Template | None:
        path, parent, stem, suffix, _ = one
        to_path, to_parent, to_stem, to_suffix, _ = other
        if path == to_path:
            return None
        if to_parent == path:
            return (CHILD, b""), self._paths.name(to_path)
        if stem != to_stem:
            return None
        if parent == to_parent:
            return ((SAME, b""), to_suffix) if suffix != to_suffix else None
        if self._paths.parent(to_parent) == parent:
            return (DOWN, self._paths.name(to_parent)), to_suffix
        if self._paths.parent(parent) == to_parent:
            return (UP, b""), to_suffix
        return None

    def _count(self, is_forwards: bool, command: int, suffix: bytes, template: Template) -> None:
        for who in (command, ANY):
            known = self.templates.get((is_forwards, who, suffix))
            if known is None:
                if len(self.templates) >= 2 * KINDS_MAX:  # of streams that ended before their kind was tried
                    self.templates = {kind: each for kind, each in self.templates.items() if kind in self.kinds}
                known = self.templates[is_forwards, who, suffix] = {}
            known[template] = known.get(template, 0.0) + 1.0
            if len(known) > TEMPLATES:
                del known[min(known, key=known.__getitem__)]

    def _try(self, is_forwards: bool, command: int, suffix: bytes) -> None:
        for who in (command, ANY):
            kind = (is_forwards, who, suffix)
            tries = self.kinds.get(kind)
            if tries is None:
                tries = self.kinds[kind] = [0.0]
                if len(self.kinds) > KINDS_MAX:
                    oldest = next(iter(self.kinds))
                    del self.kinds[oldest]
                    self.templates.pop(oldest, None)
            tries[0] += 1.0
            if tries[0] >= TRIES_MAX:
                tries[0] /= 2
                known = self.templates.get(kind, {})
                self.templates[kind] = {template: count / 2 for template, count in known.items()}

    def _apply(self, is_forwards: bool, command: int, name_of: Split, least: float) -> Iterator[tuple[int, float]]:
        path, parent, stem, _, own = name_of
        for who in (command, ANY):
            kind = (is_forwards, who, own)
            tries = self.kinds.get(kind, (0.0,))[0]
            if tries < TRIES_BEFORE:
                continue
            for ((move, name), ending), count in self.templates.get(kind, {}).items():
                chance = min(1.0, count / (tries + 1))
                if chance >= least:
                    directory = self._directory(move, name, path, parent)
                    if directory is not None:
                        yield self._paths.intern(directory, ending if move == CHILD else stem + ending), chance
            return

    def _directory(self, move: int, name: bytes, path: int, parent: int) -> int | None:
        if move == SAME:
            return parent
        if move == UP:
            return self._paths.parent(parent) if parent else None
        if move == CHILD:
            return path
        return self._paths.intern(parent, name)

    def rows(self) -> tuple[list[bytes], list[tuple[float, ...]]]:
        """What is kept: three names a row, and (is forwards, command, move, tries, successes)."""
        names: list[bytes] = []
        numbers: list[tuple[float, ...]] = []
        for (is_forwards, command, suffix), templates in islice(self.templates.items(), KINDS_MAX):
            tries = self.kinds.get((is_forwards, command, suffix), [0.0])[0]
            for ((move, name), ending), count in templates.items():
                names += [suffix, name, ending]
                numbers.append((float(is_forwards), float(command), float(move), tries, count))
        return names, numbers

    def load(self, names: list[bytes], numbers: list[list[float]]) -> None:
        """Takes back what `rows` gave. Raises ValueError where it makes no sense."""
        if len(names) != 3 * len(numbers) or any(b"/" in name[1:] for name in names):
            raise ValueError("templates")
        for index, (is_forwards, command, move, tries, count) in enumerate(numbers):
            suffix, name, ending = names[3 * index : 3 * index + 3]
            if move not in (SAME, DOWN, UP, CHILD) or (move == DOWN and not name) or (move == CHILD and not ending):
                raise ValueError("templates")
            kind = (bool(is_forwards), int(command), suffix)
            self.kinds[kind] = [tries]
            self.templates.setdefault(kind, {})[(int(move), name), ending] = count
