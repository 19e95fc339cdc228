"""fsspec's block cache over a directory, mounted by fsspec's own FUSE server: python -m bench.fsspec_mount
SOURCE MOUNTPOINT CACHE_DIR

The nearest relative in Python. Its local files bypass its caches, so they are given here as remote ones are: ranges
that are fetched. fsspec.fuse asks for fusepy, of which mfusepy is the maintained successor.
"""

import argparse
import os
import stat
import sys
from typing import Any

import mfusepy
from fsspec.implementations.cached import CachingFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractBufferedFile

sys.modules["fuse"] = mfusepy
from fsspec.fuse import FUSEr, run  # noqa: E402

_BLOCK_BYTES = 1 << 20


class _File(AbstractBufferedFile):  # type: ignore[misc]
    def _fetch_range(self, start: int, end: int) -> bytes:
        fd = os.open(self.path, os.O_RDONLY)
        try:
            return os.pread(fd, end - start, start)
        finally:
            os.close(fd)


class _Directory(LocalFileSystem):  # type: ignore[misc]
    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any) -> _File:
        options.pop("size", None)
        return _File(self, path, mode, _BLOCK_BYTES, **options)


class _Server(FUSEr):  # type: ignore[misc]
    """fsspec's, which takes permissions as they come: with the kind of file in them, and for the owner 1000."""

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        data: dict[str, Any] = super().getattr(path, fh)
        if "st_mode" in data:
            kind = stat.S_IFDIR if stat.S_ISDIR(data["st_mode"]) else stat.S_IFREG
            data["st_mode"] = kind | stat.S_IMODE(data["st_mode"])
        return data


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fsspec_mount")
    for name in ("source", "mountpoint", "cache_dir"):
        parser.add_argument(name)
    args = parser.parse_args()
    cached = CachingFileSystem(fs=_Directory(), cache_storage=args.cache_dir, check_files=False)
    run(cached, args.source, args.mountpoint, foreground=True, threads=False, ops_class=_Server)


if __name__ == "__main__":
    main()
