"""What programs do with names of a class: `python` reads nearly every `.pyc` that it looks up, whole, and no `.py`.

A class is a command and an extension; all commands together stand behind each of them. Counted when a visit ends: was
it read, how much of it. From that follows what to have ready of a file that was never seen: everything of a small one
whose like are read to their end, the head of a large one, nothing where its like are only looked at.
"""

from collections.abc import Iterator

from predictor.ranges import Ranges

CLASSES_MAX = 4096
VISITS_MAX = 512.0
VISITS_BEFORE = 4.0
SMALL_BYTES = 4 << 20
"""A file up to this size is fetched whole where its class is; of a larger one only `HEAD_BYTES` are."""

HEAD_BYTES = 128 << 10
ANY = 0

Class = tuple[int, bytes]


class Usage:
    """By class: visits, of those that read data, of those that read most of it, bytes in those; names not there."""

    def __init__(self) -> None:
        self.classes: dict[Class, list[float]] = {}

    def count(self, command: int, extension: bytes, size_bytes: int, read_bytes: int) -> None:
        """A visit to an existing file ended, with so many bytes of it read."""
        for cell in self._cells(command, extension):
            cell[0] += 1.0
            if read_bytes:
                cell[1] += 1.0
                cell[2] += read_bytes * 2 >= size_bytes
                cell[3] += size_bytes

    def count_absent(self, command: int, extension: bytes) -> None:
        """A name of this class was looked for and is not there."""
        for cell in self._cells(command, extension):
            cell[4] += 1.0

    def chance(self, command: int, extension: bytes, may_be_absent: bool = False) -> float:
        """The probability that a name of this class, if it exists, is read; 0.0 where too little is known."""
        cell = self._cell(command, extension)
        if cell is None:
            return 0.0
        return (cell[1] + 0.5) / (cell[0] + 1.0 + (cell[4] if may_be_absent else 0.0))

    def ranges(self, command: int, extension: bytes, size_bytes: int) -> Ranges:
        """What is read of one, if it is: a length of 0 stands for the whole file. `size_bytes` 0: unknown."""
        cell = self._cell(command, extension)
        if cell is None or not cell[1]:
            return ()
        size = size_bytes or cell[3] / cell[1]
        return ((0, 0 if cell[2] * 2 >= cell[1] and size <= SMALL_BYTES else HEAD_BYTES),)

    def _cells(self, command: int, extension: bytes) -> Iterator[list[float]]:
        for who in (command, ANY):
            cell = self.classes.get((who, extension))
            if cell is None:
                cell = self.classes[who, extension] = [0.0, 0.0, 0.0, 0.0, 0.0]
                if len(self.classes) > CLASSES_MAX:
                    del self.classes[next(iter(self.classes))]
            yield cell
            if cell[0] + cell[4] >= VISITS_MAX:
                cell[:] = [value / 2 for value in cell]

    def _cell(self, command: int, extension: bytes) -> list[float] | None:
        for who in (command, ANY):
            cell = self.classes.get((who, extension))
            if cell is not None and cell[0] >= VISITS_BEFORE:
                return cell
        return None

    def rows(self) -> tuple[list[bytes], list[tuple[float, ...]]]:
        """What is kept: an extension a row, and (command, counts...)."""
        return [name for _, name in self.classes], [(float(who), *cell) for (who, _), cell in self.classes.items()]

    def load(self, names: list[bytes], numbers: list[list[float]]) -> None:
        """Takes back what `rows` gave. Raises ValueError where it makes no sense."""
        for name, (who, *cell) in zip(names, numbers, strict=True):
            self.classes[int(who), name] = cell
