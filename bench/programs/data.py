"""Data: numbered files, data sets read in order and shuffled, shards, columns, memory maps, a database, logs."""

import gzip
import json
import random
import struct
import sys
from pathlib import Path

from bench.programs.base import WORDS, run


def numbered_files(root: Path) -> None:
    chance = random.Random(5)
    (root / "parts").mkdir()
    for number in range(160):
        (root / "parts" / f"part-{number:05d}.dat").write_bytes(chance.randbytes(chance.choice((20_000, 60_000))))
    (root / "logs").mkdir()
    for number in range(60):
        (root / "logs" / f"{number + 1}.log").write_text(f"line {number}\n" * 2000)


def cat(root: Path) -> None:
    run(root, "sh", "-c", "cat parts/part-*.dat | cksum")
    run(root, "sh", "-c", "for n in $(seq 1 60); do cat logs/$n.log; done | wc -l")
    run(root, "sh", "-c", "for n in $(seq 0 3 159); do head -c 100 parts/part-$(printf %05d $n).dat; done | cksum")


def samples(root: Path, seed: int = 6, files: int = 120) -> None:
    """Classes of samples, their names hashes."""
    chance = random.Random(seed)
    for label in ("cat", "dog", "bird"):
        (root / "samples" / label).mkdir(parents=True)
        for _ in range(files):
            name = f"{chance.getrandbits(40):010x}.bin"
            (root / "samples" / label / name).write_bytes(chance.randbytes(chance.choice((12_000, 40_000, 200_000))))


_LOADER = """
import os, random, sys
place, order, epochs, workers = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
names = sorted(os.path.join(place, name) for place, _, names in os.walk(place) for name in names)
labels = os.path.isdir('labels')
for epoch in range(epochs):
    if order == 'shuffled':
        random.Random(epoch).shuffle(names)
    children = []
    for worker in range(workers):
        child = os.fork()
        if not child:
            for name in names[worker::workers]:
                with open(name, 'rb') as file:
                    file.read()
                if labels:
                    with open('labels' + name[len(place):-4] + '.txt') as file:
                        file.read()
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
"""


def loader(root: Path, order: str, epochs: int = 3, workers: int = 1) -> None:
    """Reads the samples, by so many processes that share them out, `order` being sorted or shuffled."""
    run(root, sys.executable, "-c", _LOADER, "samples", order, str(epochs), str(workers))


def pictures(root: Path) -> None:
    """Numbered pictures, and labels of the same names in a directory of their own."""
    chance = random.Random(71)
    for split in ("train", "val"):
        (root / "samples" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
        for number in range(160 if split == "train" else 40):
            name = f"{number:06d}"
            (root / "samples" / split / f"{name}.jpg").write_bytes(chance.randbytes(chance.randint(8_000, 90_000)))
            (root / "labels" / split / f"{name}.txt").write_text("0 0.5 0.5 0.1 0.1\n" * chance.randint(1, 30))


def shards(root: Path) -> None:
    """Large numbered files, and an index that names them."""
    chance = random.Random(73)
    (root / "samples").mkdir()
    for number in range(40):
        (root / "samples" / f"shard-{number:06d}.tar").write_bytes(chance.randbytes(1 << 20))


_COLUMNS = """
import os, random, struct, sys
chance = random.Random(int(sys.argv[1]))
places = sorted(os.path.join(place, name) for place, _, names in os.walk('table') for name in names)
if sys.argv[2] == 'some':
    places = [place for place in places if 'month=0' in place]
columns = chance.sample(range(12), 3)
for place in places:
    with open(place, 'rb') as file:
        file.seek(-8, os.SEEK_END)
        length, = struct.unpack('q', file.read(8))
        file.seek(-8 - length, os.SEEK_END)
        chunks = struct.unpack(f'{length // 8}q', file.read(length))
        for group in range(len(chunks) // 12):
            for column in columns:
                file.seek(chunks[group * 12 + column])
                file.read(20_000)
"""


def table(root: Path) -> None:
    """Partitions by year and month; in each file chunks of columns, and where they are, at its end (as Parquet)."""
    chance = random.Random(79)
    for year in (2023, 2024):
        for month in range(1, 13):
            place = root / "table" / f"year={year}" / f"month={month:02d}"
            place.mkdir(parents=True)
            for part in range(3):
                chunks = [chance.randbytes(20_000) for _ in range(24)]
                starts = struct.pack("24q", *range(0, 24 * 20_000, 20_000))
                data = b"".join(chunks) + starts + struct.pack("q", len(starts))
                (place / f"part-{part}-{chance.getrandbits(32):08x}.columns").write_bytes(data)


def columns(root: Path) -> None:
    """Queries that read some columns of all files, or of some partitions."""
    for seed, which in (("1", "all"), ("2", "some"), ("3", "all")):
        run(root, sys.executable, "-c", _COLUMNS, seed, which)


_MAPPED = """
import mmap, os, random, sys
chance = random.Random(int(sys.argv[1]))
names = sorted(os.listdir('arrays'))
for name in names if sys.argv[2] == 'sorted' else chance.sample(names, len(names)):
    with open(os.path.join('arrays', name), 'rb') as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        for _ in range(12):
            at = chance.randrange(0, len(view) - 4096)
            bytes(view[at:at + 4096])
"""


def arrays(root: Path) -> None:
    """Arrays to map into memory."""
    chance = random.Random(83)
    (root / "arrays").mkdir()
    for number in range(60):
        (root / "arrays" / f"{chance.choice(WORDS)}_{number:03d}.npy").write_bytes(chance.randbytes(600_000))


def mapped(root: Path) -> None:
    """Reads a few places of each."""
    for seed, order in (("1", "sorted"), ("2", "shuffled")):
        run(root, sys.executable, "-c", _MAPPED, seed, order)


_CHECKPOINT = """
import json, os
for name in ('config.json', 'generation.json', 'tokenizer.json', 'added_tokens.json', 'model.index.json'):
    if os.path.exists(os.path.join('model', name)):
        with open(os.path.join('model', name)) as file:
            known = json.load(file)
for name in known['shards']:
    with open(os.path.join('model', name), 'rb') as file:
        file.read(8)
        file.read(4096)
        while file.read(1 << 18):
            pass
"""


def checkpoint(root: Path) -> None:
    """A model in shards, with settings and an index; several of them."""
    chance = random.Random(89)
    for model in range(4):
        place = root / "models" / f"{WORDS[model]}-{model}b"
        (place / "model").mkdir(parents=True)
        names = [f"model-{number:05d}-of-00012.weights" for number in range(1, 13)]
        for name in names:
            (place / "model" / name).write_bytes(chance.randbytes(700_000))
        for name in ("config.json", "tokenizer.json"):
            (place / "model" / name).write_text(json.dumps({"x": list(range(2000))}))
        (place / "model" / "model.index.json").write_text(json.dumps({"shards": names}))


def load_models(root: Path) -> None:
    """Loads each model."""
    for place in sorted((root / "models").iterdir()):
        run(place, sys.executable, "-c", _CHECKPOINT)


def logs(root: Path) -> None:
    """A file a day and service, some compressed."""
    chance = random.Random(97)
    for service in WORDS[:5]:
        place = root / "logs" / service
        place.mkdir(parents=True)
        for day in range(1, 31):
            lines = [
                f"{chance.randrange(86400):05d} {chance.choice(WORDS)} {chance.getrandbits(40):x}" for _ in range(800)
            ]
            text = "\n".join(lines).encode()
            if day < 20:
                (place / f"2024-06-{day:02d}.log.gz").write_bytes(gzip.compress(text, mtime=0))
            else:
                (place / f"2024-06-{day:02d}.log").write_bytes(text)


def read_logs(root: Path) -> None:
    """Some days of all services, all days of one, the errors of a week."""
    run(root, "sh", "-c", "for s in logs/*; do zcat -f $s/2024-06-1[4-7].log.gz; done | wc -l")
    run(root, "sh", "-c", "zcat logs/birch/*.gz | grep -c larch")
    run(root, "sh", "-c", "for d in 21 22 23 24 25 26 27; do grep -h oak logs/*/2024-06-$d.log; done | wc -l")
    run(
        root,
        "sh",
        "-c",
        "sort -m logs/cedar/*.log | tail -n 1; awk '{n[$2]++} END {print n[\"elm\"]}' logs/alder/*.log",
    )


def database(root: Path) -> None:
    chance = random.Random(7)
    (root / "base").mkdir()
    rows = "".join(f"{n},{chance.randrange(10**6)},{chance.getrandbits(320):x}\n" for n in range(60_000))
    (root / "base" / "rows.csv").write_text(rows)


def sqlite(root: Path) -> None:
    chance = random.Random(8)
    base = root / "base"
    (base / "rows.db").unlink(missing_ok=True)
    load = "create table t(id integer primary key, x integer, s text);\n.import --csv rows.csv t\n"
    run(base, "sqlite3", "rows.db", text=load + "create index x on t(x);")
    for _ in range(3):
        queries = [f"select s from t where id={chance.randrange(60_000)};" for _ in range(100)]  # noqa: S608
        queries += [f"select s from t where x>{chance.randrange(10**6)} limit 5;" for _ in range(30)]  # noqa: S608
        run(base, "sqlite3", "rows.db", text="\n".join(queries))
    run(base, "sqlite3", "rows.db", text="select max(length(s)) from t; select count(distinct x) from t;")
