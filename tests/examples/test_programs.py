"""The programs do what they say, on a real mount."""

import csv
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from predictor.interchange import CSV_COLUMNS
from tests.cli.conftest import needs_fuse
from tests.conftest import mounts_below
from tests.examples.conftest import EXAMPLES, command, run
from tests.mount.conftest import World, drop_pages

PROGRAMS = sorted(EXAMPLES.glob("*.py"))


def test_all_programs_are_run_here() -> None:
    source = Path(__file__).read_text()
    assert PROGRAMS and not [program.name for program in PROGRAMS if f'"{program.name}"' not in source]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_program_fits_on_a_screen(program: Path) -> None:
    assert len(program.read_text().splitlines()) <= 40


@needs_fuse
def test_watch_hit_rate_shows_what_was_read(world: World, files: list[Path]) -> None:
    mounted = world.mount()
    watching = subprocess.Popen(
        command("watch_hit_rate.py", mounted.path, "0.1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert watching.stdout is not None
        assert watching.stdout.readline().split()[:2] == ["reads", "hits"]
        (mounted / files[0].name).read_bytes()
        deadline_s = time.monotonic() + 10
        reads = 0
        while not reads and time.monotonic() < deadline_s:
            assert select.select([watching.stdout], [], [], 10)[0], "it has stopped printing"
            reads = int(watching.stdout.readline().split()[0])
        assert reads
        watching.send_signal(signal.SIGINT)
        _, complaint = watching.communicate(timeout=10)
        assert (watching.returncode, complaint) == (0, "")
    finally:
        watching.kill()
        watching.communicate()


@needs_fuse
def test_replay_a_trace_reads_what_a_mount_recorded(world: World, files: list[Path]) -> None:
    mounted = world.mount()
    for _ in range(2):
        for path in files:
            (mounted / path.name).read_bytes()
    mounted.umount()
    done = run(world, "replay_a_trace.py", mounted.cache_dir / "trace")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("plans came true\n")


def test_replay_a_trace_sees_what_repeats(world: World) -> None:
    trace = world.root / "trace.csv"
    with trace.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(CSV_COLUMNS)
        for number in range(90):
            name = f"data/{(number * 7) % 30:03d}.bin"
            for op, size in (("OPEN", 4096), ("READ", 4096)):
                writer.writerow([f"{1 + number / 100:.3f}", op, 100 + number // 30, "reader", name, size, 0])
    done = run(world, "replay_a_trace.py", trace)
    assert done.returncode == 0, done.stderr
    *plans, last = done.stdout.splitlines()
    assert any("b'data/" in plan for plan in plans)
    assert int(last.split()[0]) > 0, last


@needs_fuse
def test_warm_a_directory_leaves_nothing_to_ask_of_the_source(world: World, files: list[Path]) -> None:
    mounted = world.mount("--predictor", "off", source=world.slow_source())
    done = run(world, "warm_a_directory.py", mounted.path)
    assert done.stdout.startswith(f"{len(files)} files, "), done.stderr
    before = mounted.status()["reads"]["source"]
    for path in files:
        drop_pages(mounted / path.name)
        assert (mounted / path.name).read_bytes() == path.read_bytes()
    reads = mounted.status()["reads"]
    assert (reads["source"], reads["cache"] > 0) == (before, True)


@needs_fuse
def test_mount_from_python_mounts_for_a_command(world: World, files: list[Path]) -> None:
    mountpoint = world.root / "mnt"
    mountpoint.mkdir()
    done = run(world, "mount_from_python.py", world.backing, mountpoint, "sh", "-c", "cksum file-01; exit 3")
    expected = subprocess.run(["cksum", "file-01"], cwd=world.backing, capture_output=True, text=True, check=True)
    assert (done.returncode, done.stdout) == (3, expected.stdout), done.stderr
    assert not mounts_below(world.root)


def test_mount_from_python_refuses_in_one_line(world: World) -> None:
    done = run(world, "mount_from_python.py", world.root / "missing", world.root, "true")
    assert done.returncode == 1
    assert done.stderr.startswith("mount_from_python: ") and done.stderr.count("\n") == 1
