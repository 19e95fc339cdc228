"""The rivals, run by libcachesim: python -m bench.eviction.rivals POLICY BLOCKS FILE prints a miss ratio.

A process each, because libcachesim ends the process where a cache is too small for a policy, and because a policy
may take for ever (LRB on small caches). Both are told from a hit ratio: the rival then has none.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np

from bench.eviction.belady import next_uses
from bench.eviction.traces import Blocks

RIVALS = {
    "LRU": "LRU",
    "ARC": "ARC",
    "LIRS": "LIRS",
    "S3-FIFO": "S3FIFO",
    "SIEVE": "Sieve",
    "W-TinyLFU": "WTinyLFU",
    "LeCaR": "LeCaR",
    "Cacheus": "Cacheus",
    "LRB": "LRB",
    "GL-Cache": "GLCache",
    "3L-Cache": "ThreeLCache",
}
"""By the name in the literature: the class in libcachesim."""

MISSING = "libcachesim is not installed, so there are no rivals: pip install 'llmfs[eviction]' (GPL-3)"

_RECORD = np.dtype([("time_s", "<u4"), ("block", "<u8"), ("size_bytes", "<u4"), ("next", "<i8")])
_REQUESTS_PER_SECOND = 100  # block traces have no times; libcachesim wants some


def is_installed() -> bool:
    return importlib.util.find_spec("libcachesim") is not None


def write(blocks: Blocks, path: Path) -> None:
    """libCacheSim's oracleGeneral, every block of size 1."""
    _, numbers = np.unique(blocks, return_inverse=True)
    records = np.zeros(len(blocks), _RECORD)
    records["time_s"] = np.arange(len(blocks)) // _REQUESTS_PER_SECOND
    records["block"] = numbers + 1
    records["size_bytes"] = 1
    following = np.array(next_uses(blocks))
    records["next"] = np.where(following < len(blocks), following, -1)
    records.tofile(path)


def hit_ratio(rival: str, capacity: int, trace: Path, timeout_s: float) -> float | None:
    """Of a rival on a trace that `write` wrote; None where it refuses the size or is not done in time."""
    command = [sys.executable, "-m", "bench.eviction.rivals", RIVALS[rival], str(capacity), str(trace)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return None
    return 1 - float(done.stdout.split()[-1]) if done.returncode == 0 else None


def main() -> None:
    import libcachesim

    policy, capacity, path = sys.argv[1:]
    reader = libcachesim.TraceReader(
        path, libcachesim.TraceType.ORACLE_GENERAL_TRACE, libcachesim.ReaderInitParam(ignore_obj_size=True)
    )
    print(getattr(libcachesim, policy)(cache_size=int(capacity), hashpower=20).process_trace(reader)[0])


if __name__ == "__main__":
    main()
