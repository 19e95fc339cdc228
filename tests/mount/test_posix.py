"""What pjdfstest, fsstress and their like found, without them: the mount does what the directory below it does.

Each case is a few calls and what they gave. It runs twice, in a plain directory and through the mount, and has to give
the same; so nothing is said here of what a file system ought to do, and it may be any that the temporary files are on.
"""

import contextlib
import ctypes
import errno
import fcntl
import functools
import mmap
import os
import pickle
import random
import re
import stat
import struct
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mount.conftest import Mounted, World, a_world

AT_FDCWD, RENAME_WHITEOUT = -100, 4
ALICE, BOB, STAFF = 54321, 54322, 54323
_libc = ctypes.CDLL(None, use_errno=True)

Case = Callable[[Path], object]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="acting as another user takes root")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Mounted]]:
    """A mount over a fast directory, whom everybody may use, and one over a slow directory, which knows only us."""
    with (
        a_world(tmp_path_factory.mktemp("posix-plain")) as plain,
        a_world(tmp_path_factory.mktemp("posix-slow")) as slow,
    ):
        for directory in (plain.root, *plain.root.parents[:3]):
            os.chmod(directory, os.stat(directory).st_mode | 0o011)
        os.chmod(plain.backing, 0o755)
        others = ("--allow-other",) if os.geteuid() == 0 else ()
        source = slow.slow_source(0.0002, attr_timeout_s=0, entry_timeout_s=0)
        yield {
            "plain": plain.mount("--predictor", "off", *others),
            "slow": slow.mount("--predictor", "off", source=source),
        }


def compared(mounted: Mounted, case: Case) -> object:
    """Runs a case in a plain directory and through the mount; what it gave, which was the same."""
    given = []
    for top in (mounted.path.parent / "bare", mounted.path):
        top.mkdir(exist_ok=True)
        place = top / f"case-{time.monotonic_ns()}"
        place.mkdir()
        os.chmod(place, 0o777)
        umask = os.umask(0)
        try:
            given.append(case(place))
        finally:
            os.umask(umask)
    bare, shown = given
    assert shown == bare
    return shown


Same = Callable[[Case], object]


@pytest.fixture(params=["plain", "slow"])
def same(worlds: dict[str, Mounted], request: pytest.FixtureRequest) -> Same:
    return functools.partial(compared, worlds[request.param])


@pytest.fixture
def same_for_others(worlds: dict[str, Mounted]) -> Same:
    """As `same`, where other users take part."""
    return functools.partial(compared, worlds["plain"])


def outcome(call: Callable[..., Any], *arguments: Any, **options: Any) -> object:
    """What the call returned, or its errno by name."""
    try:
        return call(*arguments, **options)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def as_user(uid: int, groups: tuple[int, ...], call: Callable[[], Any]) -> object:
    """The outcome of the call in a process of that user, whose first group is named as he is."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork() beside threads: the child runs a few lines
        child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.setgroups(groups)
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.write(writer, pickle.dumps(outcome(call)))
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(said) if said else "died"


def mode(path: Path) -> str:
    return stat.filemode(os.lstat(path).st_mode)


def opened(path: Path, flags: int, use: Callable[[int], Any]) -> Any:
    fd = os.open(path, flags)
    try:
        return use(fd)
    finally:
        os.close(fd)


# --- set-id bits


def _map(fd: int) -> None:
    with mmap.mmap(fd, 3) as memory:
        memory[0] = 65
        memory.flush()


WRITES: dict[str, Callable[[Path], Any]] = {
    "write": lambda path: opened(path, os.O_WRONLY, lambda fd: os.write(fd, b"y")),
    "append": lambda path: opened(path, os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, b"y")),
    "truncate": lambda path: os.truncate(path, 1),
    "ftruncate": lambda path: opened(path, os.O_RDWR, lambda fd: os.ftruncate(fd, 1)),
    "o_trunc": lambda path: opened(path, os.O_WRONLY | os.O_TRUNC, lambda fd: None),
    "fallocate": lambda path: opened(path, os.O_RDWR, lambda fd: os.posix_fallocate(fd, 0, 100)),
    "map": lambda path: opened(path, os.O_RDWR, _map),
}


@needs_root
@pytest.mark.parametrize("how", WRITES)
@pytest.mark.parametrize("bits", [0o4777, 0o2777, 0o6777])
def test_set_id_bits_go_when_another_writes(same_for_others: Same, how: str, bits: int) -> None:
    def case(at: Path) -> object:
        (at / "f").write_bytes(b"xxx")
        os.chmod(at / "f", bits)
        first = as_user(ALICE, (), lambda: (WRITES[how](at / "f"), mode(at / "f")))
        return first, mode(at / "f"), os.stat(at / "f").st_size

    same_for_others(case)


@needs_root
def test_set_id_bits_go_when_the_owner_writes_and_when_the_owner_changes(same_for_others: Same) -> None:
    def case(at: Path) -> object:
        (at / "f").write_bytes(b"xxx")
        os.chown(at / "f", ALICE, ALICE)
        seen = []
        for call in (
            lambda: WRITES["write"](at / "f"),
            lambda: os.chown(at / "f", -1, STAFF),
            lambda: os.chown(at / "f", -1, -1),
            lambda: os.chmod(at / "f", 0o2755),
        ):
            os.chmod(at / "f", 0o6777)
            seen.append((as_user(ALICE, (STAFF,), call), mode(at / "f")))
        return seen

    same_for_others(case)


@needs_root
def test_nobody_but_the_owner_takes_set_id_bits_away_by_chmod(same_for_others: Same) -> None:
    def case(at: Path) -> object:
        (at / "f").write_bytes(b"")
        os.chmod(at / "f", 0o6777)
        return as_user(ALICE, (), lambda: os.chmod(at / "f", 0o777)), mode(at / "f")

    assert same_for_others(case) == ("EPERM", "-rwsrwsrwx")


@needs_root
def test_capabilities_of_a_file_go_when_it_is_written(same_for_others: Same) -> None:
    def case(at: Path) -> object:
        (at / "f").write_bytes(b"x")
        os.chmod(at / "f", 0o777)
        capability = struct.pack("<5I", 0x02000001, 0x2000, 0, 0, 0)
        has = outcome(os.setxattr, at / "f", "security.capability", capability)
        written = as_user(ALICE, (), lambda: WRITES["write"](at / "f"))
        return has, written, outcome(os.getxattr, at / "f", "security.capability")

    same_for_others(case)


# --- times


@needs_root
def test_whoever_may_write_may_touch_and_set_no_other_time(same_for_others: Same) -> None:
    def case(at: Path) -> object:
        (at / "f").write_bytes(b"")
        os.chmod(at / "f", 0o666)
        os.utime(at / "f", (1, 1))
        touched = as_user(ALICE, (), lambda: os.utime(at / "f"))
        is_now = abs(os.stat(at / "f").st_mtime - time.time()) < 60
        other = as_user(ALICE, (), lambda: os.utime(at / "f", (5, 5)))
        os.chmod(at / "f", 0o644)
        return touched, is_now, other, as_user(ALICE, (), lambda: os.utime(at / "f"))

    assert same_for_others(case) == (None, True, "EPERM", "EACCES")


CHANGES: dict[str, Callable[[Path], Any]] = {
    "create": lambda at: (at / "d" / "new").write_bytes(b""),
    "mkdir": lambda at: (at / "d" / "new").mkdir(),
    "symlink": lambda at: os.symlink("x", at / "d" / "new"),
    "mkfifo": lambda at: os.mkfifo(at / "d" / "new"),
    "link": lambda at: os.link(at / "d" / "f", at / "e" / "new"),
    "unlink": lambda at: os.unlink(at / "d" / "f"),
    "unlink other name": lambda at: os.unlink(at / "e" / "g"),
    "rmdir": lambda at: os.rmdir(at / "d" / "sub"),
    "rename": lambda at: os.rename(at / "d" / "f", at / "e" / "new"),
    "rename directory": lambda at: os.rename(at / "d" / "sub", at / "e" / "new"),
    "rename over": lambda at: os.rename(at / "d" / "h", at / "e" / "g"),
    "chmod": lambda at: os.chmod(at / "d" / "f", 0o600),
    "chown": lambda at: os.chown(at / "d" / "f", os.getuid(), os.getgid()),
    "write": lambda at: WRITES["write"](at / "d" / "f"),
    "append": lambda at: WRITES["append"](at / "d" / "f"),
    "truncate": lambda at: os.truncate(at / "d" / "f", 1),
    "truncate to its size": lambda at: os.truncate(at / "d" / "f", 3),
    "o_trunc": lambda at: WRITES["o_trunc"](at / "d" / "f"),
    "setxattr": lambda at: outcome(os.setxattr, at / "d" / "f", "user.x", b"x"),
    "utime": lambda at: os.utime(at / "d" / "f", (1, 1)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_times_links_and_sizes_show_at_once(same: Same, change: str) -> None:
    def case(at: Path) -> object:
        for directory in ("d", "e", "d/sub"):
            (at / directory).mkdir()
        (at / "d" / "f").write_bytes(b"abc")
        (at / "d" / "h").write_bytes(b"abcd")
        os.link(at / "d" / "f", at / "e" / "g")
        fd = os.open(at / "d" / "f", os.O_RDONLY)

        def facts() -> dict[str, tuple[int, int, int, int]]:
            found = {}
            for name in ("d", "e", "d/sub", "d/f", "d/h", "e/g", "d/new", "e/new"):
                with contextlib.suppress(FileNotFoundError):
                    st = os.lstat(at / name)
                    found[name] = (st.st_mtime_ns, st.st_ctime_ns, st.st_nlink, st.st_size * stat.S_ISREG(st.st_mode))
            st = os.fstat(fd)
            found["open"] = (st.st_mtime_ns, st.st_ctime_ns, st.st_nlink, st.st_size)
            return found

        before = facts()
        time.sleep(0.012)  # file systems stamp by ticks
        CHANGES[change](at)
        after = facts()
        os.close(fd)
        return {
            name: [b != a for b, a in zip(before.get(name, (0,) * 4), facts_after, strict=True)] + [*facts_after[2:]]
            for name, facts_after in after.items()
        }

    same(case)


# --- names that go while they are used


def test_an_unlinked_open_file_lives_on(same: Same) -> None:
    def case(at: Path) -> object:
        (at / "f").write_bytes(b"hello")
        fd = os.open(at / "f", os.O_RDWR)
        os.unlink(at / "f")
        seen: list[object] = [os.pread(fd, 9, 0), os.fstat(fd).st_nlink, os.pwrite(fd, b"more", 100)]
        os.ftruncate(fd, 102)
        os.fchmod(fd, 0o600)
        os.utime(fd, (1, 1))
        st = os.fstat(fd)
        seen += [st.st_size, st.st_mtime, stat.S_IMODE(st.st_mode), os.pread(fd, 9, 100), outcome(os.stat, at / "f")]
        os.close(fd)
        return seen

    same(case)


def test_a_removed_open_directory_is_empty_and_takes_nothing(same: Same) -> None:
    def case(at: Path) -> object:
        (at / "d").mkdir()
        fd = os.open(at / "d", os.O_RDONLY)
        os.rmdir(at / "d")
        seen = os.listdir(fd), outcome(os.open, "f", os.O_CREAT | os.O_RDWR, dir_fd=fd), os.fstat(fd).st_nlink
        os.close(fd)
        return seen

    same(case)


def test_hard_links_by_turns(same: Same) -> None:
    def case(at: Path) -> object:
        (at / "p").mkdir()
        (at / "q").mkdir()
        (at / "p" / "a").write_bytes(b"A")
        os.link(at / "p" / "a", at / "q" / "b")
        seen: list[object] = [os.stat(at / "p" / "a").st_nlink, os.stat(at / "q" / "b").st_nlink]
        os.unlink(at / "p" / "a")
        with open(at / "q" / "b", "ab") as file:
            file.write(b"B")
        seen += [(at / "q" / "b").read_bytes(), os.stat(at / "q" / "b").st_nlink]
        os.link(at / "q" / "b", at / "p" / "c")
        os.unlink(at / "q" / "b")
        os.chmod(at / "p" / "c", 0o600)
        return [*seen, (at / "p" / "c").read_bytes(), os.stat(at / "p" / "c").st_nlink, mode(at / "p" / "c")]

    same(case)


def test_a_name_that_goes_while_its_directory_is_read_does_not_come_back(same: Same) -> None:
    def case(at: Path) -> object:
        for number in range(400):
            (at / f"file-{number:06d}").touch()
        last, before_last = sorted(os.listdir(at), key=os.listdir(at).index)[-1:-3:-1]
        with os.scandir(at) as entries:
            next(entries)
            os.unlink(at / last)
            os.rename(at / before_last, at / "new")
            os.stat(at)
            for _ in entries:
                pass
        return os.path.lexists(at / last), os.path.lexists(at / before_last), os.path.lexists(at / "new")

    assert same(case) == (False, False, True)


@needs_root
def test_rename_can_leave_a_whiteout(same_for_others: Same) -> None:
    def case(at: Path) -> object:
        (at / "a").write_bytes(b"x")
        old, new = os.fsencode(at / "a"), os.fsencode(at / "b")
        if _libc.renameat2(AT_FDCWD, old, AT_FDCWD, new, RENAME_WHITEOUT) != 0:
            return errno.errorcode[ctypes.get_errno()]
        seen = mode(at / "a"), sorted(os.listdir(at)), (at / "b").read_bytes()
        os.unlink(at / "a")
        return seen, os.listdir(at)

    same_for_others(case)


# --- appending


def test_a_long_direct_append_lands_in_order(same: Same) -> None:
    """The kernel sends its pieces all at once."""

    def case(at: Path) -> object:
        data = random.Random(1).randbytes(8 << 20)
        with mmap.mmap(-1, len(data)) as memory:
            memory.write(data)
            flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND
            try:
                fd = os.open(at / "f", flags | os.O_DIRECT)
            except OSError:  # not every file system below has it
                fd = os.open(at / "f", flags)
            try:
                written = [os.writev(fd, [memory]) for _ in range(2)]
            finally:
                os.close(fd)
        return written, (at / "f").read_bytes() == data * 2

    assert same(case) == ([8 << 20] * 2, True)


def test_the_flag_to_append_can_be_taken_and_given(same: Same) -> None:
    def case(at: Path) -> object:
        fd = os.open(at / "f", os.O_CREAT | os.O_RDWR | os.O_APPEND)
        os.write(fd, b"abc")
        os.pwrite(fd, b"Z", 0)
        seen = [os.pread(fd, 20, 0)]
        fcntl.fcntl(fd, fcntl.F_SETFL, 0)
        os.pwrite(fd, b"!", 1)
        seen.append(os.pread(fd, 20, 0))
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, b"end")
        seen.append(os.pread(fd, 20, 0))
        os.close(fd)
        return seen

    assert same(case) == [b"abcZ", b"a!cZ", b"a!cZend"]


def test_a_map_of_a_file_open_for_appending_is_written_where_it_belongs(same: Same) -> None:
    def case(at: Path) -> object:
        fd = os.open(at / "f", os.O_CREAT | os.O_RDWR | os.O_APPEND)
        os.ftruncate(fd, 16384)
        with mmap.mmap(fd, 16384) as memory:
            memory[5000] = 65
            memory.flush()
            os.write(fd, b"tail")
            memory[1] = 66
            memory.flush()
        os.close(fd)
        data = (at / "f").read_bytes()
        return len(data), data[5000], data[1], data[16384:]

    assert same(case) == (16388, 65, 66, b"tail")


# --- who may


def _list(*entries: tuple[int, int, int]) -> bytes:
    """An access control list as setxattr takes it (acl(5)): tag, permissions, id of each entry."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


USER_OBJ, USER, GROUP_OBJ, MASK, OTHER, NOBODY = 1, 2, 4, 0x10, 0x20, 0xFFFFFFFF


@needs_root
def test_an_access_control_list_gives_and_takes(same_for_others: Same) -> None:
    """The mode says that the group may read it, for it shows the mask; the list says that it may not."""

    def case(at: Path) -> object:
        (at / "f").write_bytes(b"x")
        os.chmod(at / "f", 0o600)
        os.chown(at / "f", 0, STAFF)
        entries = _list(
            (USER_OBJ, 6, NOBODY), (USER, 6, ALICE), (GROUP_OBJ, 0, NOBODY), (MASK, 6, NOBODY), (OTHER, 0, NOBODY)
        )
        if (said := outcome(os.setxattr, at / "f", "system.posix_acl_access", entries)) is not None:
            return said

        def use() -> bytes:
            return (at / "f").read_bytes()

        seen = [mode(at / "f"), as_user(ALICE, (), use), as_user(BOB, (STAFF,), use), as_user(BOB, (), use)]
        os.removexattr(at / "f", "system.posix_acl_access")
        os.chmod(at / "f", 0o640)
        return [*seen, as_user(ALICE, (), use), as_user(BOB, (STAFF,), use)]

    same_for_others(case)


@needs_root
def test_supplementary_groups_count_and_directories_pass_their_group_on(same_for_others: Same) -> None:
    def case(at: Path) -> object:
        (at / "d").mkdir()
        os.chown(at / "d", 0, STAFF)
        os.chmod(at / "d", 0o2770)

        def make(name: str) -> None:
            (at / "d" / name).mkdir()
            opened(at / "d" / f"{name}-file", os.O_CREAT | os.O_WRONLY, lambda fd: None)
            os.symlink("x", at / "d" / f"{name}-link")

        seen: list[object] = [as_user(ALICE, (STAFF,), lambda: make("a")), as_user(ALICE, (), lambda: make("b"))]
        for name in sorted(os.listdir(at / "d")):
            st = os.lstat(at / "d" / name)
            seen.append((name, st.st_uid, st.st_gid, oct(st.st_mode)))
        return [*seen, as_user(BOB, (STAFF,), lambda: os.rmdir(at / "d" / "a"))]

    same_for_others(case)


@needs_root
def test_what_root_makes_is_of_his_group(same_for_others: Same) -> None:
    def case(at: Path) -> object:
        def make() -> list[int]:
            os.setresgid(STAFF, STAFF, STAFF)
            (at / "d").mkdir()
            (at / "f").write_bytes(b"")
            os.mkfifo(at / "p")
            return [os.stat(at / name).st_gid for name in ("d", "f", "p")]

        return as_user(0, (), make)

    assert same_for_others(case) == [STAFF, STAFF, STAFF]


# --- extended attributes


def test_an_attribute_of_an_unknown_kind_does_not_turn_the_others_off(world: World) -> None:
    m = world.mount("--predictor", "off")
    (m / "f").write_bytes(b"")
    if outcome(os.setxattr, world.backing / "f", "user.x", b"1") is not None:
        pytest.skip("no extended attributes here")
    assert outcome(os.getxattr, m.path, "bogus.x") == errno.errorcode[errno.EOPNOTSUPP]
    assert outcome(os.getxattr, m / "f", "user.x") == b"1"


def test_writes_do_not_ask_the_source_for_capabilities_each_time(world: World) -> None:
    m = world.mount("--predictor", "off", "--metrics-port", "0")

    def asked(operation: str) -> float:
        pattern = rf'^llmfs_source_duration_seconds_count{{operation="{operation}"}} (\S+)$'
        return sum(float(count) for count in re.findall(pattern, m.metrics_text(), re.MULTILINE))

    with open(m / "f", "wb", buffering=0) as file:
        for _ in range(50):
            file.write(b"more")
    assert asked("write") == 50
    assert asked("getxattr") <= 2
