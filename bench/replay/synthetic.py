"""Workloads whose right answer is known, made from a seed: `python -m bench.replay synthetic:NAME`."""

from collections.abc import Callable, Iterator
from random import Random

import numpy as np

from llmfs.blocks import PAGE_BYTES
from predictor.events import ACCESS, Op, PathTable, Stream
from predictor.recording import Recording, record
from predictor.trace import Batch

FILES = 600
FILE_BYTES = 128 << 10
EPOCHS = 4
THINKING_NS = 3_000_000
"""Between two accesses: a loader that decodes what it read."""

READS = 20_000
LARGE_BYTES = 4 << 30


class _Script:
    """Collects accesses, each the same time after the one before."""

    def __init__(self) -> None:
        self.paths = PathTable()
        self.rows: list[tuple[int, ...]] = []

    def add(self, op: Op, path: int, offset: int = 0, length: int = 0, stream: int = 0) -> None:
        self.rows.append((len(self.rows) * THINKING_NS, offset, length, 0, path, stream, op, 0, 0, 0))

    def whole(self, path: int, stream: int = 0) -> None:
        self.add(Op.OPEN, path, FILE_BYTES, 0, stream)
        self.add(Op.READ, path, 0, FILE_BYTES, stream)

    def recording(self, name: str, streams: int = 1) -> Recording:
        def batches() -> Iterator[Batch]:
            named = {number: Stream(number, 100 + number, "loader") for number in range(streams)}
            yield Batch(self.paths, named, np.array(self.rows, ACCESS))

        return record(name, batches())


def _epochs(random: Random, is_shuffled: bool) -> _Script:
    """A data set read whole, epoch after epoch, by two workers that take its files in turn."""
    script = _Script()
    files = [script.paths.intern_path(b"set/%05d.bin" % number) for number in range(FILES)]
    script.add(Op.READDIR, script.paths.intern_path(b"set"))
    for _ in range(EPOCHS):
        if is_shuffled:
            random.shuffle(files)
        for turn, path in enumerate(files):
            script.whole(path, turn % 2)
    return script


def shuffled(random: Random) -> Recording:
    """Every file once an epoch, in another order each time."""
    return _epochs(random, True).recording("shuffled epochs", 2)


def cyclic(random: Random) -> Recording:
    """Every file once an epoch, always in the same order."""
    return _epochs(random, False).recording("cyclic epochs", 2)


def uniform(random: Random) -> Recording:
    """Pages of a large file, each as likely as any other."""
    script = _Script()
    path = script.paths.intern_path(b"large.bin")
    script.add(Op.OPEN, path, LARGE_BYTES)
    for _ in range(READS):
        script.add(Op.READ, path, random.randrange(LARGE_BYTES // PAGE_BYTES) * PAGE_BYTES, PAGE_BYTES)
    return script.recording("uniform random reads")


def encrypted(random: Random) -> Recording:
    """Files of names that tell nothing, each as likely as any other, in many directories of a store."""
    script = _Script()
    names = [b"%02x/%032x" % (random.randrange(256), random.getrandbits(128)) for _ in range(READS)]
    files = [script.paths.intern_path(name) for name in names]
    for _ in range(READS // 4):
        script.whole(random.choice(files))
    recording = script.recording("encrypted names")
    recording.children.update(_children(script.paths, files))  # most of them are never read
    return recording


def _children(paths: PathTable, files: list[int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for path in sorted(files):
        found.setdefault(paths.parent(path), []).append(path)
    return found


SYNTHETIC: dict[str, Callable[[Random], Recording]] = {
    "shuffled": shuffled,
    "cyclic": cyclic,
    "uniform": uniform,
    "encrypted": encrypted,
}
