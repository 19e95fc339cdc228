"""Every block of commands in the README and in the documentation runs as it stands there, over a directory of tests.

A document is one shell session in a checkout of its own: what one block mounts the next one may use, and nothing is
there but the sources below `/mnt`, which is a directory of the test's; ports are any free ones. What cannot be run here
is in `NOT_RUN`, with the reason; nothing else is left out.
"""

import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.peers import missing_sftp_server
from tests.conftest import mounts_below
from tests.examples.prometheus_server import PrometheusServer, free_port, needs_prometheus
from tests.examples.promql import expressions, with_variables
from tests.mount.conftest import REPOSITORY, World, drop_pages, eventually

DOCUMENTS = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]

NOT_RUN = {
    r"sudo apt-get install": "it installs packages; test_what_is_installed_is_what_make_installs",
    r"git clone": "the checkout is there",
    r"python3 -m venv": "it fetches a gigabyte from a package index; test_what_is_installed_is_what_make_installs",
    r"make (check|test)\b": "it would run this test",
    r"\S*python -m bench\.": "minutes on the traces of others; tests/bench runs them on small ones",
    r"\S*python -m predictor\.evaluate": "its trace is the reader's; tests/predictor/test_evaluate.py has one",
    r"docker compose": "containers; tests/examples/test_prometheus.py runs Prometheus, and no test runs Grafana",
    r"prometheus --config": "it serves until it is ended; tests/examples/test_prometheus.py does so",
    r"mount -t nfs": "there is no NFS server",
    r"\S*llmfs doctor": "what it says depends on the machine; tests/cli/test_doctor.py runs it",
    r"python examples/watch_hit_rate.py": "it goes on until it is ended; tests/examples/test_programs.py does so",
    r"(DIRECTORY=\S+ .*)?fio ": "a gigabyte for half a minute; tests/examples/test_fio.py runs the jobs on less",
    r"((printf|echo) .*\| )?sudo (cp|mkdir|ln|systemctl|tee|mount)": "it changes the machine;"
    " tests/mount/test_service.py and tests/examples/test_systemd.py mount this way",
}
"""Beginnings of commands that are not run, and why."""

SERVERS = {"sshfs": "ssh/project", "rclone": "s3/bucket"}
"""Programs that mount what a server has, where they are installed, and where below `/mnt`. Else that lies there."""

SESSION_S = 300
DATA_TIMEOUT_S = 90

_SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_TOML = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
_UNNAMED = re.compile(r"^```(?:|bash|shell|console)\n", re.MULTILINE)
_CHECKOUT = ("llmfs", "predictor", "bench", "examples", "pyproject.toml")


def commands(text: str) -> list[str]:
    """The lines of all blocks, continued ones joined, without comments at their ends."""
    lines = "".join(_SHELL.findall(text)).replace("\\\n", " ").splitlines()
    return [line for line in (re.sub(r"\s+#\s.*", "", line).strip() for line in lines) if line]


def is_run(line: str) -> bool:
    program = line.split()[0]
    if program in SERVERS:
        return has_server(program)
    return not any(re.match(pattern, line) for pattern in NOT_RUN)


def has_server(program: str) -> bool:
    return shutil.which(program) is not None and (program != "sshfs" or not missing_sftp_server())


class Session:
    """A checkout in a home directory, the programs that the documents name, and sources below `mnt`."""

    def __init__(self, world: World, port: int = 0) -> None:
        self._world = world
        self._port = port
        self.home = world.root / "home"
        self.checkout = self.home / "llmfs"
        self.mnt = world.root / "mnt"
        self._programs = world.root / "bin"
        self._remote = world.root / "remote"
        ignored = shutil.ignore_patterns("__pycache__", "out")
        for name in _CHECKOUT:
            if (REPOSITORY / name).is_dir():
                shutil.copytree(REPOSITORY / name, self.checkout / name, ignore=ignored)
            else:
                shutil.copy(REPOSITORY / name, self.checkout / name)
        self._install()
        for place in ("nas/project", "slow/dataset"):
            _fill(self.mnt / place)
        for program, place in SERVERS.items():
            _fill((self._remote if has_server(program) else self.mnt) / place)

    def run(self, document: str) -> None:
        """What the blocks of a document say. The first TOML file that it shows is ~/llmfs.toml."""
        for text in _TOML.findall(document)[:1]:
            (self.home / "llmfs.toml").write_text(text)
        lines = [line for line in commands(document) if is_run(line)]
        script = "\n".join(lines).replace("/mnt/", f"{self.mnt}/").replace("9464", str(self._port))
        done = subprocess.run(
            ["bash", "-eux", "-o", "pipefail", "-c", script],
            cwd=self.checkout,
            capture_output=True,
            text=True,
            errors="replace",  # what is read there is random
            timeout=SESSION_S,
            check=False,
            env=self._environment(),
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

    def close(self) -> None:
        for mountpoint in mounts_below(self._world.root):
            end = [sys.executable, "-m", "llmfs", "umount", mountpoint]
            if mountpoint in [self.mnt / place for place in SERVERS.values()]:
                end = ["fusermount3", "-u", mountpoint]
            subprocess.run(end, check=False, timeout=60, env=self._environment())

    def _install(self) -> None:
        python = shlex.quote(sys.executable)
        server = shlex.quote(f"{self._remote}/ssh")
        bin_ = self.checkout / ".venv" / "bin"
        for program, script in (
            (self._programs / "llmfs", f'exec {python} -m llmfs "$@"'),
            (bin_ / "llmfs", f'exec {python} -m llmfs "$@"'),
            (self._programs / "python", f'exec {python} "$@"'),
            (bin_ / "python", f'exec {python} "$@"'),
            # What sshfs has on the other side of the line: the server's own program.
            (self._programs / "ssh", f"PATH=$PATH:/usr/lib/openssh:/usr/libexec/openssh exec sftp-server -d {server}"),
        ):
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)

    def _environment(self) -> dict[str, str]:
        environment = self._world.environment(
            {
                "HOME": str(self.home),
                "PATH": f"{self._programs}:{os.environ['PATH']}",
                "RCLONE_CONFIG_BUCKET_TYPE": "alias",
                "RCLONE_CONFIG_BUCKET_REMOTE": str(self._remote / "s3/bucket"),
            }
        )
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            environment.pop(name, None)
        return environment


def _fill(root: Path) -> None:
    for name, size in (("src/model.py", 3000), ("src/train.py", 9000), ("data/shard-00.tar", 400_000)):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))


@pytest.fixture
def session(world: World) -> Iterator[Session]:
    session = Session(world)
    yield session
    session.close()


@pytest.mark.parametrize(
    "document",
    [each for each in DOCUMENTS if any(map(is_run, commands(each.read_text())))],
    ids=lambda path: str(path.relative_to(REPOSITORY)),
)
def test_commands_run_as_they_stand(document: Path, session: Session) -> None:
    session.run(document.read_text())


@needs_prometheus
def test_the_readme_leads_to_a_dashboard_with_data(world: World) -> None:
    """Its first blocks; in place of the containers Debian's Prometheus, with the configuration that they would have."""
    port = free_port()
    session = Session(world, port)
    _, _, section = (REPOSITORY / "README.md").read_text().partition("\n## Start\n")
    try:
        session.run(section.partition("\n## ")[0])
        project = session.home / "project"
        with PrometheusServer(world.root / "prometheus", port) as server:
            wanted = {asked for where, asked in expressions() if where.startswith("llmfs.json")}
            assert len(wanted) > 20

            def missing() -> set[str]:
                _use(project)
                for asked in list(wanted):
                    found = server.query(with_variables(asked))
                    if any(not math.isnan(float(sample["value"][1])) for sample in found):
                        wanted.discard(asked)
                return wanted

            try:
                eventually(lambda: not missing(), DATA_TIMEOUT_S)
            except pytest.fail.Exception:
                pytest.fail("no data for " + "\n".join(sorted(wanted)))
    finally:
        session.close()


def _use(project: Path) -> None:
    """A program that writes a file, reads all there are, and one that it has not read before."""
    (project / "data" / f"new-{len(os.listdir(project / 'data')):04}").write_bytes(os.urandom(300_000))
    for path in sorted(project.rglob("*")):
        if path.is_file():
            path.read_bytes()
            drop_pages(path)


def test_what_is_installed_is_what_make_installs() -> None:
    """The two commands that no test runs, in each document that has them."""
    makefile = (REPOSITORY / "Makefile").read_text()
    packages = set(" ".join(re.findall(r"^(?:TEST_)?PACKAGES := (.*)", makefile, re.MULTILINE)).split())
    (torch,) = re.findall(r"^TORCH := (.*)", makefile, re.MULTILINE)
    lines = [line for document in DOCUMENTS for line in commands(document.read_text())]
    installed = [line.split()[3:] for line in lines if line.startswith("sudo apt-get install")]
    assert installed and all(set(names) <= packages for names in installed)
    builds = [set(names) for names in installed if "fuse3" in names]
    assert builds and all({"libfuse3-dev", "pkg-config", "gcc", "python3-venv"} <= names for names in builds)
    environments = [line for line in lines if line.startswith("python3 -m venv")]
    assert environments and all(f"pip install {torch} ." in line for line in environments)


def test_every_reason_is_needed_and_names_tests_that_there_are() -> None:
    lines = [line for document in DOCUMENTS for line in commands(document.read_text())]
    for pattern, reason in NOT_RUN.items():
        assert any(re.match(pattern, line) for line in lines), f"nothing is left out by {pattern}"
        assert all((REPOSITORY / name).exists() for name in re.findall(r"tests/[\w/.]*\w", reason)), reason
    assert set(SERVERS) <= {line.split()[0] for line in lines}


def test_blocks_say_what_they_are() -> None:
    """A block of commands under another name would run nowhere."""
    for document in DOCUMENTS:
        blocks = document.read_text().split("\n```")
        opening = "\n```".join(["", *blocks[1::2]])
        assert not _UNNAMED.search(opening), document
