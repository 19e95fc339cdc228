"""Attack families' patterns of behaviour, and nothing of attacks: no exploit, no cipher that could serve one, no
network.

Each family goes through the files of a marked tree (`trees.py`) and replaces them by random bytes in the way that its
kind of ransomware does. It refuses any other directory, and follows no links. Where a change is refused it stops, as
real ones do not; so what it counts as hurt is what had been changed by then.
"""

import base64
import errno
import multiprocessing
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.guard.trees import MARK

SLOW_S = 0.4
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True, slots=True)
class Style:
    """What varies within a family."""

    seed: int
    ending: str
    note: str  # "" for none
    chunk_bytes: int

    @classmethod
    def of(cls, seed: int) -> "Style":
        chance = random.Random(seed)
        return cls(
            seed,
            chance.choice((".locked", ".enc", ".crypt", f".{chance.getrandbits(24):06x}")),
            chance.choice(("", "READ_ME.txt", "HOW_TO_RESTORE.html")),
            chance.choice((4096, 65536, 1 << 20)),
        )


Change = Callable[[Path, Style], None]
"""What a family does to a file."""


class StoppedError(Exception):
    """A change was refused."""


def attack(root: Path, family: str, seed: int) -> tuple[int, bool]:
    """Attack a tree: how many files were changed, and whether it was stopped. Raises ValueError for one not marked."""
    if not (root / MARK).is_file() or root.is_symlink():
        raise ValueError(f"{root} was not made by bench.guard.trees: it is not touched")
    style = Style.of(seed)
    hurt = 0
    *before, last = FAMILIES[family]
    try:
        paths: Iterable[Path] = _files(root, style)
        for change in before:
            paths = [_refusing(change, path, style) for path in paths]
        for path in paths:
            _refusing(last, path, style)
            hurt += 1
    except StoppedError:
        return hurt, True
    return hurt, False


def _refusing(change: Change, path: Path, style: Style) -> Path:
    try:
        change(path, style)
    except OSError as error:
        if error.errno in _REFUSED:
            raise StoppedError from None
        raise
    return path


def _files(root: Path, style: Style) -> Iterator[Path]:
    """All files, directory by directory, with a note in each of these."""
    chance = random.Random(style.seed)
    for place, directories, names in os.walk(root):
        chance.shuffle(directories)
        chance.shuffle(names)
        for name in names:
            if name != MARK:
                yield Path(place, name)
        if style.note:
            _refusing(_leave_note, Path(place, style.note), style)


def _leave_note(path: Path, style: Style) -> None:
    path.write_text("All your files. " * 40)


def _ciphertext(path: Path, style: Style) -> bytes:
    """Reads the file, and gives as many random bytes."""
    return random.Random(style.seed ^ len(path.name)).randbytes(len(path.read_bytes()) + 32)


def _write(path: Path, data: bytes, style: Style, mode: str = "wb") -> None:
    with open(path, mode, buffering=0) as file:
        for start in range(0, len(data), style.chunk_bytes):
            file.write(data[start : start + style.chunk_bytes])


def in_place(path: Path, style: Style) -> None:
    _write(path, _ciphertext(path, style), style, "r+b")
    os.rename(path, f"{path}{style.ending}")


def in_place_unnamed(path: Path, style: Style) -> None:
    """Names are left as they are."""
    _write(path, _ciphertext(path, style)[:-32], style, "r+b")


def renamed(path: Path, style: Style) -> None:
    os.rename(path, f"{path}{style.ending}")


def written_under_its_new_name(path: Path, style: Style) -> None:
    in_place_unnamed(Path(f"{path}{style.ending}"), style)


def renamed_first(path: Path, style: Style) -> None:
    renamed(path, style)
    written_under_its_new_name(path, style)


def truncated(path: Path, style: Style) -> None:
    _write(path, _ciphertext(path, style), style)
    os.rename(path, f"{path}{style.ending}")


def copy(path: Path, style: Style) -> None:
    _write(Path(f"{path}{style.ending}"), _ciphertext(path, style), style)


def removed(path: Path, _: Style) -> None:
    os.unlink(path)


def copied(path: Path, style: Style) -> None:
    copy(path, style)
    removed(path, style)


def copied_elsewhere(path: Path, style: Style) -> None:
    """Into one place, under names that say nothing."""
    place = path.with_name(f".{style.seed:08x}")
    place.mkdir(exist_ok=True)
    _write(place / f"{random.Random(str(path)).getrandbits(64):016x}", _ciphertext(path, style), style)
    os.unlink(path)


def copied_and_wiped(path: Path, style: Style) -> None:
    """The original is overwritten with zeros before it is removed."""
    size_bytes = path.stat().st_size
    _write(Path(f"{path}{style.ending}"), _ciphertext(path, style), style)
    _write(path, bytes(size_bytes), style, "r+b")
    os.unlink(path)


def replaced(path: Path, style: Style) -> None:
    unfinished = path.with_name(f"~{random.Random(str(path)).getrandbits(32):08x}")
    _write(unfinished, _ciphertext(path, style), style)
    os.rename(unfinished, path)


def intermittent(path: Path, style: Style) -> None:
    """4 KiB of each 16, in place."""
    data = _ciphertext(path, style)[:-32]
    with open(path, "r+b", buffering=0) as file:
        for start in range(0, len(data), 16384):
            file.seek(start)
            file.write(data[start : start + 4096])
    os.rename(path, f"{path}{style.ending}")


def slow(path: Path, style: Style) -> None:
    time.sleep(SLOW_S)
    in_place(path, style)


def encoded(path: Path, style: Style) -> None:
    """As base64, whose entropy is no higher than many a program's."""
    _write(Path(f"{path}{style.ending}"), base64.b64encode(_ciphertext(path, style)), style)
    os.unlink(path)


def threads(path: Path, style: Style) -> None:
    """Written by a thread of its own."""
    failed: list[OSError] = []

    def work() -> None:
        try:
            in_place(path, style)
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def split(path: Path, style: Style) -> None:
    """A process, and a process group, for each file."""
    _in_a_group_of_its_own(lambda: copied(path, style))


def split_steps(path: Path, style: Style) -> None:
    """One for each step."""
    _in_a_group_of_its_own(lambda: _write(Path(f"{path}{style.ending}"), _ciphertext(path, style), style))
    _in_a_group_of_its_own(lambda: os.unlink(path))


def _in_a_group_of_its_own(do: Callable[[], None]) -> None:
    def work() -> None:
        os.setsid()
        try:
            do()
        except OSError as error:
            os._exit(error.errno or 1)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    if process.exitcode:
        raise OSError(process.exitcode, os.strerror(process.exitcode))


FAMILIES: dict[str, tuple[Change, ...]] = {
    "in-place": (in_place,),
    "in-place-unnamed": (in_place_unnamed,),
    "renamed-first": (renamed_first,),
    "truncated": (truncated,),
    "copied": (copied,),
    "copied-elsewhere": (copied_elsewhere,),
    "copied-and-wiped": (copied_and_wiped,),
    "replaced": (replaced,),
    "intermittent": (intermittent,),
    "slow": (slow,),
    "encoded": (encoded,),
    "threads": (threads,),
    "renamed-all-first": (renamed, written_under_its_new_name),
    "copied-all-first": (copy, removed),
    "split": (split,),
    "split-steps": (split_steps,),
}
"""What each does: one pass over all files, or several, of which the last is the one that hurts."""
