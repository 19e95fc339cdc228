"""The programs of ours among the workloads: python -m bench.matrix.readers NAME ROOT

Each prints a line of JSON for each part of its work: what the part is called, how many seconds it took from the first
request to the last byte (not the imports, which come from elsewhere), and a digest of what it read. Before each part it
waits for a line on standard input, so that the one who started it can have caches dropped.
"""

import argparse
import glob
import json
import os
import random
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import xxhash

EPOCHS = 4
BATCH = 8
LOOKUPS = 400

Part = tuple[str, Callable[[], str]]


def sqlite(root: Path, _: int) -> Iterator[Part]:
    """Point lookups by number and by name, in one connection."""

    def look_up() -> str:
        chance, digest = random.Random(31), xxhash.xxh3_128()
        connection = sqlite3.connect(f"file:{root}/rows.db?mode=ro", uri=True)
        try:
            for _ in range(LOOKUPS // 2):
                name, payload = connection.execute(
                    "select name, payload from rows where id = ?", (chance.randrange(120_000),)
                ).fetchone()
                digest.update(payload.encode())
                found = connection.execute("select id from rows where name = ?", (name,)).fetchone()
                digest.update(repr(found).encode())
        finally:
            connection.close()
        return digest.hexdigest()

    yield "lookups", look_up


def duckdb(root: Path, _: int) -> Iterator[Part]:
    """Queries over all files that need some columns, and some row groups, of them."""
    import duckdb as engine

    files = f"read_parquet('{root}/day-*.parquet')"
    queries = (
        f"select day, round(avg(wind), 6) from {files} group by day order by day",  # noqa: S608
        f"select station, count(*), round(sum(rain), 4) from {files} where day in (3, 7) group by 1 order by 1",  # noqa: S608
        f"select max(heat), min(note) from {files} where station = 77 and sun > 0.5",  # noqa: S608
    )

    def ask() -> str:
        digest = xxhash.xxh3_128()
        with engine.connect(config={"threads": 2}) as connection:
            for query in queries:
                digest.update(repr(connection.execute(query).fetchall()).encode())
        return digest.hexdigest()

    yield "queries", ask


def safetensors(root: Path, _: int) -> Iterator[Part]:
    """All tensors of all shards, through a mapping."""
    from safetensors import safe_open

    def load() -> str:
        digest = xxhash.xxh3_128()
        for shard in sorted(glob.glob(f"{root}/*.safetensors")):
            with safe_open(shard, framework="np") as tensors:
                for name in sorted(tensors.keys()):
                    digest.update(tensors.get_tensor(name).data)
        return digest.hexdigest()

    yield "load", load


class _Samples:
    """A map-style data set of files. Its pages leave the kernel as they come: as if memory were small beside it."""

    def __init__(self, root: Path) -> None:
        self._paths = sorted(glob.glob(f"{root}/*/*.bin"))

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> int:
        with open(self._paths[index], "rb", buffering=0) as file:
            content = file.read()
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return xxhash.xxh3_64_intdigest(content, index)


def _epochs(root: Path, seed: int, *, is_shuffled: bool) -> Iterator[Part]:
    import torch
    from torch.utils.data import DataLoader

    def epoch() -> str:
        # The list of files is part of an epoch, as programs make it: of the first.
        if not loaders:
            order = torch.Generator().manual_seed(seed)
            loaders.append(
                DataLoader(
                    _Samples(root),  # type: ignore[arg-type]
                    batch_size=BATCH,
                    shuffle=is_shuffled,
                    num_workers=2,
                    collate_fn=sum,
                    generator=order,
                )
            )
        return f"{sum(loaders[0]) % (1 << 64):016x}"

    loaders: list[DataLoader[int]] = []
    torch.set_num_threads(1)
    for number in range(1, EPOCHS + 1):
        yield f"epoch {number}", epoch


def loader_in_order(root: Path, seed: int) -> Iterator[Part]:
    return _epochs(root, seed, is_shuffled=False)


def loader_shuffled(root: Path, seed: int) -> Iterator[Part]:
    return _epochs(root, seed, is_shuffled=True)


READERS = {reader.__name__: reader for reader in (sqlite, duckdb, safetensors, loader_in_order, loader_shuffled)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.matrix.readers")
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("root", type=Path)
    parser.add_argument("--seed", type=int, default=1, help="of what is random: another order in each round")
    args = parser.parse_args()
    for name, read in READERS[args.reader](args.root, args.seed):
        if not sys.stdin.readline():
            return
        began_s = time.monotonic()
        digest = read()
        print(json.dumps({"part": name, "seconds": time.monotonic() - began_s, "digest": digest}), flush=True)


if __name__ == "__main__":
    main()
