"""`python -m bench.screenshots`: pictures of the live page and of `llmfs top`, taken of a mount under load.

A small project and a few shards lie in a directory with 2 ms a request; one program imports and reads them in the same
order again and again, another one jumps about in a file. The cache is emptied before each round, so that what is
learned is what helps. Pictures go to docs/images: small PNGs of the page, an SVG of the terminal.
"""

import argparse
import contextlib
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import browser
from bench.mounted import Llmfs, llmfs
from bench.slowdir import SlowDir
from llmfs.web.address import read_address

ROUNDS = 10
LATENCY_S = 0.002

PICTURES = (("page-light", "light", 1200, 1770), ("page-dark", "dark", 1200, 1770), ("page-phone", "dark", 412, 1500))
"""Of the page: name, theme, width and height in pixels."""

COLORS = 96
"""Of a PNG: the page has few, and a smaller palette makes a third of the file."""

_TRAIN = """
import os, sys, time
root = sys.argv[1]
names = sorted(os.path.join(at, n) for at, _, files in os.walk(root) for n in files if n != "index.db")
for name in names:
    with open(name, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while file.read(1 << 17):
            pass
    time.sleep(0.004)
"""
_SERVE = """
import os, random, sys, time
with open(sys.argv[1], "rb", buffering=0) as file:
    size = os.fstat(file.fileno()).st_size
    while True:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(random.randrange(size // 4096) * 4096)
        file.read(4096)
        time.sleep(0.05)
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.screenshots", description=__doc__.split("\n\n")[0])
    parser.add_argument("--output", type=Path, default=Path("docs/images"), metavar="DIR")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="rounds of load before the pictures")
    chosen = parser.parse_args()
    if browser.find() is None:
        print("there is no chromium: apt-get install chromium", file=sys.stderr)
        return 1
    chosen.output.mkdir(parents=True, exist_ok=True)
    with _loaded(chosen.rounds) as m:
        url = read_address(m.cache_dir)
        assert url is not None
        for name, theme, width, height in PICTURES:
            target = chosen.output / f"{name}.png"
            browser.screenshot(f"{url}#{theme}", target.absolute(), width, height)
            _shrink(target)
            print(f"{target}: {target.stat().st_size / 1000:.0f} kB")
        target = chosen.output / "top.svg"
        _top(m, target)
        print(f"{target}: {target.stat().st_size / 1000:.0f} kB")
    return 0


@contextlib.contextmanager
def _loaded(rounds: int) -> Iterator[Llmfs]:
    """A mount that programs have read through, and go on to."""
    with tempfile.TemporaryDirectory(prefix="llmfs-screenshots-") as scratch:
        root = Path(scratch)
        for name in ("backing", "nas", "project"):
            (root / name).mkdir()
        _fill(root / "backing")
        slow = SlowDir(root / "backing", root / "nas", LATENCY_S)
        with slow, Llmfs(root / "nas", root / "project", root / "cache", "--web", "--cache-size", "256M") as m:
            m.settle()
            serving = subprocess.Popen([sys.executable, "-c", _SERVE, m.mountpoint / "index.db"])
            training = None
            try:
                for _ in range(rounds):
                    subprocess.run([sys.executable, "-c", _TRAIN, m.mountpoint], check=True)
                    llmfs("evict", str(m.mountpoint))
                training = subprocess.Popen([sys.executable, "-c", f"while True:\n{_indented(_TRAIN)}", m.mountpoint])
                time.sleep(3)
                yield m
            finally:
                for process in (serving, training):
                    if process is not None:
                        process.terminate()
                        process.wait()


def _indented(script: str) -> str:
    return "\n".join("  " + line for line in script.splitlines())


def _fill(root: Path) -> None:
    rng = random.Random(7)
    for number in range(60):
        path = root / "src" / ("model", "data", "train")[number % 3] / f"module_{number:02}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(rng.randrange(2_000, 40_000)))
    (root / "shards").mkdir()
    for number in range(24):
        (root / "shards" / f"train-{number:05}.tar").write_bytes(rng.randbytes(1_500_000))
    (root / "index.db").write_bytes(rng.randbytes(20_000_000))
    for path in root.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))


def _top(m: Llmfs, target: Path) -> None:
    """`llmfs top`'s picture, drawn as on a terminal."""
    from rich.console import Console

    from llmfs.commands.top import pairs, render, samples

    before = samples(str(m.mountpoint), 2.0)
    time.sleep(2)
    console = Console(width=110, record=True, file=open(os.devnull, "w"), force_terminal=True, highlight=False)  # noqa: SIM115 (until we leave)
    console.print(render(pairs(before, samples(str(m.mountpoint), 2.0))))
    drawn = console.export_svg(title="llmfs top")
    # Rich has browsers fetch its font from elsewhere; any fixed-width one does.
    target.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL))


def _shrink(target: Path) -> None:
    from PIL import Image  # matplotlib brings it

    with Image.open(target) as picture:
        picture.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
