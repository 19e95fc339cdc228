"""What the predictor takes when there is no end of files: memory, time for an access, and what it still knows.

    python -m bench.scale [--files 10000000]

A scanner lists directories of 10 to 1000 names and looks up each file once, reading one in sixteen: a flood that the
predictor has to let pass. Beside it a program runs again and again, the same 300 files each time, which it should have
planned however much went by in between; how much it did is *coverage*, the share of the program's files that were
planned before the run came to them. At the end the gaps between two runs grow, to find where it forgets.

All of it goes through the engine that a mount drives, in batches, with numbers for paths that are given anew as a
mount's recorder does. Time is the CPU's, for observing, planning and scoring together: other programs at work make it
longer, but not severalfold. Memory is that of this process: interpreter, NumPy and the stream's maker (a few MB)
included.
"""

import argparse
import gc
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from bench.report import Progress, machine, write_json
from predictor import ranker, state
from predictor.engine import Engine
from predictor.events import ACCESS, Op, PathTable
from predictor.limits import SMALL, Limits

FILES = 10_000_000
BATCH = 64
"""Accesses of the flood in a batch: as many as a scanner that finds its names cached makes in 4 ms."""

ACCESS_NS = 2_000_000
"""Between two accesses by the clock of the trace: what a slow source takes. What was used is taken to be cached for
2 s, so a program that came back sooner would find nothing planned, nor needed."""

BURST = 8
"""Accesses of the program between two plans: it waits for most of them."""

PROGRAM_FILES = 300
PERIOD = 20_000
"""Files of the flood between two runs of the program."""

GAPS = (50_000, 100_000, 200_000, 400_000)
SCORED_EVERY = 8192
"""Accesses; a mount is sent scores once a second."""

SAMPLES = 200
READ_EVERY = 16
EXTENSIONS = ("jpg", "json", "txt", "npy", "py", "bin")

Access = tuple[Op, str, int, int, str]
"""(op, path, offset, length, command)."""


class Feed:
    """Numbers paths and streams as a mount does, hands batches to an engine and times it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._paths = PathTable()
        self._named = 1
        self._streams: dict[tuple[int, str], int] = {}
        self._new_streams: list[tuple[int, int, str]] = []
        self._rows: list[tuple[int, ...]] = []
        self._listings: list[tuple[int, list[bytes]]] = []
        self._now_ns = 1_700_000_000_000_000_000
        self._scored = 0
        self.events = 0
        self.longest_s = 0.0  # a batch
        self.microseconds: list[float] = []  # an access, by batch, since they were taken last

    def add(self, access: Access, tgid: int) -> None:
        op, path, offset, length, command = access
        self._now_ns += ACCESS_NS
        stream = self._streams.get((tgid, command))
        if stream is None:
            stream = self._streams[tgid, command] = len(self._streams) + 1
            self._new_streams.append((stream, tgid, command))
        number = self._paths.intern_path(path.encode())
        self._rows.append((self._now_ns, offset, length, 0, number, stream, op, 0, 0, 0))

    def list_names(self, path: str, names: Sequence[str]) -> None:
        """The scanner was answered these names."""
        self._listings.append((self._paths.intern_path(path.encode()), [name.encode() for name in names]))

    def __len__(self) -> int:
        return len(self._rows)

    def send(self) -> set[bytes]:
        """Hands over what was added; the paths that are planned thereupon."""
        records = np.array(self._rows, ACCESS)
        names = [[n, self._paths.parent(n), self._paths.name(n)] for n in range(self._named, self._paths.next)]
        started = time.thread_time()
        self._engine.observe(names, self._new_streams, records)
        for path, listed in self._listings:
            self._engine.listing(path, listed, [8] * len(listed))
        items = self._engine.plan()
        self._scored += len(records)
        if self._scored >= SCORED_EVERY:
            self._scored = 0
            self._engine.scores()
        seconds = time.thread_time() - started
        self.longest_s = max(self.longest_s, seconds)
        self.microseconds.append(1e6 * seconds / max(1, len(records)))
        self.events += len(records)
        self._rows, self._listings, self._new_streams = [], [], []
        if len(self._paths) > self._engine.limits.paths_in_use * 3 // 4:
            self._paths = PathTable(self._paths.next)
        self._named = self._paths.next
        return {item.path for item in items}


def flood(chance: random.Random) -> Iterator[tuple[str, list[str]]]:
    """Directories without end, each with its names: 10 to 1000, as many small ones as large ones."""
    number = 0
    while True:
        directory = f"data/part{number // 512 % 512:03d}/group{number // 262_144:02d}-{number % 512:03d}"
        first = chance.randrange(10**9)
        extension = chance.choice(EXTENSIONS)
        yield directory, [f"item-{first + n:010d}.{extension}" for n in range(round(10 ** chance.uniform(1, 3)))]
        number += 1


def scan(feed: Feed, chance: random.Random) -> Iterator[None]:
    """The scanner: comes back after each file."""
    seen = 0
    for directory, names in flood(chance):
        feed.add((Op.READDIR, directory, 0, 0, "scan"), 1)
        feed.list_names(directory, names)
        for name in names:
            path, size = f"{directory}/{name}", chance.randrange(1000, 200_000)
            feed.add((Op.LOOKUP, path, size, 0o100644, "scan"), 1)
            seen += 1
            if seen % READ_EVERY == 0:
                feed.add((Op.OPEN, path, size, 0, "scan"), 1)
                feed.add((Op.READ, path, 0, size, "scan"), 1)
            yield


def program() -> list[Access]:
    """The accesses of one run of the program that comes back."""
    order = random.Random(7).sample(range(PROGRAM_FILES), PROGRAM_FILES)
    accesses: list[Access] = []
    for number in order:
        path = f"app/package{number % 12}/module{number}.py"
        accesses.append((Op.LOOKUP, path, 4000 + number, 0o100644, "app"))
        accesses.append((Op.OPEN, path, 4000 + number, 0, "app"))
        accesses.append((Op.READ, path, 0, 4000 + number, "app"))
    return accesses


@dataclass(frozen=True, slots=True)
class Sample:
    """The predictor after so many files."""

    files: int
    rss_mib: float
    p50_us: float  # an access
    p99_us: float
    paths: int  # in the predictor's table


@dataclass(slots=True)
class Result:
    began_rss_mib: float = 0.0
    peak_rss_mib: float = 0.0  # between samples, too
    seconds: float = 0.0
    events: int = 0
    unknown: int = 0
    state_mib: float = 0.0
    save_seconds: float = 0.0
    samples: list[Sample] = field(default_factory=list)
    p50_us: float = 0.0
    p99_us: float = 0.0
    longest_ms: float = 0.0  # a batch
    runs: list[tuple[int, float]] = field(default_factory=list)  # files so far, coverage of a run of the program
    gaps: list[tuple[int, float]] = field(default_factory=list)  # files since the last run, coverage


class Measurement:
    """Drives the engine and looks at it."""

    def __init__(self, engine: Engine, files: int, seed: int) -> None:
        self._engine = engine
        self._feed = Feed(engine)
        self._scanner = scan(self._feed, random.Random(seed))
        self._program = program()
        self._files = files
        self._every = max(1, files // SAMPLES)
        self._microseconds: list[float] = []
        self._began = time.perf_counter()
        self.scanned = 0
        self.result = Result(began_rss_mib=rss_mib())

    def pass_by(self, files: int) -> Iterator[int]:
        """So many files of the flood, a batch a step: the number of files."""
        end = self.scanned + files
        while self.scanned < end:
            before = self.scanned
            while len(self._feed) < BATCH and self.scanned < end:
                self._step()
            self._feed.send()
            yield self.scanned - before

    def run_program(self) -> float:
        """One run, while the flood goes on; its coverage."""
        tgid = 1000 + len(self.result.runs) + len(self.result.gaps)
        planned: set[bytes] = set()
        touched: dict[bytes, bool] = {}
        for start in range(0, len(self._program), BURST):
            for access in self._program[start : start + BURST]:
                path = access[1].encode()
                touched.setdefault(path, path in planned)
                self._feed.add(access, tgid)
            for _ in range(BURST // 2):
                self._step()
            planned |= self._feed.send()
        return sum(touched.values()) / len(touched)

    def _step(self) -> None:
        next(self._scanner)
        self.scanned += 1
        if self.scanned % self._every == 0:
            self._sample()

    def _sample(self) -> None:
        taken, self._feed.microseconds = self._feed.microseconds, []
        if taken:
            p50, p99 = np.percentile(taken, (50, 99)).tolist()
            self.result.samples.append(Sample(self.scanned, rss_mib(), p50, p99, len(self._engine.paths)))
            self._microseconds += taken

    def finish(self) -> Result:
        """What was seen, with the state's size and how long it takes to save."""
        self._sample()
        result = self.result
        result.seconds = time.perf_counter() - self._began
        result.longest_ms = 1000 * self._feed.longest_s
        result.peak_rss_mib = peak_rss_mib()
        result.events, result.unknown = self._feed.events, self._engine.counters["unknown"]
        result.p50_us, result.p99_us = np.percentile(self._microseconds, (50, 99)).tolist()
        with tempfile.TemporaryDirectory() as directory:
            started = time.perf_counter()
            result.state_mib = state.save(self._engine, directory) / 2**20
            result.save_seconds = time.perf_counter() - started
        return result


def measure(files: int, seed: int, progress: Progress, limits: Limits | None = None) -> Result:
    """The flood with the program in it, then the growing gaps: `files` in all."""
    gc.collect()
    gc.freeze()
    gc.disable()  # as in the predictor's process
    with tempfile.TemporaryDirectory() as nothing:
        engine = state.load(nothing, limits)
    engine.ranker = ranker.load(ranker.SHIPPED) if ranker.SHIPPED.exists() else None
    measurement = Measurement(engine, files, seed)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = progress.console
    gaps = [gap for gap in GAPS if gap <= files // 10]
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("files", total=files)
        said = 0

        def pass_by(count: int) -> None:
            nonlocal said
            for _ in measurement.pass_by(count):
                samples = measurement.result.samples
                if samples and samples[-1].files >= said + files // 20:
                    said, last = samples[-1].files, samples[-1]
                    if not console.is_terminal:
                        console.print(
                            f"{said:>12,} files  {last.rss_mib:5.0f} MiB  {last.p50_us:5.0f} us an access,"
                            f" p99 {last.p99_us:5.0f}  {len(engine.paths):,} paths known"
                        )
                bar.update(task, completed=measurement.scanned, description=f"{rss_mib():.0f} MiB")

        while measurement.scanned < files - sum(gaps):
            measurement.result.runs.append((measurement.scanned, measurement.run_program()))
            pass_by(min(PERIOD, max(1, files - sum(gaps) - measurement.scanned)))
        for gap in gaps:
            measurement.run_program()
            pass_by(gap)
            measurement.result.gaps.append((gap, measurement.run_program()))
    return measurement.finish()


def rss_mib() -> float:
    """Memory of this process that is resident."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_rss_mib() -> float:
    """The most that was ever resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def show(result: Result, progress: Progress) -> None:
    """A few of the samples, and the sums."""
    step = max(1, len(result.samples) // 10)
    shown = result.samples[step - 1 :: step]
    progress.table(
        "the predictor, as files go by",
        ("files", "resident", "us of CPU an access, p50", "p99", "paths known"),
        [(f"{s.files:,}", f"{s.rss_mib:.0f} MiB", f"{s.p50_us:.0f}", f"{s.p99_us:.0f}", f"{s.paths:,}") for s in shown],
    )
    repeated = [coverage for _, coverage in result.runs[2:]]
    rows = (
        [(f"{PERIOD:,}", f"{np.median(repeated):.3f}", f"{min(repeated):.3f}", f"{len(repeated)}")] if repeated else []
    )
    rows += [(f"{gap:,}", f"{coverage:.3f}", f"{coverage:.3f}", "1") for gap, coverage in result.gaps]
    progress.table(
        "the program that comes back: share of its files planned before it came to them",
        ("files since its last run", "median", "least", "runs"),
        rows,
    )
    progress.console.print(
        f"resident {result.began_rss_mib:.0f} MiB at first, {result.peak_rss_mib:.0f} at most;"
        f" {result.events:,} accesses in {result.seconds:.0f} s, p50 {result.p50_us:.0f} us of CPU,"
        f" p99 {result.p99_us:.0f} us, longest batch {result.longest_ms:.0f} ms;"
        f" state {result.state_mib:.0f} MiB, saved in {result.save_seconds:.1f} s"
    )


def draw(path: Path, result: Result) -> bool:
    """Memory, time and coverage over the files gone by; False where matplotlib is not installed."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, (memory, cost, coverage) = pyplot.subplots(3, 1, figsize=(9, 7), sharex=True)
    millions = [sample.files / 1e6 for sample in result.samples]
    memory.plot(millions, [sample.rss_mib for sample in result.samples], color="#2f6db3")
    memory.set_title("resident memory, MiB", fontsize=10, loc="left")
    cost.plot(millions, [sample.p50_us for sample in result.samples], color="#2f6db3", label="p50")
    cost.plot(millions, [sample.p99_us for sample in result.samples], color="#9aa0a6", label="p99")
    cost.legend(frameon=False, fontsize=9)
    cost.set_title("microseconds an access", fontsize=10, loc="left")
    coverage.plot([files / 1e6 for files, _ in result.runs], [share for _, share in result.runs], ".", color="#2f6db3")
    coverage.set_title(f"the program's files planned in time, a run every {PERIOD:,} files", fontsize=10, loc="left")
    coverage.set_xlabel("million files gone by", fontsize=9)
    for axes in (memory, cost, coverage):
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--files", type=int, default=FILES, help="different ones that go by")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("out/scale.png"), help="the plot; JSON beside it")
    parser.add_argument("--small", action="store_true", help="as with llmfs mount --profile edge")
    args = parser.parse_args()
    if args.files < 1000:
        parser.error("--files: 1000 at least")
    progress = Progress()
    progress.warn_if_busy()
    described = machine()
    try:
        result = measure(args.files, args.seed, progress, SMALL if args.small else None)
    except KeyboardInterrupt:
        return 130
    show(result, progress)
    as_json = args.output.with_suffix(".json")
    write_json(as_json, {"machine": described, "files": args.files, "seed": args.seed, **asdict(result)})
    progress.files(args.output, as_json, draw(args.output, result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
