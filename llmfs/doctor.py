"""What this machine lacks for llmfs, and the command that supplies it.

A check never changes anything and never raises; what cannot be found out counts as lacking.
"""

import importlib
import importlib.metadata
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from llmfs import preflight, settings
from llmfs.errors import UsageError, show

_OLDEST_PYTHON = (3, 11)

_DESCRIPTORS = 65536
"""Every inode that the kernel knows is a descriptor of ours; below this, a large tree reopens them."""


_BUILD_PYFUSE3 = (
    "sudo apt install gcc pkg-config python3-dev libfuse3-dev"
    " (Fedora: sudo dnf install gcc pkgconf python3-devel fuse3-devel), then pip install pyfuse3"
)


class Verdict(StrEnum):
    GOOD = "good"
    ADVICE = "advice"  # works, though less well
    MISSING = "missing"  # does not work


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `fix` is a command, or empty where nothing is to be done."""

    name: str
    verdict: Verdict
    found: str
    fix: str = ""


def examine(cache_root: Path | None = None) -> list[Finding]:
    """All checks, in the order in which to repair what they find. Takes a few seconds: it imports torch."""
    checks: list[Callable[[], Finding]] = [
        _python,
        _fuse_device,
        _fusermount,
        lambda: _module("pyfuse3", _BUILD_PYFUSE3),
        lambda: _module("lmdb", "pip install lmdb"),
        _torch,
        _allow_other,
        _descriptors,
        _locked_memory,
        lambda: _free_space(cache_root),
    ]
    return [check() for check in checks]


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return Finding(
            "python",
            Verdict.MISSING,
            f"{found}, 3.11 is needed",
            "sudo apt install python3 (Fedora: sudo dnf install python3.11)",
        )
    return Finding("python", Verdict.GOOD, found)


def _fuse_device() -> Finding:
    return _needed("/dev/fuse", preflight.fuse_device())


def _fusermount() -> Finding:
    return _needed("fusermount3", preflight.fusermount())


def _allow_other() -> Finding:
    complaint = preflight.allow_other()
    return Finding(
        "allow_other",
        Verdict.ADVICE if complaint else Verdict.GOOD,
        "not allowed, only for --allow-other" if complaint else "allowed",
        complaint.fix if complaint else "",
    )


def _needed(name: str, complaint: preflight.Complaint | None) -> Finding:
    if complaint is None:
        return Finding(name, Verdict.GOOD, "there")
    return Finding(name, Verdict.MISSING, complaint.what, complaint.fix)


def _module(name: str, fix: str) -> Finding:
    try:
        importlib.import_module(name)
        return Finding(name, Verdict.GOOD, importlib.metadata.version(name))
    except Exception as error:  # a broken library raises whatever it likes while it is imported
        return Finding(name, Verdict.MISSING, f"{type(error).__name__}: {error}".splitlines()[0], fix)


def _torch() -> Finding:
    cpu = "pip install torch --index-url URL (the CPU build's, as pytorch.org lists it)"
    finding = _module("torch", cpu)
    if finding.verdict is not Verdict.GOOD:
        return Finding("torch", Verdict.ADVICE, f"{finding.found}; --predictor learned needs it", cpu)
    if getattr(getattr(sys.modules["torch"], "version", None), "cuda", None):
        return Finding(
            "torch",
            Verdict.ADVICE,
            f"{finding.found}, a CUDA build: gigabytes that llmfs has no use for",
            cpu,
        )
    return finding


def _descriptors() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _DESCRIPTORS:
        return Finding(
            "open files",
            Verdict.ADVICE,
            f"at most {hard}, {_DESCRIPTORS} serve a large tree better",
            f"echo '* hard nofile {_DESCRIPTORS}' | sudo tee /etc/security/limits.d/llmfs.conf"
            " (under systemd: LimitNOFILE=)",
        )
    return Finding("open files", Verdict.GOOD, "unlimited" if hard == resource.RLIM_INFINITY else f"at most {hard}")


def _locked_memory() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    found = "unlimited" if hard == resource.RLIM_INFINITY else f"at most {settings.format_size(hard)}"
    return Finding("locked memory", Verdict.GOOD, f"{found} (llmfs locks none)")


def _free_space(root: Path | None) -> Finding:
    try:
        path = root or settings.default_cache_root()
        existing = next(each for each in (path, *path.parents) if each.exists())
        system = os.statvfs(existing)
    except (UsageError, OSError) as error:
        return Finding("cache space", Verdict.ADVICE, str(error), "llmfs mount --cache-dir DIR")
    free = system.f_bavail * system.f_frsize
    found = f"{settings.format_size(free)} free for {show(path)}"
    if not os.access(existing, os.W_OK | os.X_OK, effective_ids=True):
        return Finding(
            "cache space", Verdict.ADVICE, f"{show(existing)} is not writable", "llmfs mount --cache-dir DIR"
        )
    if free < settings.parse_size(settings.DEFAULT_CACHE_SIZE):
        return Finding(
            "cache space",
            Verdict.ADVICE,
            f"{found}, the default limit is {settings.DEFAULT_CACHE_SIZE}",
            "llmfs mount --cache-size SIZE (or --cache-dir DIR on another disk)",
        )
    return Finding("cache space", Verdict.GOOD, found)
