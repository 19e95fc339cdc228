"""Through what a workload reads: the directory itself, rivals, and llmfs with each of its predictors.

A system says which states it has. Cold: it has never seen the directory. Warm: mounted again, with the cache it kept.
Learned: mounted again, with an empty cache and all that it learned. What keeps nothing across a mount is always cold.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import peers
from bench.mounted import Llmfs, llmfs

COLD, WARM, LEARNED = STATES = ("cold", "warm", "learned")


@dataclass(frozen=True, slots=True)
class Place:
    """What a system is given: the slow directory, what lies behind it, and places of its own.

    cache_bytes: how much it may keep; None is its own default.
    """

    source: Path
    backing: Path
    mountpoint: Path
    cache_dir: Path
    cache_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Mounted:
    """A system ready to be read: where, by which processes, and what it says of itself."""

    root: Path
    pids: Sequence[int] = ()
    status: Callable[[], dict[str, Any]] = dict


@dataclass(frozen=True, slots=True)
class System:
    """One of them. missing: what it needs and is not here. version: a command that says which it is."""

    name: str
    states: Sequence[str]
    mount: Callable[[Place], AbstractContextManager[Mounted]]
    missing: Callable[[], list[str]] = list
    version: Sequence[str] = ()

    def prepare(self, place: Place, state: str) -> None:
        """Brings what it has kept into a state; warm and learned follow a run. Raises LlmfsFailedError."""
        if state == COLD:
            shutil.rmtree(place.cache_dir, ignore_errors=True)
        elif state == LEARNED:
            llmfs("cache", "clear", "--cache-dir", str(place.cache_dir))

    def described(self) -> str:
        """Its version, in the first line that its command says."""
        if not self.version:
            return ""
        said = subprocess.run(self.version, capture_output=True, text=True, check=False)
        return next((line for line in said.stdout.splitlines() if self.name in line.lower()), "")


@contextmanager
def _raw(place: Place) -> Iterator[Mounted]:
    yield Mounted(place.source)


@contextmanager
def _native(place: Place) -> Iterator[Mounted]:
    yield Mounted(place.backing)


def _peer(mount: Callable[[Place], AbstractContextManager[int]]) -> Callable[[Place], AbstractContextManager[Mounted]]:
    @contextmanager
    def mounted(place: Place) -> Iterator[Mounted]:
        with mount(place) as pid:
            yield Mounted(place.mountpoint, [pid])

    return mounted


def _llmfs(predictor: str) -> Callable[[Place], AbstractContextManager[Mounted]]:
    @contextmanager
    def mounted(place: Place) -> Iterator[Mounted]:
        options = [f"--predictor={predictor}"]
        if place.cache_bytes is not None:
            options.append(f"--cache-size={place.cache_bytes}")
        with Llmfs(place.source, place.mountpoint, place.cache_dir, *options) as daemon:
            daemon.settle()
            yield Mounted(place.mountpoint, [int(daemon.status()["pid"])], daemon.status)

    return mounted


RAW, NATIVE, LLMFS = "raw", "native", "llmfs"
BINDFS_OVER_NATIVE = "bindfs over native"

SYSTEMS = (
    System(RAW, (COLD,), _raw),
    System(NATIVE, (COLD,), _native),
    System(LLMFS, STATES, _llmfs("learned")),
    System("llmfs sequential", (COLD, WARM), _llmfs("sequential")),
    System("llmfs off", (COLD, WARM), _llmfs("off")),
    System(
        "bindfs",
        (COLD,),
        _peer(lambda place: peers.bindfs(place.source, place.mountpoint)),
        lambda: peers.missing_programs("bindfs"),
        ("bindfs", "--version"),
    ),
    # How fast a filesystem in user space can be at best: beside it, not beside the slow directory, stands a warm cache.
    System(
        BINDFS_OVER_NATIVE,
        (COLD,),
        _peer(lambda place: peers.bindfs(place.backing, place.mountpoint)),
        lambda: peers.missing_programs("bindfs"),
    ),
    System(
        "rclone",
        (COLD, WARM),
        _peer(lambda place: peers.rclone(place.source, place.mountpoint, place.cache_dir, place.cache_bytes)),
        lambda: peers.missing_programs("rclone"),
        ("rclone", "version"),
    ),
    System(
        "sshfs",
        (COLD,),
        _peer(lambda place: peers.sshfs(place.source, place.mountpoint)),
        lambda: peers.missing_programs("sshfs") + peers.missing_sftp_server(),
        ("sshfs", "--version"),
    ),
    System(
        "fsspec",
        (COLD, WARM),
        _peer(lambda place: peers.fsspec_cache(place.source, place.mountpoint, place.cache_dir)),
        lambda: peers.missing_modules("fsspec", "mfusepy"),
    ),
)
