"""Windows per file: what it looked like before it was touched, what was written to it, and how it was lost.

They are common to all groups, so that reading in one process, writing in another and removing in a third is the same
story as all of it in one (Minerva: evasion by splitting over processes). A *conversion* is a file that was there before
and whose content was replaced by what may be its ciphertext, in one of three ways:

    in place     written over, or cut and written anew
    replaced     another file was given its name
    copied       it was removed or emptied, and a new file of about its size is there: of its name, or by who had just
                 opened it

Compressors shrink what they take in, and editors write what has a format or no more entropy than before: neither
converts. Bounded: the least recently touched files are forgotten.
"""

from collections import OrderedDict, deque
from typing import NamedTuple

from predictor.guard.copies import Copies, Copy, fits, fits_closely
from predictor.guard.events import Event, Kind, extension
from predictor.guard.looks import Look, is_encrypted

FILES_MAX = 8192
OTHERS_LIVES_S = 600.0
"""Where one group makes a copy as ciphertext and another removes the original, it is one matter for so long only: who
keeps encrypted copies tidies up some day."""

READERS_MAX = 1024
OPENED_MAX = 8
"""Files that a group opened last, for each of `READERS_MAX`: one of them is what it makes a copy of. A program of many
threads has several at work."""


class Conversion(NamedTuple):
    """A file that may have become its ciphertext."""

    file: int
    directory: int
    extension: bytes  # of its name before
    groups: tuple[int, ...]  # those that wrote the ciphertext or removed the original
    cgroups: tuple[int, ...]


class _File:
    __slots__ = (
        "cgroup",
        "directory",
        "extension",
        "group",
        "is_converted",
        "made_by",
        "name",
        "old",
        "was_written",
        "written",
    )

    def __init__(self, directory: int, name: bytes) -> None:
        self.directory = directory
        self.name = name
        self.extension = extension(name)
        self.made_by = 0  # the group that made it since we look
        self.was_written = False
        self.is_converted = False
        self.old: Look | None = None  # before anybody wrote to it
        self.written: Look | None = None  # last, where it was uniform and without a format
        self.group = 0  # who wrote that
        self.cgroup = 0

    def is_new(self, group: int) -> bool:
        return self.made_by == group or (self.made_by != 0 and not self.was_written)


class FileWindows:
    """Takes events, gives conversions."""

    def __init__(self) -> None:
        self._files: OrderedDict[int, _File] = OrderedDict()
        self._copies = Copies()
        self._opened: OrderedDict[int, deque[int]] = OrderedDict()  # by group

    def is_new(self, file: int, group: int) -> bool:
        """Whether a group may do with a file as it likes: it made it, or nobody has written to it yet."""
        known = self._files.get(file)
        return known is not None and known.is_new(group)

    def has_ciphertext(self, file: int) -> bool:
        """Whether what was written to the file last may be ciphertext."""
        known = self._files.get(file)
        return known is not None and known.written is not None

    def is_converted(self, file: int) -> bool:
        """Whether the file holds what may be its ciphertext."""
        known = self._files.get(file)
        return known is not None and known.is_converted

    def awaits(self, size_bytes: int, time_s: float) -> bool:
        """Whether a new file of ciphertext is about as large as one of this size: its loss would be a conversion."""
        return next(self._copies.fitting(size_bytes, time_s), None) is not None

    def sized(self, file: int, size_bytes: int) -> None:
        """How large a file is by now, where it may be a copy as ciphertext."""
        self._copies.sized(file, size_bytes)

    def take(self, event: Event) -> Conversion | None:
        """What an event makes of a file."""
        match event.kind:
            case Kind.OPEN:
                self._opened.setdefault(event.group, deque(maxlen=OPENED_MAX)).append(event.file)
                self._opened.move_to_end(event.group)
                if len(self._opened) > READERS_MAX:
                    self._opened.popitem(last=False)
            case Kind.CREATE:
                self._file(event).made_by = event.group
            case Kind.WRITE:
                return self._written(event)
            case Kind.TRUNCATE:
                file = self._file(event)
                file.old = file.old or event.old
                return self._lost(event, file)
            case Kind.UNLINK:
                file = self._file(event)
                file.old = file.old or event.old
                found = self._lost(event, file)
                self._files.pop(event.file, None)
                if event.file in self._copies:
                    self._copies.remove(event.file)
                return found
            case Kind.RENAME:
                return self._renamed(event)
        return None

    def _written(self, event: Event) -> Conversion | None:
        file = self._file(event)
        new = event.new
        is_new = file.is_new(event.group)
        file.was_written = True
        if file.old is None and not is_new:
            file.old = event.old
        self.sized(event.file, event.size_bytes)
        if new is None or not new.is_uniform or new.has_format:
            return None
        file.written, file.group, file.cgroup = new, event.group, event.cgroup
        if is_new:
            if event.file not in self._copies:
                opened = tuple(self._opened.get(event.group, ()))
                copy = Copy(event.time_s, event.file, file.name, opened, event.group, event.cgroup)
                self._copies.add(copy, event.size_bytes)
            return None
        # At its own place it is judged first: a format lost at the head counts, and so does a rise further on.
        if any(old is not None and is_encrypted(old, new) for old in (event.old, file.old)):
            return self._converted(event, file, (event.group,), (event.cgroup,))
        return None

    def _lost(self, event: Event, file: _File) -> Conversion | None:
        """The original went. Was it copied as ciphertext?"""
        if file.is_new(event.group) or file.old is None:
            return None
        fitting = self._copies.fitting(event.size_bytes, event.time_s)
        related = [copy for copy in fitting if copy.file != event.file and self._is_of(copy, event, file)]
        # The one that has the original's name is its own; else the first that was made.
        for copy in sorted(related, key=lambda copy: (not copy.name.startswith(file.name), copy.time_s)):
            written = self._files.get(copy.file)
            if written is not None and written.written is not None and is_encrypted(file.old, written.written):
                self._copies.remove(copy.file)
                groups = tuple({copy.group: None, event.group: None})
                cgroups = tuple({copy.cgroup: None, event.cgroup: None})
                return Conversion(event.file, file.directory, file.extension, groups, cgroups)
        return None

    def _is_of(self, copy: Copy, event: Event, original: _File) -> bool:
        """Whether a copy may be that of a file which is being lost."""
        is_own = copy.group == event.group
        if not is_own and (event.kind is Kind.TRUNCATE or event.time_s - copy.time_s > OTHERS_LIVES_S):
            return False  # others empty what they write anew
        is_last = copy.opened[-1:] == (event.file,)
        if copy.name.startswith(original.name) or (is_own and is_last):
            return True
        is_among = is_last or (is_own and event.file in copy.opened)
        return is_among and fits_closely(event.size_bytes, self._copies.size_bytes(copy.file) or 0)

    def _renamed(self, event: Event) -> Conversion | None:
        file = self._file(event)
        found = None
        if event.victim and event.victim != event.file:
            victim = self._file(event._replace(file=event.victim, directory=event.new_directory, name=event.new_name))
            victim.old = victim.old or event.old
            size_bytes = self._copies.size_bytes(event.file)
            size_bytes = event.size_bytes if size_bytes is None else size_bytes
            is_lost = victim.old is not None and not victim.is_new(event.group)
            if file.written is not None and is_lost and fits(event.victim_size_bytes, size_bytes):
                assert victim.old is not None
                if is_encrypted(victim.old, file.written):
                    groups = tuple({file.group: None, event.group: None})
                    cgroups = tuple({file.cgroup: None, event.cgroup: None})
                    found = self._converted(event._replace(file=event.victim), victim, groups, cgroups)
                    if event.file in self._copies:
                        self._copies.remove(event.file)
            self._files.pop(event.victim, None)
            # What stands under an old name is no new file: whoever changes it next changes what was there.
            file.made_by = file.made_by if victim.is_new(event.group) else 0
        file.directory, file.name = event.new_directory, event.new_name
        return found

    def _converted(
        self, event: Event, file: _File, groups: tuple[int, ...], cgroups: tuple[int, ...]
    ) -> Conversion | None:
        if file.is_converted:
            return None
        file.is_converted = True
        return Conversion(event.file, file.directory, file.extension, groups, cgroups)

    def _file(self, event: Event) -> _File:
        file = self._files.get(event.file)
        if file is None:
            file = self._files[event.file] = _File(event.directory, event.name)
            if len(self._files) > FILES_MAX:
                self._files.popitem(last=False)
        else:
            self._files.move_to_end(event.file)
        return file
