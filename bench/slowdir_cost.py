"""What slowdir itself costs: python -m bench.slowdir_cost

Without latency its requests per second and processor time beside those of bindfs, which does nothing but
pass through; with 2 ms of latency how near it comes to one request for each reader in 2 ms. One request is
a 4 KiB read with O_DIRECT.
"""

import os
import shutil
import tempfile
from pathlib import Path

from bench import fio
from bench.peers import bindfs
from bench.slowdir import SlowDir

_FILE_BYTES = 32 << 20
_SECONDS = 2.0


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="slowdir-cost-") as scratch:
        backing, mountpoint = Path(scratch, "backing"), Path(scratch, "mount")
        backing.mkdir()
        mountpoint.mkdir()
        (backing / "file").write_bytes(os.urandom(_FILE_BYTES))
        print(f"{'':24}{'readers':>8}{'requests/s':>12}{'p50 us':>8}{'p99 us':>8}{'CPU s / 10k':>13}")
        for jobs in (1, 4):
            if shutil.which("bindfs"):
                with bindfs(backing, mountpoint) as pid:
                    _report("bindfs", mountpoint, jobs, pid)
            with SlowDir(backing, mountpoint, latency_s=0) as slow:
                _report("slowdir", mountpoint, jobs, slow.pid)
        for jobs in (1, 32):
            with SlowDir(backing, mountpoint, latency_s=0.002) as slow:
                _report("slowdir, 2 ms", mountpoint, jobs, slow.pid)


def _report(name: str, mountpoint: Path, jobs: int, pid: int) -> None:
    before_s = cpu_s(pid)
    reads = fio.read(mountpoint / "file", block_bytes=4096, seconds=_SECONDS, is_direct=True, jobs=jobs)
    per_10k = (cpu_s(pid) - before_s) / (reads.requests_s * _SECONDS) * 1e4
    print(
        f"{name:24}{jobs:>8}{reads.requests_s:>12,.0f}{reads.latency_p50_us:>8.0f}"
        f"{reads.latency_p99_us:>8.0f}{per_10k:>13.2f}"
    )


def cpu_s(pid: int) -> float:
    """The processor time that a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
