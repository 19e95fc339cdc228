"""The unit is one that systemd accepts, and its commands mount, unmount and clean up.

Its commands are carried out here as systemd would, without systemd: this holds for the words, not for the hardening.
"""

import configparser
import contextlib
import os
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import needs_fuse
from tests.conftest import mounts_below
from tests.examples.conftest import EXAMPLES
from tests.mount.conftest import World

UNIT = EXAMPLES / "systemd" / "llmfs@.service"
INSTALLED = "/usr/local/bin/llmfs"

# Each gives the service a mount namespace of its own, from which no mount comes out: systemd.exec(5).
HIDES_THE_MOUNT = {
    "BindPaths", "BindReadOnlyPaths", "DynamicUser", "ExecPaths", "InaccessiblePaths", "MountFlags", "NoExecPaths",
    "PrivateDevices", "PrivateMounts", "PrivateTmp", "ProtectControlGroups", "ProtectHome", "ProtectKernelLogs",
    "ProtectKernelModules", "ProtectKernelTunables", "ProtectProc", "ProtectSystem", "ReadOnlyPaths", "ReadWritePaths",
    "RootDirectory", "TemporaryFileSystem",
}  # fmt: skip


def directives() -> dict[str, str]:
    unit = configparser.RawConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT.read_text())
    return dict(unit["Service"])


# Users set these bits on files in the source: chmod(2) through the mount would fail.
REFUSES_MODES = {"RestrictSUIDSGID"}

NEEDS_SETUID = {"User", "DynamicUser"}
"""Beside `NoNewPrivileges`: fusermount3 could not mount."""

EXPOSURE_MAX = 48
"""Tenths, as `systemd-analyze security` counts. What is left needs a mount namespace, or fewer capabilities."""


class Service:
    """What systemd would do with the unit's commands."""

    def __init__(self, world: World) -> None:
        self.mountpoint = world.root / "mount point"
        self.mountpoint.mkdir()
        self._world = world
        self._notify_socket = str(world.root / "notify")
        self._settings = {
            "SOURCE": str(world.backing),
            "MOUNTPOINT": str(self.mountpoint),
            "OPTIONS": "--cache-size 100M --predictor off",
        }
        self.daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._told() as told:
            self.daemon = subprocess.Popen(self._arguments("ExecStart"), env=self._environment())
            assert told() == "READY=1"

    def reload(self) -> list[str]:
        """What it tells meanwhile."""
        assert self.daemon is not None
        with self._told() as told:
            subprocess.run([*self._arguments("ExecReload")[:-1], str(self.daemon.pid)], check=True, timeout=30)
            return [told(), told()]

    @contextlib.contextmanager
    def _told(self) -> Iterator[Callable[[], str]]:
        """What arrives at the socket of systemd's that Type=notify is about."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
            notifications.settimeout(30)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._notify_socket)
            notifications.bind(self._notify_socket)
            yield lambda: notifications.recv(1000).decode()

    def stop(self) -> None:
        assert self.daemon is not None
        self._run("ExecStop")
        assert self.daemon.wait(timeout=30) == 0
        self._run("ExecStopPost", SERVICE_RESULT="success")

    def die(self) -> None:
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait(timeout=30)
        self._run("ExecStopPost", SERVICE_RESULT="signal")

    def _run(self, directive: str, **more: str) -> None:
        subprocess.run(self._arguments(directive), env=self._environment() | more, check=True, timeout=30)

    def _environment(self) -> dict[str, str]:
        return self._world.environment({**self._settings, "NOTIFY_SOCKET": self._notify_socket})

    def _arguments(self, directive: str) -> list[str]:
        text = directives()[directive].replace("%C", str(self._world.root)).replace("%i", "name")
        arguments = []
        for word in shlex.split(text):
            if word == "$OPTIONS":
                arguments += self._settings["OPTIONS"].split()
                continue
            for name, value in self._settings.items():
                word = word.replace(f"${{{name}}}", value)
            arguments += (
                [sys.executable, "-m", "llmfs"]
                if word == INSTALLED
                else [word.replace(INSTALLED, f"{shlex.quote(sys.executable)} -m llmfs")]
            )
        return arguments


@pytest.fixture
def service(world: World) -> Iterator[Service]:
    service = Service(world)
    yield service
    if service.daemon is not None:
        service.daemon.kill()
        service.daemon.wait()


@needs_fuse
def test_unit_mounts_and_unmounts(service: Service, files: list[Path]) -> None:
    service.start()
    assert (service.mountpoint / files[0].name).read_bytes() == files[0].read_bytes()
    service.stop()
    assert not os.listdir(service.mountpoint)


@needs_fuse
def test_unit_reloads(service: Service) -> None:
    service.start()
    reloading, ready = service.reload()
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=") and ready == "READY=1"
    service.stop()


@needs_fuse
def test_unit_cleans_up_after_a_crash(service: Service, world: World, files: list[Path]) -> None:
    service.start()
    service.die()
    assert not mounts_below(world.root)
    service.start()
    assert (service.mountpoint / files[1].name).read_bytes() == files[1].read_bytes()
    service.stop()


def test_unit_does_not_hide_its_mount_nor_refuse_what_programs_may_do() -> None:
    assert not (HIDES_THE_MOUNT | REFUSES_MODES | NEEDS_SETUID) & set(directives())


@needs_fuse
def test_unit_s_umask_is_for_its_cache_alone(service: Service, world: World) -> None:
    before = os.umask(int(directives()["UMask"], 8))
    try:
        service.start()
    finally:
        os.umask(before)
    (service.mountpoint / "new").touch(0o666)
    assert stat.S_IMODE((world.backing / "new").stat().st_mode) == 0o666 & ~before
    os.chmod(service.mountpoint / "new", 0o6755)
    assert stat.S_IMODE((world.backing / "new").stat().st_mode) == 0o6755
    service.stop()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(INSTALLED, "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", unit]  # our pages are not installed
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_unit_leaves_little_exposed(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(INSTALLED, "/bin/true"))
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", unit]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout
