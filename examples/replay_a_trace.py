"""Prints what the predictor would have prefetched, and when: python replay_a_trace.py TRACE

TRACE is a mount's (CACHE_DIR/trace), or a CSV as `llmfs trace export` writes it. This drives the class that a mount
drives, so what it prints is what would have been planned; each thing is predicted before it is learned.
"""

import sys

from predictor.engine import Engine
from predictor.interchange import read_any

BURST = 8  # accesses between two plans


def main(trace: str) -> None:
    engine = Engine()
    pending: set[bytes] = set()
    plans = used = known = 0
    for batch in read_any(trace):
        table = batch.paths
        paths = [(path, table.parent(path), table.name(path)) for path in range(max(1, known), len(table))]
        streams = [(stream.id, stream.tgid, stream.command) for stream in batch.streams.values()]
        known = len(table)
        for start in range(0, len(batch.records), BURST):
            burst = batch.records[start : start + BURST]
            for path in pending.intersection(map(table.path, burst["path"].tolist())):
                used += 1
                pending.remove(path)
            engine.observe(paths, streams, burst)
            paths, streams = [], []
            for item in engine.plan():
                plans += item.path not in pending
                pending.add(item.path)
                where = f"{item.offset}+{item.length}" if item.length else ""
                print(f"{item.score:4.0%} {item.generator:<12} {item.want.name.lower():<10} {item.path!r} {where}")
    print(f"{used} of {plans} plans came true")


if __name__ == "__main__":
    main(sys.argv[1])
