"""Every operation of a read/write passthrough does through the mount what it does without, and to the source."""

import contextlib
import ctypes
import errno
import json
import mmap
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.conftest import Mounted, World, a_world, eventually
from tests.mount.test_metrics import value

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="acting as another user takes root")


def renameat2(old: Path, new: Path, flags: int) -> None:
    if _libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@pytest.fixture(scope="module", params=["plain", "slow"])
def shared(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Mounted]:
    """One mount for all tests: each has a directory of its own in it."""
    with a_world(tmp_path_factory.mktemp("operations")) as world:
        source = world.backing
        if request.param == "slow":
            source = world.slow_source(0.0002, attr_timeout_s=0, entry_timeout_s=0)
        yield world.mount(source=source)


class Place:
    """A directory, seen through the mount."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __truediv__(self, name: str) -> Path:
        return self.path / name


@pytest.fixture
def m(shared: Mounted, request: pytest.FixtureRequest) -> Place:
    place = Place(shared.path / request.node.name)
    place.path.mkdir()
    return place


@pytest.fixture
def s(m: Place) -> Path:
    """The same directory behind the mount."""
    return m.path.parents[1] / "backing" / m.path.name


def errno_of(call: object, *args: object, **kwargs: object) -> int:
    with pytest.raises(OSError) as caught:
        call(*args, **kwargs)  # type: ignore[operator]
    assert caught.value.errno is not None
    return caught.value.errno


# --- content


def test_what_is_written_is_in_the_source_and_readable_at_once(m: Place, s: Path) -> None:
    data = os.urandom(300_001)
    (m / "f").write_bytes(data)
    assert (s / "f").read_bytes() == data
    assert (m / "f").read_bytes() == data
    assert os.stat(m / "f").st_size == len(data)


def test_writes_are_in_the_source_before_write_returns(m: Place, s: Path) -> None:
    fd = os.open(m / "f", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"first")
    assert (s / "f").read_bytes() == b"first"
    os.pwrite(fd, b"XY", 1)
    assert (s / "f").read_bytes() == b"fXYst"
    os.close(fd)


def test_append_extends_and_o_append_ignores_the_offset(m: Place, s: Path) -> None:
    (m / "f").write_bytes(b"one")
    fd = os.open(m / "f", os.O_WRONLY | os.O_APPEND)
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, b"two")
    with open(s / "f", "ab") as other:
        other.write(b"OTHER")
    os.write(fd, b"three")
    os.close(fd)
    assert (s / "f").read_bytes() == b"onetwoOTHERthree"
    assert (m / "f").read_bytes() == b"onetwoOTHERthree"


def test_two_handles_append_whole_records(m: Place, s: Path) -> None:
    fds = [os.open(m / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) for _ in range(2)]
    for i in range(50):
        os.write(fds[i % 2], b"%07d\n" % i)
    for fd in fds:
        os.close(fd)
    assert (s / "log").read_bytes() == b"".join(b"%07d\n" % i for i in range(50))


@pytest.mark.parametrize("how", ["truncate", "ftruncate", "o_trunc"])
def test_truncation_cuts_and_extends_with_zeroes(m: Place, s: Path, how: str) -> None:
    data = os.urandom(10_000)
    (m / "f").write_bytes(data)
    assert (m / "f").read_bytes() == data
    if how == "o_trunc":
        os.close(os.open(m / "f", os.O_WRONLY | os.O_TRUNC))
        expected = b""
    elif how == "truncate":
        os.truncate(m / "f", 5001)
        expected = data[:5001]
    else:
        with open(m / "f", "r+b") as file:
            file.truncate(5001)
        expected = data[:5001]
    assert (s / "f").read_bytes() == (m / "f").read_bytes() == expected
    os.truncate(m / "f", 9001)
    expected = expected.ljust(9001, b"\0")
    assert (s / "f").read_bytes() == (m / "f").read_bytes() == expected
    assert os.stat(m / "f").st_size == 9001


def test_create_modes_and_exclusiveness(m: Place, s: Path) -> None:
    old = os.umask(0o027)
    try:
        os.close(os.open(m / "f", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        os.mkdir(m / "d", 0o777)
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(s / "f").st_mode) == stat.S_IMODE(os.stat(m / "f").st_mode) == 0o640
    assert stat.S_IMODE(os.stat(s / "d").st_mode) == 0o750
    assert errno_of(os.open, m / "f", os.O_WRONLY | os.O_CREAT | os.O_EXCL) == errno.EEXIST
    (s / "behind").write_bytes(b"of another")
    assert errno_of(os.open, m / "behind", os.O_WRONLY | os.O_CREAT | os.O_EXCL) == errno.EEXIST


def test_file_created_without_write_permission_is_writable_by_its_creator(m: Place, s: Path) -> None:
    fd = os.open(m / "f", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o400)
    os.write(fd, b"data")
    os.ftruncate(fd, 2)
    assert os.pread(fd, 10, 0) == b"da"
    os.close(fd)
    assert (s / "f").read_bytes() == b"da"


def test_o_direct_reads_and_writes_what_is_there(m: Place, s: Path) -> None:
    data = os.urandom((1 << 20) + 4096 * 3 + 100)
    (s / "f").write_bytes(data)
    buffer = mmap.mmap(-1, 1 << 20)
    fd = os.open(m / "f", os.O_RDONLY | os.O_DIRECT)
    try:
        for _ in range(2):
            shown = b""
            while count := os.preadv(fd, [buffer], len(shown)):
                shown += buffer[:count]
                if count % 4096:
                    break
            assert shown == data
    finally:
        os.close(fd)
    fd = os.open(m / "f", os.O_RDWR | os.O_DIRECT)
    try:
        buffer[:8192] = b"d" * 8192
        assert os.pwritev(fd, [memoryview(buffer)[:8192]], 4096) == 8192
    finally:
        os.close(fd)
    expected = data[:4096] + b"d" * 8192 + data[12288:]
    assert (s / "f").read_bytes() == (m / "f").read_bytes() == expected


def test_shared_mapping_writes_through(m: Place, s: Path) -> None:
    (m / "f").write_bytes(b"." * 10_000)
    fd = os.open(m / "f", os.O_RDWR)
    with mmap.mmap(fd, 10_000) as mapped:
        mapped[5000:5005] = b"hello"
        mapped.flush()
        assert (s / "f").read_bytes()[5000:5005] == b"hello"
        mapped[1:3] = b"xy"
    os.close(fd)
    fd = os.open(m / "f", os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    shown = (m / "f").read_bytes()
    assert shown[5000:5005] == b"hello" and shown[1:3] == b"xy" and len(shown) == 10_000
    assert (s / "f").read_bytes() == shown


def test_private_mapping_reads(m: Place, s: Path) -> None:
    data = os.urandom(200_000)
    (s / "f").write_bytes(data)
    with open(m / "f", "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped[:] == data


def test_holes_read_as_zeroes_and_stay_holes(m: Place, s: Path) -> None:
    with open(m / "f", "wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    assert (m / "f").read_bytes() == bytes(1 << 20) + b"end"
    assert os.stat(s / "f").st_blocks * 512 < 1 << 20


def test_seek_data_and_copy_file_range_work(m: Place, s: Path) -> None:
    (s / "f").write_bytes(b"x" * 5000)
    out = os.open(m / "g", os.O_RDWR | os.O_CREAT, 0o644)
    with open(m / "f", "rb") as file:
        assert os.lseek(file.fileno(), 0, os.SEEK_DATA) == 0
        assert os.lseek(file.fileno(), 0, os.SEEK_END) == 5000
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        while os.copy_file_range(file.fileno(), out, 5000):
            pass
    os.close(out)
    assert (s / "g").read_bytes() == b"x" * 5000


# --- names


def test_rename_moves_and_replaces(m: Place, s: Path) -> None:
    (m / "a").write_bytes(b"a")
    (m / "b").write_bytes(b"b")
    os.rename(m / "a", m / "b")
    assert not (m / "a").exists() and not (s / "a").exists()
    assert (m / "b").read_bytes() == (s / "b").read_bytes() == b"a"
    (m / "d").mkdir()
    os.rename(m / "b", m / "d" / "c")
    assert (m / "d" / "c").read_bytes() == b"a" and os.listdir(m.path) == ["d"]
    os.rename(m / "d", m / "e")
    assert (m / "e" / "c").read_bytes() == b"a" and os.listdir(s) == ["e"]


def test_rename_noreplace_refuses_and_exchange_exchanges(m: Place, s: Path) -> None:
    (m / "a").write_bytes(b"a")
    (m / "b").write_bytes(b"bb")
    (m / "d").mkdir()
    (m / "d" / "x").write_bytes(b"x")
    assert errno_of(renameat2, m / "a", m / "b", RENAME_NOREPLACE) == errno.EEXIST
    renameat2(m / "a", m / "new", RENAME_NOREPLACE)
    assert (m / "new").read_bytes() == b"a"
    renameat2(m / "new", m / "b", RENAME_EXCHANGE)
    assert (m / "new").read_bytes() == (s / "new").read_bytes() == b"bb"
    assert (m / "b").read_bytes() == b"a"
    renameat2(m / "d", m / "b", RENAME_EXCHANGE)
    assert (m / "b" / "x").read_bytes() == b"x" and (m / "d").read_bytes() == b"a"
    assert errno_of(renameat2, m / "b", m / "nowhere", RENAME_EXCHANGE) == errno.ENOENT


def test_rename_errors_are_the_kernels(m: Place) -> None:
    (m / "d").mkdir()
    (m / "d" / "sub").mkdir()
    (m / "f").write_bytes(b"")
    assert errno_of(os.rename, m / "d", m / "d" / "sub" / "x") == errno.EINVAL
    assert errno_of(os.rename, m / "f", m / "d") == errno.EISDIR
    assert errno_of(os.rename, m / "d", m / "f") == errno.ENOTDIR
    assert errno_of(os.rmdir, m / "d") == errno.ENOTEMPTY
    assert errno_of(os.unlink, m / "nothing") == errno.ENOENT
    assert errno_of(os.mkdir, m / ("n" * 256)) == errno.ENAMETOOLONG


@pytest.mark.parametrize("how", ["unlink", "rename-over"])
def test_open_file_lives_on_without_its_name(m: Place, s: Path, how: str) -> None:
    (m / "f").write_bytes(b"old content")
    reader = os.open(m / "f", os.O_RDONLY)
    writer = os.open(m / "f", os.O_RDWR)
    if how == "unlink":
        os.unlink(m / "f")
        assert not (m / "f").exists()
    else:
        (m / "other").write_bytes(b"replacement")
        os.rename(m / "other", m / "f")
        assert (m / "f").read_bytes() == b"replacement"
    assert os.fstat(reader).st_nlink == os.fstat(writer).st_nlink == 0
    assert os.fstat(reader).st_size == 11
    assert os.pread(reader, 100, 0) == b"old content"
    os.pwrite(writer, b"NEW", 0)
    assert os.pread(reader, 100, 0) == b"NEW content"
    os.ftruncate(writer, 5)
    os.fchmod(writer, 0o600)
    os.utime(writer, ns=(5, 7))
    shown = os.fstat(reader)
    assert (shown.st_size, stat.S_IMODE(shown.st_mode), shown.st_mtime_ns) == (5, 0o600, 7)
    assert os.pread(reader, 100, 0) == b"NEW c"
    os.fsync(writer)
    os.close(reader)
    os.close(writer)
    if how == "unlink":
        assert os.listdir(s) == []
    else:
        assert (s / "f").read_bytes() == b"replacement"


def test_unlinked_file_that_was_never_read_is_readable_through_its_handle(m: Place, s: Path) -> None:
    data = os.urandom(500_000)
    (s / "f").write_bytes(data)
    fd = os.open(m / "f", os.O_RDONLY)
    os.unlink(m / "f")
    shown = b""
    while piece := os.pread(fd, 1 << 17, len(shown)):
        shown += piece
    os.close(fd)
    assert shown == data


def test_removed_directory_that_is_open_lists_as_empty(m: Place) -> None:
    (m / "d").mkdir()
    fd = os.open(m / "d", os.O_RDONLY)
    os.rmdir(m / "d")
    assert os.listdir(fd) == []
    assert errno_of(os.open, "x", os.O_CREAT | os.O_WRONLY, dir_fd=fd) == errno.ENOENT
    os.close(fd)


def test_name_can_be_made_again_while_its_old_file_is_open(m: Place, s: Path) -> None:
    fds = []
    for i in range(5):
        (m / "f").write_bytes(b"%d" % i)
        fds.append(os.open(m / "f", os.O_RDONLY))
        os.unlink(m / "f")
    assert [os.read(fd, 10) for fd in fds] == [b"0", b"1", b"2", b"3", b"4"]
    for fd in fds:
        os.close(fd)


def test_link_counts_follow_links_and_unlinks(m: Place, s: Path) -> None:
    (m / "a").write_bytes(b"shared")
    assert os.stat(m / "a").st_nlink == 1
    os.link(m / "a", m / "b")
    assert os.stat(m / "a").st_nlink == os.stat(m / "b").st_nlink == 2
    assert os.path.samefile(m / "a", m / "b")
    with open(m / "b", "ab") as file:
        file.write(b"!")
    assert (m / "a").read_bytes() == b"shared!"
    os.unlink(m / "a")
    assert os.stat(m / "b").st_nlink == 1
    assert (m / "b").read_bytes() == b"shared!"
    os.link(m / "b", m / "a")
    assert os.stat(m / "a").st_nlink == 2
    assert (m / "a").read_bytes() == b"shared!"


def test_open_file_with_two_names_survives_the_loss_of_each(m: Place, s: Path) -> None:
    (m / "a").write_bytes(b"twice")
    os.link(m / "a", m / "b")
    fd = os.open(m / "a", os.O_RDWR)
    os.unlink(m / "a")
    assert os.fstat(fd).st_nlink == 1
    assert (m / "b").read_bytes() == b"twice"
    os.unlink(m / "b")
    assert os.fstat(fd).st_nlink == 0
    assert os.pread(fd, 10, 0) == b"twice"
    os.close(fd)
    (m / "b").write_bytes(b"anew")
    assert (m / "b").read_bytes() == b"anew"


def test_files_that_lost_all_their_names_are_let_go_of_when_they_are_closed(m: Place, shared: Mounted) -> None:
    """Else the source could not free their space for as long as we are mounted."""

    def unnamed() -> int:
        count = 0
        for fd in os.listdir(f"/proc/{shared.pid}/fd"):
            with contextlib.suppress(OSError):
                count += os.readlink(f"/proc/{shared.pid}/fd/{fd}").endswith((" (deleted)", "//deleted"))
        return count

    before = unnamed()
    for _ in range(10):
        (m / "a").write_bytes(b"x" * 5000)
        os.link(m / "a", m / "b")
        (m / "c").write_bytes(b"y")
        fds = [os.open(m / "b", os.O_RDONLY), os.open(m / "a", os.O_RDWR)]
        assert os.read(fds[0], 1) == b"x"
        os.unlink(m / "a")
        os.rename(m / "c", m / "b")
        os.unlink(m / "b")
        for fd in fds:
            os.close(fd)
    eventually(lambda: unnamed() <= before, 10, "files without names")


def test_renaming_one_of_two_names_of_a_file_onto_the_other_keeps_both(m: Place, s: Path) -> None:
    (m / "a").write_bytes(b"x")
    os.link(m / "a", m / "b")
    os.rename(m / "a", m / "b")
    assert sorted(os.listdir(m.path)) == sorted(os.listdir(s)) == ["a", "b"]
    assert (m / "a").read_bytes() == b"x"


def test_special_files_and_links_are_made(m: Place, s: Path) -> None:
    os.mkfifo(m / "fifo", 0o622)
    assert stat.S_ISFIFO(os.lstat(s / "fifo").st_mode)
    os.symlink("some/target", m / "link")
    assert os.readlink(m / "link") == os.readlink(s / "link") == "some/target"
    os.symlink("f", m / "to-f")
    (m / "f").write_bytes(b"via")
    assert (m / "to-f").read_bytes() == b"via"
    os.unlink(m / "to-f")
    assert (m / "f").exists()
    code = "import os,sys; fd = os.open(sys.argv[1], os.O_WRONLY); os.write(fd, b'through the pipe')"
    with subprocess.Popen([sys.executable, "-c", code, m / "fifo"]) as writer, open(m / "fifo", "rb") as reader:
        assert reader.read() == b"through the pipe"
    assert writer.returncode == 0
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(m.path, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
    assert stat.S_ISSOCK(os.lstat(m / "socket").st_mode) and stat.S_ISSOCK(os.lstat(s / "socket").st_mode)
    assert sorted(os.listdir(m.path)) == ["f", "fifo", "link", "socket"]


# --- attributes


def test_mode_owner_and_times_are_set(m: Place, s: Path) -> None:
    (m / "f").write_bytes(b"x")
    os.chmod(m / "f", 0o4711)
    assert stat.S_IMODE(os.stat(m / "f").st_mode) == stat.S_IMODE(os.stat(s / "f").st_mode) == 0o4711
    os.utime(m / "f", ns=(1_000_000_001, 2_000_000_002))
    for at in (m / "f", s / "f"):
        assert (os.stat(at).st_atime_ns, os.stat(at).st_mtime_ns) == (1_000_000_001, 2_000_000_002)
    if os.geteuid() == 0:
        os.chown(m / "f", 1234, -1)
        os.chown(m / "f", -1, 4321)
        assert (os.stat(s / "f").st_uid, os.stat(s / "f").st_gid) == (1234, 4321)
        assert (os.stat(m / "f").st_uid, os.stat(m / "f").st_gid) == (1234, 4321)
        os.symlink("f", m / "l")
        os.lchown(m / "l", 5, 6)
        assert (os.lstat(m / "l").st_uid, os.stat(m / "f").st_uid) == (5, 1234)
    os.symlink("nowhere", m / "dangling")
    os.utime(m / "dangling", ns=(3, 4), follow_symlinks=False)
    assert os.lstat(s / "dangling").st_mtime_ns == 4


def test_one_time_is_set_without_the_other(m: Place, s: Path) -> None:
    (m / "f").write_bytes(b"x")
    os.utime(m / "f", ns=(1_111_111_111, 2_222_222_222))
    omit, now = (1 << 30) - 2, (1 << 30) - 1

    def utimens(atime: tuple[int, int], mtime: tuple[int, int]) -> None:
        times = (ctypes.c_long * 4)(*atime, *mtime)
        assert _libc.utimensat(AT_FDCWD, os.fsencode(m / "f"), times, 0) == 0, os.strerror(ctypes.get_errno())

    utimens((0, omit), (7, 5))
    for at in (m / "f", s / "f"):
        assert (os.stat(at).st_atime_ns, os.stat(at).st_mtime_ns) == (1_111_111_111, 7_000_000_005)
    utimens((9, 1), (0, omit))
    for at in (m / "f", s / "f"):
        assert (os.stat(at).st_atime_ns, os.stat(at).st_mtime_ns) == (9_000_000_001, 7_000_000_005)
    utimens((0, omit), (0, now))
    assert os.stat(m / "f").st_mtime_ns == os.stat(s / "f").st_mtime_ns > 1_600_000_000 * 10**9
    assert os.stat(s / "f").st_atime_ns == 9_000_000_001


def test_writing_moves_the_times_as_the_source_does(m: Place, s: Path) -> None:
    (m / "f").write_bytes(b"x")
    os.utime(m / "f", ns=(1, 1))
    with open(m / "f", "ab") as file:
        file.write(b"y")
        file.flush()
        assert os.fstat(file.fileno()).st_mtime_ns == os.stat(s / "f").st_mtime_ns > 10**18
    os.utime(m.path, ns=(1, 1))
    (m / "new").write_bytes(b"")
    assert os.stat(m.path).st_mtime_ns == os.stat(s).st_mtime_ns > 10**18


def test_extended_attributes(m: Place, s: Path) -> None:
    (m / "f").write_bytes(b"x")
    (m / "d").mkdir()
    for name in ("f", "d"):
        os.setxattr(m / name, "user.one", b"1\0\xff")
        os.setxattr(m / name, "user.two", b"")
        assert os.getxattr(s / name, "user.one") == os.getxattr(m / name, "user.one") == b"1\0\xff"
        assert sorted(os.listxattr(m / name)) == ["user.one", "user.two"]
        assert errno_of(os.setxattr, m / name, "user.one", b"", os.XATTR_CREATE) == errno.EEXIST
        assert errno_of(os.setxattr, m / name, "user.none", b"", os.XATTR_REPLACE) == errno.ENODATA
        os.setxattr(m / name, "user.one", b"2", os.XATTR_REPLACE)
        os.removexattr(m / name, "user.two")
        assert os.listxattr(s / name) == ["user.one"]
        assert errno_of(os.getxattr, m / name, "user.two") == errno.ENODATA
        assert errno_of(os.removexattr, m / name, "user.two") == errno.ENODATA
    os.setxattr(s / "f", "user.behind", b"seen at once")
    assert os.getxattr(m / "f", "user.behind") == b"seen at once"


def test_statfs_is_the_sources(m: Place, s: Path) -> None:
    ours, theirs = os.statvfs(m.path), os.statvfs(s)
    assert (ours.f_bsize, ours.f_frsize, ours.f_blocks, ours.f_namemax) == (
        theirs.f_bsize, theirs.f_frsize, theirs.f_blocks, theirs.f_namemax,
    )  # fmt: skip


def test_fsync_of_files_and_directories(m: Place) -> None:
    fd = os.open(m / "f", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"x")
    os.fsync(fd)
    os.fdatasync(fd)
    os.close(fd)
    for path in (m / "f", m.path):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)


# --- directories

_dirent_code = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = ctypes.c_void_p
for name in ("readdir", "telldir", "seekdir", "rewinddir", "closedir"):
    getattr(libc, name).argtypes = [ctypes.c_void_p] + ([ctypes.c_long] if name == "seekdir" else [])
libc.readdir.restype = ctypes.c_void_p
libc.telldir.restype = ctypes.c_long

def name():
    entry = libc.readdir(d)
    return ctypes.string_at(entry + 19) if entry else None

d = libc.opendir(os.fsencode(sys.argv[1]))
order, places = [], []
places.append(libc.telldir(d))
while (n := name()) is not None:
    order.append(n)
    places.append(libc.telldir(d))
assert len(set(order)) == len(order) == 502, len(order)
assert b"." in order and b".." in order
for i in (400, 3, 250, 0, 501):
    libc.seekdir(d, places[i])
    assert name() == order[i], i
libc.rewinddir(d)
assert name() == order[0]
os.unlink(os.path.join(sys.argv[1].encode(), order[300]))
open(os.path.join(sys.argv[1].encode(), b"made-meanwhile"), "w").close()
libc.rewinddir(d)
again = []
while (n := name()) is not None:
    again.append(n)
assert set(again) == set(order) - {order[300]} | {b"made-meanwhile"}
libc.closedir(d)
"""


def test_directory_streams_tell_seek_and_rewind(m: Place, s: Path) -> None:
    (s / "d").mkdir()
    for i in range(500):
        (s / "d" / f"entry {i}").touch()
    subprocess.run([sys.executable, "-c", _dirent_code, m / "d"], check=True, timeout=30)


def test_own_changes_show_in_the_next_listing(m: Place, s: Path) -> None:
    expected: set[str] = set()
    for i in range(30):
        (m / f"f{i}").write_bytes(b"")
        expected.add(f"f{i}")
        if i % 3 == 2:
            os.unlink(m / f"f{i - 1}")
            expected.remove(f"f{i - 1}")
            os.rename(m / f"f{i - 2}", m / f"r{i}")
            expected ^= {f"f{i - 2}", f"r{i}"}
        assert set(os.listdir(m.path)) == expected
        assert {entry.name for entry in os.scandir(m.path) if entry.is_file()} == expected


# --- who may


def test_read_only_mount_refuses_all_changes_and_reads(world: World) -> None:
    (world.backing / "f").write_bytes(b"x")
    (world.backing / "d").mkdir()
    m = world.mount("--read-only", "--predictor", "off")
    assert (m / "f").read_bytes() == b"x"
    for call, *args in (
        (os.open, m / "f", os.O_WRONLY), (os.open, m / "f", os.O_RDONLY | os.O_TRUNC),
        (os.open, m / "new", os.O_WRONLY | os.O_CREAT), (os.unlink, m / "f"), (os.mkdir, m / "new"),
        (os.rmdir, m / "d"), (os.rename, m / "f", m / "g"), (os.chmod, m / "f", 0o600), (os.utime, m / "f"),
        (os.truncate, m / "f", 0), (os.symlink, "x", m / "l"), (os.link, m / "f", m / "l"),
        (os.setxattr, m / "f", "user.x", b""), (os.mkfifo, m / "p"),
    ):  # fmt: skip
        assert errno_of(call, *args) == errno.EROFS, (call, args)
    assert sorted(os.listdir(world.backing)) == ["d", "f"]


def test_kernel_does_not_ask_at_each_close_of_a_read_only_mount(world: World) -> None:
    (world.backing / "f").write_bytes(b"x")
    m = world.mount("--read-only", "--metrics-port", "0", source=world.slow_source())
    for _ in range(10):
        assert (m / "f").read_bytes() == b"x"
    assert value(m, "llmfs_request_duration_seconds_count", operation="flush", tier="none") <= 1
    assert value(m, "llmfs_request_duration_seconds_count", operation="open", tier="cache") >= 9


@needs_root
def test_other_users_make_what_is_theirs_and_are_refused_the_rest(world: World) -> None:
    os.chmod(world.backing, 0o755)
    for directory in (world.root, *world.root.parents[:3]):
        os.chmod(directory, os.stat(directory).st_mode | 0o011)
    (world.backing / "secret").write_bytes(b"root's")
    os.chmod(world.backing / "secret", 0o600)
    (world.backing / "of-group").write_bytes(b"group's")
    os.chown(world.backing / "of-group", 0, 7777)
    os.chmod(world.backing / "of-group", 0o640)
    for name, mode in (("open", 0o777), ("sticky", 0o1777), ("closed", 0o755)):
        (world.backing / name).mkdir()
        os.chmod(world.backing / name, mode)
    (world.backing / "sticky" / "roots").write_bytes(b"")
    (world.backing / "setgid").mkdir()
    os.chown(world.backing / "setgid", 0, 7777)
    os.chmod(world.backing / "setgid", 0o2777)
    m = world.mount("-o", "allow_other", "--predictor", "off")
    code = textwrap.dedent("""
        import os, errno, sys
        os.setgroups([7777]); os.setresgid(4321, 4321, 4321); os.setresuid(1234, 1234, 1234)
        os.umask(0o022)
        def refused(call, *args):
            try: call(*args)
            except OSError as error: assert error.errno in (errno.EACCES, errno.EPERM), error
            else: sys.exit(f"allowed: {call} {args}")
        os.chdir(sys.argv[1])
        with open("open/mine", "w") as file: file.write("mine")
        os.mkdir("open/dir"); os.symlink("x", "open/link"); os.mkfifo("open/fifo")
        os.chmod("open/mine", 0o600); os.utime("open/mine", (1, 2))
        assert open("open/mine").read() == "mine" and open("of-group").read() == "group's"
        os.chown("open/mine", -1, 7777)
        open("setgid/inherits", "w").close()
        refused(open, "secret"); refused(open, "of-group", "w"); refused(open, "closed/new", "w")
        refused(os.unlink, "secret"); refused(os.chmod, "secret", 0o777); refused(os.chown, "open/mine", 0, 0)
        refused(os.rename, "open/mine", "closed/x"); refused(os.unlink, "sticky/roots")
        refused(os.truncate, "secret", 0)
        refused(os.utime, "secret", (1, 1)); refused(os.mkdir, "closed/d"); refused(os.link, "open/mine", "closed/l")
        os.setxattr("open/mine", "user.x", b"1"); refused(os.setxattr, "secret", "user.x", b"1")
        refused(os.listdir, "open/private")
    """)
    (m / "open" / "private").mkdir(mode=0o700)
    subprocess.run([sys.executable, "-c", code, m.path], check=True, timeout=30)
    for name in ("open/mine", "open/dir", "open/link", "open/fifo"):
        assert os.lstat(world.backing / name).st_uid == os.lstat(m / name).st_uid == 1234, name
    assert os.lstat(world.backing / "open" / "dir").st_gid == 4321
    assert os.lstat(world.backing / "open" / "mine").st_gid == os.lstat(m / "open" / "mine").st_gid == 7777
    assert os.lstat(world.backing / "setgid" / "inherits").st_gid == 7777


@needs_root
def test_trusted_attributes_are_roots_alone(world: World) -> None:
    """As trusted.* is on the source: root sets, gets and lists them, others neither get nor see them (xattr(7))."""
    for directory in (world.root, *world.root.parents[:3]):
        os.chmod(directory, os.stat(directory).st_mode | 0o011)
    os.chmod(world.backing, 0o755)
    (world.backing / "f").write_bytes(b"x")
    os.chmod(world.backing / "f", 0o666)
    try:
        os.setxattr(world.backing / "f", "trusted.source", b"1")
        os.setxattr(world.backing / "f", "user.x", b"2")
    except OSError:
        pytest.skip("no trusted.* and user.* attributes here")
    m = world.mount("-o", "allow_other", "--predictor", "off")
    os.setxattr(m / "f", "trusted.mount", b"3\0\xff")
    as_root = {name: os.getxattr(m / "f", name) for name in os.listxattr(m / "f")}
    assert as_root == {name: os.getxattr(world.backing / "f", name) for name in os.listxattr(world.backing / "f")}
    assert as_root == {"trusted.source": b"1", "trusted.mount": b"3\0\xff", "user.x": b"2"}
    code = textwrap.dedent("""
        import json, os, sys
        f, uid = sys.argv[1], int(sys.argv[2])
        os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
        def said(call, *args):
            try: return repr(call(*args))
            except OSError as error: return error.errno
        print(json.dumps([sorted(os.listxattr(f)), said(os.getxattr, f, "trusted.source"),
            said(os.setxattr, f, "trusted.new", b"x"), said(os.removexattr, f, "trusted.source")]))
    """)
    cap_sys_admin, pr_capbset_drop = 21, 24
    for uid in ("1234", "0"):  # and root who may not administer
        through, directly = (
            subprocess.run(
                [sys.executable, "-c", code, at, uid],
                check=True,
                timeout=30,
                stdout=subprocess.PIPE,
                preexec_fn=lambda: _libc.prctl(pr_capbset_drop, cap_sys_admin, 0, 0, 0),
            ).stdout
            for at in (m / "f", world.backing / "f")
        )
        assert through == directly, uid
        assert json.loads(directly)[0] == ["user.x"]
    os.removexattr(m / "f", "trusted.source")
    assert sorted(os.listxattr(world.backing / "f")) == ["trusted.mount", "user.x"]


@needs_root
def test_without_allow_other_others_are_kept_out(world: World) -> None:
    for directory in (world.root, *world.root.parents[:3]):
        os.chmod(directory, os.stat(directory).st_mode | 0o011)
    m = world.mount("--predictor", "off")
    code = "import os, sys; os.setresuid(1234, 1234, 1234); os.listdir(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, m.path], capture_output=True, timeout=30, check=False)
    assert done.returncode != 0 and b"PermissionError" in done.stderr
