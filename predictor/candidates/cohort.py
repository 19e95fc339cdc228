"""Files that are read together because they lie together: of a package, all modules, as far as such programs do that.

A *cohort* is the files of one extension in one directory, as one command uses them. Of each is counted how many were
read and how many there are. Cohorts that nobody has used for a while tell what share of a cohort of that class
(command, extension, number of files) is read in the end; and that says of a cohort of which the first file is read just
now how likely each of the others is. Waiting without use is evidence against them, and grows with time.

The folders of a directory that a command lists are a cohort as well, of the extension FOLDERS: a program that lists a
package often lists the packages in it.

A directory that is read without being listed (`__pycache__`) has to be listed for that, which is worth one request
where its class is promising or unknown.
"""

from collections import OrderedDict

from predictor.candidates.directory import Directories, Directory, extension_of
from predictor.events import PathTable

COHORTS_MAX = 2048
USED_MAX = 1 << 17
"""Files of all cohorts together that are known to have been used."""

CLASSES_MAX = 4096
SETTLED_AFTER = 192
"""Visits of the command's programs without a use, after which a cohort counts as an instance of its class."""

PATIENCE = 1024
"""Visits after which a file that was not used weighs as much as one that was."""

STRENGTH = 8.0
BELIEVED = 0.4
FILES_COUNTED = 32.0
"""One large directory must not outweigh many small ones."""

AT_ONCE = 256
FOLDERS = b"/"
ANY = 0

Class = tuple[int, bytes, int]
"""(command, extension, log2 of the number of files; ALL_SIZES: all together)."""

ALL_SIZES = -1


class _Cohort:
    __slots__ = ("began", "counted", "files", "files_of", "last", "used")

    def __init__(self, now: int) -> None:
        self.used: set[int] = set()
        self.began = now  # visits of the command's programs
        self.last = now
        self.files = 0  # of this extension, by the latest listing
        self.files_of = -1  # the version of that listing
        self.counted = 0  # of `used`, in the class's totals


class Cohorts:
    """Which files of a directory are read when one is."""

    def __init__(self, paths: PathTable, directories: Directories) -> None:
        self._paths = paths
        self._directories = directories
        self._cohorts: OrderedDict[tuple[int, int, bytes], _Cohort] = OrderedDict()
        self._used = 0  # files, of all cohorts
        self.classes: dict[Class, list[float]] = {}  # used, files

    def use(self, command: int, now: int, path: int, extension: bytes | None = None) -> None:
        """`path` was read, or as one of the FOLDERS listed. `now`: visits of the command's programs so far."""
        directory = self._paths.parent(path)
        if extension is None:
            extension = extension_of(self._paths.name(path))
        key = (directory, command, extension)
        cohort = self._cohorts.get(key)
        if cohort is None:
            cohort = self._cohorts[key] = _Cohort(now)
            if len(self._cohorts) > COHORTS_MAX:
                self._forget_oldest()
        else:
            self._cohorts.move_to_end(key)
        if path not in cohort.used:
            cohort.used.add(path)
            self._used += 1
            while self._used > USED_MAX and len(self._cohorts) > 1:
                self._forget_oldest()
        cohort.last = now
        oldest = next(iter(self._cohorts))
        while oldest[1] == command and now - self._cohorts[oldest].last > SETTLED_AFTER:
            old = self._cohorts[oldest]
            self._cohorts.move_to_end(oldest)
            self._settle(oldest, old)
            old.last = now
            oldest = next(iter(self._cohorts))

    def needs_listing(self, command: int, path: int) -> bool:
        """Whether the directory of `path`, which was just read, should be listed."""
        parent = self._paths.parent(path)
        directory = self._directories.find(parent)
        if directory is not None and directory.listed:
            return False
        extension = extension_of(self._paths.name(path))
        cohort = self._cohorts.get((parent, command, extension))
        _, files = self.classes.get((command, extension, ALL_SIZES), (0.0, 0.0))
        if files < FILES_COUNTED:
            return cohort is not None and len(cohort.used) >= 2
        return self._rate(command, extension, ALL_SIZES) >= BELIEVED

    def rest(self, command: int, now: int, path: int, least: float) -> tuple[list[int], float]:
        """The files that are read as well, where that is at least so probable for each; and how probable."""
        parent = self._paths.parent(path)
        directory = self._directories.find(parent)
        extension = extension_of(self._paths.name(path))
        cohort = self._cohorts.get((parent, command, extension))
        if directory is None or not directory.listed or cohort is None:
            return [], 0.0
        files = self._count_files(cohort, directory, extension)
        used = len(cohort.used)
        unused = max(0, files - used)
        rate = self._rate(command, extension, files.bit_length())
        weight = min(1.0, (now - cohort.began) / PATIENCE)
        chance = (STRENGTH * rate + used) / (STRENGTH + used + unused * weight)
        if not unused or chance < least:
            return [], chance
        found: list[int] = []
        for child in directory.listed:
            if child in cohort.used or child in directory.folders:
                continue
            if extension_of(self._paths.name(child)) == extension:
                found.append(child)
        return found[:AT_ONCE], chance

    def folders(self, command: int, directory: int, least: float) -> tuple[list[int], float]:
        """The folders in a directory just listed that will be listed too, if that is at least so probable."""
        state = self._directories.find(directory)
        if state is None or not state.folders:
            return [], 0.0
        chance = self._rate(command, FOLDERS, len(state.folders).bit_length())
        return (list(state.folders)[:AT_ONCE], chance) if chance >= least else ([], chance)

    def _count_files(self, cohort: _Cohort, directory: Directory, extension: bytes) -> int:
        if cohort.files_of != directory.version:
            cohort.files_of = directory.version
            if extension == FOLDERS:
                cohort.files = len(directory.folders)
            else:
                names, folders = self._paths.name, directory.folders
                files = (child for child in directory.listed if child not in folders)
                cohort.files = sum(extension_of(names(child)) == extension for child in files)
        return cohort.files

    def _rate(self, command: int, extension: bytes, size: int) -> float:
        """The share of a cohort of this class that is used in the end."""
        believed = BELIEVED
        for key in (
            (ANY, extension, ALL_SIZES),
            (command, extension, ALL_SIZES),
            (command, extension, size),
        ):
            used, files = self.classes.get(key, (0.0, 0.0))
            believed = (used + STRENGTH * believed) / (files + STRENGTH)
        return believed

    def _forget_oldest(self) -> None:
        key, cohort = self._cohorts.popitem(last=False)
        self._used -= len(cohort.used)
        self._settle(key, cohort)

    def _settle(self, key: tuple[int, int, bytes], cohort: _Cohort) -> None:
        parent, command, extension = key
        directory = self._directories.find(parent)
        if directory is None or not directory.listed:
            return
        files = self._count_files(cohort, directory, extension)
        if not files or len(cohort.used) == cohort.counted:
            return
        scale = min(1.0, FILES_COUNTED / files)
        more_used = (len(cohort.used) - cohort.counted) * scale
        more_files = 0.0 if cohort.counted else files * scale
        cohort.counted = len(cohort.used)
        for name in (
            (ANY, extension, ALL_SIZES),
            (command, extension, ALL_SIZES),
            (command, extension, files.bit_length()),
        ):
            totals = self.classes.setdefault(name, [0.0, 0.0])
            totals[0] += more_used
            totals[1] += more_files
            totals[0] = min(totals)
            if totals[1] > 64 * FILES_COUNTED:
                totals[:] = [value / 2 for value in totals]
        while len(self.classes) > CLASSES_MAX:
            del self.classes[next(iter(self.classes))]

    def settle(self, keep: bool = False) -> None:
        """A session ends, and so do its cohorts; with `keep`, they are counted as far as they got."""
        for key, cohort in self._cohorts.items():
            if not keep or len(cohort.used) > 1:
                self._settle(key, cohort)
        if not keep:
            self._cohorts.clear()
            self._used = 0

    def rows(self) -> tuple[list[bytes], list[tuple[float, ...]]]:
        """What is kept: an extension a row, and (command, size, used, files)."""
        numbers = [(float(command), float(size), *totals) for (command, _, size), totals in self.classes.items()]
        return [extension for _, extension, _ in self.classes], numbers

    def load(self, names: list[bytes], numbers: list[list[float]]) -> None:
        """Takes back what `rows` gave. Raises ValueError where it makes no sense."""
        for name, (command, size, used, files) in zip(names, numbers, strict=True):
            self.classes[int(command), name, int(size)] = [used, files]
