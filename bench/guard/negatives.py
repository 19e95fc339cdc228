"""Programs that do what an attack does, and are none: what the guard must never stop.

Each is a workload as in bench/recorded.py, over text, pictures and archives.
"""

import random
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from bench.guard import trees
from bench.programs import builds, data, python, tools
from bench.programs.base import Workload, run

_GPG = ("gpg", "--batch", "--yes", "--passphrase", "x", "--pinentry-mode", "loopback")
_EDITOR = """
import os, sys
for place, _, names in os.walk('tree'):
    for name in names[:2]:
        path = os.path.join(place, name)
        data = open(path, 'rb').read()
        open(path + '~', 'wb').write(data)
        open(path + '.tmp', 'wb').write(data + b' more')
        os.replace(path + '.tmp', path)
        os.unlink(path + '~')
"""
_CACHE = """
import hashlib, os, random
chance = random.Random(5)
os.makedirs('cache', exist_ok=True)
for n in range(300):
    name = os.path.join('cache', hashlib.sha1(str(chance.randrange(120)).encode()).hexdigest())
    if os.path.exists(name) and chance.random() < .4:
        os.unlink(name)
    else:
        open(name, 'wb').write(chance.randbytes(chance.randrange(500, 40_000)))
"""


def _mixed(root: Path, seed: int = 31, files: int = 120) -> None:
    (root / "tree").mkdir()
    trees.make(root / "tree", seed, files)


def _tar(root: Path) -> None:
    run(root, "tar", "czf", "tree.tar.gz", "tree")
    run(root, "tar", "cJf", "tree.tar.xz", "tree")
    (root / "out").mkdir(exist_ok=True)
    run(root, "tar", "xzf", "tree.tar.gz", "-C", "out")
    run(root, "tar", "cf", "moved.tar", "--remove-files", "-C", "out", "tree")


def _zip(root: Path) -> None:
    run(root, "zip", "-q", "-r", "tree.zip", "tree")
    run(root, "unzip", "-q", "-o", "tree.zip", "-d", "out")
    run(root, "zip", "-q", "-r", "-e", "-P", "x", "encrypted.zip", "tree")
    run(root, "zip", "-q", "-r", "-m", "moved.zip", "out")


def _gpg(root: Path) -> None:
    """Each file into a new one, the originals left; then the archive."""
    with tempfile.TemporaryDirectory() as home:
        command = (*_GPG, "--homedir", home, "--symmetric")
        for path in sorted(root.glob("tree/**/*.*"))[:40]:
            if path.is_file():
                run(root, *command, "-o", f"{path}.gpg", str(path))
        run(root, "sh", "-c", f"tar cf - tree | {' '.join(command)} -o backup.tar.gpg")
        run(root, "gpgconf", "--homedir", home, "--kill", "gpg-agent")


def _openssl(root: Path) -> None:
    (root / "backup").mkdir()
    for path in sorted(root.glob("tree/**/*.*"))[:60]:
        if path.is_file():
            out = root / "backup" / f"{path.name}.aes"
            run(root, "openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-k", "x", "-in", str(path), "-out", str(out))
    run(root, "sh", "-c", "tar cz tree | openssl enc -aes-256-ctr -pbkdf2 -k x -out backup/all.tgz.enc")


def _compressed(root: Path) -> None:
    """Compressors remove what they took in."""
    run(root, "sh", "-c", "find tree -type f -exec gzip {} +")
    run(root, "sh", "-c", "find tree -name '*.gz' -exec gunzip {} +")
    run(root, "sh", "-c", "find tree -type f -size -400k -exec xz -1 {} +")


def _sed(root: Path) -> None:
    run(root, "sh", "-c", "find tree -name '*.txt' -o -name '*.md' | xargs sed -i s/oak/elm/g")
    run(root, "sh", "-c", "find tree -name '*.html' | xargs perl -pi -e s/birch/cedar/")


def _rsync(root: Path) -> None:
    run(root, "rsync", "-a", "tree/", "copy")
    for path in sorted(root.glob("tree/**/*.txt")):
        path.write_text(path.read_text() + " changed")
    run(root, "rsync", "-a", "--delete", "tree/", "copy")
    run(root, "rsync", "-a", "--inplace", "--checksum", "tree/", "copy")


def _gc(root: Path) -> None:
    tools.git(root)
    run(root / "tree", "git", "gc", "-q", "--aggressive", "--prune=now")
    run(root / "tree", "git", "repack", "-a", "-d", "-q", "-f")


def _pip(root: Path) -> None:
    python.pip(root)


def _renames(root: Path) -> None:
    """Pictures get other names, as after a holiday."""
    for number, path in enumerate(sorted(root.glob("tree/**/*.jpg"))):
        path.rename(path.with_name(f"holiday-{number:03}.jpeg"))
    run(root, "sh", "-c", "find tree -name '*.txt' -exec sh -c 'mv $0 $0.bak' {} ';'")


def _program(text: str, root: Path) -> None:
    run(root, sys.executable, "-c", text)


def _image(root: Path) -> None:
    """A container of ciphertext that is written here and there."""
    chance = random.Random(3)
    (root / "container.img").write_bytes(chance.randbytes(4 << 20))
    with open(root / "container.img", "r+b", buffering=0) as file:
        for _ in range(200):
            file.seek(chance.randrange(0, (4 << 20) - 4096, 4096))
            file.write(chance.randbytes(4096))


def _copy(root: Path) -> None:
    shutil.copytree(root / "tree", root / "copied")
    shutil.rmtree(root / "copied")


NEGATIVES = (
    Workload("negative-tar", _mixed, _tar, ("tar", "gzip", "xz")),
    Workload("negative-zip", _mixed, _zip, ("zip", "unzip")),
    Workload("negative-gpg", _mixed, _gpg, ("gpg", "tar")),
    Workload("negative-openssl", _mixed, _openssl, ("openssl", "tar")),
    Workload("negative-gzip", _mixed, _compressed, ("gzip", "xz")),
    Workload("negative-sed", _mixed, _sed, ("sed", "perl")),
    Workload("negative-rsync", _mixed, _rsync, ("rsync",)),
    Workload("negative-git", tools.tree, _gc, ("git",)),
    Workload("negative-gcc", builds.c_project, builds.make, ("make", "gcc")),
    Workload("negative-sqlite", data.database, data.sqlite, ("sqlite3",)),
    Workload("negative-pip", python.wheels, _pip, modules=("pip",)),
    Workload("negative-renames", _mixed, _renames),
    Workload("negative-editor", _mixed, partial(_program, _EDITOR)),
    Workload("negative-cache", lambda root: None, partial(_program, _CACHE)),
    Workload("negative-image", lambda root: None, _image),
    Workload("negative-copy", _mixed, _copy),
)
"""What the project's own words name (tar, zip, gpg, git gc, rsync, compilers, sed -i, pip, database load, encrypted
backup), and some more."""
