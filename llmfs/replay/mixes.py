"""Workloads that mix and shift, made from a seed: programs that begin one after the other, or run beside each other.

What a controller has to weigh is in each: some of what is predicted comes true (epochs, directories walked in order),
some does not (a store read at random, names that tell nothing), and programs wait for the same line. Excerpts of
recordings may be mixed in as programs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random

import numpy as np

from llmfs.blocks import PAGE_BYTES
from llmfs.replay.source import Model
from llmfs.replay.steered import Scenario
from llmfs.replay.workload import arrange
from predictor.events import ACCESS, Op, PathTable, Stream
from predictor.recording import Recording, moved, record
from predictor.trace import Batch

Program = Callable[[Random, int], Recording]
"""Makes so many accesses."""

THINKING_NS = 4_000_000
"""Between two accesses of a program."""

PAUSE_MAX_NS = 5_000_000_000
"""A recording may last for days. Who thinks for longer than this waits for nothing that a controller decided before."""


class _Script:
    """Collects accesses of one program, each the same time after the one before."""

    def __init__(self) -> None:
        self.paths = PathTable()
        self.rows: list[tuple[int, ...]] = []

    def add(self, op: Op, path: int, offset: int = 0, length: int = 0) -> None:
        self.rows.append((len(self.rows) * THINKING_NS, offset, length, 0, path, 0, op, 0, 0, 0))

    def whole(self, path: int, size: int) -> None:
        self.add(Op.OPEN, path, size)
        self.add(Op.READ, path, 0, size)

    def recording(self, command: str) -> Recording:
        def batches() -> Iterator[Batch]:
            yield Batch(self.paths, {0: Stream(0, 100, command)}, np.array(self.rows, ACCESS))

        return record(command, batches())


def _epochs(random: Random, accesses: int, is_shuffled: bool) -> Recording:
    """A data set read whole again and again; the cache holds a part of it."""
    script = _Script()
    size = random.choice((64, 128, 256)) << 10
    files = [script.paths.intern_path(b"set/%05d.bin" % number) for number in range(max(40, accesses // 8))]
    script.add(Op.READDIR, script.paths.intern_path(b"set"))
    while len(script.rows) < accesses:
        if is_shuffled:
            random.shuffle(files)
        for path in files:
            script.whole(path, size)
    return script.recording("loader")


def shuffled(random: Random, accesses: int) -> Recording:
    """Epochs, in another order each time."""
    return _epochs(random, accesses, True)


def cyclic(random: Random, accesses: int) -> Recording:
    """Epochs, always in the same order."""
    return _epochs(random, accesses, False)


def walked(random: Random, accesses: int) -> Recording:
    """Directories walked in order, their files read whole, once."""
    script = _Script()
    folder = 0
    while len(script.rows) < accesses:
        script.add(Op.READDIR, script.paths.intern_path(b"tree/%03d" % folder))
        for number in range(40):
            script.whole(script.paths.intern_path(b"tree/%03d/%04d.dat" % (folder, number)), 64 << 10)
        folder += 1
    return script.recording("walker")


def store(random: Random, accesses: int) -> Recording:
    """Files of a store whose names tell nothing, some read often, most never."""
    script = _Script()
    files = [script.paths.intern_path(b"store/%02x/%032x" % (random.randrange(16), random.getrandbits(128)))
             for _ in range(accesses)]  # fmt: skip
    while len(script.rows) < accesses:
        script.whole(files[int(len(files) * random.random() ** 2)], 128 << 10)
    recording = script.recording("store")
    children: dict[int, list[int]] = {}
    for path in sorted(set(files)):
        children.setdefault(script.paths.parent(path), []).append(path)
    recording.children.update(children)  # most of them are never read
    return recording


def pages(random: Random, accesses: int) -> Recording:
    """Pages of a large file, each as likely as any other: a database that waits for each of its reads."""
    script = _Script()
    path = script.paths.intern_path(b"large.db")
    size_pages = (1 << 30) // PAGE_BYTES
    script.add(Op.OPEN, path, size_pages * PAGE_BYTES)
    for _ in range(accesses):
        script.add(Op.READ, path, random.randrange(size_pages) * PAGE_BYTES, PAGE_BYTES)
    return script.recording("database")


PROGRAMS: dict[str, Program] = {each.__name__: each for each in (shuffled, cyclic, walked, store, pages)}


def excerpts(recording: Recording, begin: float, end: float) -> Program:
    """A program that makes successive accesses of a recording, from a place drawn anew between two shares of it."""
    records = np.concatenate(recording.batches)
    records = records[np.argsort(records["time_ns"], kind="stable")]
    records = records[int(begin * len(records)) : int(end * len(records))]
    pauses_ns = np.minimum(np.diff(records["time_ns"]), PAUSE_MAX_NS)
    records["time_ns"][1:] = records["time_ns"][:1] + np.cumsum(pauses_ns)

    def excerpt(random: Random, accesses: int) -> Recording:
        first = random.randrange(max(0, len(records) - accesses) + 1)
        return replace(recording, batches=[records[first : first + accesses]])

    return excerpt


def together(name: str, parts: Sequence[tuple[Recording, float]]) -> Recording:
    """Recordings as programs of their own in directories of their own, each beginning at a time in seconds."""
    paths, streams, batches = PathTable(), dict[int, Stream](), []
    children: dict[int, list[int]] = {}
    folders: set[int] = set()
    sizes: dict[bytes, int] = {}
    for number, (recording, begin_s) in enumerate(parts):
        prefix = b"%d/" % number
        ids = {path: paths.intern_path(prefix + recording.paths.path(path)) for path in recording.paths}
        first = len(streams)
        ours = {old: first + new for new, old in enumerate(sorted(recording.streams))}
        streams |= {
            ours[old]: replace(stream, id=ours[old], tgid=1000 * number + stream.tgid)
            for old, stream in recording.streams.items()
        }
        placed = moved(recording, name, paths, ids, streams)
        for records in placed.batches:
            if len(records):
                records["stream"] = [ours[stream] for stream in records["stream"].tolist()]
                start_ns = int(recording.batches[0]["time_ns"][0])
                records["time_ns"] = records["time_ns"] - np.uint64(start_ns) + np.uint64(int(begin_s * 1e9))
                batches.append(records)
        children |= placed.children
        folders |= placed.folders
        sizes |= placed.sizes
    records = np.concatenate(batches)
    return Recording(
        name, paths, streams, [records[np.argsort(records["time_ns"], kind="stable")]], children, folders, sizes
    )


def seconds(recording: Recording) -> float:
    """How long a recording took."""
    times = [int(value) for records in recording.batches for value in (records["time_ns"][0], records["time_ns"][-1])]
    return (max(times) - min(times)) / 1e9


SOURCES = {
    "free": Model(0.002, 0.3, 200e6, 32),
    "narrow line": Model(0.005, 0.3, 12e6, 32),
    "few places": Model(0.004, 0.3, 60e6, 2),
    "far": Model(0.030, 0.3, 40e6, 8),
}
"""A LAN's file server; a shared WLAN; a disk with two heads' worth of parallelism; another site's."""

MIXES: dict[str, tuple[tuple[str, ...], ...]] = {
    "loader beside database": (("shuffled", "pages"),),
    "store beside walker": (("store", "walked"),),
    "two loaders": (("shuffled", "cyclic"),),
    "shifting": (("cyclic",), ("store",), ("walked", "pages"), ("shuffled",)),
}
"""Phases one after the other, each of programs beside each other."""


def mix(
    phases: Sequence[Sequence[str]], random: Random, accesses: int, programs: Mapping[str, Program] = PROGRAMS
) -> Recording:
    """The recording of phases of `programs`, by their names; each makes so many accesses."""
    parts: list[tuple[Recording, float]] = []
    begin_s = 0.0
    for phase in phases:
        made = [programs[name](random, accesses) for name in phase]
        parts += [(each, begin_s) for each in made]
        begin_s += max(seconds(each) for each in made)
    return together(" then ".join(" + ".join(phase) for phase in phases), parts)


def evaluated(seed: int, accesses: int, cache_bytes: int) -> list[Scenario]:
    """Each mix over each source."""
    found = []
    for name, phases in MIXES.items():
        workload = arrange(mix(phases, Random(seed), accesses // len(phases)))
        found += [
            Scenario(f"{name}, {source}", workload, replace(model, seed=seed), cache_bytes)
            for source, model in SOURCES.items()
        ]
    return found


def drawn(random: Random, accesses: int, recorded: Mapping[str, Program] | None = None) -> Scenario:
    """A scenario for training: programs, source and cache drawn anew. One of `recorded` is in each phase."""
    phases = []
    for _ in range(random.choice((1, 2))):
        phase = random.sample(sorted(PROGRAMS), random.choice((1, 2)))
        if recorded:
            phase[0] = random.choice(sorted(recorded))
        phases.append(phase)
    model = Model(
        latency_s=0.001 * 40 ** random.random(),
        spread=0.3,
        bandwidth_bytes_s=8e6 * 25 ** random.random(),
        concurrency=random.choice((2, 4, 8, 32)),
        seed=random.randrange(1 << 30),
    )
    recording = mix(phases, random, accesses // len(phases), PROGRAMS | dict(recorded or {}))
    return Scenario(recording.name, arrange(recording), model, random.choice((16, 32, 64)) << 20)
