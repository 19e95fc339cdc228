"""The access log on disk: what a mount observed, kept in bounded space, readable years later and on other machines.

A trace is a directory of segments `NNNNNNNN.trace`. A segment explains itself: it begins with a magic number and a
version, then chunks follow, each with its own checksum, each compressed (zstd), each with the paths and streams that
its records are the first in the segment to name. So any segment can be read alone, and deleting the oldest, which is
how the directory keeps within its limit, breaks nothing.

    segment = MAGIC, version (u16), reserved (u16), chunk...
    chunk   = CHUNK_MAGIC (u32), compressed bytes (u32), raw bytes (u32), xxh3-64 of the compressed bytes, those bytes
    raw     = msgpack [paths [[id, parent, name]...], streams [[id, tgid, command]...], records transposed bytewise]

A writer that was killed leaves at worst a torn last chunk, which a reader ends at in silence. Anything else that is not
a trace raises TraceError, and nothing worse: these bytes may come from outside.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgpack
import numpy as np
import numpy.typing as npt
import xxhash
import zstandard

from predictor.events import ACCESS, PATHS_IN_USE, ROOT, STREAMS_IN_USE, PathTable, Stream
from predictor.recent import Recent

MAGIC = b"LLMFSTRC"
VERSION = 1
SUFFIX = ".trace"

_HEADER = struct.Struct("<8sHH")
_CHUNK = struct.Struct("<IIIQ")
_CHUNK_MAGIC = 0x4B4E4843  # "CHNK"

MAX_RAW_BYTES = 32 << 20
"""A chunk claims no more than this when it is unpacked: a small file must not fill the memory of who reads it."""

CHUNK_RECORDS = 4096
"""Records are written once this many are waiting: 160 kB raw, about 25 kB compressed."""

SEGMENT_MIN_BYTES = 64 << 10
SEGMENT_MAX_BYTES = 16 << 20

Records = npt.NDArray[np.void]
"""A one-dimensional array of predictor.events.ACCESS."""


class TraceError(ValueError):
    """The bytes are not a trace."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some accesses in order. `paths` and `streams` are shared by all batches of one reading and grow as it goes on."""

    paths: PathTable
    streams: dict[int, Stream]
    records: Records


class TraceWriter:
    """Appends accesses to the trace in `directory`, which never takes more than `limit_bytes`.

    Not thread-safe. Raises OSError where the disk does; what was written before stays readable.
    """

    def __init__(self, directory: str | os.PathLike[str], limit_bytes: int) -> None:
        self._directory = Path(directory)
        self._limit_bytes = limit_bytes
        self._segment_bytes = max(SEGMENT_MIN_BYTES, min(SEGMENT_MAX_BYTES, limit_bytes // 8))
        self._compressor = zstandard.ZstdCompressor(level=3)
        self._paths: Recent[int, tuple[int, bytes]] = Recent(PATHS_IN_USE)
        self._streams: Recent[int, tuple[int, str]] = Recent(STREAMS_IN_USE)
        self._waiting: list[Records] = []
        self._waiting_records = 0
        self._file: BinaryIO | None = None
        self._written_bytes = 0
        self._named_paths: set[int] = set()
        self._named_streams: set[int] = set()
        self.dropped_records = 0
        self._directory.mkdir(parents=True, exist_ok=True)
        numbers = [int(path.stem) for path in segments(self._directory)]
        self._next = max(numbers, default=0) + 1
        self._current = Path()
        self._new_paths: dict[int, tuple[int, bytes]] = {}
        self._new_streams: dict[int, tuple[int, str]] = {}
        self._sizes = {path: path.stat().st_size for path in segments(self._directory)}

    def append(
        self,
        paths: Iterable[tuple[int, int, bytes] | list[Any]],
        streams: Iterable[tuple[int, int, str] | list[Any]],
        records: Records,
    ) -> None:
        """Adds `records`. `paths` and `streams` name the ids that no earlier call has named, as in a frame."""
        for number, parent, name in paths:
            self._paths[number] = (parent, name)
        for number, tgid, command in streams:
            self._streams[number] = (tgid, command)
        records = records[self._is_named(records)]
        if len(records):
            self._waiting.append(records.copy())
            self._waiting_records += len(records)
        if self._waiting_records >= CHUNK_RECORDS:
            self.flush()

    def flush(self) -> None:
        """Writes what is waiting."""
        if not self._waiting:
            return
        records = np.concatenate(self._waiting)
        self._waiting.clear()
        self._waiting_records = 0
        for start in range(0, len(records), CHUNK_RECORDS):
            self._write(records[start : start + CHUNK_RECORDS])

    def close(self) -> None:
        """Writes what is waiting and closes the segment. Closing twice is allowed."""
        try:
            self.flush()
        finally:
            self._end_segment()

    def __enter__(self) -> "TraceWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_named(self, records: Records) -> npt.NDArray[np.bool_]:
        """Which records name a path and a stream that are known: the others would make a segment unreadable."""
        of_path, of_stream = records["path"].tolist(), records["stream"].tolist()
        paths = {path for path in set(of_path) if self._lineage(path) is not None}
        streams = {stream for stream in set(of_stream) if self._streams.get(stream) is not None}
        known = (path in paths and stream in streams for path, stream in zip(of_path, of_stream, strict=True))
        is_named = np.fromiter(known, np.bool_, len(records))
        self.dropped_records += len(records) - int(is_named.sum())
        return is_named

    def _lineage(self, path: int) -> list[tuple[int, int, bytes]] | None:
        """A path and the directories that it lies in, [id, parent, name], itself first; None where one is unknown."""
        lineage = []
        while path != ROOT:
            entry = self._paths.get(path)
            if entry is None:
                return None
            lineage.append((path, *entry))
            path = entry[0]
        return lineage

    def _write(self, records: Records) -> None:
        chunk = self._chunk(records)
        if self._file is not None and self._written_bytes + len(chunk) > self._segment_bytes:
            self._end_segment()
            chunk = self._chunk(records)  # a new segment names its paths again
        room = len(chunk) + (_HEADER.size if self._file is None else 0)
        if not self._make_room(room):
            self.dropped_records += len(records)
            return
        if self._file is None:
            path = self._directory / f"{self._next:08d}{SUFFIX}"
            self._next += 1
            self._file = path.open("xb", buffering=0)
            self._current = path
            self._file.write(_HEADER.pack(MAGIC, VERSION, 0))
            self._written_bytes = _HEADER.size
            self._sizes[path] = self._written_bytes
        self._file.write(chunk)
        self._written_bytes += len(chunk)
        self._sizes[self._current] = self._written_bytes
        if len(self._named_paths) > PATHS_IN_USE:
            self._named_paths.clear()  # what is used on is named once more
        self._named_paths.update(self._new_paths)
        self._named_streams.update(self._new_streams)

    def _chunk(self, records: Records) -> bytes:
        new_paths: dict[int, tuple[int, bytes]] = {}
        for number in sorted(set(records["path"].tolist())):
            if number not in self._named_paths and number not in new_paths:
                for path, parent, name in reversed(self._lineage(number) or ()):
                    if path not in self._named_paths:
                        new_paths[path] = (parent, name)
        self._new_paths = new_paths
        streams = {number: self._streams.get(number) for number in sorted(set(records["stream"].tolist()))}
        self._new_streams = {n: s for n, s in streams.items() if s is not None and n not in self._named_streams}
        raw = msgpack.packb(
            [
                [[number, parent, name] for number, (parent, name) in new_paths.items()],
                [[number, *process] for number, process in sorted(self._new_streams.items())],
                records.view("u1").reshape(len(records), ACCESS.itemsize).T.tobytes(),
            ]
        )
        packed = self._compressor.compress(raw)
        return _CHUNK.pack(_CHUNK_MAGIC, len(packed), len(raw), xxhash.xxh3_64_intdigest(packed)) + packed

    def _make_room(self, wanted: int) -> bool:
        """Deletes the oldest segments until `wanted` more bytes fit. False where they never will."""
        if wanted > self._limit_bytes:
            return False
        current = self._current if self._file is not None else None
        for path in sorted(self._sizes):
            if sum(self._sizes.values()) + wanted <= self._limit_bytes:
                break
            if path == current:
                return False
            path.unlink(missing_ok=True)
            del self._sizes[path]
        return sum(self._sizes.values()) + wanted <= self._limit_bytes

    def _end_segment(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._named_paths.clear()
        self._named_streams.clear()


def segments(directory: str | os.PathLike[str]) -> list[Path]:
    """The segments of a trace, oldest first."""
    found = [path for path in Path(directory).glob(f"*{SUFFIX}") if path.stem.isdecimal()]
    return sorted(found, key=lambda path: int(path.stem))


def read_trace(path: str | os.PathLike[str]) -> Iterator[Batch]:
    """The batches of one segment, or of all segments of a directory in order.

    Ids are made anew: dense, and the same path has the same id throughout, over remounts too.
    Raises TraceError for what is not a trace, OSError where the disk does.
    """
    place = Path(path)
    files = segments(place) if place.is_dir() else [place]
    if not files:
        raise TraceError(f"{place}: no segments")
    paths = PathTable()
    streams: dict[int, Stream] = {}
    known: dict[tuple[int, int, str], int] = {}
    for file in files:
        for new_paths, new_streams, records in _read_segment(file, paths):
            for (number, tgid, command), spot in new_streams.items():
                key = (number, tgid, command)
                if key not in known:
                    known[key] = len(streams)
                    streams[known[key]] = Stream(known[key], tgid, command)
                spot.append(known[key])
            records["path"] = _renumber(records["path"], new_paths, file)
            records["stream"] = _renumber(
                records["stream"], {key[0]: spot[-1] for key, spot in new_streams.items()}, file
            )
            yield Batch(paths, streams, records)


def _renumber(column: npt.NDArray[Any], numbers: dict[int, int], file: Path) -> npt.NDArray[Any]:
    old, places = np.unique(column, return_inverse=True)
    try:
        return np.array([numbers[number] for number in old.tolist()], "<u4")[places]
    except KeyError as error:
        raise TraceError(f"{file}: a record names the id {error}, which nothing explains") from None


def _read_segment(
    file: Path, table: PathTable
) -> Iterator[tuple[dict[int, int], dict[tuple[int, int, str], list[int]], Records]]:
    data = file.read_bytes()
    if len(data) < _HEADER.size:
        if MAGIC.startswith(data[: len(MAGIC)]):
            return  # killed before the header was out
        raise TraceError(f"{file}: not a trace")
    magic, version, _ = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise TraceError(f"{file}: not a trace")
    if version != VERSION:
        raise TraceError(f"{file}: version {version}; this program reads version {VERSION}")
    paths: dict[int, int] = {ROOT: ROOT}
    streams: dict[tuple[int, int, str], list[int]] = {}
    at = _HEADER.size
    while at + _CHUNK.size <= len(data):
        magic, packed_bytes, raw_bytes, checksum = _CHUNK.unpack_from(data, at)
        if magic != _CHUNK_MAGIC:
            raise TraceError(f"{file}: no chunk at byte {at}")
        at += _CHUNK.size
        packed = data[at : at + packed_bytes]
        at += packed_bytes
        if len(packed) < packed_bytes:
            return  # torn
        if xxhash.xxh3_64_intdigest(packed) != checksum:
            if at >= len(data):
                return  # torn, on a filesystem that extends files before it writes them
            raise TraceError(f"{file}: a chunk is damaged before byte {at}")
        yield _parse_chunk(file, packed, raw_bytes, table, paths, streams)


def _parse_chunk(
    file: Path,
    packed: bytes,
    raw_bytes: int,
    table: PathTable,
    paths: dict[int, int],
    streams: dict[tuple[int, int, str], list[int]],
) -> tuple[dict[int, int], dict[tuple[int, int, str], list[int]], Records]:
    if raw_bytes > MAX_RAW_BYTES:
        raise TraceError(f"{file}: a chunk of {raw_bytes} bytes")
    try:
        if zstandard.frame_content_size(packed) != raw_bytes:
            raise TraceError(f"{file}: a chunk lies about its size")
        raw = zstandard.ZstdDecompressor().decompress(packed)
        new_paths, new_streams, transposed = msgpack.unpackb(raw, raw=False)
        for number, parent, name in new_paths:
            if not (isinstance(number, int) and isinstance(name, bytes)) or b"/" in name or not name:
                raise TraceError(f"{file}: a path that is none")
            paths[number] = table.intern(paths[parent], name)
        for number, tgid, command in new_streams:
            if not (isinstance(number, int) and isinstance(tgid, int) and isinstance(command, str)):
                raise TraceError(f"{file}: a stream that is none")
            for key in [key for key in streams if key[0] == number]:
                del streams[key]
            streams[number, tgid, command] = []
        records = np.frombuffer(transposed, "u1").reshape(ACCESS.itemsize, -1).T.copy().view(ACCESS).reshape(-1)
    except TraceError:
        raise
    except Exception as error:  # whatever the decoders make of bytes from outside
        raise TraceError(f"{file}: {type(error).__name__}: {error}") from error
    return paths, streams, records
