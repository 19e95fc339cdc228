"""Nothing leads out of the source, nothing cached is more readable than it, nothing listens that was not asked to."""

import contextlib
import os
import socket
import stat
import threading
import time
from collections import Counter
from pathlib import Path

from tests.mount.conftest import Mounted, World


def test_racing_symlink_never_leads_out_of_the_source(world: World) -> None:
    """Somebody on the source swaps a directory for a link to another one, again and again, while we read through it."""
    outside = world.root / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"outside")
    inside = world.backing / "inside"
    inside.mkdir()
    (inside / "secret").write_bytes(b"inside!")
    swapped = world.backing / "swapped"
    link = world.backing / "link"
    m = world.mount("--consistency", "strict")
    stop = threading.Event()

    def swap() -> None:
        inside.rename(swapped)
        while not stop.is_set():
            os.symlink(outside, link)
            os.rename(link, world.backing / "door")
            os.unlink(world.backing / "door")
            os.rename(swapped, world.backing / "door")
            os.rename(world.backing / "door", swapped)

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen: Counter[bytes] = Counter()
    deadline_s = time.monotonic() + 30
    try:
        while seen[b"inside!"] < 20 and time.monotonic() < deadline_s:
            with contextlib.suppress(OSError):
                # O_NOFOLLOW on the door: the kernel above us does not follow the link, so only we could.
                door = os.open(m / "door", os.O_PATH | os.O_NOFOLLOW)
                try:
                    with contextlib.suppress(OSError):
                        fd = os.open("secret", os.O_RDONLY, dir_fd=door)
                        seen[os.pread(fd, 100, 0)] += 1
                        os.close(fd)
                finally:
                    os.close(door)
    finally:
        stop.set()
        swapper.join()
    assert set(seen) == {b"inside!"}


def test_cache_is_its_owners_alone(world: World) -> None:
    (world.backing / "file").write_bytes(b"x" * 200_000)
    os.umask(0o022)
    m = world.mount()
    (m / "file").read_bytes()
    m.umount()
    for path in (m.cache_dir, *m.cache_dir.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_dir():
            # What lies in a directory that nobody else may enter is nobody else's, whatever its own mode says.
            assert mode == 0o700, path
    assert stat.S_IMODE(m.cache_dir.stat().st_mode) == 0o700


def _listening(pid: int) -> set[str]:
    """The local addresses, in /proc's notation, on which a process listens."""
    sockets = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
            if target.startswith("socket:["):
                sockets.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                found.add(fields[1].split(":")[0])
    return found


def test_nothing_listens_unless_asked_and_then_on_loopback(world: World) -> None:
    silent: Mounted = world.mount(name="silent")
    assert _listening(silent.pid) == set()
    other = world.root / "other"
    other.mkdir()
    measured = world.mount("--metrics-port", "0", source=other, name="measured")
    assert _listening(measured.pid) == {socket.inet_aton("127.0.0.1")[::-1].hex().upper()}
