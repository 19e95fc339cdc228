"""Where llmfs gains and where it costs, in a minute or two: python -m bench.quick"""

import argparse
import signal
import sys
from pathlib import Path

from bench import fio, overhead, throughput
from bench.mounted import LlmfsFailedError
from bench.peers import PeerFailedError
from bench.report import Progress, machine, plot, write_json
from bench.slowdir import BuildError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.quick", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("out/quick.png"), help="the plot; JSON beside it")
    parser.add_argument("--rounds", type=int, default=overhead.ROUNDS, help="of the overhead benchmark")
    args = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that all is cleaned up
    progress = Progress()
    progress.warn_if_busy()
    described = machine()
    try:
        gains = throughput.measure(progress)
        costs = overhead.measure(progress, args.rounds)
    except KeyboardInterrupt:
        return 130
    except (BuildError, fio.FioMissingError, LlmfsFailedError, PeerFailedError) as error:
        print(f"quick: {error}", file=sys.stderr)
        return 1

    throughput.show(gains, progress)
    overhead.show(costs, progress)
    as_json = args.output.with_suffix(".json")
    measured = {"throughput": throughput.as_json(gains), "overhead": overhead.as_json(costs)}
    write_json(as_json, {"machine": described, **measured})
    is_drawn = plot(args.output, "llmfs, quick look", [throughput.bars(gains), overhead.bars(costs)])
    progress.files(args.output, as_json, is_drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main())
