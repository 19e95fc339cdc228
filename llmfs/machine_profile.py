"""How much memory and how many threads a mount takes: profiles, and which one fits the machine that we are on.

A *machine profile* is a table of bounds: one for each pool, queue and set of threads of a mount and its predictor.
It has nothing to do with `llmfs profile`, which records what programs read (`profile.py`).

    edge      at most 150 MB resident, daemon and predictor together; nothing trains, so torch is never loaded
    desktop   what a mount takes where nobody says otherwise
    server    more at once and more in memory, where there is plenty of both

What a person says of a single bound wins over the profile. `machine.py` looks at the machine; here it is decided,
without I/O.
"""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum

_MIB = 1 << 20
_GIB = 1 << 30

SMALL_BYTES = 2 * _GIB
"""Less than that is an edge machine: a desktop's 250-500 MB would be a quarter of it."""

SMALL_SINGLE_CORE_BYTES = 4 * _GIB
"""Likewise with one core, which a training would take from programs."""

LARGE_BYTES = 64 * _GIB
LARGE_CORES = 16
"""A server has both: more threads without the cores for them gain nothing."""


class Profile(StrEnum):
    """What `--profile` takes."""

    AUTO = "auto"
    EDGE = "edge"
    DESKTOP = "desktop"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class MachineProfile:
    """The bounds of one mount. Their defaults are the desktop's."""

    name: Profile = Profile.DESKTOP
    demand_threads: int = 32
    prefetch_threads: int = 16
    requests_at_once: int = 256
    descriptors: int = 1 << 20  # of the source's files, held open; the process's limit bounds them as well

    idle_inodes: int = 100_000  # files that the kernel has forgotten
    looks_kept: int = 20_000  # attributes that came along with listings and were not asked for yet, 0.5 kB each
    held_inodes: int | None = None  # files that the kernel may know; beyond that it is asked to forget the oldest
    hot_blocks: int = 128  # decoded, of 128 KiB
    write_behind_bytes: int = 64 * _MIB  # waiting for LMDB; there are two environments
    mapped_bytes: int | None = None  # of each LMDB environment's map, that stay mapped
    read_in_bytes: int = 1 * _GIB  # of the blocks' data file, into the kernel's page cache when it is mounted
    waiting_records: int = 1 << 18  # for the trace on disk, 40 bytes each
    latest_records: int = 1 << 16  # for explain and top, 40 bytes each, twice as many at times
    decided_files: int = 8192  # whose decisions are remembered, for explain
    planned_items: int = 16_384
    paths_in_use: int = 1 << 16  # names that the recorder remembers by number
    heap_arenas: int | None = None  # of malloc's, and what is freed is given back; None: it is kept for what comes

    is_predictor_small: bool = False  # predictor.limits.SMALL
    trains: bool = True  # the network, in a child that loads torch


DESKTOP = MachineProfile()

EDGE = MachineProfile(
    name=Profile.EDGE,
    demand_threads=16,
    prefetch_threads=16,
    requests_at_once=32,
    descriptors=2048,
    idle_inodes=512,
    looks_kept=2000,
    held_inodes=5000,
    hot_blocks=32,
    write_behind_bytes=8 * _MIB,
    mapped_bytes=4 * _MIB,
    read_in_bytes=32 * _MIB,
    waiting_records=1 << 14,
    latest_records=1 << 13,
    decided_files=1024,
    planned_items=2048,
    paths_in_use=3 << 12,
    heap_arenas=1,
    is_predictor_small=True,
    trains=False,
)

SERVER = MachineProfile(
    name=Profile.SERVER,
    demand_threads=64,
    prefetch_threads=32,
    requests_at_once=512,
    idle_inodes=400_000,
    looks_kept=100_000,
    hot_blocks=1024,
    write_behind_bytes=256 * _MIB,
    read_in_bytes=4 * _GIB,
)

PROFILES = {each.name: each for each in (EDGE, DESKTOP, SERVER)}


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine has for us."""

    memory_bytes: int
    cores: int
    is_memory_limited: bool = False  # by our control group, to less than the machine has
    are_cores_limited: bool = False

    def __str__(self) -> str:
        memory = f"{self.memory_bytes / _GIB:.1f} GiB of memory" + (" (its limit)" if self.is_memory_limited else "")
        cores = f"{self.cores} core{'s' if self.cores != 1 else ''}" + (
            " (their limit)" if self.are_cores_limited else ""
        )
        return f"{memory}, {cores}"


@dataclass(frozen=True, slots=True)
class Fitting:
    """A profile, and why it was taken."""

    profile: MachineProfile
    reason: str


def fitting(wanted: Profile, machine: Machine) -> Fitting:
    """The profile that a mount goes by: the one that was asked for, or the one that suits the machine."""
    if wanted is not Profile.AUTO:
        return Fitting(PROFILES[wanted], "asked for")
    if machine.memory_bytes < SMALL_BYTES or (machine.cores == 1 and machine.memory_bytes < SMALL_SINGLE_CORE_BYTES):
        return Fitting(EDGE, str(machine))
    if machine.memory_bytes >= LARGE_BYTES and machine.cores >= LARGE_CORES:
        return Fitting(SERVER, str(machine))
    return Fitting(DESKTOP, str(machine))


def adjusted(profile: MachineProfile, threads: int | None, trains: bool | None) -> MachineProfile:
    """The profile with what a person said of single bounds. `threads`: for programs; prefetching has half as many."""
    changes: dict[str, int | bool] = {}
    if threads is not None:
        changes |= {"demand_threads": threads, "prefetch_threads": max(1, threads // 2)}
    if trains is not None:
        changes["trains"] = trains
    return dataclasses.replace(profile, **changes)  # type: ignore[arg-type]  # of the fields' types
