"""Whatever is done to a slow directory has the outcome that it has in a plain one, errors included."""

import errno
import fcntl
import mmap
import os
import random
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.slowdir import SlowDir

Operation = Callable[[bytes], object]


def outcome(operation: Operation, root: bytes) -> object:
    try:
        return operation(root)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def tree(root: bytes) -> dict[bytes, tuple[object, ...]]:
    """All that can be seen of a directory, but times and numbers that differ between any two directories."""
    found: dict[bytes, tuple[object, ...]] = {}
    for directory, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content: object = None
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            size = status.st_size if stat.S_ISREG(status.st_mode) else None
            # The kernel counts the links of a directory differently between filesystems.
            links = status.st_nlink if not stat.S_ISDIR(status.st_mode) else None
            attributes = {name: os.getxattr(path, name) for name in user_xattrs(path)}
            facts = (status.st_mode, status.st_uid, status.st_gid, links, size, content, attributes)
            found[os.path.relpath(path, root)] = facts
    return found


def user_xattrs(path: bytes) -> list[str]:
    names = os.listxattr(path, follow_symlinks=False)
    return [name for name in names if name.startswith("user.")]


@pytest.mark.parametrize("seed", range(4))
def test_random_operations_have_the_same_outcome(slow: SlowDir, tmp_path: Path, seed: int) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for number, operation in enumerate(operations(random.Random(seed), 800)):
        there = outcome(operation, os.fsencode(plain))
        here = outcome(operation, os.fsencode(slow.mountpoint))
        assert here == there, f"operation {number}"
    assert tree(os.fsencode(slow.mountpoint)) == tree(os.fsencode(plain))
    assert tree(os.fsencode(slow.backing)) == tree(os.fsencode(plain))


def operations(choose: random.Random, count: int) -> Iterator[Operation]:
    """Operations on few names, so that most meet something that is there."""
    names = [b"a", b"b", b"caf\xc3\xa9", b"not utf-8 \xff\xfe", b"new\nline", b"x" * 255]
    directories = [b".", b"d", b"d/e", b"\xe9tage"]

    def path() -> bytes:
        directory = choose.choice(directories)
        return choose.choice([directory, *([directory + b"/" + choose.choice(names)] * 4)])

    for _ in range(count):
        one, other, data = path(), path(), choose.randbytes(choose.choice([0, 1, 5000]))
        position = choose.randrange(6000)
        flags = choose.choice([os.O_RDWR, os.O_RDWR | os.O_APPEND, os.O_RDWR | os.O_TRUNC])
        kind = choose.randrange(16)
        create = choose.choice([os.O_CREAT, os.O_CREAT | os.O_EXCL, 0])
        mode = choose.choice([0o600, 0o644, 0o755, 0o2775])

        def operation(
            root: bytes,
            kind: int = kind,
            one: bytes = one,
            other: bytes = other,
            data: bytes = data,
            position: int = position,
            flags: int = flags | create,
            mode: int = mode,
        ) -> object:
            first, second = os.path.join(root, one), os.path.join(root, other)
            match kind:
                case 0 | 1:
                    fd = os.open(first, flags, mode)
                    try:
                        written = os.pwrite(fd, data, position)
                        return written, os.pread(fd, 10_000, 0), os.fstat(fd).st_size
                    finally:
                        os.close(fd)
                case 2 | 3:
                    os.mkdir(first, mode)
                case 4:
                    os.rmdir(first)
                case 5:
                    os.unlink(first)
                case 6 | 7:
                    os.rename(first, second)
                case 8:
                    os.link(first, second, follow_symlinks=False)
                case 9:
                    os.symlink(other, first)
                case 10:
                    os.truncate(first, position)
                case 11:
                    os.chmod(first, mode)
                case 12:
                    os.setxattr(first, "user.note", data[:100])
                    return os.getxattr(first, "user.note"), sorted(user_xattrs(first))
                case 13:
                    os.utime(first, ns=(position, position * 1_000_000_007))
                    return os.stat(first).st_mtime_ns, os.stat(first).st_atime_ns
                case 14:
                    return sorted(os.listdir(first))
                case _:
                    with open(first, "rb") as file:
                        return file.read()
            return None

        yield operation


def test_inode_numbers_are_the_backing_files_own(slow: SlowDir) -> None:
    (slow.backing / "file").write_bytes(b"x")
    (slow.backing / "dir").mkdir()
    for name in ("file", "dir"):
        assert (slow.mountpoint / name).stat().st_ino == (slow.backing / name).stat().st_ino
    assert {entry.name: entry.inode() for entry in os.scandir(slow.mountpoint)} == {
        entry.name: entry.inode() for entry in os.scandir(slow.backing)
    }


RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2

# os has no renameat2(2); neither has every libc.
RENAME = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
old, new, flags = os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2]), int(sys.argv[3])
sys.exit(ctypes.get_errno() if libc.renameat2(-100, old, -100, new, flags) else 0)
"""


def rename(old: Path, new: Path, flags: int) -> int:
    return subprocess.run([sys.executable, "-S", "-c", RENAME, old, new, str(flags)], check=False).returncode


def test_rename_noreplace_keeps_what_is_there(slow: SlowDir) -> None:
    (slow.mountpoint / "a").write_bytes(b"a")
    (slow.mountpoint / "b").write_bytes(b"b")

    assert rename(slow.mountpoint / "a", slow.mountpoint / "b", RENAME_NOREPLACE) == errno.EEXIST
    assert rename(slow.mountpoint / "a", slow.mountpoint / "c", RENAME_NOREPLACE) == 0
    assert (slow.backing / "b").read_bytes() == b"b"
    assert (slow.backing / "c").read_bytes() == b"a"


def test_rename_exchange_swaps(slow: SlowDir) -> None:
    (slow.mountpoint / "a").write_bytes(b"a")
    (slow.mountpoint / "b").write_bytes(b"b")

    assert rename(slow.mountpoint / "a", slow.mountpoint / "b", RENAME_EXCHANGE) == 0
    assert (slow.mountpoint / "a").read_bytes() == (slow.backing / "a").read_bytes() == b"b"
    assert (slow.mountpoint / "b").read_bytes() == (slow.backing / "b").read_bytes() == b"a"


def test_unlinked_open_file_lives_on(slow: SlowDir) -> None:
    with open(slow.mountpoint / "file", "w+b", buffering=0) as file:
        file.write(b"before")
        (slow.mountpoint / "file").unlink()
        file.write(b" and after")
        file.seek(0)
        assert file.read() == b"before and after"
        assert os.fstat(file.fileno()).st_nlink == 0
        os.ftruncate(file.fileno(), 3)
        assert os.fstat(file.fileno()).st_size == 3
    assert os.listdir(slow.backing) == []


def test_file_replaced_while_open_keeps_its_content(slow: SlowDir) -> None:
    (slow.mountpoint / "file").write_bytes(b"old")
    (slow.mountpoint / "fresh").write_bytes(b"new")
    with open(slow.mountpoint / "file", "rb", buffering=0) as file:
        (slow.mountpoint / "fresh").rename(slow.mountpoint / "file")
        assert file.read() == b"old"
    assert (slow.mountpoint / "file").read_bytes() == b"new"


def test_large_directory_is_listed_once_each(slow: SlowDir) -> None:
    names = {f"{number:05}-{'x' * 60}" for number in range(3000)}
    for name in names:
        (slow.backing / name).touch()

    listed = os.listdir(slow.mountpoint)

    assert len(listed) == len(names)
    assert set(listed) == names


def test_appends_of_two_descriptors_do_not_overwrite(slow: SlowDir) -> None:
    file = slow.mountpoint / "log"
    with open(file, "ab", buffering=0) as one, open(file, "ab", buffering=0) as other:
        for _ in range(10):
            one.write(b"1")
            other.write(b"2")
    assert (slow.backing / "log").read_bytes() == b"12" * 10


def test_holes_are_found_and_punched(slow: SlowDir) -> None:
    with open(slow.mountpoint / "file", "w+b", buffering=0) as file:
        os.ftruncate(file.fileno(), 1 << 20)
        os.pwrite(file.fileno(), b"x" * 4096, 512 << 10)
        below = os.open(slow.backing / "file", os.O_RDONLY)
        try:
            for whence in (os.SEEK_DATA, os.SEEK_HOLE):
                assert os.lseek(file.fileno(), 0, whence) == os.lseek(below, 0, whence)
        finally:
            os.close(below)
        os.posix_fallocate(file.fileno(), 0, 2 << 20)
    assert (slow.backing / "file").stat().st_size == 2 << 20


def test_mapped_files_read_and_write(slow: SlowDir) -> None:
    (slow.mountpoint / "file").write_bytes(bytes(8192))
    with open(slow.mountpoint / "file", "r+b") as file, mmap.mmap(file.fileno(), 8192) as mapped:
        mapped[4096:4100] = b"here"
        mapped.flush()
    assert (slow.backing / "file").read_bytes()[4096:4100] == b"here"


def test_locks_exclude_each_other(slow: SlowDir) -> None:
    (slow.mountpoint / "file").touch()
    with open(slow.mountpoint / "file", "r+b") as one, open(slow.mountpoint / "file", "r+b") as other:
        fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_sync_reaches_the_backing_directory(slow: SlowDir) -> None:
    with open(slow.mountpoint / "file", "wb", buffering=0) as file:
        file.write(b"x")
        os.fsync(file.fileno())
        os.fdatasync(file.fileno())
    directory = os.open(slow.mountpoint, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    assert (slow.counters["fsync"], slow.counters["fsyncdir"]) == (2, 1)


def test_space_is_that_of_the_backing_directory(slow: SlowDir) -> None:
    here, there = os.statvfs(slow.mountpoint), os.statvfs(slow.backing)
    assert (here.f_blocks, here.f_bsize, here.f_namemax) == (there.f_blocks, there.f_bsize, there.f_namemax)


def test_special_files_are_made(slow: SlowDir) -> None:
    os.mkfifo(slow.mountpoint / "fifo", 0o640)
    assert stat.S_ISFIFO((slow.backing / "fifo").stat().st_mode)
    assert stat.S_IMODE((slow.backing / "fifo").stat().st_mode) == 0o640 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_programs_at_once_see_one_tree(slow: SlowDir) -> None:
    """Lookups, forgets and renames of the same inodes by many threads: no inode is lost or freed twice."""
    errors: list[Exception] = []

    def work(number: int) -> None:
        own = slow.mountpoint / f"own-{number}"
        try:
            for round_number in range(30):
                own.mkdir()
                (own / "file").write_bytes(b"%d" % round_number)
                (slow.mountpoint / f"shared-{number % 2}").write_bytes(b"x")
                os.listdir(slow.mountpoint)
                (own / "file").rename(own / "renamed")
                assert (own / "renamed").read_bytes() == b"%d" % round_number
                if round_number % 10 == 0:
                    slow.drop_kernel_caches()
                shutil.rmtree(own)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(os.listdir(slow.backing)) == ["shared-0", "shared-1"]
