"""Every block of commands in the README and in the documentation runs as it stands there, over a directory of tests.

A document is one shell session in a home directory of its own: what one block mounts the next one may use. `/mnt` is
a directory of the test's, ports are any free ones. What cannot be run here is in `NOT_RUN`, with the reason; nothing
else is left out.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import mounts_below
from tests.mount.conftest import REPOSITORY, World

DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]

NOT_RUN = {
    r"sudo apt-get install": "it installs packages",
    r"python3 -m venv": "it fetches a gigabyte from a package index",
    r"docker compose": "containers of Prometheus and Grafana; tests/examples runs both servers without them",
    r"mount -t nfs": "there is no NFS server",
    r"sshfs ": "there is no SSH server",
    r"rclone mount": "there is no bucket",
    r"\S*llmfs doctor": "what it says depends on the machine; tests/cli/test_doctor.py runs it",
}
"""Beginnings of commands that are not run, and why."""

SESSION_S = 300

_SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_UNNAMED = re.compile(r"^```(?:|bash|shell|console)\n", re.MULTILINE)


def commands(document: Path) -> list[str]:
    """The lines of all its blocks, continued ones joined, without comments at their ends."""
    text = "".join(_SHELL.findall(document.read_text())).replace("\\\n", " ")
    return [line for line in (re.sub(r"\s+#\s.*", "", line).strip() for line in text.splitlines()) if line]


def is_run(line: str) -> bool:
    return not any(re.match(pattern, line) for pattern in NOT_RUN)


def fill(root: Path) -> None:
    for source in ("nas/project", "ssh/project", "s3/bucket"):
        for name, size in (("src/model.py", 3000), ("src/train.py", 9000), ("data/shard-00.tar", 400_000)):
            path = root / source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(size))


@pytest.mark.parametrize(
    "document",
    [each for each in DOCUMENTS if any(map(is_run, commands(each)))],
    ids=lambda path: str(path.relative_to(REPOSITORY)),
)
def test_commands_run_as_they_stand(document: Path, world: World) -> None:
    home, programs, mnt = world.root / "home", world.root / "bin", world.root / "mnt"
    for directory in (home / ".venv" / "bin", home / "project", home / "bucket", programs):
        directory.mkdir(parents=True)
    fill(mnt)
    (home / "llmfs.toml").write_text("[mount]\n")
    for program in (programs / "llmfs", home / ".venv" / "bin" / "llmfs"):
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m llmfs "$@"\n')
        program.chmod(0o755)
    lines = [line for line in commands(document) if is_run(line)]
    script = "\n".join(lines).replace("/mnt/", f"{mnt}/").replace("9464", "0")
    environment = world.environment({"HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}"})
    environment.pop("XDG_CACHE_HOME")
    environment.pop("XDG_DATA_HOME", None)
    try:
        done = subprocess.run(
            ["bash", "-eux", "-o", "pipefail", "-c", script],
            cwd=home,
            capture_output=True,
            text=True,
            errors="replace",  # what is read there is random
            timeout=SESSION_S,
            check=False,
            env=environment,
        )
    finally:
        for mountpoint in mounts_below(world.root):
            subprocess.run([programs / "llmfs", "umount", mountpoint], check=False, timeout=60, env=environment)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_every_reason_is_needed() -> None:
    lines = [line for document in DOCUMENTS for line in commands(document)]
    for pattern in NOT_RUN:
        assert any(re.match(pattern, line) for line in lines), f"nothing is left out by {pattern}"


def test_blocks_say_what_they_are() -> None:
    """A block of commands under another name would run nowhere."""
    for document in DOCUMENTS:
        blocks = document.read_text().split("\n```")
        opening = "\n```".join(["", *blocks[1::2]])
        assert not _UNNAMED.search(opening), document
