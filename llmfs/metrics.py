"""Every figure that llmfs exposes, in one place, named by Prometheus's conventions.

Children of labelled metrics are bound once, here: looking a label up costs 1.3 us, a bound child 0.35 us. What can be
read off at scrape time (sizes, queue lengths) is a gauge with a function, set by the composition root.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Info

from llmfs.histogram import Histogram
from llmfs.policy.eviction import Resident
from predictor.events import Tier

_REQUEST_BUCKETS = (25e-6, 50e-6, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.5, 2.5, 10)
_SOURCE_BUCKETS = (5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.05, 0.1, 0.25, 1, 5, 30)

TIERS = {Tier.CACHE: "cache", Tier.JOINED: "joined", Tier.SOURCE: "source"}
OPERATIONS = (
    "lookup", "getattr", "setattr", "readlink", "mknod", "mkdir", "unlink", "rmdir", "symlink", "rename", "link",
    "open", "create", "read", "write", "flush", "fsync", "release", "opendir", "readdir", "releasedir", "fsyncdir",
    "statfs", "setxattr", "getxattr", "listxattr", "removexattr", "access",
)  # fmt: skip
SOURCE_OPERATIONS = (
    "lookup", "getattr", "list", "readlink", "statfs", "access", "read", "open", "write", "fsync", "flush", "create",
    "mknod", "mkdir", "symlink", "link", "unlink", "rmdir", "rename", "setattr", "getxattr", "listxattr", "setxattr",
    "removexattr",
)  # fmt: skip
PREDICTOR_STATES = ("off", "sequential", "loading", "rules", "pretrained", "learned", "down")
PREFETCH_KINDS = ("data", "attributes", "listing")


class Metrics:
    """The metrics of one mount, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry(auto_describe=True)
        self.build = Info("llmfs", "Version, source and mount point.", registry=registry)

        self.request = Histogram(
            "llmfs_request_duration_seconds",
            "Time from a request's arrival from the kernel to its answer.",
            "operation",
            OPERATIONS,
            _REQUEST_BUCKETS,
            registry,
        )
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
        self.written_bytes = Counter("llmfs_written_bytes", "Bytes written through to the source.", registry=registry)

        self.source = Histogram(
            "llmfs_source_duration_seconds",
            "Time of calls on the source, demand and prefetch alike.",
            "operation",
            SOURCE_OPERATIONS,
            _SOURCE_BUCKETS,
            registry,
            is_shared=True,
        )
        source_errors = Counter(
            "llmfs_source_errors", "Calls on the source that failed.", ["operation"], registry=registry
        )
        self.source_error = {operation: source_errors.labels(operation) for operation in SOURCE_OPERATIONS}
        self.source_read_bytes = Counter("llmfs_source_read_bytes", "Bytes read from the source.", registry=registry)

        issued = Counter("llmfs_prefetch_issued", "Things fetched ahead.", ["kind"], registry=registry)
        self.prefetch_issued = {kind: issued.labels(kind) for kind in PREFETCH_KINDS}
        self.prefetch_issued_bytes = Counter("llmfs_prefetch_issued_bytes", "Bytes fetched ahead.", registry=registry)
        used = Counter(
            "llmfs_prefetch_used",
            "Things fetched ahead that a program then asked for: ready (in_time) or still on their way (late).",
            ["kind", "timeliness"],
            registry=registry,
        )
        self.prefetch_in_time = {kind: used.labels(kind, "in_time") for kind in ("data", "attributes")}
        self.prefetch_late = {kind: used.labels(kind, "late") for kind in ("data", "attributes")}
        used_bytes = Counter(
            "llmfs_prefetch_used_bytes",
            "Bytes of blocks fetched ahead and then used.",
            ["timeliness"],
            registry=registry,
        )
        self.prefetch_in_time_bytes = used_bytes.labels("in_time")
        self.prefetch_late_bytes = used_bytes.labels("late")
        self.prefetch_unused = Counter(
            "llmfs_prefetch_unused", "Blocks fetched ahead that left the cache unused.", registry=registry
        )
        self.prefetch_unused_bytes = Counter(
            "llmfs_prefetch_unused_bytes", "Bytes fetched ahead that left the cache unused.", registry=registry
        )
        self.prefetch_dropped = Counter(
            "llmfs_prefetch_dropped", "Planned things not fetched: stale, over budget or failed.", registry=registry
        )
        self.prefetch_queue = Gauge("llmfs_prefetch_queue_length", "Planned things waiting.", registry=registry)

        self.evictions = Counter("llmfs_cache_evicted_blocks", "Blocks dropped to make room.", registry=registry)
        self.evicted_bytes = Counter("llmfs_cache_evicted_bytes", "Bytes dropped to make room.", registry=registry)
        self.cache_bytes = Gauge("llmfs_cache_bytes", "Bytes of blocks in the cache.", registry=registry)
        self.cache_limit_bytes = Gauge(
            "llmfs_cache_limit_bytes", "Bytes the cache directory may take.", registry=registry
        )
        self.cache_blocks = Gauge("llmfs_cache_blocks", "Blocks in the cache.", registry=registry)
        self.corrupt_blocks = Counter(
            "llmfs_cache_corrupt_blocks", "Blocks whose checksum was wrong: served from the source.", registry=registry
        )
        self.faults = Counter(
            "llmfs_cache_faults", "Faults of the cache that were passed over (it fails open).", registry=registry
        )
        self.revalidations = Counter(
            "llmfs_revalidations", "Looks at the source for attributes whose time was up.", registry=registry
        )

        state = Gauge(
            "llmfs_predictor_state",
            "1 for the state the predictor is in, 0 for the others.",
            ["state"],
            registry=registry,
        )
        self._predictor_states = {name: state.labels(name) for name in PREDICTOR_STATES}
        self.predictor_restarts = Counter(
            "llmfs_predictor_restarts", "Starts of the predictor after the first.", registry=registry
        )
        statistic = Gauge(
            "llmfs_predictor_statistic",
            "What the predictor's process tells of itself (events, inference_seconds, training_runs, lag_seconds ...).",
            ["name"],
            registry=registry,
        )
        self.predictor_statistic: Callable[[str], Gauge] = statistic.labels
        self.accesses = Counter("llmfs_accesses", "Accesses recorded.", registry=registry)
        self.accesses_dropped = Counter(
            "llmfs_accesses_dropped",
            "Accesses that the predictor or the log did not get: it was behind.",
            registry=registry,
        )

        self.inodes = Gauge("llmfs_inodes", "Inodes in memory.", registry=registry)
        self.open_files = Gauge("llmfs_open_handles", "Open files and directories.", registry=registry)
        self.demand_busy = Gauge(
            "llmfs_demand_calls", "Calls on the source for programs, waiting or running.", registry=registry
        )
        self.bytes_in_flight = Gauge("llmfs_fetch_bytes_in_flight", "Bytes being fetched.", registry=registry)

    def observe_source(self, operation: str, seconds: float, failed: bool) -> None:
        """A call on the source ended (from a worker thread)."""
        self.source[operation].observe(seconds)
        if failed:
            self.source_error[operation].inc()

    def evicted(self, resident: Resident) -> None:
        """A block left the cache."""
        self.evictions.inc()
        self.evicted_bytes.inc(resident.size_bytes)
        if resident.generator is not None:
            self.prefetch_unused.inc()
            self.prefetch_unused_bytes.inc(resident.size_bytes)

    def prefetch_used(self, was_late: bool, size_bytes: int) -> None:
        """A program used data that was fetched ahead."""
        if was_late:
            self.prefetch_late["data"].inc()
            self.prefetch_late_bytes.inc(size_bytes)
        else:
            self.prefetch_in_time["data"].inc()
            self.prefetch_in_time_bytes.inc(size_bytes)

    def predictor_is(self, current: str) -> None:
        """The predictor came into another state."""
        for name, gauge in self._predictor_states.items():
            gauge.set(name == current)
