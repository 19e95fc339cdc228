"""What independent test suites say of llmfs, and of the directory below it: python -m bench.conformance

Each suite runs three times, in one and the same run:

    bare        on a directory of this machine's disk: what the suite finds there is not ours
    llmfs       through llmfs over such a directory
    evicting    through llmfs with a cache of 16 MB over a directory that answers slowly (bench/slowdir), so that
                every read goes through the cache and the cache is full all the time; suites of data only

After each suite llmfs shows the same tree as its source. Nothing is fetched or built here: what is installed is run
(apt-get install stress-ng fio dbench), and what these name:

    PJDFSTEST   the built tree of github.com/pjd/pjdfstest (as root; it needs other users)
    FSX         the program fsx, FSSTRESS the program fsstress: both of xfstests, directory ltp

The exit status is 1 if something fails through llmfs that does not fail on the bare directory, unless EXPECTED
names it with its reason.
"""

import argparse
import contextlib
import hashlib
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.mounted import Llmfs, LlmfsFailedError
from bench.report import Progress, machine, write_json
from bench.slowdir import BuildError, SlowDir

EXPECTED: Mapping[str, str] = {}
"""Assertions that fail through llmfs, by name, and why."""

BARE, LLMFS, EVICTING = "bare", "llmfs", "evicting"
SLOW_S = 0.0003  # llmfs takes no source for fast that needs longer
SMALL_CACHE = "16M"
PJDFSTESTS_AT_ONCE = 6  # they mostly sleep, for timestamps to differ
FILE_TIMEOUT_S = 600.0
RUN_TIMEOUT_S = 300.0
SAID_LINES = 60
SHOWN_FAILURES = 20

FSX_MODES = {
    "buffered": (),
    "without mmap": ("-W", "-R"),
    "direct": ("-Z", "-r", "4096", "-w", "4096", "-t", "4096"),
    "large": ("-l", "3000000", "-o", "200000"),
    "reopened": ("-c", "50"),
}
FSX_OPERATIONS = 5000
FSSTRESS_SEEDS = (1, 2)
FIO_JOBS = {
    "buffered": ("--ioengine=psync", "--rw=randrw", "--bsrange=4k-128k"),
    "direct": ("--ioengine=psync", "--direct=1", "--rw=randrw", "--bsrange=4k-128k"),
    "mmap": ("--ioengine=mmap", "--rw=randrw", "--bsrange=4k-128k"),
    "read behind write": ("--ioengine=psync", "--rw=randwrite", "--bs=16k", "--verify_backlog=64"),
}
# Those that work on files in a directory of their own. An operation that a file system does not have is no failure.
STRESSORS = (
    "access", "chmod", "chown", "copy-file", "dentry", "dir", "dirdeep", "dirmany", "fallocate", "fcntl",
    "filename", "flock", "fsize", "fstat", "getdent", "hdd", "iomix", "link", "locka", "lockf",
    "mknod", "open", "readahead", "rename", "rotate", "seek", "sendfile", "symlink", "sync-file", "touch",
    "utime", "xattr",
)  # fmt: skip
STRESSOR_HAS_NOT = (3, 4)  # stress-ng(1): no resources, not implemented


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many assertions a suite made, and which of them failed, by name."""

    assertions: int
    failed: tuple[str, ...]


Suite = Callable[[Path], Outcome]


@dataclass(frozen=True, slots=True)
class Found:
    """What a suite said in each place."""

    suite: str
    outcomes: Mapping[str, Outcome]

    def is_worse(self) -> list[str]:
        """What fails through llmfs alone and is not expected to."""
        bare = set(self.outcomes[BARE].failed)
        through = [name for place, said in self.outcomes.items() if place != BARE for name in said.failed]
        return sorted({name for name in through if name not in bare and name not in EXPECTED})


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.conformance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("out/conformance.json"))
    parser.add_argument("--directory", type=Path, help="where to work (default: that for temporary files)")
    parser.add_argument("--suite", action="append", help="only this one, can be repeated")
    args = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that all is cleaned up
    progress = Progress()
    suites, missing = installed(os.environ)
    if args.suite:
        suites = {name: suite for name, suite in suites.items() if name in args.suite}
    for name, why in missing.items():
        progress.console.print(f"{name} is left out: {why}", markup=False)
    if not suites:
        print("conformance: no suite to run", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="llmfs-conformance-", dir=args.directory) as scratch:
            os.chmod(scratch, 0o755)  # noqa: S103 - other users work in it
            found = [_examined(name, suites[name], Path(scratch), progress) for name in suites]
    except KeyboardInterrupt:
        return 130
    except (BuildError, LlmfsFailedError) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 1

    show(found, progress)
    write_json(args.output, {"machine": machine(), "left_out": missing, "suites": [as_json(each) for each in found]})
    progress.console.print(f"figures: {args.output}", markup=False)
    return 1 if any(each.is_worse() for each in found) else 0


def show(found: Sequence[Found], progress: Progress) -> None:
    places = (BARE, LLMFS, EVICTING)
    rows = [
        [each.suite, str(max(said.assertions for said in each.outcomes.values()))]
        + [str(len(each.outcomes[place].failed)) if place in each.outcomes else "" for place in places]
        for each in found
    ]
    progress.table("assertions, and how many failed", ("suite", "assertions", *places), rows)
    for each in found:
        worse = each.is_worse()
        for name in worse[:SHOWN_FAILURES]:
            progress.console.print(f"{each.suite}: fails through llmfs: {name}", markup=False)
        if len(worse) > SHOWN_FAILURES:
            progress.console.print(f"{each.suite}: and {len(worse) - SHOWN_FAILURES} more", markup=False)


def as_json(found: Found) -> dict[str, object]:
    places = {
        place: {"assertions": said.assertions, "failed": list(said.failed)} for place, said in found.outcomes.items()
    }
    return {"suite": found.suite, "worse": found.is_worse(), **places}


def installed(environment: Mapping[str, str]) -> tuple[dict[str, Suite], dict[str, str]]:
    """The suites that can run here, and why the others cannot."""
    suites: dict[str, Suite] = {}
    missing: dict[str, str] = {}

    def add(name: str, suite: Suite, why_not: str | None) -> None:
        if why_not is None:
            suites[name] = suite
        else:
            missing[name] = why_not

    for name, variable, make in (
        ("pjdfstest", "PJDFSTEST", pjdfstest),
        ("fsx", "FSX", fsx),
        ("fsstress", "FSSTRESS", fsstress),
    ):
        given = environment.get(variable, "")
        program = Path(given or "none") / ("pjdfstest" if variable == "PJDFSTEST" else "")
        why_not = None
        if not given:
            why_not = f"{variable} does not say where it is"
        elif not os.access(program, os.X_OK):
            why_not = f"{variable}: {program} is not an executable program"
        elif variable == "PJDFSTEST" and os.geteuid() != 0:
            why_not = "it takes root"
        add(name, make(Path(given).absolute()), why_not)
    for name, suite in (("fio", fio), ("stress-ng", stress_ng), ("dbench", dbench)):
        add(name, suite, None if shutil.which(name) else f"apt-get install {name}")
    return suites, missing


def _examined(name: str, suite: Suite, scratch: Path, progress: Progress) -> Found:
    outcomes: dict[str, Outcome] = {}
    for place in (BARE, LLMFS, EVICTING):
        if place == EVICTING and name == "pjdfstest":
            continue  # slowdir does not act as its callers
        with progress.step(f"{name}, {place}") as said, _place(place, scratch) as (directory, source):
            outcome = suite(directory)
            if source is not None:
                differences = tuple(f"after it, {line}" for line in compare(directory, source))
                outcome = Outcome(outcome.assertions + 1, outcome.failed + differences)
            outcomes[place] = outcome
            said.append(f"{len(outcome.failed)} of {outcome.assertions} failed")
            _empty(directory)
    return Found(name, outcomes)


@contextlib.contextmanager
def _place(place: str, scratch: Path) -> Iterator[tuple[Path, Path | None]]:
    """A fresh directory to work in, and the one it should be like."""
    with tempfile.TemporaryDirectory(prefix=f"{place}-", dir=scratch) as work, contextlib.ExitStack() as mounts:
        os.chmod(work, 0o755)  # noqa: S103
        source, slow, mountpoint, cache = (Path(work, name) for name in ("source", "slow", "mount", "cache"))
        for directory in (source, slow, mountpoint):
            directory.mkdir()
        if place == BARE:
            yield source, None
            return
        options = ["--predictor", "sequential"]
        if os.geteuid() == 0:
            options.append("--allow-other")
        if place == EVICTING:
            mounts.enter_context(SlowDir(source, slow, SLOW_S, entry_timeout_s=0.0))
            options += ["--cache-size", SMALL_CACHE]
        seen = slow if place == EVICTING else source
        mounts.enter_context(Llmfs(seen, mountpoint, cache, *options))
        yield mountpoint, source


def compare(directory: Path, source: Path) -> list[str]:
    """How the trees differ, a line for each name; access times and directory sizes aside."""
    shown, there = _tree(directory), _tree(source)
    return [
        f"{name!r}: {shown.get(name)} and not {there.get(name)}"
        for name in sorted(shown.keys() | there.keys())
        if shown.get(name) != there.get(name)
    ]


def _tree(top: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for place, directories, files in os.walk(top):
        for name in (*directories, *files):
            path = os.path.join(place, name)
            st = os.lstat(path)
            content: object = st.st_rdev
            if stat.S_ISREG(st.st_mode):
                content = (st.st_size, _digest(path))
            elif stat.S_ISLNK(st.st_mode):
                content = os.readlink(path)
            owner = (st.st_uid, st.st_gid)
            found[os.path.relpath(path, top)] = (oct(st.st_mode), st.st_nlink, owner, st.st_mtime_ns, content)
    return found


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _empty(directory: Path) -> None:
    # Not with shutil: the suites leave trees too deep for it.
    names = [os.path.join(directory, name) for name in os.listdir(directory)]
    if names:
        subprocess.run(["rm", "-rf", "--", *names], check=False, capture_output=True, timeout=RUN_TIMEOUT_S)


def _succeeds(command: Sequence[str | Path], directory: Path, fine: Sequence[int] = (0,)) -> bool:
    """Runs it in `directory`; whether it ended, and well. If not, how it ended and what it said last goes to stderr."""
    words = [os.fspath(word) for word in command]
    try:
        done = subprocess.run(
            words,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=RUN_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        _tell(words, f"did not end within {RUN_TIMEOUT_S:g} s", expired.output)
        return False
    if done.returncode not in fine:
        _tell(words, f"ended with {done.returncode}", done.stdout)
        return False
    return True


def _tell(words: Sequence[str], how: str, output: bytes | None) -> None:
    said = (output or b"").decode(errors="replace").splitlines()[-SAID_LINES:]
    print("\n    ".join([f"{shlex.join(words)} {how}:", *said]), file=sys.stderr, flush=True)


def _outcome(results: Mapping[str, bool]) -> Outcome:
    return Outcome(len(results), tuple(name for name, succeeded in results.items() if not succeeded))


# --- the suites


def pjdfstest(tree: Path) -> Suite:
    """8,798 assertions on what POSIX says of names, modes, owners, links and times."""

    def run(directory: Path) -> Outcome:
        scripts = sorted((tree / "tests").rglob("*.t"))
        work = directory / "pjdfstest"
        work.mkdir()

        def one(script: Path) -> Outcome:
            name = str(script.relative_to(tree / "tests"))
            try:
                done = subprocess.run(
                    ["sh", script],
                    cwd=work,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=FILE_TIMEOUT_S,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return Outcome(1, (f"{name}: no end",))
            return read_tap(name, done.stdout)

        with ThreadPoolExecutor(PJDFSTESTS_AT_ONCE) as pool:
            outcomes = list(pool.map(one, scripts))
        return Outcome(
            sum(each.assertions for each in outcomes), tuple(name for each in outcomes for name in each.failed)
        )

    return run


def read_tap(name: str, text: str) -> Outcome:
    """What a test that speaks TAP said. Assertions that it planned and did not make have failed, TODO ones cannot."""
    plan = re.search(r"^1\.\.(\d+)", text, re.MULTILINE)
    planned = int(plan[1]) if plan else 0
    passed: set[int] = set()
    failed: set[int] = set()
    for failure, number, rest in re.findall(r"^(not )?ok (\d+)(.*)$", text, re.MULTILINE):
        is_failure = failure and "# TODO" not in rest
        (failed if is_failure else passed).add(int(number))
    failed |= set(range(1, planned + 1)) - passed
    if not plan:
        failed.add(0)
    return Outcome(max(planned, len(passed | failed)), tuple(f"{name}:{number}" for number in sorted(failed)))


def fsx(program: Path) -> Suite:
    """Random reads, writes, truncates and maps of one file, compared with a copy in memory."""

    def run(directory: Path) -> Outcome:
        with tempfile.TemporaryDirectory() as logs:
            return _outcome(
                {
                    mode: _succeeds(
                        (program, "-q", "-N", str(FSX_OPERATIONS), "-S", "1", "-P", logs, *options, directory / "fsx"),
                        directory,
                    )
                    for mode, options in FSX_MODES.items()
                }
            )

    return run


def fsstress(program: Path) -> Suite:
    """Four processes that do everything to a tree; what they leave is compared with the source."""

    def run(directory: Path) -> Outcome:
        results = {}
        for seed in FSSTRESS_SEEDS:
            tree = directory / f"fsstress-{seed}"
            tree.mkdir()
            results[f"seed {seed}"] = _succeeds(
                (program, "-d", tree, "-p", "4", "-n", "1000", "-s", str(seed)), directory
            )
        return _outcome(results)

    return run


def fio(directory: Path) -> Outcome:
    """Two processes write and read blocks that carry checksums."""
    common = ("--name=verify", "--size=48M", "--numjobs=2", "--runtime=60", "--verify=crc32c", "--verify_fatal=1")
    results = {}
    for job, options in FIO_JOBS.items():
        results[job] = _succeeds(("fio", f"--directory={directory}", *common, *options), directory)
        _empty(directory)
    return _outcome(results)


def stress_ng(directory: Path) -> Outcome:
    """Stressors of file systems that check what they get."""
    limits = ("--timeout", "8", "--verify", "--oomable", "--temp-path", directory)
    return _outcome(
        {
            name: _succeeds(
                ("stress-ng", f"--{name}", "2", f"--{name}-ops", "200", *limits), directory, (0, *STRESSOR_HAS_NOT)
            )
            for name in STRESSORS
        }
    )


def dbench(directory: Path) -> Outcome:
    """What a file server's clients do."""
    command = ("dbench", "-D", directory, "-t", "10", "-c", "/usr/share/dbench/client.txt", "2")
    return _outcome({"two clients": _succeeds(command, directory)})


if __name__ == "__main__":
    sys.exit(main())
