"""Mounts a slow directory until Ctrl-C.

python -m bench.slowdir BACKING MOUNTPOINT --latency-ms 2 --bandwidth-mb 100
"""

import argparse
import signal
import sys
from pathlib import Path

from bench.slowdir import BuildError, SlowDir


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.slowdir", description="A really slow directory.")
    parser.add_argument("backing", type=Path)
    parser.add_argument("mountpoint", type=Path)
    parser.add_argument("--latency-ms", type=float, default=2.0, help="how long each request waits (default 2)")
    parser.add_argument("--bandwidth-mb", type=float, help="MB/s that all transfers share (default: unlimited)")
    parser.add_argument("--entry-timeout", type=float, default=1.0, help="seconds the kernel believes names (1)")
    parser.add_argument("-o", dest="options", action="append", default=[], help="a mount option (allow_other)")
    args = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    bandwidth = args.bandwidth_mb * 1e6 if args.bandwidth_mb else None
    slow = SlowDir(
        args.backing,
        args.mountpoint,
        args.latency_ms / 1e3,
        bandwidth,
        entry_timeout_s=args.entry_timeout,
        options=args.options,
    )
    try:
        with slow:
            print(f"{slow.backing} is at {slow.mountpoint}, slowly; Ctrl-C unmounts", flush=True)
            try:
                signal.pause()
            except KeyboardInterrupt:
                print()
            for name, value in slow.counters.items():
                if value:
                    print(f"{value:>14,} {name}")
    except (BuildError, RuntimeError) as error:
        print(f"slowdir: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
