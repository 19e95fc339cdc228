"""Every figure that llmfs exposes, in one place, named by Prometheus's conventions.

Counts are bound to the values of their labels once, here; they are counted on the event loop, where `is_shared` does
not say otherwise. What can be read off at scrape time (sizes, queue lengths) is a gauge with a function, set by the
composition root. No label has values that depend on what is mounted: all combinations are there from the beginning, at
zero. The number of a rule with a share of the cache is the one exception.

*Stall seconds* are the time that programs' requests took which had to wait for the source. *Stall seconds saved* are an
estimate: each thing that was fetched ahead and ready when a program asked for it counts for one call on the source of
its kind, at the mean that such calls take at that time. Waits that would have overlapped are counted each, in both; a
call for several blocks counts for each of them, which says too much where the source's bandwidth is the limit; what
was late counts for nothing, which says too little.

Hits in the kernel's page cache are not here. They never reach us, and nothing that does tells their number: an open
says that a file's pages were kept, not which of them are read. Of the pages that we pushed there, what share is read is
estimated from a sample that is held back (`read_share`).
"""

import errno
from collections.abc import Callable, Iterable, Mapping, Set
from math import nan, sqrt
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Gauge, Info, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llmfs.counter import Count, Counter
from llmfs.histogram import Histogram
from llmfs.metadata import CHANGED, GONE, SAME, UNREACHABLE
from llmfs.policy.planning import Drop
from llmfs.policy.rules import OF_ACCESSES
from llmfs.policy.speed import FAST_S
from predictor.control.arms import ARMS
from predictor.control.state import Floor, Transfers
from predictor.events import Tier
from predictor.features import GENERATORS as RANKED
from predictor.plan import MODELS, model_of

_REQUEST_BUCKETS = (25e-6, 50e-6, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.5, 2.5, 10)
_SOURCE_BUCKETS = (5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.05, 0.1, 0.25, 1, 5, 30)

TIERS = {Tier.CACHE: "cache", Tier.JOINED: "joined", Tier.SOURCE: "source"}
TIERED_OPERATIONS = ("lookup", "getattr", "readlink", "open", "read", "readdir")
"""Requests that the cache may answer."""

OPERATIONS = (
    *TIERED_OPERATIONS,
    "setattr", "mknod", "mkdir", "unlink", "rmdir", "symlink", "rename", "link", "create", "write", "flush", "fsync",
    "release", "opendir", "releasedir", "fsyncdir", "statfs", "setxattr", "getxattr", "listxattr", "removexattr",
    "access",
)  # fmt: skip
SOURCE_OPERATIONS = (
    "lookup", "getattr", "list", "readlink", "statfs", "access", "read", "open", "write", "fsync", "flush", "create",
    "mknod", "mkdir", "symlink", "link", "unlink", "rmdir", "rename", "setattr", "getxattr", "listxattr", "setxattr",
    "removexattr",
)  # fmt: skip
NAMES = ("lookup", "getattr")
"""Calls of one small answer: what they take tells how busy the source is, whatever is read."""

ERROR_CLASSES: dict[str, Set[int]] = {
    "unreachable": UNREACHABLE,
    "stale": {errno.ESTALE},
    "io": {errno.EIO, errno.EREMOTEIO, errno.EUCLEAN, errno.EBADMSG, errno.EPROTO},
    "space": {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE},
    "refused": {errno.EACCES, errno.EPERM, errno.EROFS},
    "invalid": {
        errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ENAMETOOLONG, errno.EXDEV,
        errno.ELOOP, errno.EMLINK, errno.EBUSY, errno.ETXTBSY, errno.EFBIG, errno.ERANGE,
    },
    "other": set(),
}  # fmt: skip
"""What an errno of the source says. `refused` and `invalid` answer what a program asked for, the others are faults."""

GUARD_LEVELS = ("alerted", "throttled", "denied")
PREDICTOR_STATES = ("off", "sequential", "loading", "rules", "pretrained", "learned", "down")
EVICTION_REASONS = ("capacity", "unused", "share", "changed", "damaged", "lost", "asked")
PARTS = ("records", "blocks", "trace", "prefetch", "push", "predictor", "control", "guard")
"""What may fail without a program noticing."""

OTHER = "other"
_PLANNED = (*RANKED, "footprint", "derived", "cohort", "class", "walk", OTHER)
LOCAL_RULES = {
    "data": ("sequential", "region", "companion", "mention", "namesake", "traversal"),
    "attributes": ("scan", "descent", "companion", "mention", "namesake", "traversal"),
    "listing": ("misses", "descent", "stale", "scan", "companion", "mention", "namesake", "traversal"),
}
"""By what is fetched: the generators that are rules of the mount's own."""

GENERATORS = {kind: (*rules, *_PLANNED) for kind, rules in LOCAL_RULES.items()}
"""By what is fetched: who may have proposed it, a local rule or one of the predictor's sources of candidates."""

FATES = ("issued", "in_time", "late", "unused")
"""Of what is fetched ahead: that it was, and what became of it."""

_SOURCE_CALL = {"data": "read", "attributes": "lookup", "listing": "list"}
_MEAN_WEIGHT = 1 / 32
_MEMORY_S_PER_BYTE = 0.5e-9
"""What is brought at 2 GB/s or more has come from memory."""

_PREDICTOR_COUNTERS = {
    "events": "Accesses that the predictor took in",
    "visits": "Stays of a program at a path that it made of them",
    "unknown": "Accesses that named a path it was not told",
    "planned_items": "Things that it planned",
    "plans": "Plans that it sent",
    "plans_dropped": "Messages that it did not send, for the mount had not read the ones before",
    "inference_seconds": "Time that taking in, learning and planning took",
    "training_runs": "Trainings that ended",
    "training_promotions": "Trainings whose network replaced the one in use",
    "training_seconds": "Time that trainings took",
}
_PREDICTOR_GAUGES = {
    "lag_seconds": "Age of the newest access when the predictor took it in",
    "state_bytes": "Size on disk of what was learned",
}
_LOSSES = ("shadow", "incumbent", "prior")


def read_share(held_back: int, used: int) -> tuple[float, float]:
    """The share of pushed pages that programs read, and its standard error, from `held_back` pages of which `used` were
    read. `held_back` is not 0.

    The error is that of the rule of succession: all of three pages is no certainty.
    """
    return used / held_back, sqrt((used + 1) * (held_back - used + 1) / (held_back + 3)) / (held_back + 2)


def error_class(number: int) -> str:
    """The class of an errno of the source."""
    return next((name for name, members in ERROR_CLASSES.items() if number in members), OTHER)


class Metrics:
    """The metrics of one mount, in a registry of their own."""

    def __init__(self, predictor_pid: Callable[[], int | None] = lambda: None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which says when the mount began
        self.registry = registry = CollectorRegistry(auto_describe=True)
        self.build = Info("llmfs", "Version, source and mount point.", registry=registry)
        self.machine_profile = Info(
            "llmfs_machine_profile", "Bounds of memory and threads that it goes by, and why these.", registry=registry
        )

        # What programs ask for
        request = Histogram(
            "llmfs_request_duration_seconds",
            "Time from a request's arrival from the kernel to its answer, by who had the answer (none: an error, or a"
            " request that the cache cannot answer, or that bypasses it).",
            ("operation", "tier"),
            [
                (operation, tier)
                for operation in OPERATIONS
                for tier in ("none", *(TIERS.values() if operation in TIERED_OPERATIONS else ()))
            ],
            _REQUEST_BUCKETS,
            registry,
        )
        self.request = {operation: {Tier.NONE: request[operation, "none"]} for operation in OPERATIONS}
        for operation in TIERED_OPERATIONS:
            self.request[operation] |= {tier: request[operation, name] for tier, name in TIERS.items()}
        errors = Counter("llmfs_request_errors", "Requests answered with an error.", ["operation"], registry=registry)
        self.request_error = {operation: errors.labels(operation) for operation in OPERATIONS}

        reads = Counter("llmfs_reads", "Read requests by who had the bytes.", ["tier"], registry=registry)
        self.reads = {tier: reads.labels(name) for tier, name in TIERS.items()}
        read_bytes = Counter("llmfs_read_bytes", "Bytes read by who had them.", ["tier"], registry=registry)
        self.read_bytes = {tier: read_bytes.labels(name) for tier, name in TIERS.items()}
        lookups = Counter(
            "llmfs_metadata_requests", "Names, attributes and listings by who knew.", ["tier"], registry=registry
        )
        self.metadata = {tier: lookups.labels(name) for tier, name in TIERS.items()}
        self.written_bytes = Counter(
            "llmfs_written_bytes", "Bytes written through to the source.", registry=registry
        ).labels()
        registry.register(_Stalls(self))

        # Policies
        under_policy = Counter(
            "llmfs_policy_requests",
            "Reads and requests for names that a policy decides about, by what it says; those that bypass the cache are"
            " in no other count of reads and names, and in no stall seconds.",
            ["do"],
            registry=registry,
        )
        self.policy_requests = {do: under_policy.labels(do.value) for do in OF_ACCESSES}
        policy_bytes = Counter(
            "llmfs_policy_read_bytes", "Bytes read that a policy decides about.", ["do"], registry=registry
        )
        self.policy_read_bytes = {do: policy_bytes.labels(do.value) for do in OF_ACCESSES}
        self.shares: Callable[[], Iterable[ShareUse]] = tuple
        registry.register(_Shares(self))
        self.pinned_files = Gauge("llmfs_pinned_files", "Files that a person wants to stay.", registry=registry)
        self.pinned_bytes = Gauge(
            "llmfs_pinned_bytes", "Their bytes, when they were last looked over.", registry=registry
        )

        # The source
        source = Histogram(
            "llmfs_source_duration_seconds",
            "Time of calls on the source, demand and prefetch alike.",
            ("operation",),
            [(operation,) for operation in SOURCE_OPERATIONS],
            _SOURCE_BUCKETS,
            registry,
            is_shared=True,
        )
        self.source = {operation: source[operation,] for operation in SOURCE_OPERATIONS}
        source_errors = Counter(
            "llmfs_source_errors",
            "Calls on the source that failed, by what the errno says; that a name is not there is an answer.",
            ["class"],
            registry=registry,
            is_shared=True,
        )
        self.source_error = {name: source_errors.labels(name) for name in ERROR_CLASSES}
        self.is_source_reachable = True
        self.name_floor = Floor()
        self.transfers = Transfers()
        self._means_s = dict.fromkeys(SOURCE_OPERATIONS, 0.0)
        self.source_up = Gauge(
            "llmfs_source_up",
            "Whether the source is there: its last answer was not that it is gone.",
            registry=registry,
        )
        self.source_stuck = Gauge(
            "llmfs_source_stuck_calls", "Calls on the source that run for more than a second.", registry=registry
        )
        self.demand_busy = Gauge(
            "llmfs_demand_calls", "Calls on the source for programs, waiting or running.", registry=registry
        )
        self.demand_fetched_bytes = Counter(
            "llmfs_demand_fetched_bytes",
            "Bytes fetched from the source into the cache because they were asked for.",
            registry=registry,
        ).labels()
        self.bytes_in_flight = Gauge("llmfs_fetch_bytes_in_flight", "Bytes being fetched.", registry=registry)
        self.window_bytes = Gauge(
            "llmfs_fetch_window_bytes",
            "Bytes that may be under way ahead of need: more would keep programs waiting and the line no busier.",
            registry=registry,
        )
        self.line_bytes_s = Gauge(
            "llmfs_source_line_bytes_per_second",
            "What the line to the source has shown that it brings; 0 where nothing is known yet.",
            registry=registry,
        )
        self.line_crowded = Gauge(
            "llmfs_source_line_crowded",
            "Whether programs stand behind each other's bytes on the line to the source: each has a part of it then.",
            registry=registry,
        )
        self._line_held = Counter(
            "llmfs_source_line_held_requests",
            "Requests of programs that waited for their turn while others read over the same line.",
            registry=registry,
        ).labels()
        self._line_held_seconds = Counter(
            "llmfs_source_line_held_seconds", "How long these waited for it, all together.", registry=registry
        ).labels()
        looks = Counter(
            "llmfs_revalidations",
            "Looks at the source for names, attributes and listings whose time was up, by what they found: the same,"
            " another state (changed), or nothing (gone).",
            ["kind", "outcome"],
            registry=registry,
        )
        self._revalidations = {
            kind: {outcome: looks.labels(kind, outcome) for outcome in (SAME, CHANGED, GONE)}
            for kind in ("name", "attributes", "listing")
        }

        # Prefetching
        issued = Counter(
            "llmfs_prefetch_issued",
            "Things fetched ahead; a name that was found absent is in no other count.",
            ["kind", "generator"],
            registry=registry,
        )
        self.prefetch_issued = _by_generator(issued)
        used = Counter(
            "llmfs_prefetch_used",
            "Things fetched ahead that a program then asked for: ready (in_time) or still on their way (late).",
            ["kind", "generator", "timeliness"],
            registry=registry,
        )
        self.prefetch_in_time = _by_generator(used, "in_time")
        self.prefetch_late = _by_generator(used, "late")
        unused = Counter(
            "llmfs_prefetch_unused",
            "Things fetched ahead that nobody used: data that left the cache; attributes and listings that were asked"
            " for after their time, looked at anew, or let go of.",
            ["kind", "generator"],
            registry=registry,
        )
        self.prefetch_unused = _by_generator(unused)
        saved = Counter(
            "llmfs_stall_saved_seconds",
            "Estimate of the time that programs did not wait for the source because a prefetch was there in time.",
            ["kind", "generator"],
            registry=registry,
        )
        self.stall_saved = _by_generator(saved)
        sizes = ["generator"]
        issued_bytes = Counter("llmfs_prefetch_issued_bytes", "Bytes fetched ahead.", sizes, registry=registry)
        self.prefetch_issued_bytes = _of_data(issued_bytes)
        used_bytes = Counter(
            "llmfs_prefetch_used_bytes",
            "Bytes of blocks fetched ahead and then used.",
            ["generator", "timeliness"],
            registry=registry,
        )
        self.prefetch_in_time_bytes = _of_data(used_bytes, "in_time")
        self.prefetch_late_bytes = _of_data(used_bytes, "late")
        unused_bytes = Counter(
            "llmfs_prefetch_unused_bytes", "Bytes fetched ahead that left the cache unused.", sizes, registry=registry
        )
        self.prefetch_unused_bytes = _of_data(unused_bytes)
        items = Counter(
            "llmfs_prefetch_model_items",
            "Things fetched ahead (issued), and those of them that were used in time, used late, or unused, by what"
            " decided on them: a rule, how often such came true (counts), or a network.",
            ["model", "outcome"],
            registry=registry,
        )
        self.prefetch_by_model = {fate: {model: items.labels(model, fate) for model in MODELS} for fate in FATES}
        sizes_by_model = Counter(
            "llmfs_prefetch_model_bytes",
            "Bytes of data among llmfs_prefetch_model_items.",
            ["model", "outcome"],
            registry=registry,
        )
        self.prefetch_bytes_by_model = {
            fate: {model: sizes_by_model.labels(model, fate) for model in MODELS} for fate in FATES
        }
        dropped = Counter(
            "llmfs_prefetch_dropped",
            "Wanted things not fetched: they waited too long (late), too many wait (full), most was in vain of late and"
            " they are not sure (doubtful), the source had an error (failed), or a policy says so.",
            ["reason"],
            registry=registry,
        )
        self.prefetch_dropped = {reason: dropped.labels(reason.value) for reason in Drop}
        self.prefetch_queue = Gauge("llmfs_prefetch_queue_length", "Planned things waiting.", registry=registry)

        # The kernel's page cache
        self.pushed_bytes = Counter(
            "llmfs_pushed_bytes",
            "Cached bytes stored in the kernel's page cache, because they are being read in small pieces.",
            registry=registry,
        ).labels()
        self.held_back = Counter(
            "llmfs_push_held_back_pages",
            "Pages left out of a push as a sample, one in 1024: a read of them reaches llmfs.",
            registry=registry,
        ).labels()
        self.held_back_used = Counter(
            "llmfs_push_held_back_used_pages",
            "Of these, those that a program then read: their share estimates that of all pushed pages.",
            registry=registry,
        ).labels()

        # The cache
        evictions = Counter(
            "llmfs_cache_evicted_blocks",
            "Blocks that left the cache: to make room (capacity; unused: fetched ahead, and not used by then;"
            " share: their files may have only a part of it; changed: of a file that is another by now), damaged,"
            " not kept by the disk (lost), or as a person asked.",
            ["reason"],
            registry=registry,
        )
        self.evictions = {reason: evictions.labels(reason) for reason in EVICTION_REASONS}
        evicted_bytes = Counter(
            "llmfs_cache_evicted_bytes", "Bytes that left the cache.", ["reason"], registry=registry
        )
        self.evicted_bytes = {reason: evicted_bytes.labels(reason) for reason in EVICTION_REASONS}
        self.cache_bytes = Gauge("llmfs_cache_bytes", "Bytes of blocks in the cache.", registry=registry)
        self.cache_capacity_bytes = Gauge(
            "llmfs_cache_capacity_bytes", "Bytes of blocks beyond which some are evicted.", registry=registry
        )
        self.cache_limit_bytes = Gauge(
            "llmfs_cache_limit_bytes", "Bytes the cache directory may take.", registry=registry
        )
        self.cache_dir_bytes = Gauge(
            "llmfs_cache_dir_bytes",
            "Bytes that the cache directory takes on its disk: blocks, records, the log of accesses, what was learned,"
            " and what is kept to undo changes.",
            registry=registry,
        )
        self.cache_blocks = Gauge("llmfs_cache_blocks", "Blocks in the cache.", registry=registry)
        self.cache_disk_free_bytes = Gauge(
            "llmfs_cache_disk_free_bytes", "Bytes free on the disk of the cache directory.", registry=registry
        )
        cache_up = Gauge(
            "llmfs_cache_up", "Whether the store is in use: after many faults it is not.", ["part"], registry=registry
        )
        self.cache_up = {part: cache_up.labels(part) for part in ("records", "blocks")}
        self.cache_bypassed = Gauge(
            "llmfs_cache_bypassed",
            "1 while the source is as fast as the cache, so that reads go straight to it.",
            registry=registry,
        )
        self.corrupt_blocks = Counter(
            "llmfs_cache_corrupt_blocks", "Blocks whose checksum was wrong: served from the source.", registry=registry
        ).labels()
        faults = Counter(
            "llmfs_faults",
            "Faults of our own parts that were passed over: nothing fails, but what the part is for.",
            ["part"],
            registry=registry,
            is_shared=True,
        )
        self.faults = {part: faults.labels(part) for part in PARTS}
        self.inodes = Gauge("llmfs_inodes", "Inodes in memory.", registry=registry)
        self.names_given_back = Counter(
            "llmfs_names_given_back",
            "Names that the kernel was asked to forget, for its profile bounds how many are in memory.",
            registry=registry,
        ).labels()
        self.open_files = Gauge("llmfs_open_handles", "Open files and directories.", registry=registry)

        # The predictor
        state = Gauge(
            "llmfs_predictor_state",
            "1 for the state the predictor is in, 0 for the others.",
            ["state"],
            registry=registry,
        )
        self._predictor_states = {name: state.labels(name) for name in PREDICTOR_STATES}
        self._restarts = Counter(
            "llmfs_predictor_restarts", "Starts of the predictor after the first.", registry=registry
        ).labels()
        self._told = _Told()
        registry.register(self._told)
        self.accesses = Counter("llmfs_accesses", "Accesses recorded.", registry=registry).labels()
        self.accesses_dropped = Counter(
            "llmfs_accesses_dropped",
            "Accesses that the predictor or the log did not get: it was behind.",
            registry=registry,
            is_shared=True,
        ).labels()

        # The machine
        pressure = Gauge(
            "llmfs_pressure_ratio",
            "Share of the last ten seconds, 0 to 1, in which some task of the machine or of our control group waited"
            " for it.",
            ["resource"],
            registry=registry,
        )
        backing_off = Gauge(
            "llmfs_backing_off", "Whether prefetching and training step back for it.", ["resource"], registry=registry
        )
        self._pressure = {name: pressure.labels(name) for name in ("memory", "cpu")}
        self._backing_off = {name: backing_off.labels(name) for name in ("memory", "cpu")}

        # The controller
        arm = Gauge(
            "llmfs_control_arm",
            "1 for the setting of prefetching that is in force, 0 for the others.",
            ["arm"],
            registry=registry,
        )
        self._arms = {each.name: arm.labels(each.name) for each in ARMS}
        self.control_decisions = Counter(
            "llmfs_control_decisions", "Looks at how eager prefetching should be.", registry=registry
        ).labels()
        changes = Counter(
            "llmfs_control_changes", "Changes to another setting, by which it then was.", ["arm"], registry=registry
        )
        self._arm_changes = {each.name: changes.labels(each.name) for each in ARMS}
        self._arm = ""
        self._sharers = Gauge(
            "llmfs_control_sharers",
            "Programs for which a share of the cache is kept, for they gain more from it than others.",
            registry=registry,
        )
        self._share_gain = Gauge(
            "llmfs_control_share_gain_ratio",
            "Of the requests for data, 0 to 1, what the best division of the cache would answer more, by the last"
            " estimate.",
            registry=registry,
        )
        self._share_changes = Counter(
            "llmfs_control_share_changes", "Times that the cache was divided anew among programs.", registry=registry
        ).labels()

        # The guard
        findings = Counter(
            "llmfs_guard_findings",
            "Times that a process group, or a cgroup, came to a level for it seems to encrypt files: told of, slowed"
            " down, refused.",
            ["level"],
            registry=registry,
        )
        self.guard_findings = {level: findings.labels(level) for level in GUARD_LEVELS}
        self.guard_up = Gauge(
            "llmfs_guard_up",
            "Whether the guard watches: 0 where it could not be made, or failed too often. NaN where none is wanted.",
            registry=registry,
        )
        self.guard_up.set(nan)
        self.guard_denied_requests = Counter(
            "llmfs_guard_denied_requests", "Changes that the guard refused with EROFS.", registry=registry
        ).labels()
        self.guard_throttled_seconds = Counter(
            "llmfs_guard_throttled_seconds", "Time that the guard had changes wait.", registry=registry
        ).labels()
        self.guard_undo_bytes = Gauge(
            "llmfs_guard_undo_bytes", "Bytes on disk of what is kept to undo changes.", registry=registry
        )
        self.guard_undo_dropped = Counter(
            "llmfs_guard_undo_dropped",
            "Copies that were dropped, or not made, for there was no room to keep them.",
            registry=registry,
            is_shared=True,
        ).labels()

        ProcessCollector(registry=registry)
        _PredictorProcess("llmfs_predictor", lambda: predictor_pid() or "none", registry=registry)

    def held_for_turn(self, seconds: float) -> None:
        """A program's request waited so long for its turn on the line."""
        self._line_held.inc()
        self._line_held_seconds.inc(seconds)

    def observe_source(self, operation: str, seconds: float, error: int, size_bytes: int = 0) -> None:
        """A call on the source ended, with this errno or 0 (from a worker thread). `size_bytes`: asked for, of data."""
        self.source[operation].observe(seconds)
        if error:
            name = error_class(error)
            self.source_error[name].inc()
            self.is_source_reachable = name != "unreachable"
        else:
            self.is_source_reachable = True
            if operation in NAMES and seconds >= FAST_S:  # what is faster the source's client answered from memory
                self.name_floor.add(seconds)
            if size_bytes and seconds >= FAST_S + _MEMORY_S_PER_BYTE * size_bytes:  # likewise
                self.transfers.add(size_bytes, seconds)
            mean_s = self._means_s[operation]  # another thread's sample may be lost: it is a mean of many
            self._means_s[operation] = mean_s + (seconds - mean_s) * _MEAN_WEIGHT if mean_s else seconds

    def prefetched(self, kind: str, generator: str, size_bytes: int = 0) -> None:
        """Something was fetched ahead."""
        self._became("issued", generator, size_bytes)
        self.prefetch_issued[kind][_known(kind, generator)].inc()
        if kind == "data":
            self.prefetch_issued_bytes[_known(kind, generator)].inc(size_bytes)

    def prefetch_used(self, kind: str, generator: str, was_late: bool, size_bytes: int = 0) -> None:
        """A program used what was fetched ahead."""
        self._became("late" if was_late else "in_time", generator, size_bytes)
        generator = _known(kind, generator)
        (self.prefetch_late if was_late else self.prefetch_in_time)[kind][generator].inc()
        if kind == "data":
            (self.prefetch_late_bytes if was_late else self.prefetch_in_time_bytes)[generator].inc(size_bytes)
        if not was_late:
            self.stall_saved[kind][generator].inc(self._means_s[_SOURCE_CALL[kind]])

    def prefetch_was_in_vain(self, kind: str, generator: str, size_bytes: int = 0) -> None:
        """What was fetched ahead is gone, or not to be believed any more, and nobody used it."""
        self._became("unused", generator, size_bytes)
        generator = _known(kind, generator)
        self.prefetch_unused[kind][generator].inc()
        if kind == "data":
            self.prefetch_unused_bytes[generator].inc(size_bytes)

    def _became(self, fate: str, generator: str, size_bytes: int) -> None:
        model = model_of(generator)
        self.prefetch_by_model[fate][model].inc()
        if size_bytes:
            self.prefetch_bytes_by_model[fate][model].inc(size_bytes)

    def evicted(self, reason: str, size_bytes: int, generator: str | None) -> None:
        """A block left the cache. `generator`: who had it fetched ahead, where nobody used it."""
        self.evictions[reason].inc()
        self.evicted_bytes[reason].inc(size_bytes)
        if generator is not None:
            self.prefetch_was_in_vain("data", generator, size_bytes)

    def predictor_is(self, current: str) -> None:
        """The predictor came into another state."""
        for name, gauge in self._predictor_states.items():
            gauge.set(name == current)

    def pressure_is(self, memory_percent: float, cores_percent: float, is_pressed: bool, is_contended: bool) -> None:
        """How short memory and cores are, and whether we step back for it."""
        self._pressure["memory"].set(memory_percent / 100)
        self._pressure["cpu"].set(cores_percent / 100)
        self._backing_off["memory"].set(is_pressed)
        self._backing_off["cpu"].set(is_contended)

    def control_is(self, arm: str) -> None:
        """An arm of the controller is in force."""
        if self._arm and arm != self._arm:
            self._arm_changes[arm].inc()
        self._arm = arm
        for name, gauge in self._arms.items():
            gauge.set(name == arm)

    def cache_is_divided(self, sharers: int, gain: float, is_changed: bool) -> None:
        """So many programs have a share, and other ones would gain so much."""
        self._sharers.set(sharers)
        self._share_gain.set(gain)
        if is_changed:
            self._share_changes.inc()

    def revalidated(self, kind: str, outcome: str) -> None:
        """A look at the source found this of what was known."""
        self._revalidations[kind][outcome].inc()

    def page_held_back(self, was_used: bool) -> None:
        """A page was left out of a push as a sample, or one of these was then read."""
        (self.held_back_used if was_used else self.held_back).inc()

    def predictor_restarted(self) -> None:
        """It had ended, and is started again."""
        self.faults["predictor"].inc()
        self._restarts.inc()

    def predictor_told(self, numbers: Mapping[str, float]) -> None:
        """What the predictor's process says of itself."""
        self._told.numbers = numbers

    def stall_seconds(self) -> dict[str, float]:
        """The time that programs' requests took which waited for the source, by what was asked for."""
        waited = dict.fromkeys(("data", "attributes", "listing"), 0.0)
        for operation in TIERED_OPERATIONS:
            kind = {"read": "data", "readdir": "listing"}.get(operation, "attributes")
            waited[kind] += sum(self.request[operation][tier].sum for tier in (Tier.SOURCE, Tier.JOINED))
        return waited


class ShareUse(NamedTuple):
    """What a rule's files have of the cache, and may have."""

    rule: int
    used_bytes: int
    limit_bytes: int


class _Shares(Collector):
    """Reads them off the cache. The only label that depends on a configuration: a rule's number in it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        used = GaugeMetricFamily(
            "llmfs_policy_share_bytes", "Bytes of blocks under a policy with a share, by its number.", labels=["rule"]
        )
        limit = GaugeMetricFamily(
            "llmfs_policy_share_limit_bytes", "Bytes that it may have of the cache.", labels=["rule"]
        )
        for share in self._metrics.shares():
            used.add_metric([str(share.rule)], share.used_bytes)
            limit.add_metric([str(share.rule)], share.limit_bytes)
        yield from (used, limit)


class _Stalls(Collector):
    """Reads the stall seconds off the requests' histogram."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(
            "llmfs_stall_seconds",
            "Time of programs' requests that waited for the source, by what they asked for.",
            labels=["kind"],
        )
        for kind, seconds in self._metrics.stall_seconds().items():
            family.add_metric([kind], seconds)
        yield family


class _PredictorProcess(ProcessCollector):
    """As of this process, and says of which."""

    def collect(self) -> Iterable[Metric]:
        for metric in super().collect():
            metric.documentation = f"Of the predictor's process: {metric.documentation}"
            yield metric


class _Told(Collector):
    """What the predictor's process last told of itself. Its counters begin anew with it, as Prometheus expects; before
    it said anything, what else it tells is no number."""

    def __init__(self) -> None:
        self.numbers: Mapping[str, float] = {}

    def collect(self) -> Iterable[Metric]:
        for name, about in _PREDICTOR_COUNTERS.items():
            yield CounterMetricFamily(f"llmfs_predictor_{name}", f"{about}.", self.numbers.get(name, 0.0))
        for name, about in _PREDICTOR_GAUGES.items():
            yield GaugeMetricFamily(f"llmfs_predictor_{name}", f"{about}.", self.numbers.get(name, nan))
        loss = GaugeMetricFamily(
            "llmfs_predictor_training_loss",
            "Mean binary cross entropy on what the last training held out: of the network that it made (shadow), the"
            " one in use (incumbent), the counts alone (prior). NaN before the first.",
            labels=["model"],
        )
        for model in _LOSSES:
            loss.add_metric([model], self.numbers.get(f"loss_{model}", nan))
        yield loss


def _known(kind: str, generator: str) -> str:
    return generator if generator in GENERATORS[kind] else OTHER


def _by_generator(counter: Counter, *more: str) -> dict[str, dict[str, Count]]:
    return {kind: {name: counter.labels(kind, name, *more) for name in names} for kind, names in GENERATORS.items()}


def _of_data(counter: Counter, *more: str) -> dict[str, Count]:
    return {name: counter.labels(name, *more) for name in GENERATORS["data"]}
