"""Prints a mount's hit rate as it goes, until Ctrl-C: python watch_hit_rate.py MOUNTPOINT [SECONDS]

A mount tells how it is in an extended attribute of its root, as JSON: any language can read it. This needs no part of
llmfs. Each line is about the seconds since the line before.
"""

import contextlib
import json
import os
import sys
import time
from typing import Any


def status(mountpoint: str) -> Any:
    return json.loads(os.getxattr(mountpoint, "user.llmfs.status"))


def main(mountpoint: str, seconds: float = 1.0) -> None:
    before = status(mountpoint)
    print(f"{'reads':>8} {'hits':>7} {'lookups':>8} {'hits':>7} {'in time':>8} {'late':>6} {'to source':>10}")
    while True:
        time.sleep(seconds)
        now = status(mountpoint)
        for kind in ("reads", "lookups"):
            new = {tier: count - before[kind][tier] for tier, count in now[kind].items()}
            total = sum(new.values())
            print(f"{total:>8} {new['cache'] / max(1, total):>7.1%} ", end="")
        in_time, late = (now["prefetch"][key] - before["prefetch"][key] for key in ("used_in_time", "used_late"))
        calls = now["source_calls"]["requests"] - before["source_calls"]["requests"]
        print(f"{in_time:>8} {late:>6} {calls:>10}", flush=True)
        before = now


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1], *map(float, sys.argv[2:3]))
