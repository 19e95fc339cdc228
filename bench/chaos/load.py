"""Programs at work on a mount, each in a process: python -m bench.chaos.load PROGRAM ARGUMENTS

What a file holds follows from its name, so whoever finds one can tell whether it is whole. A writer notes down outside
the mount what was acknowledged to it, after fsync has returned and not before. The status is 1 if the program saw a
wrong byte or an error, MOUNT_DIED if its mount died.
"""

import errno
import itertools
import os
import random
import signal
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

RECORD_BYTES = 1000  # not a divisor of a page: records lie across pages and blocks
_HEAD = struct.Struct("<QI")
_PAGE_BYTES = 4096
_CHURNED = 100  # directories; names never seen before fill tables up to their limits, for hours
MOUNT_DIED = 3
"""The status of a program that got what programs get whose daemon is killed, and nothing worse."""
_OF_A_DEAD_MOUNT = (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO)
"""EIO is what the kernel makes of a page that was on its way into its cache (filemap_read_folio)."""


class WrongError(Exception):
    """A program got what it should not have got."""


def record(number: int) -> bytes:
    """A record that says which it is and whether it is whole."""
    body = random.Random(number).randbytes(RECORD_BYTES - _HEAD.size)
    return _HEAD.pack(number, zlib.crc32(body)) + body


def whole_records(data: bytes) -> int:
    """How many whole records, numbered from 0, the data begins with."""
    count = 0
    while data[count * RECORD_BYTES : (count + 1) * RECORD_BYTES] == record(count):
        count += 1
    return count


def content(name: str) -> bytes:
    """What the file of this name holds: 1 byte to 300 KB."""
    dice = random.Random(name)
    return dice.randbytes(dice.choice((1, 4000, 4096, 20_000, 130_000, 300_000)))


def make_files(directory: Path, count: int, size_bytes: int = 0) -> list[str]:
    """Files for readers; gives their names. `size_bytes`: all of this size, from the same bytes."""
    names = [f"r{number}" for number in range(count)]
    for name in names:
        data = content(name)
        (directory / name).write_bytes((data * (size_bytes // len(data) + 1))[:size_bytes] if size_bytes else data)
    return names


def append(path: str, notes: str) -> None:
    """Records, one after the other, each acknowledged by fsync before the next."""
    fd, noted = _create(path, os.O_APPEND), _create(notes, 0)
    number = 0
    while True:
        # The kernel cuts at pages: a mount that dies between two of them is a short write, and then an error.
        _write(fd, record(number))
        os.fsync(fd)
        number += 1
        os.pwrite(noted, b"%d\n" % number, 0)


def keep(directory: str, prefix: str, notes: str) -> None:
    """New files, written under another name, made durable and then renamed; older ones are read now and then."""
    noted = _create(notes, os.O_APPEND)
    parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    dice = random.Random(prefix)
    number = 0
    while True:
        name = f"{prefix}-{number}"
        path = os.path.join(directory, name)
        fd = _create(path + ".new", 0)
        _write(fd, content(name))
        os.fsync(fd)
        os.close(fd)
        os.rename(path + ".new", path)
        os.fsync(parent)
        os.write(noted, name.encode() + b"\n")
        number += 1
        _look(directory, f"{prefix}-{dice.randrange(number)}")


def read(directory: str, seed: str) -> None:
    """Files of `make_files` over and over, whole and in pieces, in an order that repeats in part."""
    dice = random.Random(seed)
    names = sorted(name for name in os.listdir(directory) if name.startswith("r"))
    sizes = {name: os.stat(os.path.join(directory, name)).st_size for name in names}
    while True:
        start = dice.randrange(len(names))
        for name in names[start : start + 8]:
            _look(directory, name, sizes[name])


def jump(path: str, size: str, seed: str) -> None:
    """Pages of the beginning of a file of `make_files`, at random, over and over; some are not let lie in memory."""
    dice = random.Random(seed)
    fd = os.open(path, os.O_RDONLY)
    right = content(os.path.basename(path))
    right = right * (int(size) // len(right) + 1)
    while True:
        offset = dice.randrange(int(size) // _PAGE_BYTES) * _PAGE_BYTES
        data = os.pread(fd, _PAGE_BYTES, offset)
        if data != right[offset : offset + _PAGE_BYTES]:
            raise WrongError(f"{path}: wrong bytes at {offset}: {len(data)} of them")
        if not dice.randrange(50):
            os.posix_fadvise(fd, offset, 1 << 20, os.POSIX_FADV_DONTNEED)


def churn(directory: str, prefix: str) -> None:
    """Makes, appends to, renames, stats, walks and removes; the same names again after a while, as builds do."""
    for number in itertools.cycle(range(_CHURNED)):
        place = os.path.join(directory, f"{prefix}-{number}")
        os.mkdir(place)
        for each in range(10):
            name = f"{prefix}-{number}-{each}"
            with open(os.path.join(place, name), "wb") as file:
                file.write(content(name))
            os.rename(os.path.join(place, name), os.path.join(place, name + "x"))
            os.rename(os.path.join(place, name + "x"), os.path.join(place, name))
        for name in os.listdir(place):
            _look(place, name)
            os.unlink(os.path.join(place, name))
        os.rmdir(place)


def walk(directory: str) -> None:
    """Looks at everything, again and again."""
    while True:
        for place, _, names in os.walk(directory):
            for name in names:
                try:
                    os.lstat(os.path.join(place, name))
                except FileNotFoundError:
                    continue  # somebody else's


def _look(directory: str, name: str, size: int = 0) -> None:
    with open(os.path.join(directory, name), "rb", buffering=0) as file:
        data = bytearray()
        while piece := file.read(50_000):
            data += piece
        # As another reader would find it: not from the kernel's pages.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    right = content(name)
    if data != ((right * (size // len(right) + 1))[:size] if size else right):
        raise WrongError(f"{name}: wrong bytes")


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left[: 1 << 16]) :]


def _create(path: str, flags: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644)


PROGRAMS: dict[str, Callable[..., None]] = {
    "append": append, "keep": keep, "read": read, "jump": jump, "churn": churn, "walk": walk,
}  # fmt: skip


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    program, *arguments = sys.argv[1:]
    try:
        PROGRAMS[program](*arguments)
    except WrongError as error:
        print(f"{program}: {error}")
        return 1
    except OSError as error:
        print(f"{program}: {error}")
        return MOUNT_DIED if error.errno in _OF_A_DEAD_MOUNT else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
