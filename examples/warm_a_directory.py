"""Reads a directory on a mount into its cache, before a job starts: python warm_a_directory.py DIRECTORY [THREADS]

It is what `llmfs warm --wait DIRECTORY` does, with nothing but reads: whatever is read through a mount is cached, and
more than the cache holds would push out what was warmed first. Threads hide the source's latency.
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

CHUNK_BYTES = 1 << 20


def files(directory: str) -> Iterator[str]:
    for place, _, names in os.walk(directory):
        yield from (path for name in names if os.path.isfile(path := os.path.join(place, name)))


def read(path: str) -> int:
    with open(path, "rb", buffering=0) as file:
        return sum(len(chunk) for chunk in iter(lambda: file.read(CHUNK_BYTES), b""))


def main(directory: str, threads: int = 16) -> None:
    with ThreadPoolExecutor(threads) as pool:
        sizes = list(pool.map(read, files(directory)))
    print(f"{len(sizes)} files, {sum(sizes) / 1e6:.1f} MB read")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
