"""What a mount tells of one file in `user.llmfs.explain`: what of it is cached, why, and what is expected of it."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from llmfs.blocks import BLOCK_BYTES
from llmfs.decisions import Decision, What
from llmfs.policy.eviction import Resident
from predictor.events import ACCESS, Op, Tier

BLOCKS_LOOKED_AT = 8192
"""Of a file's beginning, 1 GiB: looking takes a microsecond a block, on the event loop."""

RUNS_SHOWN = 64
"""Runs of blocks in the same state. The answer is an extended attribute, which holds 64 KiB."""

ACCESSES_SHOWN = 20

LATEST_ACCESSES = 1 << 16
"""Of all files, looked through for those of one: 2.6 MB in memory, and nothing is done for them on the way."""


class LatestAccesses:
    """The last records of the recorder, as they were handed on."""

    def __init__(self, records_max: int = LATEST_ACCESSES) -> None:
        self._bytes_max = records_max * ACCESS.itemsize
        self._records = bytearray()

    def add(self, records: bytes) -> None:
        self._records += records
        if len(self._records) > 2 * self._bytes_max:
            del self._records[: -self._bytes_max]

    def since(self, time_ns: int) -> npt.NDArray[np.void]:
        """Those from a time on, the earliest first: predictor.events.ACCESS."""
        records = np.frombuffer(bytes(self._records), ACCESS)
        return records[np.searchsorted(records["time_ns"], np.uint64(time_ns)) :]

    def latest_use(self, time_ns: int) -> Callable[[int], int]:
        """For paths by their numbers: when each was used last since a time, 0 for not at all."""
        records = self.since(time_ns)

        def used_ns(path_id: int) -> int:
            found = records["time_ns"][records["path"] == path_id]
            return int(found.max()) if len(found) else 0

        return used_ns

    def of(
        self, path_id: int, process_of: Callable[[int], tuple[int, str] | None], now_s: float
    ) -> list[dict[str, Any]]:
        """Those to one path, the latest first. `process_of` a stream id: thread-group id and command."""
        records = np.frombuffer(bytes(self._records), ACCESS)
        found = records[records["path"] == path_id][: -ACCESSES_SHOWN - 1 : -1]
        return [_access(record, process_of(int(record["stream"])), now_s) for record in found]


def _access(record: Any, process: tuple[int, str] | None, now_s: float) -> dict[str, Any]:
    op = Op(int(record["op"]))
    shown: dict[str, Any] = {
        "ago_s": round(now_s - int(record["time_ns"]) / 1e9, 3),
        "operation": op.name.lower(),
        "tier": Tier(int(record["tier"])).name.lower(),
        "latency_ms": int(record["latency_us"]) / 1000,
    }
    if process is not None:
        shown |= {"pid": process[0], "command": process[1]}
    if op in (Op.READ, Op.WRITE):
        shown |= {"offset": int(record["offset"]), "length": int(record["length"])}
    return shown


def blocks_of(size_bytes: int, resident: Callable[[int], Resident | None]) -> dict[str, Any]:
    """What of a file is in the cache. `resident` knows a block by its number in the file."""
    count = -(-size_bytes // BLOCK_BYTES)
    states = [resident(index) for index in range(min(count, BLOCKS_LOOKED_AT))]
    runs = []
    for state, run in groupby(enumerate(states), key=lambda each: _state(each[1])):
        if state is not None:
            indices = [index for index, _ in run]
            first, stop = indices[0] * BLOCK_BYTES, min((indices[-1] + 1) * BLOCK_BYTES, size_bytes)
            runs.append({"offset": first, "length": stop - first, **state})
    return {
        "blocks": count,
        "cached": sum(state is not None for state in states),
        "cached_bytes": sum(state.size_bytes for state in states if state is not None),
        "looked_at": len(states),
        "runs": runs[:RUNS_SHOWN],
    }


def _state(resident: Resident | None) -> dict[str, Any] | None:
    """`uses`: as eviction counts them, which forgets old ones."""
    return None if resident is None else {"uses": resident.uses, "unused_of": resident.generator}


def explain(
    path: bytes,
    kind: str,
    size_bytes: int,
    blocks: dict[str, Any],
    reuse_score: float | None,
    decisions: Sequence[Decision],
    accesses: Sequence[dict[str, Any]],
    policies: Sequence[dict[str, Any]],
    now_s: float,
) -> dict[str, Any]:
    """All that is known of a file, as JSON can hold it. Names that are no UTF-8 have their bytes escaped.

    `expected` is what was planned last, where the file was not used since. `policies` are the rules that hold for it.
    """
    planned = next((each for each in reversed(decisions) if each.what is What.PLANNED), None)
    used_ago_s = min((access["ago_s"] for access in accesses), default=float("inf"))
    is_expected = planned is not None and now_s - planned.at_s <= used_ago_s
    return {
        "path": path.decode("utf-8", "backslashreplace"),
        "kind": kind,
        "size_bytes": size_bytes,
        "cache": blocks,
        "reuse_score": None if reuse_score is None else round(reuse_score, 3),
        "expected": _decision(planned, now_s) if planned is not None and is_expected else None,
        "decisions": [_decision(each, now_s) for each in reversed(decisions)],
        "accesses": list(accesses),
        "policies": list(policies),
    }


def _decision(decision: Decision, now_s: float) -> dict[str, Any]:
    shown: dict[str, Any] = {"ago_s": round(now_s - decision.at_s, 3), "what": decision.what.value, "by": decision.who}
    match decision.what:
        case What.PLANNED:
            shown |= {"want": decision.want, "score": round(decision.score, 3), "horizon": decision.horizon}
            if decision.want == "data":
                shown |= {"offset": decision.offset, "length": decision.length}
        case What.FETCHED:
            shown |= {"offset": decision.offset, "length": decision.length}
        case What.EVICTED:
            shown |= {"offset": decision.offset, "length": decision.length, "score": round(decision.score, 3)}
    return shown
