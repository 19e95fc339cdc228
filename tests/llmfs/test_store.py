"""The store fails open, keeps its limit, and never brings back what was replaced."""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from llmfs import store as module
from llmfs.chunks import CHUNK_BYTES
from llmfs.store import BUSY_GATHER_S, FAULTS_BEFORE_DOWN, GATHER_S, READ_IN_PIECE_BYTES, Bounds, Key, Store

LIMIT = 4 << 20


class Stores:
    """Opens stores on one path, and closes them all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults = 0
        self.lost: list[Key] = []
        self._open: list[Store] = []

    def open(self, expendable: tuple[str, ...] = (), limit: int = LIMIT, bounds: Bounds | None = None) -> Store:
        store = Store(
            str(self.path), ("a", "b"), limit, self._fault, self.lost.extend, expendable, indexed="a", bounds=bounds
        )
        self._open.append(store)
        return store

    def _fault(self) -> None:
        self.faults += 1

    def close(self) -> None:
        for store in self._open:
            store.close()
        self._open = []


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    stores = Stores(tmp_path / "env")
    yield stores
    stores.close()


def test_value_is_there_at_once_and_after_a_reopening(stores: Stores) -> None:
    store = stores.open()
    assert store.put("a", b"k", b"v")
    assert store.get("a", b"k") == b"v"
    assert store.get("b", b"k") is None
    store.put("a", b"k", b"w")
    store.delete("a", b"other")
    stores.close()
    store = stores.open()
    assert store.get("a", b"k") == b"w"
    store.delete("a", b"k")
    assert store.get("a", b"k") is None
    stores.close()
    assert stores.open().get("a", b"k") is None
    assert stores.faults == 0


def test_random_changes_agree_with_a_dictionary_across_reopenings(stores: Stores) -> None:
    rng = random.Random(2)
    expected: dict[bytes, bytes] = {}
    for _ in range(4):
        store = stores.open()
        for _ in range(500):
            key = b"%d" % rng.randrange(60)
            if rng.random() < 0.3:
                store.delete("a", key)
                expected.pop(key, None)
            else:
                around = rng.randrange(4) * CHUNK_BYTES + rng.randrange(-1, 2)
                expected[key] = rng.randbytes(max(0, around) if rng.random() < 0.2 else rng.randrange(1, 5000))
                assert store.put("a", key, expected[key])
            probe = b"%d" % rng.randrange(60)
            assert store.get("a", probe) == expected.get(probe)
        stores.close()
    store = stores.open()
    assert {key: store.get("a", key) for key, _ in store.index()} == expected
    assert dict(store.index()) == {key: len(value) for key, value in expected.items()}


_READ_INDEX = """
import sys
from llmfs.store import Store

def read_bytes():
    with open("/proc/self/io") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("read_bytes"))

began = read_bytes()
store = Store(sys.argv[1], ("a", "b"), int(sys.argv[2]), indexed="a")
entries = list(store.index())
listed = read_bytes()
assert all(store.get("a", key) for key, _ in entries)
with open("/proc/self/smaps") as file:
    maps = file.read().partition("data.mdb")[2]
is_read_ahead = " rr" not in next(line for line in maps.splitlines() if line.startswith("VmFlags"))
print(len(entries), listed - began, read_bytes() - listed, is_read_ahead)
store.close()
"""


def test_index_of_a_cold_cache_is_read_without_the_values(stores: Stores) -> None:
    value_bytes, count = 128 << 10, 320
    limit = 2 * value_bytes * count
    store = stores.open(limit=limit)
    for i in range(count):
        store.put("a", b"%d" % i, os.urandom(value_bytes))
    stores.close()
    fd = os.open(stores.path / "data.mdb", os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)  # closing has flushed it
    os.close(fd)
    command = [sys.executable, "-c", _READ_INDEX, stores.path, str(limit)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    *counts, is_read_ahead = done.stdout.split()
    entries, index_bytes, values_bytes = map(int, counts)
    assert entries == count
    if index_bytes + values_bytes < value_bytes * count // 2:
        pytest.skip("what this file system reads from its disk is not counted")
    assert index_bytes < value_bytes * count // 16
    assert is_read_ahead == "True"


def _write(path: Path, table: bytes, key: bytes, value: bytes) -> None:
    """Behind the store's back."""
    with lmdb.open(str(path), max_dbs=3) as environment:
        opened = environment.open_db(table)
        with environment.begin(write=True) as transaction:
            transaction.put(key, value, db=opened)


@pytest.mark.parametrize(("table", "value"), [(b"a", b"value"), (b"sizes", b"\5\0\0\0")])
def test_cache_whose_index_disagrees_is_started_anew(stores: Stores, table: bytes, value: bytes) -> None:
    store = stores.open()
    store.put("a", b"k", b"v")
    stores.close()
    _write(stores.path, table, b"other", value)
    store = stores.open()
    assert stores.faults == 1
    assert list(store.index()) == [] and store.get("a", b"k") is None
    store.put("a", b"k", b"new")
    stores.close()
    assert list(stores.open().index()) == [(b"k", 3)]


def test_cache_without_an_index_is_started_anew_unless_it_is_empty(stores: Stores) -> None:
    stores.path.mkdir()
    _write(stores.path, b"a", b"k", b"value")
    assert stores.open().get("a", b"k") is None
    stores.close()
    assert list(stores.open().index()) == []
    assert stores.faults == 1


@pytest.mark.parametrize("expendable", [(), ("a",)])
def test_index_is_of_what_is_there_after_the_map_was_full(stores: Stores, expendable: tuple[str, ...]) -> None:
    store = stores.open(expendable)
    for i in range(300):
        store.put("a", b"%d" % i, bytes(100_000))
    stores.close()
    assert stores.lost
    store = stores.open(expendable)
    assert stores.faults == 0
    there = {key: len(value) for i in range(300) if (value := store.get("a", key := b"%d" % i)) is not None}
    assert dict(store.index()) == there


def test_full_map_loses_the_batch_is_told_and_never_passes_the_limit(stores: Stores) -> None:
    store = stores.open()
    for i in range(300):
        store.put("a", b"%d" % i, bytes(100_000))
    stores.close()
    assert stores.lost
    assert (stores.path / "data.mdb").stat().st_blocks * 512 <= LIMIT
    store = stores.open()
    assert all(store.get("a", key) in (None, bytes(100_000)) for _, key in stores.lost)
    assert not store.is_down


def test_fill_is_of_what_is_there(stores: Stores) -> None:
    store = stores.open()
    assert store.fill < 0.01
    for i in range(20):
        store.put("a", b"%d" % i, bytes(LIMIT // 40))
    stores.close()
    assert 0.5 < store.fill < 0.6
    store = stores.open()
    assert 0.5 < store.fill < 0.6
    for i in range(20):
        store.delete("a", b"%d" % i)
    stores.close()
    assert store.fill < 0.01


def test_expendable_tables_are_emptied_when_full_and_the_others_stay(stores: Stores) -> None:
    store = stores.open(expendable=("a",))
    store.put("b", b"precious", b"kept")
    for i in range(3000):
        store.put("a", b"%d" % i, bytes(3000))
    stores.close()
    store = stores.open(expendable=("a",))
    assert store.get("b", b"precious") == b"kept"
    store.put("a", b"new", b"fits again")
    stores.close()
    assert stores.open(expendable=("a",)).get("a", b"new") == b"fits again"


def test_value_that_finds_no_room_takes_its_predecessor_with_it(stores: Stores) -> None:
    store = stores.open()
    store.put("a", b"k", b"old")
    stores.close()
    store = stores.open(bounds=Bounds(pending_bytes=10))
    assert not store.put("a", b"k", b"new, and too long to wait")
    assert store.get("a", b"k") is None
    stores.close()
    assert stores.open().get("a", b"k") is None


class _Failing:
    """An environment whose writes the disk refuses."""

    def __init__(self, environment: lmdb.Environment) -> None:
        self._environment = environment

    def __getattr__(self, name: str) -> object:
        return getattr(self._environment, name)

    def begin(self, *args: object, write: bool = False, **kwargs: object) -> object:
        if write:
            raise lmdb.DiskError("no space left on device")
        return self._environment.begin(*args, write=write, **kwargs)


def test_what_the_disk_refused_is_not_believed_by_the_next_mount(stores: Stores) -> None:
    store = stores.open()
    store.put("a", b"k", b"old")
    stores.close()
    store = stores.open()
    store._env = _Failing(store._env)  # type: ignore[assignment]
    store.put("a", b"k", b"new")
    stores.close()
    assert stores.faults == 1 and stores.lost == [("a", b"k")]
    assert stores.open().get("a", b"k") is None


def test_store_that_keeps_failing_goes_down_and_answers_nothing(stores: Stores) -> None:
    store = stores.open()
    store.put("a", b"k", b"v")
    stores.close()
    store = stores.open()
    for _ in range(FAULTS_BEFORE_DOWN):
        store._fault("read", lmdb.Error("again"))
    assert store.is_down
    assert store.get("a", b"k") is None
    assert not store.put("a", b"k", b"w")
    stores.close()
    assert stores.open().get("a", b"k") is None


@pytest.mark.parametrize("keep", [0, 100, 4096, 8192, 40_000])
def test_truncated_file_is_started_anew(stores: Stores, keep: int) -> None:
    store = stores.open()
    for i in range(500):
        store.put("a", b"%d" % i, os.urandom(1000))
    stores.close()
    os.truncate(stores.path / "data.mdb", keep)
    store = stores.open()
    assert all(store.get("a", b"%d" % i) is None for i in range(500))
    store.put("a", b"k", b"v")
    stores.close()
    assert stores.open().get("a", b"k") == b"v"


def test_environment_of_another_boot_is_started_anew_and_one_of_this_boot_is_kept(stores: Stores) -> None:
    store = stores.open()
    store.put("a", b"k", b"v")
    stores.close()
    (stores.path / "open").write_text(module.boot_id())  # as a kill -9 leaves it
    store = stores.open()
    assert store.get("a", b"k") == b"v"
    stores.close()
    (stores.path / "open").write_text("another boot")
    assert stores.open().get("a", b"k") is None


def test_path_that_cannot_be_a_directory_makes_a_store_that_is_down(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = Store(str(tmp_path / "file" / "env"), ("a",), LIMIT, indexed="a")
    assert store.is_down and store.get("a", b"k") is None and not store.put("a", b"k", b"v")
    assert list(store.index()) == []
    store.close()


def test_reader_beside_the_writing_thread_sees_the_newest_value(stores: Stores) -> None:
    store = stores.open()
    for i in range(2000):
        store.put("a", b"counter", b"%d" % i)
        assert store.get("a", b"counter") == b"%d" % i


class _Clock:
    """Time as the store sees it, and how often its thread waited for a page."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        self.page_faults = 7
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(module, "_page_faults", lambda: self.page_faults)


class _Slow:
    """An environment whose reads take their time."""

    def __init__(self, environment: lmdb.Environment, clock: _Clock, is_disk: bool) -> None:
        self._environment = environment
        self._clock = clock
        self._is_disk = is_disk
        self.reads = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._environment, name)

    def begin(self, *args: object, write: bool = False, **kwargs: object) -> object:
        if not write:
            self.reads += 1
            self._clock.now_s += 0.1
            self._clock.page_faults += self._is_disk
        return self._environment.begin(*args, write=write, **kwargs)


@pytest.mark.parametrize("is_disk", [True, False], ids=["disk", "processor"])
def test_slow_disk_is_left_alone_for_most_of_the_time(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, is_disk: bool
) -> None:
    store = stores.open()
    store.put("a", b"k", b"v")
    stores.close()
    clock = _Clock(monkeypatch)
    store = stores.open()
    store._env = slow = _Slow(store._env, clock, is_disk)  # type: ignore[assignment]
    found = []
    for _ in range(1000):
        clock.now_s += 0.1
        found.append(store.get("a", b"k"))
    assert set(found) == ({b"v", None} if is_disk else {b"v"})
    assert found.count(b"v") == slow.reads
    assert (slow.reads < 100) == is_disk
    assert found[-300:].count(b"v") > 0  # it is asked again and again
    assert (stores.faults > 0) == is_disk and not store.is_down


def test_slow_disk_hides_nothing_that_was_changed_since(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    store = stores.open()
    store.put("a", b"k", b"old")
    store.put("a", b"gone", b"old")
    stores.close()
    clock = _Clock(monkeypatch)
    store = stores.open()
    store._stalls.paused_until_s = clock.now_s + 1
    assert store.get("a", b"k") is None
    store.put("a", b"k", b"new")
    store.delete("a", b"gone")
    assert store.get("a", b"k") in (b"new", None)  # None once it is written
    stores.close()
    store = stores.open()
    assert (store.get("a", b"k"), store.get("a", b"gone")) == (b"new", None)


def test_closing_on_a_slow_disk_keeps_nothing_older(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    store = stores.open()
    store.put("a", b"k", b"old")
    store.put("a", b"other", b"kept")
    stores.close()
    store = stores.open()
    monkeypatch.setattr(module, "CLOSE_S", -1.0)
    monkeypatch.setattr(module, "GATHER_S", 60.0)
    store.put("a", b"k", b"new")
    stores.close()
    store = stores.open()
    assert (store.get("a", b"k"), store.get("a", b"other")) == (None, b"kept")
    assert stores.faults == 0


def _resident(path: Path) -> list[bool]:
    """Of each piece of a file, whether the kernel has its first page in memory."""
    fd = os.open(path, os.O_RDONLY)
    try:
        found = []
        for offset in range(0, os.fstat(fd).st_size, READ_IN_PIECE_BYTES):
            try:
                found.append(os.preadv(fd, [bytearray(1)], offset, os.RWF_NOWAIT) == 1)
            except BlockingIOError:
                found.append(False)
        return found
    finally:
        os.close(fd)


@pytest.mark.parametrize("pieces", [0, 8, 1000])
def test_what_a_former_mount_left_is_read_in_as_far_as_its_bound_goes(tmp_path: Path, pieces: int) -> None:
    bounds = Bounds(read_in_bytes=pieces * READ_IN_PIECE_BYTES)
    store = Store(str(tmp_path), ("a",), 128 << 20, bounds=bounds)
    for number in range(512):
        store.put("a", b"%d" % number, os.urandom(1 << 17))
    store.close()
    fd = os.open(tmp_path / "data.mdb", os.O_RDWR)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    store = Store(str(tmp_path), ("a",), 128 << 20, bounds=bounds)
    store.read_in()
    resident = _resident(tmp_path / "data.mdb")
    assert len(resident) >= 32 and all(resident[:pieces])
    assert pieces or not all(resident)
    store.close()


def _mapped_bytes(path: Path) -> int:
    """Of the data file, what is resident in this process."""
    mapped, is_ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.split()[0][-1] != ":":
            is_ours = line.endswith(f"{path}/data.mdb")
        elif is_ours and line.startswith("Rss:"):
            mapped += int(line.split()[1]) * 1024
    return mapped


@pytest.mark.parametrize("bound", [None, 2 << 20])
def test_the_map_is_let_go_of_where_it_is_bounded(
    tmp_path: Path, bound: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_page_faults", lambda: 0)  # a disk that others keep busy is not slow
    values = {b"%d" % number: os.urandom(100_000) for number in range(200)}
    store = Store(str(tmp_path), ("a",), 64 << 20, indexed="a", bounds=Bounds(32 << 20, bound))
    for key, value in values.items():
        assert store.put("a", key, value)
    store.close()
    store = Store(str(tmp_path), ("a",), 64 << 20, indexed="a", bounds=Bounds(32 << 20, bound))
    most = 0
    for key, value in values.items():
        assert store.get("a", key) == value
        most = max(most, _mapped_bytes(tmp_path))
    assert sum(1 for _ in store.index()) == len(values)
    store.close()
    assert most > 15 << 20 if bound is None else most <= bound + (1 << 20)


def test_what_waits_is_bounded(tmp_path: Path) -> None:
    store = Store(str(tmp_path), ("a",), 4 << 20, bounds=Bounds(pending_bytes=1000))
    assert store.put("a", b"k", b"v" * 900)
    assert not store.put("a", b"l", b"v" * 2000)
    store.close()


class Late:
    """A record that notes when it is put into bytes."""

    def __init__(self, value: bytes) -> None:
        self._value = value
        self.was_encoded = threading.Event()

    @property
    def stored_bytes(self) -> int:
        return len(self._value)

    def encode(self) -> bytes:
        self.was_encoded.set()
        return self._value


def test_a_record_is_put_into_bytes_when_it_is_written(stores: Stores) -> None:
    store = stores.open()
    record = Late(b"v" * 100)
    assert store.put("a", b"k", record)
    assert store.read("a", b"k", bytes) in (record, b"v" * 100), "as it was put, or what was written"
    assert record.was_encoded.wait(10)
    stores.close()
    store = stores.open()
    assert store.get("a", b"k") == b"v" * 100
    assert list(store.index()) == [(b"k", 100)] and store.was_listed


def test_while_programs_wait_for_the_source_half_of_what_may_wait_does(tmp_path: Path) -> None:
    busy = threading.Event()
    busy.set()
    bounds = Bounds(pending_bytes=1000)
    store = Store(str(tmp_path), ("a",), 4 << 20, bounds=bounds, is_busy=busy.is_set)
    first, second, third = Late(b"v" * 400), Late(b"v" * 200), Late(b"v" * 100)
    store.put("a", b"1", first)
    assert not first.was_encoded.wait(4 * GATHER_S)
    store.put("a", b"2", second)
    assert first.was_encoded.wait(10) and second.was_encoded.wait(10)
    store.put("a", b"3", third)
    busy.clear()
    assert third.was_encoded.wait(10)
    store.close()


def test_what_waits_while_programs_wait_is_written_all_the_same(tmp_path: Path) -> None:
    store = Store(str(tmp_path), ("a",), 4 << 20, is_busy=lambda: True)
    record = Late(b"v")
    store.put("a", b"k", record)
    assert record.was_encoded.wait(5 * BUSY_GATHER_S)
    store.close()
