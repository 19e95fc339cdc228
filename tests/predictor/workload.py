"""Accesses made by hand: what a mount would send for a program that does this and that."""

from collections.abc import Iterator

import numpy as np

from predictor.engine import Engine
from predictor.events import ACCESS, FLAG_WRITE, Op, PathTable
from predictor.plan import PlanItem, Want
from predictor.trace import Records

SECOND = 10**9


class Mount:
    """One mount's session: numbers paths and streams, keeps time, sends batches.

    Beyond `paths_in_use` paths it numbers them anew, as the recorder of a mount does.
    """

    def __init__(self, start_s: int = 1_000_000, paths_in_use: int = 1 << 15) -> None:
        self._paths_in_use = paths_in_use
        self.paths = PathTable()
        self.now_ns = start_s * SECOND
        self._named = 1
        self._streams: dict[tuple[int, str], int] = {}
        self._new_streams: list[tuple[int, int, str]] = []
        self._rows: list[tuple[int, ...]] = []

    def add(
        self,
        op: Op,
        path: str,
        offset: int = 0,
        length: int = 0,
        tgid: int = 1,
        command: str = "python",
        flags: int = 0,
    ) -> None:
        """One access, a tenth of a millisecond after the one before."""
        self.now_ns += 100_000
        stream = self._streams.get((tgid, command))
        if stream is None:
            stream = self._streams[tgid, command] = len(self._streams)
            self._new_streams.append((stream, tgid, command))
        number = self.paths.intern_path(path.encode())
        self._rows.append((self.now_ns, offset, length, 0, number, stream, op, 0, flags, 0))

    def read_file(self, path: str, size: int = 10_000, tgid: int = 1, command: str = "python") -> None:
        """Looks it up, opens it, reads it whole."""
        self.add(Op.LOOKUP, path, size, tgid=tgid, command=command)
        self.add(Op.OPEN, path, size, tgid=tgid, command=command)
        for offset in range(0, size, 128 << 10):
            self.add(Op.READ, path, offset, min(128 << 10, size - offset), tgid=tgid, command=command)

    def write_file(self, path: str) -> None:
        self.add(Op.CREATE, path, flags=FLAG_WRITE)
        self.add(Op.WRITE, path, 0, 100, flags=FLAG_WRITE)

    def take(self) -> tuple[list[list[object]], list[list[object]], Records]:
        """What was added since the last call, as the arguments of `Engine.observe`."""
        names = [[n, self.paths.parent(n), self.paths.name(n)] for n in range(self._named, self.paths.next)]
        if len(self.paths) > self._paths_in_use:
            self.paths = PathTable(self.paths.next)
        self._named = self.paths.next
        streams = [list(stream) for stream in self._new_streams]
        self._new_streams = []
        records = np.array(self._rows, ACCESS)
        self._rows = []
        return names, streams, records

    def send(self, engine: Engine) -> list[PlanItem]:
        """Sends what was added; the plan that comes back."""
        engine.observe(*self.take())
        return engine.plan()

    def list_directory(self, engine: Engine, path: str, names: list[str], folders: tuple[str, ...] = ()) -> None:
        """The program lists a directory."""
        self.add(Op.READDIR, path)
        number = self.paths.intern_path(path.encode())
        self.send(engine)
        types = [4 if name in folders else 8 for name in names]
        engine.listing(number, [name.encode() for name in names], types)


def start_of_a_program(files: int = 300) -> Iterator[tuple[Op, str, int, int]]:
    """(op, path, offset, length): names that are not there, listings, files, in an order that repeats exactly."""
    for number in range(files):
        package = f"lib/package{number % 17}"
        if number % 5 == 0:
            yield Op.READDIR, package, 0, 0
        yield Op.ABSENT, f"{package}/module{number}.so", 0, 0
        path = f"{package}/module{number}.py"
        yield Op.LOOKUP, path, 5000 + number, 0o100644
        yield Op.OPEN, path, 5000 + number, 0
        yield Op.READ, path, 0, 5000 + number
    yield Op.OPEN, "lib/big.so", 64 << 20, 0
    yield Op.READ, "lib/big.so", 0, 4096
    yield Op.READ, "lib/big.so", 32 << 20, 1 << 20


def run_program(mount: Mount, engine: Engine, files: int = 300, tgid: int = 1) -> None:
    """A whole start, a few accesses a batch."""
    for index, (op, path, offset, length) in enumerate(start_of_a_program(files)):
        mount.add(op, path, offset, length, tgid=tgid)
        if index % 7 == 0:
            mount.send(engine)
    mount.send(engine)


def wanted(files: int = 300) -> set[tuple[Want, str]]:
    """What a start needs, as plan items name it."""
    needs: dict[str, Want] = {}
    for op, path, _, _ in start_of_a_program(files):
        want = {Op.READDIR: Want.LISTING, Op.READ: Want.DATA}.get(op, Want.ATTRIBUTES)
        needs[path] = max(want, needs.get(path, Want.ATTRIBUTES))
    return {(want, path) for path, want in needs.items()}


def covered(items: list[PlanItem], needs: set[tuple[Want, str]]) -> float:
    """The share of `needs` among the items."""
    planned = {(item.want, item.path.decode()) for item in items}
    return len(planned & needs) / len(needs)
