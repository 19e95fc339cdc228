"""A recording as programs that wait: which access follows on which, and after how much thinking.

An access is made when what it depends on is done, and the time between the two in the recording has passed: the access
before it by the same process; for the first of a process, the access before it by anybody (who started it); and the
last access of each process that ended since its own last one (it may have waited for that process). So the stall of a
compiler delays the `make` that waits for it, and two loaders do not delay each other.
"""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from predictor.events import ACCESS
from predictor.recording import Recording
from predictor.trace import Records

_WAITED_FOR_MAX = 4
"""Ended processes that one access is taken to have waited for: the last few."""


@dataclass(slots=True)
class Workload:
    """Accesses by index, in the order of the recording. Times are seconds since its first access."""

    recording: Recording
    records: Records
    op: list[int]
    path: list[int]
    stream: list[int]
    offset: list[int]
    length: list[int]
    flags: list[int]
    start_s: list[float]
    end_s: list[float]
    following: list[int]  # by access: the next one of the same process, -1: none
    awaited_by: dict[int, list[int]]  # access -> others, of other processes, that depend on it
    depends_on: list[int]  # how many accesses each one depends on

    def __len__(self) -> int:
        return len(self.op)


def arrange(recording: Recording) -> Workload:
    """The dependencies of a recording's accesses."""
    records = np.concatenate(recording.batches) if recording.batches else np.zeros(0, ACCESS)
    end_ns = records["time_ns"].astype(np.int64)
    start_ns = end_ns - records["latency_us"].astype(np.int64) * 1000
    order = np.argsort(start_ns, kind="stable")
    records, end_ns, start_ns = records[order], end_ns[order], start_ns[order]
    first_ns = int(start_ns[0]) if len(start_ns) else 0
    stream = records["stream"].tolist()
    count = len(stream)
    following, depends_on = [-1] * count, [0] * count
    awaited_by: dict[int, list[int]] = {}
    ends = sorted({number: index for index, number in enumerate(stream)}.values())
    latest: dict[int, int] = {}
    for index, number in enumerate(stream):
        before = latest.get(number)
        latest[number] = index
        if before is None:
            if index:
                awaited_by.setdefault(index - 1, []).append(index)
                depends_on[index] += 1
            continue
        following[before] = index
        depends_on[index] += 1
        ended = ends[bisect_left(ends, before + 1) : bisect_left(ends, index)]
        for other in ended[-_WAITED_FOR_MAX:]:
            awaited_by.setdefault(other, []).append(index)
            depends_on[index] += 1
    columns = {name: records[name].tolist() for name in ("op", "path", "offset", "length", "flags")}
    return Workload(
        recording,
        records,
        stream=stream,
        start_s=((start_ns - first_ns) / 1e9).tolist(),
        end_s=((end_ns - first_ns) / 1e9).tolist(),
        following=following,
        awaited_by=awaited_by,
        depends_on=depends_on,
        **columns,
    )
