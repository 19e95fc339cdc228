"""Directories of generated files for the simulator: what people keep, by its kinds, sizes and signatures.

A tree is marked by a file. Nothing but a marked tree is ever attacked (`simulator.py`).
"""

import json
import random
from pathlib import Path

from bench.programs.base import WORDS

MARK = ".llmfs-guard-playground"
_SIGNATURES = {
    "jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "docx": b"PK\x03\x04\x14\x00\x06\x00", "pdf": b"%PDF-1.7\n%\xe2\xe3\n",
    "png": b"\x89PNG\r\n\x1a\n", "mp3": b"ID3\x04\x00\x00", "xlsx": b"PK\x03\x04\x14\x00\x08\x00",
}  # fmt: skip
_KINDS = ("txt", "md", "csv", "json", "html", *_SIGNATURES)


def make(root: Path, seed: int, files: int) -> list[Path]:
    """Makes a marked tree at `root`, which is empty; its files."""
    chance = random.Random(seed)
    (root / MARK).touch()
    made = []
    for number in range(files):
        place = root / "/".join(chance.choices(WORDS, k=chance.randint(0, 3)))
        place.mkdir(parents=True, exist_ok=True)
        kind = chance.choice(_KINDS)
        path = place / f"{chance.choice(WORDS)}-{number:03}.{kind}"
        path.write_bytes(_content(kind, chance, int(chance.lognormvariate(9.3, 1.2)) + 200))
        made.append(path)
    return made


def _content(kind: str, chance: random.Random, size_bytes: int) -> bytes:
    signature = _SIGNATURES.get(kind)
    if signature is not None:
        return signature + chance.randbytes(size_bytes)
    if kind == "csv":
        rows = (f"{n},{chance.random():.4f},{chance.choice(WORDS)}\n" for n in range(size_bytes // 20 + 1))
        return "".join(rows).encode()
    text = " ".join(chance.choices(WORDS, k=size_bytes // 6 + 1))
    if kind == "json":
        return json.dumps({"text": text, "n": list(range(20))}).encode()
    return (f"<html><body>{text}</body></html>" if kind == "html" else text).encode()
