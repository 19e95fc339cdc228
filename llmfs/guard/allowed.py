"""What a person has allowed, remembered over mounts: programs by path and user, cgroups by path.

A process group ends with its job, so what is remembered is the program that did it. Who allows an interpreter allows
all that it runs for that user. Damaged or too large, the file counts as empty and is left for a person to look at.
"""

import json
import logging
import os
from pathlib import Path

from llmfs.guard.actors import Actor, Cgroup

log = logging.getLogger(__name__)

NAME = "allowed.json"
FILE_BYTES_MAX = 1 << 20
ENTRIES_MAX = 1000


class Allowed:
    """The file in the guard's directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        self._programs: set[tuple[int, str]] = set()
        self._cgroups: set[str] = set()
        self._read()

    def has(self, actor: Actor) -> bool:
        return (actor.uid, actor.program) in self._programs

    def has_cgroup(self, cgroup: Cgroup) -> bool:
        return cgroup.path in self._cgroups

    def allow(self, who: Actor | Cgroup) -> str:
        """Remember it; returns what was allowed, in words. Raises OSError, ValueError where there is nothing to
        name."""
        if isinstance(who, Cgroup):
            self._cgroups.add(who.path)
            said = f"the cgroup {who.path}"
        else:
            if not who.program:
                raise ValueError("its program is gone, so that it could not be known again")
            self._programs.add((who.uid, who.program))
            said = f"{who.program} run by uid {who.uid}"
        if len(self._programs) + len(self._cgroups) > ENTRIES_MAX:
            raise ValueError(f"{ENTRIES_MAX} are allowed already: edit {self._path}")
        self._write()
        return said

    def _read(self) -> None:
        try:
            if os.stat(self._path).st_size > FILE_BYTES_MAX:
                raise ValueError("too large")
            found = json.loads(self._path.read_text())
            self._programs = {(int(uid), str(program)) for uid, program in found["programs"]}
            self._cgroups = {str(path) for path in found["cgroups"]}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            log.warning("what was allowed cannot be read from %s (%s): nothing is", self._path, error)

    def _write(self) -> None:
        text = json.dumps({"programs": sorted(self._programs), "cgroups": sorted(self._cgroups)}, indent=1)
        unfinished = self._path.with_suffix(".new")
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(text + "\n")
        unfinished.replace(self._path)
