"""The guard's workbench: python -m bench.guard attack|record|train|evaluate|live|cost, see each command's help."""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import safetensors.numpy

from bench.guard import cost, evaluation, leaving_out, recordings, runs, simulator
from bench.mounted import LlmfsFailedError
from bench.report import Progress
from predictor.guard import model
from predictor.guard.training import train


def main() -> int:
    args = _parser().parse_args()
    try:
        status: int = args.run(args)
        return status
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, LlmfsFailedError) as error:
        print(f"guard: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description=__doc__)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("attack", help="a harmless simulated attack on a directory made by bench.guard.trees")
    one.add_argument("family", choices=sorted(simulator.FAMILIES))
    one.add_argument("directory", type=Path)
    one.add_argument("seed", type=int)
    one.set_defaults(run=_attack)
    one = commands.add_parser("record", help="record attacks and benign programs through mounts (half an hour)")
    one.add_argument("output", type=Path)
    one.add_argument("--seeds", type=int, default=5, help="attacks of each family (default 5)")
    one.add_argument("--seconds", type=float, default=3600.0, help="begin no workload after so long (default 3600)")
    one.add_argument("--only", default="", metavar="NAME", help="those whose names begin so")
    one.set_defaults(run=_record)
    one = commands.add_parser("train", help="make the weights that are shipped, of such recordings alone")
    one.add_argument("recordings", type=Path)
    one.add_argument("--output", type=Path, default=model.SHIPPED)
    one.set_defaults(run=_train)
    one = commands.add_parser("evaluate", help="leave a family out, train, replay; and judge traces of others'")
    one.add_argument("recordings", type=Path)
    one.add_argument("--ransomware", type=Path, help="a directory of ebpfangel traces (csv.gz)")
    one.add_argument("--benign", type=Path, help="a directory of benign traces (csv.gz: ts, op, pid, comm, path)")
    one.add_argument("--plot", type=Path, metavar="FILE.png")
    one.set_defaults(run=_evaluate)
    one = commands.add_parser("live", help="attacks of all families through mounts that protect, restored and compared")
    one.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102])
    one.set_defaults(run=_live)
    one = commands.add_parser("cost", help="writing with --guard watch against off, in turn")
    one.add_argument("--rounds", type=int, default=40)
    one.set_defaults(run=lambda args: cost.show(args.rounds))
    return parser


def _attack(args: argparse.Namespace) -> int:
    hurt, is_stopped = simulator.attack(args.directory, args.family, args.seed)
    print(json.dumps({"hurt": hurt, "is_stopped": is_stopped}))
    return 0


def _record(args: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="llmfs-guard-", ignore_cleanup_errors=True) as scratch:
        recordings.record(args.output, Path(scratch).resolve(), range(args.seeds), args.seconds, Progress(), args.only)
    return 0


def _train(args: argparse.Namespace) -> int:
    recorded = evaluation.load(args.recordings)
    made = train(evaluation.examples(recorded))
    args.output.write_bytes(safetensors.numpy.save(made.weights))
    print(f"{args.output}: {args.output.stat().st_size:,} bytes, of {len(recorded)} runs")
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    judged = leaving_out.judge(evaluation.load(args.recordings))
    print("\n".join([*leaving_out.table(judged), "", *leaving_out.named(judged), ""]))
    areas = ", ".join(f"{by} {leaving_out.roc(judged, by)[2]:.4f}" for by in leaving_out.SCORES)
    print(f"area under the ROC of windows, left out: {areas}")
    if args.plot is not None:
        leaving_out.plot(judged, args.plot)
    shipped = model.shipped()
    for directory, read in ((args.ransomware, evaluation.ebpf), (args.benign, evaluation.accesses)):
        if directory is not None:
            print("\n".join(["", "Judged by what is shipped:", "", *leaving_out.TOLD]))
            for path in sorted(directory.glob("*.csv.gz")):
                print(leaving_out.told(path.name.partition(".")[0], evaluation.replay(read(path), shipped)))
    return 0


def _live(args: argparse.Namespace) -> int:
    found = []
    with tempfile.TemporaryDirectory(prefix="llmfs-guard-", ignore_cleanup_errors=True) as scratch:
        for family in simulator.FAMILIES:
            for seed in args.seeds:
                found.append(runs.attacked(Path(scratch).resolve(), family, seed, "--guard", "protect"))
                each = found[-1]
                said = "stopped" if each.is_stopped else "NOT STOPPED"
                print(f"{family} {seed}: {said}, hurt {each.hurt}, lost {each.lost}")
    print("\n| family | stopped | files hurt, median | most | lost after restoring, in all |")
    print("| --- | --- | --- | --- | --- |")
    for family in (*simulator.FAMILIES, "all"):
        of = [each for each in found if family in (each.family, "all")]
        hurt, lost = [each.hurt for each in of], sum(each.lost for each in of)
        stopped = f"{sum(each.is_stopped for each in of)} of {len(of)}"
        print(f"| {family} | {stopped} | {statistics.median(hurt):g} | {max(hurt)} | {lost} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
