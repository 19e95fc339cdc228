"""LMDB, made safe to have in the path of every read: bounded, written behind, failing open.

*Written behind.* `put` and `delete` take effect at once for `get` and reach LMDB from a thread of the store's own, a
batch a transaction. The batch is bounded; what does not fit is dropped and counted, for it is only a cache. While
programs wait for the source the processor is left to them, as far as the bound allows: what a batch takes, and that is
three copies of all of it, comes when they pause.

*Bounded.* The data file never grows past `limit_bytes`, LMDB's map size. A full map loses the batch (`on_lost` is
told); tables named in `expendable` are emptied then, for records that nobody evicts one by one.

*Failing open.* No method raises for a fault of the disk or of LMDB. A fault is logged once and counted through
`on_fault`; after `FAULTS_BEFORE_DOWN` of them the store is down, answers nothing, and the mount reads from the source.

*Never waited for long.* `get` runs on the event loop and waits where LMDB's page is not in memory. Where such waits add
up (`policy/stalls.py`) it answers nothing for a while but what is on its way to LMDB, and the mount reads from the
source. Writing goes on; what a disk is too slow to take is dropped as above, and closing does not wait for it either.

*Never older than it was.* A value that could not be written takes its predecessor with it: where it found no room among
what waits, the old one is deleted, and where the disk refused it, the environment is discarded when it is opened next.
What was waiting when the process was killed is missing, though: `was_interrupted` tells the next one.

*Listed without its values.* How long each value of one table, `indexed`, is stands in a small table of its own, changed
in the same transactions. A cursor over the values themselves has py-lmdb read every page of them. The small table's
pages lie scattered among those, so the kernel reads nothing ahead until the index was read: a disk that reads 8 MiB at
a time made a third of the file of it (measured).

*Read in.* After a boot no page of the file is in memory, and looks would fetch them one by one in the order of the
programs' needs, on the event loop. So the start of the file is read once, in its own order (`read_in`). Waits count
for nothing meanwhile: they share the disk, and where it reads megabytes around a page each brings much else along.

*Mapped as far as it may be.* What was looked at stays in the process's page tables, and counts as its memory, until the
kernel needs the pages. Where `mapped_bytes` bounds that, the map is let go of whenever so much may have been touched:
the bytes stay in the page cache, and the next look takes a minor fault.

*Not synced.* Commits are not flushed to the disk, which makes them cheap and is safe against the death of the process.
It is not safe against the death of the machine, so an environment that was not closed cleanly in this boot of the
machine is discarded when it is opened. Nothing lives only in it.
"""

import contextlib
import ctypes
import logging
import mmap
import os
import resource
import shutil
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import lmdb

from llmfs import chunks, machine
from llmfs.policy.stalls import NOTICED_S, Stalls

log = logging.getLogger(__name__)

T = TypeVar("T")

FAULTS_BEFORE_DOWN = 8
PENDING_LIMIT_BYTES = 64 << 20

TOUCHED_BYTES = 192 << 10
"""What a look maps beside the value: the kernel maps 64 KiB around a page that it has in memory, and a tree of some
ten thousand records is three pages deep."""

GATHER_S = 0.05
"""How long a batch is gathered: a transaction costs about 100 us, and `get` sees what is waiting anyway."""

BUSY_GATHER_S = 2.0
"""The same while programs wait for the source, until `BUSY_PENDING_SHARE` of what may wait does, or as much as
`BUSY_MAP_SHARE` of the map: of a small cache little is to wait, for it is what a full map may lose."""

BUSY_PENDING_SHARE = 0.5
BUSY_MAP_SHARE = 0.125

CLOSE_S = 5.0
"""How long closing writes what waits. Of the rest it is only written down that what is stored is older."""

READ_IN_S = 10.0
"""How long the data file is read in: 1 GiB at the 100 MB/s of a turning disk."""

READ_IN_PART = 8
"""It takes at most this part of the memory that is to be had."""

READ_IN_PIECE_BYTES = 1 << 20

TRANSACTION_SHARE = 64
"""A transaction writes at most this part of the map: what it replaces is there for the next but one."""

FULL_PAUSES_S = (0.001, 0.01)
"""Before a map counts as full."""

SIZES = "sizes"
"""The table of the lengths, by the keys of the indexed one."""

CHUNKS = "chunks"
"""The table of what comes after the first chunk of each of its values (`chunks.py`)."""

_SIZE = struct.Struct("<I")

Key = tuple[str, bytes]
"""The name of a table, and a key in it."""


class Record(Protocol):
    """A value that becomes bytes when it is written, in the store's thread. Nobody changes it any more."""

    @property
    def stored_bytes(self) -> int:
        """How long it will be."""
        ...

    def encode(self) -> bytes: ...


def boot_id() -> str:
    """A number that changes with each boot of the machine; "" where the kernel does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of what a store has in memory."""

    pending_bytes: int = PENDING_LIMIT_BYTES
    mapped_bytes: int | None = None
    read_in_bytes: int = 0


class Store:
    """A few tables of bytes to bytes in one LMDB environment. `get` belongs to one thread, the event loop's."""

    def __init__(
        self,
        path: str,
        tables: tuple[str, ...],
        limit_bytes: int,
        on_fault: Callable[[], None] = lambda: None,
        on_lost: Callable[[list[Key]], None] = lambda keys: None,
        expendable: tuple[str, ...] = (),
        indexed: str | None = None,
        bounds: Bounds | None = None,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """`is_busy()`, called from the store's thread: programs wait for something else than the store."""
        self._path = path
        self._indexed = indexed
        self._expendable = expendable
        self._limit_bytes = limit_bytes
        self._on_fault = on_fault
        self._on_lost = on_lost
        self._is_busy = is_busy
        self._faults = 0
        self._pending: dict[Key, bytes | Record | None] = {}
        self._writing: dict[Key, bytes | Record | None] = {}
        self._pending_bytes = 0
        self._bounds = bounds or Bounds()
        self._touched_bytes = 0
        self._map: tuple[int, int] | None = None  # address and length
        self._wake = threading.Condition()
        self._is_closing = False
        self._close_by_s = float("inf")
        self._stalls = Stalls()
        self._page_faults = _page_faults()
        self._was_slow = False
        self._is_reading_in = False
        self._is_spoiled = False
        self.fill = 0.0
        """How much of the limit the tables took when they were last written to."""
        self.was_listed = False
        """`index` has given all that there was."""
        self.was_interrupted = False
        """The last process that had it open was killed: values may be older than they should be."""
        self._env: lmdb.Environment | None = None
        self._tables: dict[str, Any] = {}
        self._open(tables)
        self._thread = threading.Thread(target=self._write_behind, name=f"store-{os.path.basename(path)}", daemon=True)
        self._thread.start()

    @property
    def is_down(self) -> bool:
        return self._env is None or self._faults >= FAULTS_BEFORE_DOWN

    @property
    def used_bytes(self) -> int:
        """The size of the data file on disk."""
        try:
            return os.stat(os.path.join(self._path, "data.mdb")).st_blocks * 512
        except OSError:
            return 0

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value, copied; None where there is none, and where the store is down or its disk too slow."""
        return self.read(table, key, b"".join)

    def read(self, table: str, key: bytes, copy: Callable[[Sequence[bytes | memoryview]], T]) -> T | None:
        """What `copy` makes of the value's chunks, which are valid while it runs; None as of `get`. Raises what `copy`
        raises.

        A `Record` that waits to be written is given as it was put.
        """
        wanted = (table, key)
        for waiting in (self._pending, self._writing):
            if wanted in waiting:
                value = waiting[wanted]
                return copy([value]) if isinstance(value, bytes) else cast("T", value)
        started_s = time.monotonic()
        if self.is_down or self._env is None or started_s < self._stalls.paused_until_s:
            return None
        try:
            with self._env.begin(db=self._tables[table], buffers=True) as transaction:
                found = self._chunks(transaction, table, key)
                size_bytes = sum(map(len, found))
                copied = copy(found) if found else None
            self._touched(max(1, len(found)), size_bytes)
            return copied
        except lmdb.Error as error:
            self._fault("read", error)
            return None
        finally:
            ended_s = time.monotonic()
            if ended_s - started_s > NOTICED_S:
                self._waited(ended_s - started_s, ended_s)

    def put(self, table: str, key: bytes, value: bytes | Record) -> bool:
        """Store a value soon. False where it was dropped because too much is waiting."""
        return self._queue((table, key), value)

    def delete(self, table: str, key: bytes) -> None:
        """Drop a value soon."""
        self._queue((table, key), None)

    def index(self) -> Iterator[tuple[bytes, int]]:
        """All keys of the indexed table and the sizes of their values in bytes, as of now. From any thread, once."""
        if self._env is None:
            return
        try:
            with self._env.begin(db=self._tables[SIZES]) as transaction:
                for key, size in transaction.cursor():
                    yield key, _SIZE.unpack(size)[0]
            self.was_listed = True
        except lmdb.Error as error:
            self._fault("scan", error)
        finally:
            _read_around(self._path)
            self._let_go()

    def read_in(self) -> None:
        """Have the data file in the page cache, as far as memory and its bound go. In a thread, for a while."""
        limit = min(self._bounds.read_in_bytes, machine.available_bytes() // READ_IN_PART)
        stop_s = time.monotonic() + READ_IN_S
        buffer = bytearray(READ_IN_PIECE_BYTES)
        self._is_reading_in = True
        try:
            with open(os.path.join(self._path, "data.mdb"), "rb", buffering=0) as file:
                while limit > 0 and time.monotonic() < stop_s and not self._is_closing:
                    limit -= (got := file.readinto(buffer) or 0)
                    if not got:
                        break
        except OSError as error:
            log.debug("the cache in %s was not read in: %s", self._path, error)
        finally:
            self._is_reading_in = False

    def close(self) -> None:
        """Write what is waiting, flush it to the disk and mark the environment clean."""
        with self._wake:
            self._is_closing = True
            self._close_by_s = time.monotonic() + CLOSE_S
            self._wake.notify()
        self._thread.join()
        if self._env is not None:
            try:
                self._env.sync(True)
                self._env.close()
                if not self._is_spoiled:
                    _lengthen(self._path)
                    os.unlink(os.path.join(self._path, "open"))
            except (lmdb.Error, OSError) as error:
                self._fault("close", error)
            self._env = None

    def _open(self, tables: tuple[str, ...]) -> None:
        marker = os.path.join(self._path, "open")
        try:
            was_closed = not os.path.exists(marker)
            if not was_closed and _read(marker) != boot_id():
                log.warning("the cache in %s was not closed as it should have been: starting it anew", self._path)
                shutil.rmtree(self._path)
            os.makedirs(self._path, mode=0o700, exist_ok=True)
            try:
                self.was_interrupted = not was_closed
                if not was_closed:
                    _lengthen(self._path)
                elif _lacks(self._path):
                    raise lmdb.CorruptedError("its data file is shorter than it was")
                self._env = self._environment(tables)
                self._measure(self._env)
            except lmdb.Error as error:
                log.warning("the cache in %s is damaged (%s): starting it anew", self._path, error)
                self._on_fault()
                shutil.rmtree(self._path)
                os.makedirs(self._path, mode=0o700)
                self._env = self._environment(tables)
            with open(marker, "w", encoding="ascii") as file:
                file.write(boot_id())
        except (OSError, lmdb.Error) as error:
            self._env = None
            self._fault("open", error)

    def _environment(self, tables: tuple[str, ...]) -> lmdb.Environment:
        environment = lmdb.open(
            self._path,
            map_size=self._limit_bytes,
            max_dbs=len(tables) + 2,
            mode=0o600,
            sync=False,
            metasync=False,
            max_spare_txns=4,
            readahead=self._indexed is None,
        )
        try:
            if environment.info()["map_size"] != self._limit_bytes:
                environment.set_mapsize(self._limit_bytes)
            self._tables = {table: environment.open_db(table.encode()) for table in tables}
            if self._indexed is not None:
                self._tables |= {table: environment.open_db(table.encode()) for table in (SIZES, CHUNKS)}
                with environment.begin() as transaction:
                    indexed, sizes = (transaction.stat(self._tables[table]) for table in (self._indexed, SIZES))
                if indexed["entries"] != sizes["entries"]:
                    raise lmdb.CorruptedError("its index is not of what it holds")
        except BaseException:
            environment.close()
            raise
        return environment

    def _queue(self, key: Key, value: bytes | Record | None) -> bool:
        size = len(key[1]) + (_length(value) if value is not None else 0)
        with self._wake:
            if self.is_down:
                return False
            fits = value is None or self._pending_bytes + size <= self._bounds.pending_bytes
            if not self._pending:
                self._wake.notify()
            self._pending[key] = value if fits else None  # what is stored is older
            self._pending_bytes += size if fits else 0
        return fits

    def _write_behind(self) -> None:
        while True:
            with self._wake:
                while not self._pending and not self._is_closing:
                    self._wake.wait()
                if not self._pending:
                    return
                self._gather()
                self._writing, self._pending = self._pending, {}
                self._pending_bytes = 0
            self._commit(self._writing)
            self._writing = {}

    def _gather(self) -> None:
        """Wait, the lock held, until what waits is to be written."""
        full_bytes = min(BUSY_PENDING_SHARE * self._bounds.pending_bytes, BUSY_MAP_SHARE * self._limit_bytes)
        stop_s = time.monotonic() + BUSY_GATHER_S
        while not self._is_closing:
            self._wake.wait(GATHER_S)
            if self._pending_bytes > full_bytes or time.monotonic() > stop_s or not self._is_busy():
                return

    def _commit(self, batch: dict[Key, bytes | Record | None]) -> None:
        environment = self._env
        if environment is None:
            return
        # Space that a transaction frees can be used by the next but one: what goes goes first, the last of it in a
        # transaction of its own, and what comes comes in transactions that are small beside the map.
        deletes = [key for key, value in batch.items() if value is None]
        puts = [(key, value) for key, value in batch.items() if value is not None]
        try:
            for part in (deletes[:-1], deletes[-1:]):
                if part:
                    with environment.begin(write=True) as transaction:
                        for key in part:
                            self._delete(transaction, key)
            self._touched(len(deletes), 0)
            while puts and time.monotonic() < self._close_by_s:
                count, size = 0, 0
                while count < len(puts) and size < self._limit_bytes // TRANSACTION_SHARE:
                    size += _length(puts[count][1])
                    count += 1
                self._put_all(environment, puts[:count])
                self._touched(count, size)
                del puts[:count]
            if puts:
                log.warning("the cache in %s takes too long to close: not all of it is kept", self._path)
                with environment.begin(write=True) as transaction:
                    for key, _ in puts:
                        self._delete(transaction, key)
            self._measure(environment)
        except lmdb.MapFullError:
            self._on_lost([key for key, _ in puts])
            self._empty(environment)
        except lmdb.Error as error:
            self._fault("write", error)
            self._spoil()
            self._on_lost([key for key, _ in puts])

    def _put_all(self, environment: lmdb.Environment, puts: Sequence[tuple[Key, bytes | Record]]) -> None:
        """Raises lmdb.Error. What was freed is not there yet while a look that began before lasts: it is waited for."""
        for pause_s in (*FULL_PAUSES_S, None):
            try:
                with environment.begin(write=True) as transaction:
                    for key, value in puts:
                        self._put(transaction, key, value)
                return
            except lmdb.MapFullError:
                if pause_s is None:
                    raise
                time.sleep(pause_s)

    def _measure(self, environment: lmdb.Environment) -> None:
        """Raises lmdb.Error."""
        with environment.begin() as transaction:
            sizes = [transaction.stat(table) for table in self._tables.values()]
        pages = sum(size[kind] for size in sizes for kind in ("branch_pages", "leaf_pages", "overflow_pages"))
        self.fill = pages * sizes[0]["psize"] / self._limit_bytes

    def _touched(self, looks: int, size_bytes: int) -> None:
        """So many records were looked at, of so many bytes. From both threads: a lost count delays it a little."""
        if self._bounds.mapped_bytes is None:
            return
        self._touched_bytes += looks * TOUCHED_BYTES + size_bytes
        if self._touched_bytes > self._bounds.mapped_bytes:
            self._let_go()

    def _let_go(self) -> None:
        """The map's pages leave our page tables. It is mapped read-only and shared, so nothing is lost by that."""
        if self._bounds.mapped_bytes is None:
            return
        self._touched_bytes = 0
        if self._map is None:
            self._map = next(_maps(self._path), (0, 0))
        address, length = self._map
        if length:
            _libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(length), _MADV_DONTNEED)

    def _chunks(self, transaction: lmdb.Transaction, table: str, key: bytes) -> list[bytes | memoryview]:
        """A value as it lies in the map, of a transaction with buffers; nothing where there is none."""
        found: list[bytes | memoryview] = []
        view = transaction.get(key)
        while view is not None:
            found.append(view)
            if table != self._indexed or len(view) < chunks.CHUNK_BYTES:
                break
            view = transaction.get(chunks.key(key, len(found)), db=self._tables[CHUNKS])
        return found

    def _put(self, transaction: lmdb.Transaction, key: Key, value: bytes | Record) -> None:
        table, name = key
        stored = value if isinstance(value, bytes) else value.encode()
        if table != self._indexed:
            transaction.put(name, stored, db=self._tables[table])
            return
        view, count, size = memoryview(stored), chunks.count(len(stored)), chunks.CHUNK_BYTES
        self._delete_chunks(transaction, name, count)
        transaction.put(name, view[:size], db=self._tables[table])
        for number in range(1, count):
            chunk = view[number * size : (number + 1) * size]
            transaction.put(chunks.key(name, number), chunk, db=self._tables[CHUNKS])
        transaction.put(name, _SIZE.pack(len(stored)), db=self._tables[SIZES])

    def _delete(self, transaction: lmdb.Transaction, key: Key) -> None:
        table, name = key
        transaction.delete(name, db=self._tables[table])
        if table == self._indexed:
            self._delete_chunks(transaction, name, 1)
            transaction.delete(name, db=self._tables[SIZES])

    def _delete_chunks(self, transaction: lmdb.Transaction, name: bytes, first: int) -> None:
        """The chunks of the value that is stored there, from this one on."""
        size = transaction.get(name, db=self._tables[SIZES])
        for number in range(first, chunks.count(_SIZE.unpack(size)[0]) if size is not None else 0):
            transaction.delete(chunks.key(name, number), db=self._tables[CHUNKS])

    def _empty(self, environment: lmdb.Environment) -> None:
        """Start the expendable tables anew."""
        if not self._expendable:
            return
        log.info("the cache in %s is full: starting it anew", self._path)
        try:
            with environment.begin(write=True) as transaction:
                for table in self._expendable:
                    transaction.drop(self._tables[table], delete=False)
                    if table == self._indexed:
                        for each in (SIZES, CHUNKS):
                            transaction.drop(self._tables[each], delete=False)
        except lmdb.Error as error:
            self._fault("empty", error)
            self._spoil()

    def _spoil(self) -> None:
        """What is stored is older than what it should be: no later mount may believe it."""
        self._is_spoiled = True
        try:
            with open(os.path.join(self._path, "open"), "w", encoding="ascii") as file:
                file.write("spoiled")
        except OSError as error:
            self._fault("mark", error)

    def _waited(self, wait_s: float, now_s: float) -> None:
        """A look took long. It waited for the disk if a page was missing; else another thread had the processor."""
        page_faults = _page_faults()
        was_for_disk, self._page_faults = page_faults > self._page_faults, page_faults
        pause_s = self._stalls.waited(wait_s, now_s) if was_for_disk and not self._is_reading_in else 0.0
        if pause_s:
            self._on_fault()
            if not self._was_slow:
                self._was_slow = True
                log.warning(
                    "the disk of the cache in %s is slow: going on without it for seconds at a time", self._path
                )

    def _fault(self, doing: str, error: Exception) -> None:
        self._faults += 1
        self._on_fault()
        if self._faults == FAULTS_BEFORE_DOWN:
            self._spoil()
        if self._faults == 1:
            log.warning(
                "the cache in %s failed to %s (%s): going on without it where need be", self._path, doing, error
            )


_libc = ctypes.CDLL(None)
_MADV_NORMAL = 0
_MADV_DONTNEED = 4

_META = struct.Struct("<16xII8xQ96xQQ")
"""A meta page: page header, magic, version, map size, two trees' roots, last page, transaction (lmdb.h, mdb.c)."""

_MAGIC = 0xBEEFC0DE
_PAGE_BYTES = min(mmap.PAGESIZE, 0x8000)


def _lacks(path: str) -> int:
    """Bytes that the data file has lost: LMDB would die of SIGBUS where it looks for them. 0 where that is unknown."""
    try:
        with open(os.path.join(path, "data.mdb"), "rb") as file:
            metas = [_META.unpack(file.read(_PAGE_BYTES)[: _META.size]) for _ in range(2)]
            size = os.fstat(file.fileno()).st_size
    except (OSError, struct.error):
        return 0  # it is not there, or too short for LMDB to take it for a data file
    magic, _, _, last_page, _ = max(metas, key=lambda meta: meta[4])
    return max(0, (last_page + 1) * _PAGE_BYTES - size) if magic == _MAGIC else 0


def _lengthen(path: str) -> None:
    """LMDB need not write the last pages that it gave out: give the file its full length, so that a loss shows."""
    lacking = _lacks(path)
    if lacking:
        data = os.path.join(path, "data.mdb")
        os.truncate(data, os.stat(data).st_size + lacking)


def _read_around(path: str) -> None:
    """Undo LMDB's `readahead=False`: a value's pages lie beside each other and are read together from now on."""
    for address, length in _maps(path):
        _libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(length), _MADV_NORMAL)


def _maps(path: str) -> Iterator[tuple[int, int]]:
    """Address and length of where LMDB has mapped the data file."""
    data = os.fsencode(os.path.realpath(os.path.join(path, "data.mdb"))).replace(b"\n", b"\\012")
    with contextlib.suppress(OSError), open("/proc/self/maps", "rb") as maps:  # see proc_pid_maps(5)
        for line in maps:
            if line.rstrip(b"\n").endswith(b" " + data):
                start, stop = (int(address, 16) for address in line.split()[0].split(b"-"))
                yield start, stop - start


def _page_faults() -> int:
    """How often this thread has waited for a page from a disk."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_majflt


def _length(value: bytes | Record) -> int:
    return len(value) if isinstance(value, bytes) else value.stored_bytes


def _read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()
