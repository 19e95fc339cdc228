"""What a run of a replay showed."""

from dataclasses import dataclass, field

import numpy as np

from predictor.events import Op

IN_TIME, LATE, MISSED = range(3)

NEW, WARM, AGAIN = "never seen", "warm", "again"


@dataclass(slots=True)
class Outcome:
    """Figures of one run under one policy. A *unit* is a name or a block that was not there by an earlier demand."""

    run: str
    policy: str
    events: int = 0
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    stall_s: dict[str, float] = field(default_factory=lambda: {NEW: 0.0, WARM: 0.0, AGAIN: 0.0})
    """By what was known of the path: used in no run before, in a former one only, in this one already."""
    read_stalls_s: list[float] = field(default_factory=list)
    names: list[int] = field(default_factory=lambda: [0, 0, 0])  # IN_TIME, LATE, MISSED
    blocks: list[int] = field(default_factory=lambda: [0, 0, 0])
    block_hits: int = 0  # blocks that were there by an earlier demand
    dropped: int = 0
    names_ahead: int = 0  # names and listings asked for ahead
    blocks_ahead: int = 0
    blocks_ahead_used: int = 0
    requests: list[int] = field(default_factory=lambda: [0, 0])  # programs', prefetches
    bytes_fetched: list[int] = field(default_factory=lambda: [0, 0])
    bytes_used: int = 0  # of those fetched ahead
    bytes_unused: int = 0
    evictions: int = 0
    pollution: int = 0  # misses of blocks that a prefetch had displaced

    def answered(self, op: int, stall_s: float, touched_in_run: int, run: int) -> None:
        """An access was answered after `stall_s`; its path was last used in run `touched_in_run`, 0: in none."""
        self.events += 1
        if stall_s:
            self.stall_s[AGAIN if touched_in_run == run else WARM if touched_in_run else NEW] += stall_s
        if op == Op.READ:
            self.read_stalls_s.append(stall_s)

    @property
    def total_stall_s(self) -> float:
        return sum(self.stall_s.values())

    @property
    def coverage(self) -> float:
        """The share of units that were ready or under way when they were asked for."""
        found = [one + other for one, other in zip(self.names, self.blocks, strict=True)]
        return _share(found[IN_TIME] + found[LATE], sum(found))

    @property
    def accuracy(self) -> float:
        """The share of what was fetched ahead that was used: names and blocks."""
        used = self.names[IN_TIME] + self.names[LATE] + self.blocks_ahead_used
        return min(1.0, _share(used, self.names_ahead + self.blocks_ahead))

    @property
    def timeliness(self) -> float:
        """The share of what was used of it that was ready."""
        in_time, late = self.names[IN_TIME] + self.blocks[IN_TIME], self.names[LATE] + self.blocks[LATE]
        return _share(in_time, in_time + late)

    @property
    def over_fetched(self) -> float:
        """The share of all bytes fetched that were fetched ahead and never used."""
        return _share(self.bytes_unused, sum(self.bytes_fetched))

    @property
    def hit_ratio(self) -> float:
        """The share of blocks read that were there, whoever had them fetched."""
        return _share(self.block_hits + self.blocks[IN_TIME], self.block_hits + sum(self.blocks))

    @property
    def events_per_s(self) -> float:
        return self.events / self.cpu_s if self.cpu_s else 0.0

    def read_stall_ms(self, quantile: float) -> float:
        """A quantile of how long reads waited, milliseconds."""
        return float(np.quantile(self.read_stalls_s, quantile)) * 1e3 if self.read_stalls_s else 0.0

    def as_json(self) -> dict[str, object]:
        return {
            "run": self.run,
            "policy": self.policy,
            "events": self.events,
            "virtual_s": self.virtual_s,
            "stall_s": self.total_stall_s,
            "stall_s_by_history": self.stall_s,
            "read_stall_ms": {"p50": self.read_stall_ms(0.5), "p99": self.read_stall_ms(0.99)},
            "coverage": self.coverage,
            "accuracy": self.accuracy,
            "timeliness": self.timeliness,
            "hit_ratio": self.hit_ratio,
            "over_fetched": self.over_fetched,
            "names_in_time_late_missed": self.names,
            "blocks_in_time_late_missed": self.blocks,
            "pollution": self.pollution,
            "evictions": self.evictions,
            "requests": dict(zip(("demand", "prefetch"), self.requests, strict=True)),
            "bytes_fetched": dict(zip(("demand", "prefetch"), self.bytes_fetched, strict=True)),
            "bytes_unused": self.bytes_unused,
            "dropped": self.dropped,
            "events_per_s": self.events_per_s,
        }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
