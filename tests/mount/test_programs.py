"""Real programs do real work on a mount: what they leave behind is what they would have left in a plain directory."""

import base64
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from tests.mount.conftest import Mounted, World
from tests.mount.trees import differences, make_mixed, snapshot

TIMEOUT_S = 120


def run(*command: "str | Path", cwd: Path | None = None, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, errors="replace",
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"there is no {program}")


@pytest.fixture
def slow(world: World) -> Path:
    return world.slow_source(0.0002, attr_timeout_s=0, entry_timeout_s=0)


@pytest.fixture
def m(world: World, slow: Path) -> Mounted:
    return world.mount(source=slow)


@needs("rsync")
def test_rsync_into_and_out_of_the_mount_leaves_no_difference(world: World, m: Mounted) -> None:
    tree, copy = world.root / "tree", world.root / "copy"
    tree.mkdir()
    make_mixed(tree, crowd=300)
    inside = m / "inside"
    run("rsync", "-aHX", f"{tree}/", f"{inside}/")
    assert run("rsync", "-naicHX", f"{tree}/", f"{inside}/") == ""
    run("rsync", "-aHX", f"{inside}/", f"{copy}/")
    assert run("rsync", "-naicHX", f"{tree}/", f"{copy}/") == ""
    assert run("rsync", "-naicHX", f"{tree}/", f"{world.backing / 'inside'}/") == ""
    m.remount()
    assert run("rsync", "-naicHX", f"{tree}/", f"{inside}/") == ""


@needs("tar")
def test_tar_goes_round(world: World, m: Mounted) -> None:
    tree = world.root / "tree"
    tree.mkdir()
    make_mixed(tree, crowd=100)
    expected = snapshot(tree)
    options = ("--xattrs", "--sparse", "--format=posix")
    run("tar", "-C", tree, *options, "-cf", m / "archive.tar", ".")
    (m / "unpacked").mkdir()
    run("tar", "-C", m / "unpacked", *options, "--xattrs-include=user.*", "-xpf", m / "archive.tar")

    def comparable(shown: dict[bytes, tuple[object, ...]]) -> dict[bytes, tuple[object, ...]]:
        return {path: facts[:6] + facts[7:] for path, facts in shown.items()}  # but for st_blocks

    assert differences(comparable(expected), comparable(snapshot(m / "unpacked"))) == []
    run("tar", "-C", m / "unpacked", *options, "-cf", world.root / "again.tar", ".")
    (world.root / "out").mkdir()
    run("tar", "-C", world.root / "out", *options, "--xattrs-include=user.*", "-xpf", world.root / "again.tar")
    assert differences(comparable(expected), comparable(snapshot(world.root / "out"))) == []


@needs("git")
def test_git_commits_clones_packs_and_checks(world: World, m: Mounted) -> None:
    identity = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "HOME": os.fspath(world.root)} | {
        f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }

    def git(*words: "str | Path", at: Path = m / "work") -> str:
        return run("git", "-C", at, *words, **identity)

    (m / "work").mkdir()
    git("init", "-q", "-b", "main")
    for round_ in range(4):
        for i in range(25):
            (m / "work" / f"file-{i}.txt").write_text(f"round {round_}, file {i}\n" * (i + 1))
        git("add", "-A")
        git("commit", "-qm", f"round {round_}")
    git("checkout", "-qb", "topic", "HEAD~2")
    (m / "work" / "file-3.txt").unlink()
    git("commit", "-qam", "without it")
    git("merge", "-qm", "merge", "--strategy-option=theirs", "main~3")
    assert git("status", "--porcelain") == ""
    git("gc", "-q", "--aggressive", "--prune=now")
    git("fsck", "--full", "--strict")
    git("clone", "-q", "--no-hardlinks", m / "work", m / "clone", at=m.path)
    git("fsck", "--full", "--strict", at=m / "clone")
    assert git("rev-parse", "topic") == git("rev-parse", "HEAD", at=m / "clone")
    m.remount()
    git("fsck", "--full", "--strict")
    assert git("status", "--porcelain", at=m / "clone") == ""
    git("fsck", "--full", "--strict", at=world.backing / "clone")


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_sqlite_under_a_write_load_stays_whole(world: World, m: Mounted, journal: str) -> None:
    path = m / "data.db"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=60, isolation_level=None)

    def checked(connection: sqlite3.Connection, statement: str, *values: object) -> list[tuple[object, ...]]:
        return connection.execute(statement, values).fetchall()

    first = connect()
    assert checked(first, f"PRAGMA journal_mode={journal}") == [(journal.lower(),)]
    first.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, writer INT, n INT, data BLOB)")
    first.execute("CREATE INDEX by_writer ON t (writer, n)")
    first.close()
    failures: list[BaseException] = []
    count = 40

    def write(writer: int) -> None:
        try:
            connection = connect()
            for n in range(count):
                connection.execute("BEGIN IMMEDIATE")
                for part in range(5):
                    data = bytes([writer, n % 256, part]) * 500
                    connection.execute("INSERT INTO t (writer, n, data) VALUES (?, ?, ?)", (writer, n * 5 + part, data))
                if n % 4 == 3:
                    connection.execute("DELETE FROM t WHERE writer=? AND n=?", (writer, n * 5))
                connection.execute("COMMIT")
            connection.close()
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join(TIMEOUT_S)
    assert not failures and not any(thread.is_alive() for thread in writers), failures
    expected = [(writer, count * 5 - count // 4) for writer in range(3)]
    for place in (path, world.backing / "data.db"):
        connection = sqlite3.connect(place)
        assert checked(connection, "PRAGMA integrity_check") == [("ok",)]
        assert checked(connection, "SELECT writer, count(*) FROM t GROUP BY writer ORDER BY writer") == expected
        for writer, n, data in checked(connection, "SELECT writer, n, data FROM t"):
            assert isinstance(n, int) and isinstance(writer, int)
            assert data == bytes([writer, n // 5 % 256, n % 5]) * 500
        connection.close()
    m.remount()
    connection = connect()
    assert checked(connection, "PRAGMA integrity_check") == [("ok",)]
    connection.close()


def _make_wheel(directory: Path) -> Path:
    """A package of a few dozen modules, as small as a wheel can be."""
    files = {f"tiny_package/part_{i}.py": f"VALUE = {i}\n" * 50 for i in range(40)}
    files["tiny_package/__init__.py"] = "from tiny_package.part_7 import VALUE\n"
    files["tiny_package/data/table.bin"] = "x" * 200_000
    info = "tiny_package-1.0.dist-info"
    files[f"{info}/METADATA"] = "Metadata-Version: 2.1\nName: tiny-package\nVersion: 1.0\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record.append(f"{name},sha256={digest},{len(text)}\n")
    files[f"{info}/RECORD"] = "".join([*record, f"{info}/RECORD,,\n"])
    wheel = directory / "tiny_package-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


def test_pip_installs_into_an_environment_on_the_mount(world: World, m: Mounted) -> None:
    wheel = _make_wheel(m.path)
    run(sys.executable, "-m", "venv", "--without-pip", "--symlinks", m / "venv")
    python = m / "venv" / "bin" / "python"
    pip = ("-m", "pip", "--python", python, "--disable-pip-version-check", "--no-cache-dir")
    isolated = {"PIP_CONFIG_FILE": "/dev/null", "PYTHONPATH": ""}
    run(sys.executable, *pip, "install", "--no-index", "--no-deps", wheel, **isolated)
    says = "import tiny_package; print(tiny_package.VALUE, tiny_package.__file__)"
    shown = run(python, "-c", says, **isolated)
    assert shown.startswith(f"7 {m / 'venv'}")
    m.remount()
    assert run(python, "-c", says, **isolated) == shown
    run(sys.executable, *pip, "uninstall", "-y", "tiny-package", **isolated)
    assert not list((world.backing / "venv").rglob("tiny_package*"))


@needs("gcc")
@needs("make")
def test_c_project_is_built_and_runs(m: Mounted) -> None:
    parts = 8
    project = m / "project"
    project.mkdir()
    (project / "parts.h").write_text("".join(f"int part_{i}(int);\n" for i in range(parts)))
    for i in range(parts):
        (project / f"part_{i}.c").write_text(f'#include "parts.h"\nint part_{i}(int x) {{ return x + {i}; }}\n')
    calls = " + ".join(f"part_{i}(0)" for i in range(parts))
    (project / "main.c").write_text(
        f'#include <stdio.h>\n#include "parts.h"\nint main(void) {{ printf("%d\\n", {calls}); return 0; }}\n'
    )
    objects = " ".join(["main.o", *(f"part_{i}.o" for i in range(parts))])
    (project / "Makefile").write_text(f"program: {objects}\n\tgcc -o $@ $^\n%.o: %.c parts.h\n\tgcc -c -o $@ $<\n")
    run("make", "-j2", cwd=project)
    assert run(project / "program") == "28\n"
    (project / "part_1.c").write_text('#include "parts.h"\nint part_1(int x) { return x + 100; }\n')
    built = run("make", "-j2", cwd=project)
    assert built.count("gcc -c") == 1
    assert run(project / "program") == "127\n"
    assert "up to date" in run("make", cwd=project)
