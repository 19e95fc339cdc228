"""Compiles slowdir.c on first use, into the user's cache; the binary is named by what it was made from."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("slowdir.c")
# 3.12 brought the loop configuration that lets hundreds of requests wait at once.
OLDEST_LIBFUSE = "3.12"


class BuildError(RuntimeError):
    """slowdir cannot be compiled here; the message says what to install."""


def binary() -> Path:
    """The path of the slowdir program, compiled if need be. Raises BuildError."""
    needs = {"gcc": "gcc", "pkg-config": "pkg-config", "fusermount3": "fuse3"}
    missing = [package for program, package in needs.items() if shutil.which(program) is None]
    if not missing and _pkg_config("--exists") is None:
        missing = ["libfuse3-dev"]
    if missing:
        raise BuildError(f"slowdir is compiled on first use: apt-get install {' '.join(missing)}")
    version = _pkg_config("--modversion")
    if _pkg_config(f"--atleast-version={OLDEST_LIBFUSE}") is None:
        raise BuildError(f"slowdir needs libfuse {OLDEST_LIBFUSE} or newer, here is {version}")

    made_from = SOURCE.read_bytes() + f"{version}".encode()
    target = _cache_dir() / f"slowdir-{hashlib.sha256(made_from).hexdigest()[:16]}"
    if not target.exists():
        _compile(target)
    return target


def _cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "llmfs-bench"


def _pkg_config(option: str) -> str | None:
    result = subprocess.run(["pkg-config", option, "fuse3"], capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else None


def _compile(target: Path) -> None:
    """Under another name first: whoever compiles at the same time never sees half a program."""
    target.parent.mkdir(parents=True, exist_ok=True)
    cflags, libs = _pkg_config("--cflags") or "", _pkg_config("--libs") or ""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        built = Path(scratch) / target.name
        command = ["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", *cflags.split(), str(SOURCE)]
        command += ["-o", str(built), *libs.split(), "-pthread"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise BuildError(f"slowdir.c does not compile (is libc6-dev installed?):\n{result.stderr}")
        built.replace(target)
