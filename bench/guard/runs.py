"""Attacks and real programs through a mount: each in a process group of its own, on trees made anew."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.guard import trees
from bench.mounted import Llmfs, llmfs

TREE_FILES = 40


@dataclass(frozen=True, slots=True)
class Attacked:
    """How one attack went."""

    family: str
    seed: int
    hurt: int  # files changed before it was stopped
    is_stopped: bool
    lost: int  # files that differ after restoring


@contextmanager
def environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def attacked(scratch: Path, family: str, seed: int, *options: str, files: int = TREE_FILES) -> Attacked:
    """Attack a tree through a mount with these options, restore it, and compare. `scratch` is emptied afterwards."""
    source, mountpoint = scratch / "source", scratch / "mount"
    for place in (source, mountpoint):
        place.mkdir()
    before = {path: path.read_bytes() for path in trees.make(source, seed, files)}
    try:
        with Llmfs(source, mountpoint, scratch / "cache", "--predictor", "off", *options):
            said = json.loads(
                _in_a_group(sys.executable, "-m", "bench.guard", "attack", family, str(mountpoint), str(seed))
            )
            found = json.loads(llmfs("guard", "list", "--json", str(mountpoint)))
            for row in found:
                if row.get("kept"):
                    subprocess.run(
                        [sys.executable, "-m", "llmfs", "guard", "restore", str(mountpoint), row["id"]],
                        capture_output=True,
                        check=False,
                    )
        lost = sum(not path.exists() or path.read_bytes() != data for path, data in before.items())
    finally:
        for place in scratch.iterdir():
            shutil.rmtree(place, ignore_errors=True)
    return Attacked(family, seed, said["hurt"], said["is_stopped"], lost)


def _in_a_group(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, start_new_session=True, timeout=300)
    return done.stdout


def in_a_group(run: Callable[[], None]) -> None:
    """Run in a child that leads a group of its own. Raises RuntimeError where it failed."""
    child = os.fork()
    if not child:
        try:
            os.setsid()
            run()
            os._exit(0)
        except BaseException as error:  # the child must not go on with the parent's work
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"a program failed with status {status}")
