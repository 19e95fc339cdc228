"""What goes on in a mount just now, for `llmfs top`: the busiest files and programs, and what is expected next."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from llmfs.decisions import Decision, latest
from predictor.events import Op, Tier

ROWS = 20

PLANS_LOOKED_AT = 600
"""Of the latest: many are of the same files."""


def activity(
    records: npt.NDArray[np.void],
    path_of: Callable[[int], bytes | None],
    process_of: Callable[[int], tuple[int, str] | None],
    plans: Sequence[tuple[bytes, Decision]],
    now_s: float,
) -> dict[str, Any]:
    """`records` (predictor.events.ACCESS) of the last seconds, as JSON can hold them; `plans`, the latest first."""
    files = [
        {"path": _shown(path), **figures}
        for number, figures in _busiest(records, records["path"])
        if (path := path_of(number)) is not None
    ]
    programs = []
    for number, figures in _busiest(records, records["stream"]):
        pid, command = process_of(number) or (0, "")
        programs.append({"pid": pid, "command": command, **figures})
    expected = [
        {
            "path": _shown(path),
            "want": plan.want,
            "score": round(plan.score, 3),
            "by": plan.who,
            "ago_s": round(now_s - plan.at_s, 3),
        }
        for path, plan in latest(plans, ROWS)
    ]
    return {"files": files, "programs": programs, "expected": expected}


def _busiest(records: npt.NDArray[np.void], keys: npt.NDArray[np.uint32]) -> list[tuple[int, dict[str, int]]]:
    """By key: accesses, reads, bytes read, reads from the cache; those who made programs wait longest come first."""
    numbers, place = np.unique(keys, return_inverse=True)
    is_read = records["op"] == Op.READ
    columns = {
        "accesses": np.ones(len(records)),
        "reads": is_read,
        "bytes": np.where(is_read, records["length"], 0),
        "hits": is_read & (records["tier"] == Tier.CACHE),
        "waited_us": records["latency_us"],
    }
    sums = {name: np.bincount(place, values, len(numbers)).astype(np.int64) for name, values in columns.items()}
    order = np.lexsort((-sums["accesses"], -sums["waited_us"]))[:ROWS]
    return [(int(numbers[at]), {name: int(values[at]) for name, values in sums.items()}) for at in order]


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
