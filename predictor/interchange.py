"""Traces from and to other programs' formats.

In:   CSV with the columns ts,op,pid,comm,path,size,offset, plain or gzip; DLIO's Chrome trace (`.pfw`, `.pfw.gz`).
Out:  the same CSV; Parquet (needs pyarrow); libCacheSim's oracleGeneral; fio's iolog version 2.

What is read comes from outside: anything unexpected raises TraceError naming the line.
"""

import csv
import gzip
import io
import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from predictor.events import ACCESS, FLAG_WRITE, Op, PathTable, Stream
from predictor.trace import Batch, Records, TraceError, read_trace

CSV_COLUMNS = ("ts", "op", "pid", "comm", "path", "size", "offset")

_IN: dict[str, tuple[Op, int]] = {
    "OPEN": (Op.OPEN, 0),
    "OPEN_W": (Op.OPEN, FLAG_WRITE),
    "OPEN_ENOENT": (Op.ABSENT, 0),
    "EXEC": (Op.OPEN, 0),
    "READ": (Op.READ, 0),
    "MMAP": (Op.READ, 0),
    "WRITE": (Op.WRITE, FLAG_WRITE),
    "READDIR": (Op.READDIR, 0),
    "STAT": (Op.GETATTR, 0),
    "UNLINK": (Op.UNLINK, 0),
    "RENAME": (Op.RENAME, 0),
} | {op.name: (op, 0) for op in Op if op.name not in ("OPEN", "READ", "WRITE", "READDIR", "UNLINK", "RENAME")}

_OUT = {Op.ABSENT: "OPEN_ENOENT", Op.GETATTR: "STAT"}

BATCH = 4096
_LENGTH_MAX = (1 << 32) - 1
_SPAN_MAX = 1 << 42  # 4 TiB, a thousand records: a longer one is a mistake


def read_any(path: str | os.PathLike[str]) -> Iterator[Batch]:
    """The batches of a trace of any kind that is read here, by its name: a directory or `.trace` is our own."""
    name = os.fspath(path)
    if name.endswith((".csv", ".csv.gz")):
        return read_csv(path)
    if name.endswith((".pfw", ".pfw.gz")):
        return read_chrome(path)
    return read_trace(path)


def read_csv(path: str | os.PathLike[str]) -> Iterator[Batch]:
    """Accesses of a CSV. A READ or MMAP of zero bytes (the end of a file) is kept as a record of length 0."""
    builder = _Builder()
    with _text(path) as file:
        reader = csv.DictReader(_lines(path, file))
        if reader.fieldnames is None or not set(CSV_COLUMNS) <= set(reader.fieldnames):
            raise TraceError(f"{path}: the columns must be {','.join(CSV_COLUMNS)}")
        try:
            for line in reader:
                op, flags = _IN[line["op"]]
                size, offset = int(line["size"]), int(line["offset"])
                builder.add(
                    _nanoseconds(line["ts"]),
                    op,
                    flags,
                    int(line["pid"]),
                    line["comm"],
                    os.fsencode(line["path"]),
                    offset if op in (Op.READ, Op.WRITE) else size,
                    size if op in (Op.READ, Op.WRITE) else 0,
                )
                if len(builder.rows) >= BATCH:
                    yield builder.take()
        except (
            KeyError,
            ValueError,
            TypeError,
            AttributeError,
            OverflowError,
            csv.Error,
            EOFError,
            OSError,
        ) as error:
            raise TraceError(f"{path}: line {reader.line_num}: {type(error).__name__}: {error}") from error
    if builder.rows:
        yield builder.take()


def read_chrome(path: str | os.PathLike[str]) -> Iterator[Batch]:
    """POSIX calls of a DLIO/dftracer Chrome trace: open64, read, pread64, lseek64, write, stat, opendir by fname."""
    builder = _Builder()
    positions: dict[tuple[int, str], int] = {}
    ops = {
        "open64": Op.OPEN,
        "open": Op.OPEN,
        "opendir": Op.READDIR,
        "__xstat64": Op.GETATTR,
        "stat": Op.GETATTR,
    }
    with _text(path) as file:
        for number, line in enumerate(_lines(path, file), 1):
            text = line.strip().rstrip(",")
            if not text.startswith("{"):
                continue
            try:
                event = json.loads(text)
                args = event.get("args") or {}
                if event.get("cat") != "POSIX" or "fname" not in args:
                    continue
                name, tid, fname = str(event["name"]), int(event["tid"]), str(args["fname"])
                time_ns, result = int(event["ts"]) * 1000, int(args.get("ret", 0))
                key = (tid, fname)
                if name.startswith(("__xstat", "__lxstat")):
                    op = Op.GETATTR
                elif name in ("read", "pread", "pread64", "write", "pwrite64"):
                    op = Op.WRITE if "write" in name else Op.READ
                elif name.startswith("lseek"):
                    positions[key] = max(0, result)
                    continue
                elif name in ops:
                    op = ops[name]
                else:
                    continue
                if op in (Op.READ, Op.WRITE):
                    at = int(args["offset"]) if name.startswith("p") and "offset" in args else positions.get(key, 0)
                    length = max(0, result)
                    positions[key] = at + length
                    builder.add(time_ns, op, 0, tid, str(event.get("pid", "")), os.fsencode(fname), at, length)
                else:
                    if op is Op.OPEN:
                        positions[key] = 0
                        op = Op.ABSENT if result < 0 else op
                    builder.add(time_ns, op, 0, tid, str(event.get("pid", "")), os.fsencode(fname), 0, 0)
            except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
                raise TraceError(f"{path}: line {number}: {type(error).__name__}: {error}") from error
            if len(builder.rows) >= BATCH:
                yield builder.take()
    if builder.rows:
        yield builder.take()


def write_csv(batches: Iterable[Batch], path: str | os.PathLike[str]) -> int:
    """Writes a CSV that `read_csv` reads; returns the number of records."""
    count = 0
    with Path(path).open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(CSV_COLUMNS)
        for batch in batches:
            for time_ns, op, stream, path_id, length, offset, flags in _rows(batch):
                name = "OPEN_W" if op is Op.OPEN and flags & FLAG_WRITE else _OUT.get(op, op.name)
                is_data = op in (Op.READ, Op.WRITE)
                writer.writerow(
                    [
                        f"{time_ns // 10**9}.{time_ns % 10**9:09d}",
                        name,
                        stream.tgid,
                        stream.command,
                        os.fsdecode(batch.paths.path(path_id)),
                        length if is_data else offset,
                        offset if is_data else 0,
                    ]
                )
                count += 1
    return count


def write_parquet(batches: Iterable[Batch], path: str | os.PathLike[str]) -> int:
    """Writes Parquet with one column a field of ACCESS, and pid, command, path beside them. Needs pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise TraceError("Parquet needs pyarrow: pip install 'llmfs[parquet]'") from error
    count, writer = 0, None
    try:
        for batch in batches:
            records = batch.records
            streams = [batch.streams[number] for number in records["stream"].tolist()]
            columns: dict[str, Any] = {
                name: records[name].copy() for name in ("time_ns", "offset", "length", "latency_us", "tier", "flags")
            }
            columns["op"] = [Op(op).name for op in records["op"].tolist()]
            columns["pid"] = [stream.tgid for stream in streams]
            columns["command"] = [stream.command for stream in streams]
            columns["path"] = [batch.paths.path(number) for number in records["path"].tolist()]
            table = pyarrow.table(columns)
            writer = writer or pyarrow.parquet.ParquetWriter(os.fspath(path), table.schema)
            writer.write_table(table)
            count += len(records)
    finally:
        if writer is not None:
            writer.close()
    return count


def write_oracle_general(batches: Iterable[Batch], path: str | os.PathLike[str], block_bytes: int = 128 << 10) -> int:
    """Writes libCacheSim's oracleGeneral: per block read <u32 seconds, u64 object, u32 bytes, i64 next access>.

    The object is (path id, block); the next access is an index of the request, -1 where there is none. Everything is
    held in memory (24 bytes a request) because the next access is known only at the end.
    """
    times: list[int] = []
    objects: list[int] = []
    for batch in batches:
        for time_ns, op, _stream, path_id, length, offset, _flags in _rows(batch):
            if op is Op.READ and length:
                for block in range(offset // block_bytes, (offset + length - 1) // block_bytes + 1):
                    times.append(time_ns // 10**9 & 0xFFFFFFFF)
                    objects.append(path_id << 32 | block & 0xFFFFFFFF)
    record = struct.Struct("<IQIq")
    following = [-1] * len(objects)
    last: dict[int, int] = {}
    for index in range(len(objects) - 1, -1, -1):
        following[index] = last.get(objects[index], -1)
        last[objects[index]] = index
    with Path(path).open("wb") as file:
        for time_s, name, following_at in zip(times, objects, following, strict=True):
            file.write(record.pack(time_s, name, block_bytes, following_at))
    return len(objects)


def write_fio(batches: Iterable[Batch], path: str | os.PathLike[str]) -> int:
    """Writes fio's iolog version 2 (`fio --read_iolog`): add, open, read, write, close, by path."""
    count = 0
    added: set[int] = set()
    opened: set[int] = set()
    with Path(path).open("w", encoding="utf-8", errors="surrogateescape") as file:
        file.write("fio version 2 iolog\n")
        paths: PathTable | None = None
        for batch in batches:
            paths = batch.paths
            for _time_ns, op, _stream, path_id, length, offset, _flags in _rows(batch):
                if op not in (Op.READ, Op.WRITE) or not length:
                    continue
                name = os.fsdecode(paths.path(path_id))
                if any(character.isspace() for character in name):
                    continue  # the format has no quoting
                if path_id not in added:
                    added.add(path_id)
                    file.write(f"{name} add\n")
                if path_id not in opened:
                    opened.add(path_id)
                    file.write(f"{name} open\n")
                file.write(f"{name} {op.name.lower()} {offset} {length}\n")
                count += 1
        if paths is not None:
            for path_id in sorted(opened):
                file.write(f"{os.fsdecode(paths.path(path_id))} close\n")
    return count


class _Builder:
    """Collects rows into batches."""

    def __init__(self) -> None:
        self.paths = PathTable()
        self.streams: dict[int, Stream] = {}
        self.rows: list[tuple[int, ...]] = []
        self._known: dict[tuple[int, str], int] = {}
        self._ids: dict[bytes, int] = {}

    def add(
        self, time_ns: int, op: Op, flags: int, tgid: int, command: str, path: bytes, offset: int, length: int
    ) -> None:
        key = (tgid, command)
        stream = self._known.get(key)
        if stream is None:
            stream = self._known[key] = len(self._known)
            self.streams[stream] = Stream(stream, tgid, command)
        number = self._ids.get(path)
        if number is None:
            number = self._ids[path] = self.paths.intern_path(path)
        if not 0 <= offset < 1 << 62 or not 0 <= length <= _SPAN_MAX:
            raise ValueError("an offset or a length that no file has")
        while length > _LENGTH_MAX:  # the record's field is 32 bits wide
            self.rows.append((time_ns, offset, _LENGTH_MAX, 0, number, stream, op, 0, flags, 0))
            offset, length = offset + _LENGTH_MAX, length - _LENGTH_MAX
        self.rows.append((time_ns, offset, length, 0, number, stream, op, 0, flags, 0))

    def take(self) -> Batch:
        records: Records = np.array(self.rows, ACCESS)
        self.rows = []
        return Batch(self.paths, self.streams, records)


def _rows(batch: Batch) -> Iterator[tuple[int, Op, Stream, int, int, int, int]]:
    """(time_ns, op, stream, path id, length, offset, flags) of each record."""
    r = batch.records
    columns = [r[name].tolist() for name in ("time_ns", "op", "stream", "path", "length", "offset", "flags")]
    for time_ns, op, stream, path, length, offset, flags in zip(*columns, strict=True):
        yield time_ns, Op(op), batch.streams[stream], path, length, offset, flags


def _text(path: str | os.PathLike[str]) -> TextIO:
    if os.fspath(path).endswith(".gz"):
        raw: Any = gzip.GzipFile(path)
    else:
        raw = Path(path).open("rb")  # noqa: SIM115  closed with the wrapper
    return io.TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape", newline="")


def _lines(path: str | os.PathLike[str], file: TextIO) -> Iterator[str]:
    """The lines of a file that may be no gzip at all, or end in the middle."""
    try:
        yield from file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise TraceError(f"{path}: {error}") from error


def _nanoseconds(text: str) -> int:
    """Seconds with a fraction to nanoseconds, without the rounding of a float."""
    whole, _, fraction = text.partition(".")
    return int(whole) * 10**9 + int((fraction + "000000000")[:9])
