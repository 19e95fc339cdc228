"""What people do all day, a command after the other, each in a process group of its own: many groups, so that a rate of
false positives can be told.

A session works on one tree for as long as its commands last, so that what one command wrote the next one changes. All
chance comes from its seed. Now and then a file is encrypted and its original removed, by hand, as anybody may.
"""

import os
import random
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.guard import trees
from bench.programs.base import WORDS, ProgramFailedError, Workload, missing, run

SEEDS = range(10)
COMMANDS = 320
"""In all more than three thousand groups, the least of which a rate below 0.1% can be said."""

TREE_FILES = 150
BY_HAND_MAX = 2
"""Files that a session encrypts by hand and removes: a few a day are a person's right."""

_ENCRYPT = ("openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-iter", "10", "-k", "x")
_TABLE = """
import csv, sys
rows = list(csv.reader(open(sys.argv[1], newline='')))
csv.writer(open(sys.argv[1], 'w', newline='')).writerows(sorted(rows, key=str) + [['9', '0.5', 'new']])
"""
_DOCUMENT = """
import json, sys
known = json.load(open(sys.argv[1]))
known['n'].append(len(known['n']))
json.dump(known, open(sys.argv[1], 'w'), indent=1)
"""
_PICTURES = """
import os, random, sys
for path in sys.argv[1:]:
    head, size = open(path, 'rb').read(12), os.path.getsize(path)
    open(path + '.tmp', 'wb').write(head + random.Random(path).randbytes(int(.8 * size)))
    os.replace(path + '.tmp', path)
"""
_EDITED = """
import os, sys
path = sys.argv[1]
data = open(path, 'rb').read()
os.rename(path, path + '~')
open(path, 'wb').write(data.replace(b'oak', b'elm') + b'one more line')
"""
_DATABASE = """
import sqlite3
base = sqlite3.connect('notes.db')
base.execute('create table if not exists t(n integer, s text)')
base.executemany('insert into t values(?, ?)', [(n, hex(n ** 9)) for n in range(300)])
base.commit()
"""


class Session:
    """One tree, and the commands that are run on it."""

    def __init__(self, root: Path, seed: int) -> None:
        self._root = root
        self._chance = random.Random(seed)
        self._number = 0
        self._by_hand = 0
        self._found: list[str] = []
        self._directories: list[str] = []

    def run(self) -> None:
        """A command may fail, as on any day. Raises ProgramFailedError where many do."""
        kinds = [kind for kind, needs in _KINDS if not missing(needs, ())]
        failed = 0
        for self._number in range(COMMANDS):
            self._look()
            try:
                self._chance.choice(kinds)(self)
            except ProgramFailedError:
                failed += 1
                if failed > COMMANDS // 10:
                    raise

    # --- what there is

    def _look(self) -> None:
        """All files and directories, once for each command: a walk takes longer than most commands."""
        walked = [(place, names) for place, _, names in os.walk(self._root / "tree") if ".git" not in Path(place).parts]
        self._directories = sorted(place for place, _ in walked)
        self._found = sorted(f"{place}/{name}" for place, names in walked for name in names if name[0] != ".")

    def _files(self, ending: str, count: int = 1) -> list[str]:
        """Some files of the tree whose names end so."""
        found = [path for path in self._found if path.endswith(ending)]
        return self._chance.sample(found, min(count, len(found)))

    def _one(self, ending: str = "") -> str:
        """One whose name ends so, or any. Raises ProgramFailedError where none is left."""
        for file in self._files(ending) or self._files(""):
            return file
        raise ProgramFailedError("no file is left")

    def _directory(self) -> str:
        return self._chance.choice(self._directories)

    def _new(self, ending: str = "") -> str:
        return str(self._root / f"{self._chance.choice(WORDS)}-{self._number:03}{ending}")

    def _do(self, *command: str) -> None:
        run(self._root, *command)

    def _on(self, ending: str, count: int, *command: str) -> None:
        """A command on some files, if there are any."""
        files = self._files(ending, count)
        if files:
            self._do(*command, *files)

    # --- what is done

    def copy(self) -> None:
        self._on("", 6, "cp", "-p", "-t", self._directory(), "--backup=numbered")

    def copy_all(self) -> None:
        self._do("cp", "-r", self._directory(), self._new())

    def move(self) -> None:
        file = self._one()
        self._do("mv", file, f"{self._directory()}/{self._number}-{Path(file).name}")

    def remove(self) -> None:
        self._on("", 1, "rm")

    def overwrite_and_remove(self) -> None:
        self._on(".txt", 1, "shred", "-n", "1", "-u")

    def pack(self) -> None:
        self._do("tar", "czf", self._new(".tar.gz"), self._directory())

    def pack_to_zip(self) -> None:
        self._do("zip", "-q", "-r", "-e", "-P", "x", self._new(".zip"), self._directory())

    def compress(self) -> None:
        self._on(".txt", 3, "gzip", "-f")

    def expand(self) -> None:
        self._on(".gz", 3, "gunzip", "-f")

    def substitute(self) -> None:
        words = self._chance.sample(WORDS, 2)
        self._on(".txt", 5, "sed", "-i", f"s/{words[0]}/{words[1]}/g")

    def substitute_with_backup(self) -> None:
        self._on(".html", 3, "perl", "-pi.bak", "-e", "s/body/main/")

    def sort(self) -> None:
        file = self._one(".csv")
        self._do("sort", "-o", file, file)

    def encode(self) -> None:
        file = self._one(".jpg")
        self._do("sh", "-c", 'base64 "$0" > "$1"', file, self._new(".b64"))

    def split(self) -> None:
        file = self._one()
        self._do("split", "-b", "4k", file, self._new("."))

    def edit(self) -> None:
        self._on(".md", 1, sys.executable, "-c", _EDITED)

    def change_a_table(self) -> None:
        self._on(".csv", 1, sys.executable, "-c", _TABLE)

    def change_a_document(self) -> None:
        self._on(".json", 1, sys.executable, "-c", _DOCUMENT)

    def change_pictures(self) -> None:
        self._on(".jpg", 8, sys.executable, "-c", _PICTURES)

    def fill_a_database(self) -> None:
        self._do(sys.executable, "-c", _DATABASE)

    def back_up(self) -> None:
        self._do("rsync", "-a", "--delete", "tree/", "copy")

    def check(self) -> None:
        self._do("sh", "-c", 'find "$0" -type f -exec sha256sum {} + > "$1"', self._directory(), self._new(".sums"))

    def commit(self) -> None:
        self._do(
            "sh", "-c", 'cd "$0" && git init -q && git add . && git commit -q -m x --allow-empty && git gc -q',
            self._directory(),
        )  # fmt: skip

    def encrypt_a_backup(self) -> None:
        self._do(
            "sh", "-c", 'tar cz "$0" | openssl enc -aes-256-ctr -pbkdf2 -iter 10 -k x -out "$1"', self._directory(),
            self._new(".tgz.enc"),
        )  # fmt: skip

    def encrypt_a_copy(self) -> None:
        file = self._one()
        self._do(*_ENCRYPT, "-in", file, "-out", f"{file}.aes")

    def encrypt_by_hand(self) -> None:
        """One file, and its original is removed."""
        self._by_hand += 1
        if self._by_hand > BY_HAND_MAX:
            return self.encrypt_a_copy()
        file = self._one(".pdf")
        command = f'{" ".join(_ENCRYPT)} -in "$0" -out "$0.enc" && rm "$0"'
        return self._do("sh", "-c", command, file)


_KINDS: tuple[tuple[Callable[[Session], None], tuple[str, ...]], ...] = (
    (Session.copy, ()), (Session.copy_all, ()), (Session.move, ()), (Session.remove, ()),
    (Session.overwrite_and_remove, ("shred",)), (Session.pack, ("tar", "gzip")), (Session.pack_to_zip, ("zip",)),
    (Session.compress, ("gzip",)), (Session.expand, ("gunzip",)), (Session.substitute, ("sed",)),
    (Session.substitute_with_backup, ("perl",)), (Session.sort, ()), (Session.encode, ("base64",)),
    (Session.split, ()), (Session.edit, ()), (Session.change_a_table, ()), (Session.change_a_document, ()),
    (Session.change_pictures, ()), (Session.fill_a_database, ()), (Session.back_up, ("rsync",)), (Session.check, ()),
    (Session.commit, ("git",)), (Session.encrypt_a_backup, ("openssl",)), (Session.encrypt_a_copy, ("openssl",)),
    (Session.encrypt_by_hand, ("openssl",)),
)  # fmt: skip
"""What is done, and the programs that it takes."""


def _prepare(root: Path, seed: int) -> None:
    (root / "tree").mkdir()
    trees.make(root / "tree", 1000 + seed, TREE_FILES)


def _run(root: Path, seed: int) -> None:
    Session(root, seed).run()


SESSIONS = tuple(Workload(f"session-{seed}", partial(_prepare, seed=seed), partial(_run, seed=seed)) for seed in SEEDS)
