"""A cache directory: what lies where, whose it is, and who holds it.

    format      the layout's version and the source that it caches, JSON
    lock        held (flock) for the life of a mount; its text names the holder, JSON
    meta/       attributes, listings, absent names
    blocks/     file data
    learned/    what the predictor has learned
    trace/      the accesses that were seen
    guard/      what a person allowed, and what is kept to undo changes
    llmfs.log   the log of a mount in the background
    web         the address of the mount's page (web/address.py)
    pins.json   what is to stay (pins.py)
    control     the socket on which a mount takes commands (control.py)

Nothing lives only here: the directory may be deleted at any moment that no mount holds it. What a mount of another
version left in `meta` and `blocks` is thrown away by the next one; `learned` and `trace` carry versions of their own.
A directory that is neither empty nor a cache is never written to and never cleared, so that a slip in `--cache-dir`
costs nobody a file.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmfs.config import MountConfig
from llmfs.errors import CacheError, CacheInUseError, one_line, reason, show
from llmfs.pins import NAME as PINS
from llmfs.web.address import ADDRESS_FILE as WEB

log = logging.getLogger(__name__)

FORMAT = 4
"""Of `meta` and `blocks`. Changes when what one version wrote would be misread by another."""

_PROBES, _PROBE_S = 20, 0.01
"""Whoever asks who holds the lock (`holder`) takes it for an instant: a mount tries again before it believes
it."""

_PARTS = ("meta", "blocks", "learned", "trace", "guard")
_LEARNED = frozenset({"learned", "trace", "guard"})


@dataclass(frozen=True, slots=True)
class Holder:
    """The mount that holds a cache directory, or held it last; `llmfs train` does so without a mount point."""

    pid: int
    source: str
    mountpoint: str
    limit_bytes: int

    def __str__(self) -> str:
        return f"the mount at {one_line(self.mountpoint)} (pid {self.pid})" if self.mountpoint else f"pid {self.pid}"


@dataclass(frozen=True, slots=True)
class CacheDir:
    """The layout of one cache directory. Making this value touches nothing."""

    path: Path

    @property
    def meta(self) -> Path:
        return self.path / "meta"

    @property
    def blocks(self) -> Path:
        return self.path / "blocks"

    @property
    def learned(self) -> Path:
        return self.path / "learned"

    @property
    def trace(self) -> Path:
        return self.path / "trace"

    @property
    def guard(self) -> Path:
        return self.path / "guard"

    @property
    def log(self) -> Path:
        return self.path / "llmfs.log"

    @classmethod
    @contextlib.contextmanager
    def open(cls, config: MountConfig) -> "Iterator[CacheDir]":
        """The cache directory of a mount: made where it is missing, and held until the context is left.

        Raises CacheInUseError where another mount holds it, CacheError where it is not this source's cache.
        """
        cache = cls(config.cache_dir)
        cache.prepare(config.source)
        holder = Holder(os.getpid(), str(config.source), str(config.mountpoint), config.cache_size_bytes)
        with cache.locked(holder):
            cache._renew(config.source)
            yield cache

    def prepare(self, source: Path) -> list[Path]:
        """Makes what is missing of the layout; returns the directories above the parts that were made.

        Raises CacheError where the directory is something else, and where it cannot be made.
        """
        self.check(source)
        made = []
        try:
            for directory in [*reversed(self.path.parents), self.path]:
                if not directory.exists():
                    with contextlib.suppress(FileExistsError):
                        directory.mkdir(0o700)
                        made.append(directory)
            for part in _PARTS:
                (self.path / part).mkdir(0o700, exist_ok=True)
            if not self._format_file.exists():
                self._write_format(source)
        except OSError as error:
            _remove_empty(made)
            raise CacheError(f"cannot make the cache directory {show(self.path)}: {reason(error)}") from error
        return made

    def check(self, source: Path) -> None:
        """Raises CacheError where `prepare` would refuse the directory for this source. Changes nothing."""
        theirs = self.source()
        if theirs is not None and theirs != source:
            raise CacheError(
                f"the cache directory {show(self.path)} holds {show(theirs)}: name another --cache-dir,"
                f" or empty it with llmfs cache clear --all --cache-dir {show(self.path)}"
            )
        _check_writable(self.path)

    def source(self) -> Path | None:
        """The source that this directory caches; None where it is missing or empty.

        Raises CacheError where it is a directory of something else.
        """
        described = self._description()
        return described[1] if described is not None else None

    def _description(self) -> tuple[object, Path] | None:
        """The format in which it was written, and its source. Raises CacheError."""
        try:
            text = self._format_file.read_text(errors="replace")
        except FileNotFoundError:
            if foreign := self._foreign_entries():
                raise CacheError(
                    f"{show(self.path)} is not a cache of llmfs (it holds {show(foreign[0])}):"
                    " name an empty or a new directory"
                ) from None
            return None
        except OSError as error:
            raise CacheError(f"cannot use {show(self.path)} as a cache directory: {reason(error)}") from error
        try:
            described = json.loads(text)
            return described["format"], Path(described["source"])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise CacheError(
                f"{show(self._format_file)} is damaged: delete the directory, nothing lives only there"
            ) from None

    def _renew(self, source: Path) -> None:
        """Held: throws away what another version cached. Raises CacheError where that cannot be done."""
        described = self._description()
        if described is None or described[0] == FORMAT:
            return
        log.warning(
            "the cache in %s was written by another version of llmfs (format %s, this one has %d): starting it anew",
            self.path,
            one_line(str(described[0])),
            FORMAT,
        )
        try:
            for part in _PARTS:
                if part not in _LEARNED:
                    shutil.rmtree(self.path / part)
                    (self.path / part).mkdir(0o700)
            self._write_format(source)  # last: who is killed before that starts anew again
        except OSError as error:
            raise CacheError(f"cannot start the cache in {show(self.path)} anew: {reason(error)}") from error

    def _write_format(self, source: Path) -> None:
        # Renamed into place: a format file is whole or absent, whenever we are killed.
        unfinished = self.path / f"format.{os.getpid()}"
        unfinished.write_text(json.dumps({"format": FORMAT, "source": str(source)}) + "\n")
        unfinished.replace(self._format_file)

    def holder(self) -> Holder | None:
        """The mount that holds the directory now, or None."""
        try:
            os.close(self._lock(create=False))
        except CacheInUseError:
            return self.last_holder() or Holder(0, "", "", 0)
        except CacheError:
            pass  # no lock to take: nobody holds it
        return None

    def last_holder(self) -> Holder | None:
        """The mount that holds the directory or held it last, or None where that is not known."""
        try:
            return Holder(**json.loads((self.path / "lock").read_text()))
        except (OSError, ValueError, TypeError, RecursionError):
            return None

    @contextlib.contextmanager
    def locked(self, holder: Holder | None = None) -> Iterator[None]:
        """Holds the directory; writes down who does where `holder` is given.

        Raises CacheInUseError where somebody else does, CacheError where it cannot be locked.
        """
        descriptor = self._lock(create=True)
        try:
            if holder is not None:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(asdict(holder)).encode() + b"\n", 0)
            yield
        finally:
            os.close(descriptor)

    def sizes(self) -> dict[str, int]:
        """Bytes on disk of each part; LMDB files are sparse, so that their lengths would say nothing."""
        return {name: _disk_bytes(self.path / name) for name in [*_PARTS, "llmfs.log"]}

    def flat_bytes(self) -> int:
        """Bytes on disk of the logs and of the files that lie in the parts themselves, some ten of them: all but what
        the guard keeps to undo, of which it has its own account."""
        total = 0
        for part in (self.path, *(self.path / name for name in _PARTS)):
            with contextlib.suppress(OSError), os.scandir(part) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        if entry.is_file(follow_symlinks=False):
                            total += entry.stat(follow_symlinks=False).st_blocks * 512
        return total

    def clear(self, *, everything: bool = False) -> int:
        """Empties blocks and attributes, with `everything` also what was learned and seen; returns bytes
        freed.

        Raises CacheInUseError while a mount holds the directory, CacheError where it is not a cache.
        """
        if self.source() is None:
            return 0
        before = sum(self.sizes().values())
        with self.locked():
            for part in _PARTS:
                if everything or part not in _LEARNED:
                    shutil.rmtree(self.path / part, ignore_errors=True)
            if everything:
                # The format goes last but for the lock: what a killed clear leaves behind is still a cache.
                for name in ("llmfs.log", "llmfs.log.1", "control", PINS, WEB, "format", "lock"):
                    (self.path / name).unlink(missing_ok=True)
        return before - sum(self.sizes().values())

    def remove(self, made: list[Path]) -> None:
        """Undoes a `prepare` that made these directories, unless a mount has come to hold them since."""
        if self.path not in made:
            return
        with contextlib.suppress(CacheError):
            self.clear(everything=True)
            _remove_empty(made)

    @property
    def _format_file(self) -> Path:
        return self.path / "format"

    def _foreign_entries(self) -> list[Path]:
        """What is in a directory without a format file and was put there neither by us nor by mkfs."""
        known = {*_PARTS, "lock", "llmfs.log", "llmfs.log.1", "control", PINS, WEB, "lost+found"}
        try:
            names = sorted(os.listdir(self.path))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CacheError(f"cannot use {show(self.path)} as a cache directory: {reason(error)}") from error
        return [Path(name) for name in names if name not in known and not name.startswith("format.")]

    def _lock(self, *, create: bool) -> int:
        path = self.path / "lock"
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        patience = _PROBES if create else 1
        while True:
            try:
                descriptor = os.open(path, flags, 0o600)
            except OSError as error:
                raise CacheError(f"cannot lock {show(self.path)}: {reason(error)}") from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # `clear --all` may have removed the file between the two calls: then we hold nothing.
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
            except FileNotFoundError:
                os.close(descriptor)
            except OSError as error:
                os.close(descriptor)
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise CacheError(f"cannot lock {show(self.path)}: {reason(error)}") from error
                patience -= 1
                if patience == 0:
                    raise CacheInUseError(self.in_use()) from None
                time.sleep(_PROBE_S)
            else:
                os.close(descriptor)

    def in_use(self) -> str:
        """The line that says who holds the directory and what to do about it."""
        holder = self.last_holder()
        if holder is None:
            return f"the cache directory {show(self.path)} is in use by another mount"
        way_out = f": run llmfs umount {one_line(holder.mountpoint)} first" if holder.mountpoint else ""
        return f"the cache directory {show(self.path)} is in use by {holder}{way_out}"


def read_description(path: Path) -> dict[str, Any]:
    """What `llmfs cache info` says of a cache directory. Raises CacheError where it is none."""
    cache = CacheDir(path)
    source = cache.source()
    if source is None:
        raise CacheError(f"there is no cache at {show(path)}")
    last, holder = cache.last_holder(), cache.holder()
    sizes = cache.sizes()
    return {
        "cache_dir": str(path),
        "source": str(source),
        "in_use_by": asdict(holder) if holder else None,
        "limit_bytes": last.limit_bytes if last else None,
        "bytes": sizes,
        "total_bytes": sum(sizes.values()),
    }


def _check_writable(path: Path) -> None:
    """Raises CacheError where `path` can neither be used nor made."""
    for ancestor in [path, *path.parents]:
        try:
            is_directory = ancestor.is_dir()
            if not is_directory and not os.path.lexists(ancestor):
                continue
        except OSError as error:
            raise CacheError(f"cannot use the cache directory {show(path)}: {reason(error)}") from error
        if not is_directory:
            raise CacheError(f"cannot use the cache directory {show(path)}: {show(ancestor)} is not a directory")
        if not os.access(ancestor, os.W_OK | os.X_OK, effective_ids=True):
            raise CacheError(f"cannot use the cache directory {show(path)}: {show(ancestor)} is not writable")
        return


def _disk_bytes(path: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):  # a part may be missing, and a mount may be deleting from it
        total = os.lstat(path).st_blocks * 512 if not path.is_dir() else 0
        for root, _, names in os.walk(path):
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.lstat(os.path.join(root, name)).st_blocks * 512
    return total


def _remove_empty(directories: list[Path]) -> None:
    for directory in reversed(directories):
        with contextlib.suppress(OSError):
            directory.rmdir()
