"""One fio run, and what it measured."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


class FioMissingError(RuntimeError):
    """fio is not installed; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Reads:
    """What one job of reads came to."""

    requests_s: float
    bytes_s: float
    latency_p50_us: float
    latency_p99_us: float


def read(
    file: Path,
    *,
    block_bytes: int,
    seconds: float | None = None,
    once: bool = False,
    is_direct: bool = False,
    jobs: int = 1,
    seed: int = 1,
) -> Reads:
    """Reads an existing file at random for `seconds`, or each of its blocks `once`.

    is_direct bypasses the page cache of the filesystem that `file` is on, so that each read is a request.
    Raises FioMissingError, RuntimeError.
    """
    if shutil.which("fio") is None:
        raise FioMissingError("fio is not installed: apt-get install fio")
    if (seconds is None) is not once:
        raise ValueError("either for some seconds or once")
    command = [
        "fio",
        "--name=read",
        f"--filename={file}",
        "--readonly",
        "--rw=randread",
        f"--bs={block_bytes}",
        f"--numjobs={jobs}",
        f"--randseed={seed}",
        f"--direct={int(is_direct)}",
        "--thread",
        "--ioengine=psync",
        "--invalidate=0",  # what is cached when it starts is the caller's business
        "--group_reporting",
        "--output-format=json",
    ]
    if seconds is not None:
        command += ["--time_based", f"--runtime={seconds}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"fio: {result.stderr.strip() or result.stdout.strip()}")
    job = json.loads(result.stdout[result.stdout.index("{") :])["jobs"][0]["read"]
    percentiles = job["clat_ns"].get("percentile", {})
    return Reads(
        requests_s=float(job["iops"]),
        bytes_s=float(job["bw_bytes"]),
        latency_p50_us=float(percentiles.get("50.000000", 0)) / 1e3,
        latency_p99_us=float(percentiles.get("99.000000", 0)) / 1e3,
    )
