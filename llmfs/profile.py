"""A profile: what a program read through a mount, to be fetched before it runs again, here or elsewhere.

A file in JSON that people can read, compare and keep under version control:

    {"llmfs_profile": 1, "runs": 2, "files": [
        {"path": "lib/a.so", "runs": 2, "ranges": [[0, 131072], [262144, 4096]]},
        {"path": "lib", "runs": 1, "is_listed": true}, ...]}

Paths are relative to the mount, so it is good on any machine that has the same tree; bytes that are no UTF-8 stand
there as surrogates do in Python. `files` are in the order of their first use. Ranges are bytes [offset, length],
rounded to pages, in the order of the file. A path without ranges was looked up or opened only; it need not exist.

Pure but for `load` and `save`, and free of numpy and trio: the command line works on profiles without a mount.
"""

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmfs.blocks import PAGE_BYTES
from llmfs.errors import LlmfsError, UsageError, one_line, reason, show

VERSION = 1
FILES_MAX = 500_000
"""More are not recorded: 200 bytes each in memory, and fetching so many takes longer than it helps."""

Range = tuple[int, int]
"""offset, length in bytes"""


@dataclass(slots=True)
class Used:
    """What was used of one path."""

    runs: int = 1
    is_listed: bool = False
    ranges: list[Range] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return sum(length for _, length in self.ranges)

    def add(self, offset: int, length: int) -> None:
        """A part was read. What grows together is one range."""
        stop = -(-(offset + length) // PAGE_BYTES) * PAGE_BYTES
        offset -= offset % PAGE_BYTES
        if self.ranges and self.ranges[-1][0] <= offset <= sum(self.ranges[-1]):
            first, so_far = self.ranges[-1]
            self.ranges[-1] = (first, max(so_far, stop - first))
        else:
            self.ranges.append((offset, stop - offset))

    def tidy(self) -> None:
        """Order the ranges and join those that touch."""
        ranges, self.ranges = sorted(self.ranges), []
        for offset, length in ranges:
            self.add(offset, length)


@dataclass(slots=True)
class Profile:
    """What was used, by path, in the order of its first use."""

    runs: int = 0
    files: dict[str, Used] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        return sum(used.size_bytes for used in self.files.values())

    def merged(self, other: "Profile") -> "Profile":
        """Both: what either used, what is new in `other` after the rest."""
        both = Profile(self.runs + other.runs)
        for profile in (self, other):
            for path, used in profile.files.items():
                known = both.files.setdefault(path, Used(0))
                known.runs += used.runs
                known.is_listed |= used.is_listed
                known.ranges += used.ranges
        for used in both.files.values():
            used.tidy()
        return both

    def trimmed(self, size_bytes: int) -> "Profile":
        """As much as fits in `size_bytes`: what most runs used first, then what was used first. Names cost nothing."""
        order = sorted(self.files, key=lambda path: -self.files[path].runs)  # stable: the earlier first
        kept, room = set(), size_bytes
        for path in order:
            if self.files[path].size_bytes <= room:
                room -= self.files[path].size_bytes
                kept.add(path)
        return Profile(self.runs, {path: used for path, used in self.files.items() if path in kept})

    def described(self) -> list[dict[str, Any]]:
        """Its files as JSON holds them, in a profile and in what a mount is told."""
        return [_described(path, used) for path, used in self.files.items()]


def taken(files: Iterable[Any]) -> dict[str, Used]:
    """The files of a profile that came from outside. Raises ValueError where they are none."""
    found: dict[str, Used] = {}
    try:
        for each in files:
            path, runs = each["path"], each.get("runs", 1)
            ranges = [(offset, length) for offset, length in each.get("ranges", [])]
            numbers = [runs, *(number for pair in ranges for number in pair)]
            if type(path) is not str or not all(type(number) is int and 0 <= number < 1 << 62 for number in numbers):
                raise TypeError
            os.fsencode(path)
            found[path] = Used(runs, bool(each.get("is_listed")), ranges)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError("that is no profile") from error
    return found


def load(path: Path) -> Profile:
    """Reads a profile. Raises UsageError where there is none, LlmfsError where it is damaged."""
    try:
        document = json.loads(path.read_text("ascii"))
        if document["llmfs_profile"] != VERSION:
            raise LlmfsError(f"the profile {show(path)} is of another version of llmfs")
        return Profile(int(document["runs"]), taken(document["files"]))
    except FileNotFoundError:
        raise UsageError(f"there is no profile {show(path)}: llmfs profile list names those there are") from None
    except OSError as error:
        raise LlmfsError(f"cannot read the profile {show(path)}: {reason(error)}") from error
    except (ValueError, TypeError, KeyError, RecursionError):
        raise LlmfsError(f"{show(path)} is no profile") from None


def save(profile: Profile, path: Path) -> None:
    """Writes a profile, whole or not at all. Raises LlmfsError where that fails."""
    head = json.dumps({"llmfs_profile": VERSION, "runs": profile.runs})[:-1]
    lines = ",\n".join(json.dumps(each) for each in profile.described())
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(f'{head}, "files": [\n{lines}\n]}}\n', "ascii")
        unfinished.replace(path)
    except OSError as error:
        raise LlmfsError(f"cannot write the profile {show(path)}: {reason(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()


def place(name: str) -> Path:
    """Where the profile of a name is; a name with a slash is a file's. Raises UsageError."""
    if "\0" in name or name in ("", ".", ".."):
        raise UsageError(f"'{one_line(name)}' is no name for a profile")
    return Path(name) if "/" in name else directory() / f"{name}.json"


def directory() -> Path:
    """`$XDG_DATA_HOME/llmfs/profiles`. Raises UsageError where there is no home directory."""
    configured = os.environ.get("XDG_DATA_HOME", "")
    try:
        data = Path(configured) if configured.startswith("/") else Path.home() / ".local" / "share"
    except RuntimeError:
        raise UsageError("there is no home directory to keep profiles in: name a file, as in ./NAME.json") from None
    return data / "llmfs" / "profiles"


def _described(path: str, used: Used) -> dict[str, Any]:
    described: dict[str, Any] = {"path": path, "runs": used.runs}
    if used.is_listed:
        described["is_listed"] = True
    if used.ranges:
        described["ranges"] = [list(each) for each in used.ranges]
    return described
