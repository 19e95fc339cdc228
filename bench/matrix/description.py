"""The machine and the versions that figures depend on."""

import datetime
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.matrix.systems import System
from bench.report import machine

_PACKAGES = ("llmfs", "pyfuse3", "trio", "lmdb", "torch", "numpy", "safetensors", "duckdb", "pyarrow", "fsspec")
_CHECKOUT = Path(__file__).resolve().parents[2]


def describe(systems: Sequence[System], left_out: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """left_out: what is not measured, with what it lacks."""
    return machine() | {
        "processor": _processor(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "rivals": {system.name: version for system in systems if (version := system.described())},
        "left_out": dict(left_out),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    said = subprocess.run(command, cwd=_CHECKOUT, capture_output=True, text=True, check=False)
    return said.stdout.strip() or "not a git checkout"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
