"""Tools over trees of text: version control, archives, searches, copies, checksums, and pages that a server gives."""

import random
import shutil
import sys
from pathlib import Path

from bench.programs.base import WORDS, run


def tree(root: Path, seed: int = 4, files: int = 260) -> None:
    """Text in directories, with names that words make."""
    chance = random.Random(seed)
    words = WORDS
    for _ in range(files):
        place = root / "tree" / "/".join(chance.choices(words, k=chance.randint(1, 3)))
        place.mkdir(parents=True, exist_ok=True)
        name = f"{chance.choice(words)}-{chance.choice(words)}{chance.choice(('.txt', '.md', '.c', '.py', '.html'))}"
        text = " ".join(chance.choices(words, k=chance.choice((200, 800, 3000, 12000))))
        (place / name).write_text(text)


def git(root: Path) -> None:
    tree = root / "tree"
    shutil.rmtree(tree / ".git", ignore_errors=True)
    run(tree, "git", "init", "-q", "-b", "main")
    run(tree, "git", "add", ".")
    run(tree, "git", "commit", "-q", "-m", "first")
    files = sorted(path for path in tree.rglob("*.txt") if ".git" not in path.parts)
    for number in range(6):
        for path in files[number::12]:
            with path.open("a") as file:
                file.write(f"change {number}\n")
        run(tree, "git", "commit", "-q", "-a", "-m", f"change {number}")
    run(tree, "git", "log", "--stat", "--oneline")
    run(tree, "git", "grep", "-c", "larch")
    run(tree, "git", "checkout", "-q", "HEAD~3")
    run(tree, "git", "checkout", "-q", "main")
    run(tree, "git", "gc", "-q")
    run(tree, "git", "status", "--short")
    run(tree, "git", "log", "-p", "--oneline")


def archives(root: Path) -> None:
    for made in ("copy", "out"):
        shutil.rmtree(root / made, ignore_errors=True)
    (root / "out").mkdir()
    run(root, "tar", "cf", "out/tree.tar", "tree")
    run(root, "gzip", "-k", "out/tree.tar")
    run(root / "out", "tar", "xzf", "tree.tar.gz")
    run(root, "rsync", "-a", "tree/", "copy")
    run(root, "rsync", "-a", "tree/", "copy")  # compares only


def searches(root: Path) -> None:
    run(root, "grep", "-r", "-c", "ginkgo", "tree", status=(0, 1))
    run(root, "find", "tree", "-type", "f", "-size", "+8k")
    run(root, "find", "tree", "-name", "*.py", "-exec", "wc", "-c", "{}", "+")
    run(root, "du", "-s", "tree")
    run(root, "grep", "-r", "-l", "--include=*.md", "juniper rowan", "tree", status=(0, 1))


def zips(root: Path) -> None:
    """Packs, lists, unpacks; packs as another kind."""
    shutil.rmtree(root / "out", ignore_errors=True)
    (root / "out").mkdir()
    run(root, "zip", "-q", "-r", "out/tree.zip", "tree")
    run(root, "unzip", "-q", "out/tree.zip", "-d", "out/unpacked")
    run(root, "tar", "czf", "out/tree.tar.gz", "tree")
    run(root, "tar", "xzf", "out/tree.tar.gz", "-C", "out")


def branches(root: Path) -> None:
    """A history with branches that differ in many files, gone to and fro, and a clone."""
    place = root / "tree"
    shutil.rmtree(place / ".git", ignore_errors=True)
    shutil.rmtree(root / "clone", ignore_errors=True)
    run(place, "git", "init", "-q", "-b", "main")
    run(place, "git", "add", ".")
    run(place, "git", "commit", "-q", "-m", "first")
    files = sorted(path for path in place.rglob("*.*") if ".git" not in path.parts)
    for number in range(3):
        run(place, "git", "checkout", "-q", "-b", f"branch{number}", "main")
        for path in files[number::4]:
            path.write_text(path.read_text() + f"change {number}\n")
        run(place, "git", "commit", "-q", "-a", "-m", f"change {number}")
    for name in ("main", "branch0", "branch1", "branch2", "main"):
        run(place, "git", "checkout", "-q", name)
        run(place, "git", "status", "--short")
    run(place, "git", "diff", "--stat", "branch0", "branch1")
    run(root, "git", "clone", "-q", "--no-local", "tree", "clone")
    run(root / "clone", "git", "log", "--stat", "--all", "--oneline")
    run(place, "git", "blame", str(files[0].relative_to(place)))


def copies(root: Path) -> None:
    """Copies, compares, copies what is newer."""
    for made in ("copy", "other"):
        shutil.rmtree(root / made, ignore_errors=True)
    run(root, "cp", "-r", "tree", "copy")
    run(root, "diff", "-r", "-q", "tree", "copy")
    run(root, "rsync", "-a", "--checksum", "tree/", "copy")
    run(root, "rsync", "-a", "--link-dest", str(root / "copy"), "tree/", "other")
    run(root, "cp", "-r", "-u", "tree", "copy")


def checksums(root: Path) -> None:
    """Of all files in sorted order, and checked against a list that is in none."""
    run(root, "sh", "-c", "find tree -type f | sort | xargs sha256sum > sums")
    lines = (root / "sums").read_text().splitlines()
    random.Random(61).shuffle(lines)
    (root / "sums").write_text("\n".join(lines) + "\n")
    run(root, "sha256sum", "--quiet", "-c", "sums")
    run(root, "sh", "-c", "head -n 90 sums | cut -c 67- | xargs wc -w")


def site(root: Path) -> None:
    """Pages, each with scripts, style sheets and pictures, some of them shared."""
    chance = random.Random(67)
    for kind, suffix, count, size in (("css", "css", 12, 4000), ("js", "js", 20, 12000), ("img", "png", 150, 30000)):
        (root / "site" / kind).mkdir(parents=True)
        for _ in range(count):
            name = f"{chance.choice(WORDS)}-{chance.getrandbits(24):06x}.{suffix}"
            (root / "site" / kind / name).write_bytes(chance.randbytes(chance.randint(size // 2, size)))
    shared = {kind: sorted((root / "site" / kind).iterdir()) for kind in ("css", "js", "img")}
    for number in range(60):
        place = root / "site" / "pages" / WORDS[number % len(WORDS)]
        place.mkdir(parents=True, exist_ok=True)
        chosen = [shared["css"][0], chance.choice(shared["css"]), shared["js"][0], *chance.sample(shared["js"], 2)]
        chosen += chance.sample(shared["img"], 4)
        links = "".join(f"@{path.relative_to(root / 'site')}\n" for path in chosen)
        (place / f"{number}.html").write_text(links + "text " * 500)


_VISITS = """
import os, random, sys
chance = random.Random(int(sys.argv[1]))
pages = sorted(os.path.join(place, name) for place, _, names in os.walk('site/pages') for name in names)
weights = [1 / (1 + number) for number in range(len(pages))]
chance.shuffle(pages)
for page in chance.choices(pages, weights, k=90):
    with open(page) as file:
        links = [line[1:].strip() for line in file if line.startswith('@')]
    for link in links:
        with open(os.path.join('site', link), 'rb') as file:
            while file.read(1 << 16):
                pass
"""


def server(root: Path) -> None:
    """Gives pages and what belongs to them, the popular ones more often."""
    for seed in ("1", "2"):
        run(root, sys.executable, "-c", _VISITS, seed)
