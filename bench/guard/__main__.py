"""python -m bench.guard attack|...: see each command's help."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench.guard import recordings, simulator
from bench.report import Progress


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("attack", help="a harmless simulated attack on a directory made by bench.guard.trees")
    one.add_argument("family", choices=sorted(simulator.FAMILIES))
    one.add_argument("directory", type=Path)
    one.add_argument("seed", type=int)
    one = commands.add_parser("record", help="record attacks and benign programs through mounts")
    one.add_argument("output", type=Path)
    one.add_argument("--seeds", type=int, default=8)
    one.add_argument("--seconds", type=float, default=900.0)
    args = parser.parse_args()
    if args.command == "record":
        with tempfile.TemporaryDirectory(prefix="llmfs-guard-", ignore_cleanup_errors=True) as scratch:
            recordings.record(args.output, Path(scratch).resolve(), range(args.seeds), args.seconds, Progress())
        return 0
    try:
        hurt, is_stopped = simulator.attack(args.directory, args.family, args.seed)
    except ValueError as error:
        print(f"guard: {error}", file=sys.stderr)
        return 2
    print(json.dumps({"hurt": hurt, "is_stopped": is_stopped}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
