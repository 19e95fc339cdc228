"""python -m bench.guard attack|...: see each command's help."""

import argparse
import json
import sys
from pathlib import Path

from bench.guard import simulator


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("attack", help="a harmless simulated attack on a directory made by bench.guard.trees")
    one.add_argument("family", choices=sorted(simulator.FAMILIES))
    one.add_argument("directory", type=Path)
    one.add_argument("seed", type=int)
    args = parser.parse_args()
    try:
        hurt, is_stopped = simulator.attack(args.directory, args.family, args.seed)
    except ValueError as error:
        print(f"guard: {error}", file=sys.stderr)
        return 2
    print(json.dumps({"hurt": hurt, "is_stopped": is_stopped}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
