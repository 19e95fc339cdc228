"""Block traces of many kinds, as arrays of block numbers.

| name ends in            | format                                                                            |
| ----------------------- | --------------------------------------------------------------------------------- |
| `.trace`, five columns  | arrival_ns, device, address and length in 512-byte sectors, type: blocks of 4 KiB  |
| `.trace`, else          | a block number a line, the first column (LIRS)                                    |
| `.trace`, with NUL      | little-endian u32 block numbers                                                   |
| `.lis`                  | start, count, two columns that say nothing (ARC): `count` blocks from `start`      |
| `.oracleGeneral[.bin]`  | libCacheSim's records of 24 bytes; the object is the block                        |
| any other               | an own trace, CSV or Chrome trace (`predictor.interchange`): reads, 128 KiB blocks |

All but the last may be compressed with gzip, xz or zstd, by their ending.
"""

import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import zstandard

from llmfs.blocks import BLOCK_BYTES
from predictor.events import Op
from predictor.interchange import read_any
from predictor.trace import TraceError

Blocks = npt.NDArray[np.uint64]

SECTORS_PER_BLOCK = 8

_ORACLE_GENERAL = np.dtype([("time_s", "<u4"), ("block", "<u8"), ("size_bytes", "<u4"), ("next", "<i8")])
_COMPRESSED = (".gz", ".xz", ".zst")


def find(paths: list[Path]) -> list[Path]:
    """The files to read: those named, and of directories all whose names end like a trace's, in order of name."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        files = sorted(each for each in path.rglob("*") if each.is_file())
        found += [file for file in files if stem(file).suffix in (".trace", ".lis", ".csv", ".pfw", ".oracleGeneral")]
    return found


def name_of(path: Path) -> str:
    return stem(path).stem


def read(path: Path) -> Blocks:
    """The blocks in the order of their requests. Raises TraceError, naming the file, for what is no trace; OSError."""
    name = stem(path)
    if name.suffix in (".csv", ".pfw") or path.is_dir():
        return np.fromiter(_reads(path), np.uint64)
    try:
        data = _decompressed(path)
        if name.suffix == ".oracleGeneral":
            return np.frombuffer(data, _ORACLE_GENERAL)["block"].copy()
        if name.suffix == ".lis":
            return _spans(np.array(_table(data)[:, :2]))
        if name.suffix != ".trace":
            return np.fromiter(_reads(path), np.uint64)
        if b"\0" in data[:4096]:
            return np.frombuffer(data, "<u4").astype(np.uint64)
        table = _table(data)
        if table.shape[1] == 5:
            first, sectors = table[:, 2], table[:, 3]
            count = (first + np.maximum(sectors, 1) - 1) // SECTORS_PER_BLOCK - first // SECTORS_PER_BLOCK + 1
            return _spans(np.stack((table[:, 1] << 40 | first // SECTORS_PER_BLOCK, count), axis=1))
        return cast("Blocks", table[:, 0].astype(np.uint64))
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zstandard.ZstdError) as error:
        raise TraceError(f"{path}: {error}") from error


def stem(path: Path) -> Path:
    """The name without what says how it is compressed, and without `.bin`."""
    while path.suffix in (*_COMPRESSED, ".bin"):
        path = path.with_suffix("")
    return path


def _decompressed(path: Path) -> bytes:
    raw = path.read_bytes()
    match path.suffix:
        case ".gz":
            return gzip.decompress(raw)
        case ".xz":
            return lzma.decompress(raw)
        case ".zst":
            return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)).read()
    return raw


def _table(data: bytes) -> npt.NDArray[np.int64]:
    """Lines of numbers. Lines that are no numbers, as the LIRS traces end with one, are left out."""
    rows = [line.split() for line in data.splitlines()]
    rows = [row for row in rows if row and row[0].lstrip(b"-").isdigit()]
    if not rows:
        raise ValueError("there is no line that begins with a block number")
    width = len(rows[0])
    return np.array([row for row in rows if len(row) == width], np.int64)


def _spans(spans: npt.NDArray[np.int64]) -> Blocks:
    """Rows of (first, count) -> each block of each of them. (N, 2) -> (sum of counts,)"""
    first, count = spans[:, 0], np.maximum(spans[:, 1], 0)
    before = np.cumsum(count) - count
    return (np.repeat(first - before, count) + np.arange(count.sum())).astype(np.uint64)


def _reads(path: Path) -> Iterator[int]:
    for batch in read_any(path):
        rows = batch.records[(batch.records["op"] == Op.READ) & (batch.records["length"] > 0)]
        for file, offset, length in zip(
            rows["path"].tolist(), rows["offset"].tolist(), rows["length"].tolist(), strict=True
        ):
            for block in range(offset // BLOCK_BYTES, (offset + length - 1) // BLOCK_BYTES + 1):
                yield file << 32 | block & 0xFFFFFFFF
