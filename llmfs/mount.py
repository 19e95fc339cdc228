"""The composition root: makes the parts of a mount, connects them, runs them, and takes them down.

The only file that names concrete implementations. Reading it from top to bottom shows both paths: the data path
(operations -> content/metadata -> cache -> source) and the learning path (operations -> recorder -> trace and
predictor -> plan -> prefetcher -> cache).
"""

import contextlib
import dataclasses
import gc
import json
import logging
import os
import resource
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

import pyfuse3
import trio

from llmfs import __version__, kernel_readahead, mounts, service
from llmfs.activity import PLANS_LOOKED_AT, activity
from llmfs.block_cache import TABLE as BLOCKS
from llmfs.block_cache import BlockCache
from llmfs.blocks import BLOCK_BYTES, block_key, key_generation, key_index, key_inode_id
from llmfs.budget import Budget
from llmfs.cache_dir import CacheDir
from llmfs.config import Control, MountConfig, Predictor
from llmfs.content import Content
from llmfs.control_loop import ControlLoop, controller_of
from llmfs.control_server import ControlServer
from llmfs.daemon import complaints_of_libraries, reopen_log, take_log_level
from llmfs.decisions import Decision, Decisions
from llmfs.errors import LlmfsError, MountError
from llmfs.explain import LatestAccesses, blocks_of, explain
from llmfs.guard import wiring as guarding
from llmfs.held import HeldFiles
from llmfs.inodes import FOREIGN, Inode, InodeTable, ListedName
from llmfs.kernel import KernelCache
from llmfs.local_rules import LocalRules
from llmfs.mentioned import Mentioned
from llmfs.metadata import Metadata
from llmfs.metrics import Metrics, ShareUse
from llmfs.negotiation import negotiate
from llmfs.patience import Patience
from llmfs.pinning import Pinning
from llmfs.pins import Pins
from llmfs.policy.eviction import Resident
from llmfs.policy.line import Line
from llmfs.policy.namesakes import Namesakes
from llmfs.policy.planning import UNUSED_SHARE_PROVEN
from llmfs.policy.rules import Do, Rule, described
from llmfs.policy.speed import LOCAL_FILESYSTEMS, SourceSpeed
from llmfs.predictor_link import PredictorLink
from llmfs.prefetcher import Prefetcher
from llmfs.push import Pusher
from llmfs.recorder import Batch, Recorder
from llmfs.recording import Recordings
from llmfs.records import RECORDS, TABLES, Records
from llmfs.request_reader import afterwards, take_turns
from llmfs.source import Source
from llmfs.status import as_fit, status_of
from llmfs.store import Bounds, Store
from llmfs.trace_log import TraceLog
from llmfs.treatments import Treatments, command_of, shown_path
from llmfs.upkeep import Upkeep
from llmfs.web.address import remove_address, write_address
from llmfs.web.figures import Figures
from llmfs.web.server import Page
from llmfs.web.server import serve as serve_web
from llmfs.workers import Workers
from llmfs.xattrs import Xattrs
from predictor import heap
from predictor.plan import Outcome, PlanItem
from predictor.recent import Recent

log = logging.getLogger(__name__)

DONE_BLOCKS_MAX = 64
"""Of a file of a data set: a larger one is left to the rules of eviction."""

STOP_GRACE_S = 2.0
"""How long requests may still wait for the source once we were asked to stop."""

DESCRIPTORS_KEPT_BACK = 512
"""For LMDB, sockets, handles open for writing; the rest of the limit is for descriptors of the source."""


def serve(config: MountConfig, on_ready: Callable[[], None], reread: Callable[[], MountConfig] | None = None) -> None:
    """Mount and serve until unmounted or SIGTERM/SIGINT. On SIGHUP `reread` says what the configuration is now.

    Calls `on_ready` once, when the mount answers. Raises MountError with one clear line when it cannot mount, and
    CacheError where the cache directory cannot be used.
    """
    os.umask(0)  # the kernel has applied the caller's
    if config.profile.heap_arenas is not None:
        heap.bound(config.profile.heap_arenas)
    else:
        heap.reuse()
    with CacheDir.open(config) as cache_dir:
        mount = Mount(config, cache_dir, reread)
        try:
            trio.run(mount.run, on_ready, restrict_keyboard_interrupt_to_checkpoints=True)
        finally:
            mount.close()


class Mount:
    """One mounted file system and all its parts."""

    def __init__(
        self, config: MountConfig, cache_dir: CacheDir, reread: Callable[[], MountConfig] | None = None
    ) -> None:
        self._config = config
        self._cache_dir = cache_dir
        self._reread = reread
        self._started = time.monotonic()
        profile = config.profile
        self._budget = budget = Budget.of(config.cache_size_bytes, guarding.keeps_undo(config))
        self._scores: Recent[int, float] = Recent(profile.idle_inodes // 2)
        self._decisions = Decisions(profile.decided_files, profile.planned_items)
        self._latest = LatestAccesses(profile.latest_records)
        self._token: trio.lowlevel.TrioToken | None = None
        self._requests = trio.CancelScope()
        self._link: PredictorLink | None = None
        self.metrics = metrics = Metrics(lambda: self._link.pid if self._link is not None else None)
        descriptors = min(_raise_descriptor_limit() - DESCRIPTORS_KEPT_BACK, profile.descriptors)
        bounds = Bounds(profile.write_behind_bytes, profile.mapped_bytes, profile.read_in_bytes)
        self._meta_store = Store(
            os.fspath(cache_dir.meta),
            TABLES,
            budget.meta,
            metrics.faults["records"].inc,
            expendable=RECORDS,
            bounds=bounds,
        )
        self.records = records = Records(self._meta_store, lambda: self.speed.is_inline)
        self.speed = SourceSpeed()
        self._line = Line()
        try:
            self.source = Source(
                config.source,
                max(64, descriptors),
                self._observe_source,
                records.source_type(),
                config.is_offline_ok,
            )
        except OSError as error:
            self._meta_store.close()
            raise MountError(f"cannot open the source {config.source}: {error.strerror}") from error
        records.keep_source_type(self.source.filesystem_type)
        self.speed.is_local = self.source.filesystem_type in LOCAL_FILESYSTEMS
        self._block_store = Store(
            os.fspath(cache_dir.blocks),
            (BLOCKS,),
            budget.blocks,
            metrics.faults["blocks"].inc,
            self._lost_blocks,
            indexed=BLOCKS,
            bounds=bounds,
            is_busy=lambda: not self.source.is_quiet,
        )
        self._pins = Pins(cache_dir.path)
        self.blocks = BlockCache(
            self._block_store,
            budget.blocks,
            self._score,
            self._evicted,
            metrics.corrupt_blocks.inc,
            self._is_pinned,
            profile.hot_blocks,
        )
        self.demand = Workers("demand", profile.demand_threads, lambda: self.speed.is_inline)
        self.prefetch_workers = Workers("prefetch", profile.prefetch_threads)
        self.kernel = KernelCache()
        self.pusher = Pusher(
            self.blocks,
            self.kernel,
            lambda: self._recordings.is_running,
            metrics.pushed_bytes.inc,
            metrics.page_held_back,
            metrics.faults["push"].inc,
        )
        self.patience = Patience(config.source_timeout_s, lambda: not self.speed.is_inline)
        self.recorder = Recorder(
            self._take_batch, self._process_seen, profile.paths_in_use, lambda: self.source.is_quiet
        )
        is_steered = config.control is not Control.OFF
        self.treatments = Treatments(config.policies, self.recorder.process_of, tells_programs=is_steered)
        self.blocks.share_out(self.treatments.rules.shares)
        self.metadata = Metadata(
            self.source,
            records,
            InodeTable(profile.idle_inodes),
            config.consistency,
            self._changed,
            self._metadata_prefetched,
            metrics.revalidated,
            judge=self.treatments.judge,
            on_listing_used=self._listing_used,
            on_in_vain=metrics.prefetch_was_in_vain,
            looks_kept=profile.looks_kept,
        )
        self._recordings = Recordings(
            self.recorder.path_by_id, lambda: self.metadata.inodes, lambda: self.recorder.flush()
        )
        self._trace = TraceLog(
            cache_dir.trace,
            budget.trace,
            metrics.accesses_dropped.inc,
            metrics.faults["trace"].inc,
            profile.waiting_records,
        )
        self._guard = guarding.guard_of(config, cache_dir, budget, metrics)
        self._predictor_state = config.predictor.value
        if config.predictor is Predictor.LEARNED:
            self._predictor_state = "loading"
            self._link = PredictorLink(
                [
                    *("--state-dir", os.fspath(cache_dir.learned), "--state-limit", str(budget.learned)),
                    *("--ahead-bytes", str(int(UNUSED_SHARE_PROVEN * self.blocks.capacity_bytes))),
                    *(["--small"] if profile.is_predictor_small else []),
                    *([] if profile.trains else ["--no-training"]),
                    *(["--heap-arenas", str(profile.heap_arenas)] if profile.heap_arenas is not None else []),
                ],
                self.recorder.dictionary,
                self._take_plan,
                self._take_scores,
                self._predictor_is,
                self._take_statistics,
                metrics.accesses_dropped.inc,
                metrics.predictor_restarted,
            )
        metrics.predictor_is(self._predictor_state)

    # --- running

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Mount, serve, unmount."""
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            self.content = Content(
                self.source,
                self.blocks,
                nursery,
                self._data_fetched,
                self._data_used,
                lambda: self.speed.is_fast,
                afterwards,
                self._line,
                self.metrics.held_for_turn,
            )
            self.prefetcher = Prefetcher(
                self.metadata,
                self.content,
                self.prefetch_workers,
                lambda: self.blocks.capacity_bytes,
                lambda why, count: self.metrics.prefetch_dropped[why].inc(count),
                self.metrics.faults["prefetch"].inc,
                self._listed_ahead,
            )
            self._steering = self._control_loop()
            upkeep = Upkeep(
                self.source, self.metadata, self.content, self.blocks, self.kernel, self.prefetch_workers, nursery
            )
            pinning = Pinning(self._pins, upkeep, self.metadata, self.content, self.blocks, self.prefetch_workers)
            self._held = self._held_files()
            namesakes = Namesakes()
            mentioned = Mentioned(
                self.prefetcher,
                self.metadata,
                self.content,
                namesakes,
                self._token.run_sync_soon,
                self.metrics.faults["prefetch"].inc,
            )
            self._rules = rules = LocalRules(
                self.prefetcher,
                self._config.predictor,
                self._listed,
                namesakes,
                mentioned,
                self.metadata.remembered_folder,
            )
            xattrs = Xattrs(self.source, self.metadata, self.records, self.demand, self.prefetch_workers)
            answering = guarding.operations_of(self._guard, self.source, self.blocks, self.demand)
            self.operations = answering(
                self.source,
                self.metadata,
                self.content,
                xattrs,
                self.demand,
                rules,
                self.recorder,
                self.kernel,
                self.pusher,
                self.patience,
                self.treatments,
                self.metrics,
                self._config.read_only,
                lambda: json.dumps(self.status()).encode(),
                lambda inode: json.dumps(self.explain(inode)).encode(),
                upkeep.cached_bytes,
                afterwards,
            )
            self._figures = Figures(
                self.status,
                self.metrics,
                self._activity_of,
                self._decisions.expected,
                self._done_about,
                self._used_since,
            )
            self._metrics_port = self._start_metrics()
            self._mount()
            try:
                self.blocks.load_index(self._token)
                nursery.start_soon(afterwards.tend)
                nursery.start_soon(self.recorder.run)
                nursery.start_soon(self.prefetcher.run)
                nursery.start_soon(self.pusher.run)
                nursery.start_soon(xattrs.run)
                nursery.start_soon(self.patience.run)
                nursery.start_soon(self.demand.tend)
                nursery.start_soon(self.prefetch_workers.tend)
                nursery.start_soon(self._stop_on_signal)
                nursery.start_soon(self._reload_on_signal)
                if self._config.web:
                    nursery.start_soon(self._figures.run)
                nursery.start_soon(self._control(upkeep, pinning).run)
                nursery.start_soon(pinning.run)
                if self._steering is not None:
                    nursery.start_soon(self._steering.run)
                if self._link is not None:
                    nursery.start_soon(self._link.run)
                if self._held is not None:
                    nursery.start_soon(self._held.run)
                await negotiate(pyfuse3.main)
                gc.collect()
                gc.freeze()  # what is here now stays: do not walk through it at every collection
                nursery.start_soon(self._announce, on_ready)
                with self._requests:
                    await pyfuse3.main(max_tasks=self._config.profile.requests_at_once)
            finally:
                remove_address(self._config.cache_dir)
                self.kernel.close()
                pyfuse3.close(unmount=True)
            self.recorder.flush()
            nursery.cancel_scope.cancel()

    def _control_loop(self) -> ControlLoop | None:
        controller = controller_of(self._config.control, self._cache_dir.learned)
        if controller is None or self._config.predictor is Predictor.OFF:
            return None
        return ControlLoop(
            controller,
            self.metrics,
            self.prefetcher.steer,
            lambda: (len(self.prefetcher), self.demand.busy, self.prefetcher.running),
            on_pressure=self._under_pressure,
            cache=self.blocks,
        )

    def _held_files(self) -> HeldFiles | None:
        limit = self._config.profile.held_inodes
        if limit is None:
            return None
        return HeldFiles(
            self.metadata.inodes,
            limit,
            self.kernel.drop_name,
            self.metadata.let_go_of_listing,
            self.metrics.names_given_back.inc,
        )

    def _control(self, upkeep: Upkeep, pinning: Pinning) -> ControlServer:
        return ControlServer(
            self._config.cache_dir,
            {
                "warm": upkeep.warm,
                "evict": upkeep.evict,
                "check": upkeep.check,
                "replay": upkeep.replay,
                "pin": pinning.pin,
                "unpin": pinning.unpin,
                "record": self._recordings.record,
                "recorded": self._recordings.recorded,
                "activity": self._activity,
                **guarding.handlers(
                    self._guard, self.source, self.metadata, self.content, self.kernel, self.prefetch_workers
                ),
            },
        )

    def close(self) -> None:
        """Write down what is waiting and let go of the cache."""
        self._trace.close()
        self._meta_store.close()
        self._block_store.close()

    def _mount(self) -> None:
        options = {"fsname=" + _escaped(str(self._config.source)), "subtype=llmfs", "default_permissions"}
        options.update(self._config.fuse_options)
        if self._config.allow_other:
            options.add("allow_other")
        if self._config.read_only:
            options.add("ro")
        try:
            with complaints_of_libraries() as complaints:
                take_turns(self.operations)
                pyfuse3.init(self.operations, str(self._config.mountpoint), options)
        except RuntimeError as error:
            why = "; ".join(complaints) or str(error)
            raise MountError(f"cannot mount at {self._config.mountpoint}: {why}") from error

    async def _announce(self, on_ready: Callable[[], None]) -> None:
        """Say that we are ready once the kernel's first request can be answered."""
        await trio.to_thread.run_sync(self._widen_readahead)
        on_ready()

    def _widen_readahead(self) -> None:
        with contextlib.suppress(LlmfsError):  # no mount table: it stays as it is
            mount = mounts.at(os.fspath(self._config.mountpoint))
            if mount is not None:
                kernel_readahead.widen(kernel_readahead.window_of(mount.connection))

    async def _stop_on_signal(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                log.info("asked to stop: unmounting")
                service.notify("STOPPING=1")
                pyfuse3.terminate()
                await trio.sleep(STOP_GRACE_S)
                self._requests.cancel()

    async def _reload_on_signal(self) -> None:
        with trio.open_signal_receiver(signal.SIGHUP) as signals:
            async for _ in signals:
                if os.isatty(2):  # in the foreground, whose terminal was closed
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                service.reloading()
                reopen_log()
                try:
                    if self._reread is not None:
                        self._take_config(await trio.to_thread.run_sync(self._reread))
                except (LlmfsError, OSError) as error:
                    log.warning("not reloaded: %s", error)
                service.notify("READY=1")

    def _take_config(self, config: MountConfig) -> None:
        """Goes by another configuration from now on, as far as that can be done while mounted."""
        self.patience.timeout_s = config.source_timeout_s
        self._config = dataclasses.replace(
            self._config, source_timeout_s=config.source_timeout_s, log_level=config.log_level
        )
        self._take_policies(config.policies)
        take_log_level(config.log_level)
        ours = dataclasses.asdict(self._config)
        changed = [
            name
            for name, value in dataclasses.asdict(config).items()
            if value != ours[name] and name != "profile_reason"
        ]
        if changed:
            log.warning("reloaded; takes another mount: %s", ", ".join(changed))
        else:
            log.info("reloaded")

    def _take_policies(self, policies: tuple[Rule, ...]) -> None:
        """Other rules for what is opened from now on. What is immutable stays as it is: the kernel was told so."""
        ours, theirs = (
            [each for each in rules if each.do is Do.IMMUTABLE] for rules in (self._config.policies, policies)
        )
        if ours != theirs:
            log.warning("reloaded; takes another mount: policies that say immutable")
            policies = tuple(ours) + tuple(each for each in policies if each.do is not Do.IMMUTABLE)
        if policies != self._config.policies:
            sharers = self.treatments.rules.sharers
            self.treatments.take(policies)
            if self.treatments.rules.sharers != sharers:
                self.blocks.share_out(self.treatments.rules.shares)
            for inode in self.metadata.inodes:
                self.treatments.judge(inode)
        self._config = dataclasses.replace(self._config, policies=policies)

    def _start_metrics(self) -> int | None:
        metrics = self.metrics
        metrics.build.info(
            {
                "version": __version__,
                "source": str(self._config.source),
                "mountpoint": str(self._config.mountpoint),
            }
        )
        profile = self._config.profile
        metrics.machine_profile.info({"profile": profile.name.value, "reason": self._config.profile_reason})
        metrics.cache_limit_bytes.set(self._config.cache_size_bytes)
        metrics.cache_bytes.set_function(lambda: self.blocks.used_bytes)
        metrics.cache_capacity_bytes.set_function(lambda: self.blocks.capacity_bytes)
        metrics.cache_dir_bytes.set_function(self._cache_dir_bytes)
        metrics.cache_blocks.set_function(lambda: len(self.blocks))
        metrics.cache_disk_free_bytes.set_function(self._disk_free_bytes)
        metrics.cache_up["records"].set_function(lambda: not self._meta_store.is_down)
        metrics.cache_up["blocks"].set_function(lambda: not self._block_store.is_down)
        metrics.shares = self._share_uses
        metrics.pinned_files.set_function(lambda: self._pins.files)
        metrics.pinned_bytes.set_function(lambda: self._pins.size_bytes)
        metrics.cache_bypassed.set_function(lambda: self.speed.is_fast)
        metrics.source_up.set_function(lambda: self.source.is_attached and metrics.is_source_reachable)
        metrics.source_stuck.set_function(lambda: self.demand.stuck + self.prefetch_workers.stuck)
        metrics.prefetch_queue.set_function(lambda: len(self.prefetcher))
        metrics.inodes.set_function(lambda: len(self.metadata.inodes))
        metrics.open_files.set_function(lambda: self.operations.open_handles)
        metrics.demand_busy.set_function(lambda: self.demand.busy)
        metrics.bytes_in_flight.set_function(lambda: self.content.bytes_in_flight)
        metrics.window_bytes.set_function(lambda: self._line.window_bytes(time.monotonic()))
        metrics.line_bytes_s.set_function(lambda: self._line.bytes_s)
        metrics.line_crowded.set_function(lambda: self._line.turns.is_crowded)
        if self._config.metrics_port is None and not self._config.web:
            return None
        assert self._token is not None
        page = Page(self._figures.gather, self._token) if self._config.web else None
        address, wanted = self._config.web_address, self._config.metrics_port or 0
        try:
            port = serve_web(metrics.registry, address, wanted, page)
            if page is not None:
                write_address(self._config.cache_dir, address, port, page.secret)
        except OSError as error:
            raise MountError(f"cannot serve metrics on port {wanted} of {address}: {error.strerror}") from error
        return port

    def _cache_dir_bytes(self) -> float:
        undo = self._guard.undo if self._guard is not None else None
        return self._cache_dir.flat_bytes() + (undo.used_bytes if undo is not None else 0)

    def _disk_free_bytes(self) -> float:
        try:
            found = os.statvfs(self._config.cache_dir)
        except OSError:
            return float("nan")
        return found.f_bavail * found.f_frsize

    def status(self) -> dict[str, Any]:
        """What `llmfs status` shows."""
        return {
            "version": __version__,
            "pid": os.getpid(),
            "source": str(self._config.source),
            "mountpoint": str(self._config.mountpoint),
            "cache_dir": str(self._config.cache_dir),
            "consistency": self._config.consistency.value,
            "profile": {"name": self._config.profile.name.value, "reason": self._config.profile_reason},
            "predictor": self._config.predictor.value,
            "predictor_state": self._predictor_state,
            "predictor_pid": self._link.pid if self._link is not None else None,
            "metrics_port": self._metrics_port,
            "web": self._config.web,
            "uptime_s": round(time.monotonic() - self._started, 3),
            **status_of(self.metrics),
            "cache": {
                "used_bytes": self.blocks.used_bytes,
                "limit_bytes": self._config.cache_size_bytes,
                "blocks": len(self.blocks),
                "evictions": sum(int(each.value) for each in self.metrics.evictions.values()),
            },
            "control": self._control_described(),
            "guard": self._guard.described() if self._guard is not None else {},
            "pinned": self._pins.described(),
            "policies": self._policies(),
        }

    def _policies(self) -> list[dict[str, Any]]:
        """Each rule, what was answered as it says since it was taken up, and what it holds of its share."""
        shares = {
            use.rule: {"used_bytes": use.used_bytes, "limit_bytes": use.limit_bytes} for use in self._share_uses()
        }
        return as_fit(
            described(tally)
            | {"requests": tally.requests, "read_bytes": tally.read_bytes}
            | shares.get(tally.number, {})
            for tally in self.treatments.rules.tallies
        )

    def _control_described(self) -> dict[str, Any]:
        return {} if self._steering is None else self._steering.described() | {"programs": self._programs()}

    def _programs(self) -> list[dict[str, Any]]:
        """Who competes for the cache: what each holds, its share if it has one, and what it would gain from more."""
        held, partition = self.blocks.held_bytes, self.blocks.partition
        return as_fit(
            {
                "process_group": program,
                "command": command_of(program),
                "held_bytes": held.get(program, 0),
                "share": partition.shares.get(program),
                "hit_ratios": [round(each, 3) for each in curve],
            }
            for program, curve in partition.curves().items()
        )

    def _share_uses(self) -> list[ShareUse]:
        shares = self.treatments.rules.shares
        return [
            ShareUse(
                tally.number,
                self.blocks.share_bytes(tally.group),
                int(shares[tally.group - 1] * self.blocks.capacity_bytes),
            )
            for tally in self.treatments.rules.tallies
            if tally.group
        ]

    async def _activity(self, request: Mapping[str, Any], figures: dict[str, Any], _: object) -> None:
        """What `llmfs top` shows of the last seconds. Raises ValueError."""
        seconds = request.get("seconds")
        if not isinstance(seconds, int | float) or not 0 < seconds < 1e6:
            raise ValueError("of how many seconds?")
        figures.update(self._activity_of(seconds))

    def _activity_of(self, seconds: float) -> dict[str, Any]:
        now_s = time.time()
        self.recorder.flush()
        records = self._latest.since(max(0, int((now_s - seconds) * 1e9)))
        plans = self._decisions.expected(PLANS_LOOKED_AT)
        return activity(records, self.recorder.path_by_id, self.recorder.process_of, plans, now_s)

    def _done_about(self, path: bytes) -> list[Decision]:
        """What was done lately about the file of a path."""
        inode = self._find(path)
        return self._decisions.done(inode.id) if inode is not None else []

    def _used_since(self, at_s: float) -> Callable[[bytes], float]:
        """Tells of a path when a program used it last since a time, 0 for not at all."""
        used_ns = self._latest.latest_use(max(0, int(at_s * 1e9)))

        def used_at_s(path: bytes) -> float:
            inode = self._find(path)
            return used_ns(self.recorder.path_of(inode)) / 1e9 if inode is not None else 0.0

        return used_at_s

    def explain(self, inode: Inode) -> dict[str, Any]:
        """What `llmfs explain` shows of a file."""
        now_s = time.time()
        self.recorder.flush()
        path, attributes = self.recorder.path(inode), inode.attributes
        kind = "directory" if attributes.is_directory else "file" if attributes.is_regular else "other"
        size_bytes = attributes.size if attributes.is_regular else 0
        return explain(
            path,
            kind,
            size_bytes,
            blocks_of(size_bytes, lambda index: self.blocks.resident(block_key(inode.id, inode.generation, index))),
            self._scores.get(inode.id),
            self._decisions.of(path, inode.id),
            self._latest.of(self.recorder.path_of(inode), self.recorder.process_of, now_s),
            as_fit(map(described, self.treatments.rules.about(shown_path(inode)))),
            now_s,
        )

    # --- what the parts tell each other

    def _observe_source(self, operation: str, seconds: float, error: int, size_bytes: int) -> None:
        self.metrics.observe_source(operation, seconds, error, size_bytes)
        self.speed.observe(operation, seconds)
        if operation in ("lookup", "getattr"):
            self._line.called(seconds)

    def _changed(self, inode: Inode) -> None:
        """Somebody else changed the file: whatever was cached of it is of the past."""
        self.source.descriptors.renew_reader(inode)
        if inode.lookups and inode.kernel_generation not in (0, FOREIGN, inode.generation):
            inode.kernel_generation = FOREIGN
            self.kernel.drop_data(inode.id)

    def _metadata_prefetched(self, kind: str, generator: str, was_late: bool) -> None:
        if was_late:
            self.metrics.prefetch_used(kind, generator, was_late=True)
        else:
            self.metrics.prefetched(kind, generator)

    def _listing_used(self, directory: Inode, generator: str) -> None:
        self.metrics.prefetch_used("listing", generator, was_late=False)
        if directory.place is not None:
            self._rules.listing_used(directory, directory.place[1], generator)

    def _data_fetched(self, inode: Inode, generator: str | None, offset: int, size_bytes: int) -> None:
        self._decisions.fetched(inode.id, generator or "", offset, size_bytes, time.time())
        if generator is None:
            self.metrics.demand_fetched_bytes.inc(size_bytes)
            return
        self.metrics.prefetched("data", generator, size_bytes)
        self.prefetcher.fetched(size_bytes)
        self._rules.data_fetched(inode, generator, size_bytes)

    def _data_used(
        self, inode: Inode, generator: str, was_late: bool, offset: int, size_bytes: int, is_heard: bool
    ) -> None:
        self._decisions.used(inode.id, generator, was_late, time.time())
        self.metrics.prefetch_used("data", generator, was_late, size_bytes)
        self.prefetcher.used(size_bytes)
        if is_heard:
            self._rules.data_used(inode, generator, offset, size_bytes)
        if self._link is not None:
            outcome = Outcome.LATE if was_late else Outcome.IN_TIME
            self._link.outcome(self.recorder.path(inode), generator, outcome)

    def _evicted(self, key: bytes, resident: Resident, reason: str) -> None:
        inode_id, offset = key_inode_id(key), key_index(key) * BLOCK_BYTES
        inode = self.metadata.inodes.get(inode_id)
        if reason == "capacity" and inode is not None and inode.generation != key_generation(key):
            reason = "changed"
        self.metrics.evicted(reason, resident.size_bytes, resident.generator)
        who, score = resident.generator or "", self._score(key)
        self._decisions.evicted(inode_id, who, offset, resident.size_bytes, score, time.time())
        if resident.generator is not None:
            self.prefetcher.wasted(resident.size_bytes)
            if self._link is not None and inode is not None:
                self._link.outcome(self.recorder.path(inode), resident.generator, Outcome.UNUSED)

    def _is_pinned(self, key: bytes) -> bool:
        """Whether a block is of a pinned file, as that is now."""
        if not self._pins.holds(key_inode_id(key)):
            return False
        inode = self.metadata.inodes.get(key_inode_id(key))
        # One that was listed, and not looked at yet, has no generation.
        return inode is None or inode.generation in (0, key_generation(key))

    def _lost_blocks(self, keys: list[tuple[str, bytes]]) -> None:
        """From the store's thread: the map was full."""
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self.blocks.lost, keys)

    def _process_seen(self, stream: int, tgid: int) -> None:
        self._recordings.seen(stream, tgid)

    def _take_batch(self, batch: Batch) -> None:
        self.metrics.accesses.inc(len(batch[2]) // 40)
        self._trace.append(batch)
        self._latest.add(batch[2])
        self._recordings.take(batch)
        if self._link is None:
            return
        if self.speed.is_fast:
            self._link.skip()  # nothing to gain: leave the machine to the program
        else:
            self._link.accesses(batch[2])

    def _listed(self, directory: Inode, names: list[ListedName]) -> None:
        if self._link is not None:
            path = self.recorder.path_of(directory)
            self._link.listing(path, [listed.name for listed in names], [listed.kind >> 12 for listed in names])

    def _listed_ahead(self, directory: Inode, generator: str) -> None:
        if directory.listing is not None:
            self._listed(directory, directory.listing.names)
        if directory.place is not None:
            self._rules.listed_ahead(directory, directory.place[1], generator)

    def _take_plan(self, items: list[PlanItem]) -> None:
        self._decisions.planned(items, time.time())
        self.prefetcher.take_plan(items)

    def _take_scores(self, scores: list[tuple[bytes, float]]) -> None:
        directories: dict[bytes, Inode | None] = {}  # many are of a few, and a path is long
        for path, score in scores:
            above, _, name = path.rpartition(b"/")
            if above not in directories:
                directories[above] = self._find(above) if above else self.metadata.root
            inode = self._child(directories[above], name)
            if inode is not None:
                if score < 0 or (self._scores.get(inode.id) or 0.0) < 0:  # again, for what came since it was said first
                    self._done_with(inode, score < 0)
                self._scores[inode.id] = score

    def _done_with(self, inode: Inode, is_done: bool) -> None:
        """The predictor knows whether a file of a data set is still to be read in this epoch."""
        blocks = range(min(-(-inode.size // BLOCK_BYTES), DONE_BLOCKS_MAX))
        keys = (block_key(inode.id, inode.generation, index) for index in blocks)
        if is_done:
            self.blocks.done_with(keys)
        else:
            self.blocks.not_done_with(keys)

    def _find(self, path: bytes) -> Inode | None:
        """The inode of a path, if it is in memory."""
        inode: Inode | None = self.metadata.root
        for name in path.split(b"/"):
            inode = self._child(inode, name)
        return inode

    def _child(self, directory: Inode | None, name: bytes) -> Inode | None:
        """The inode of a name, if both it and the directory are in memory."""
        entry = directory.children.get(name) if directory is not None and directory.children is not None else None
        return self.metadata.inodes.get(entry.inode_id) if entry is not None else None

    def _score(self, key: bytes) -> float:
        return self._scores.get(key_inode_id(key)) or 0.0

    def _under_pressure(self, is_pressed: bool, is_contended: bool) -> None:
        if self._link is not None:
            self._link.pressure(is_pressed, is_contended)

    def _predictor_is(self, state: str) -> None:
        self._predictor_state = state
        self.metrics.predictor_is(state)

    def _take_statistics(self, numbers: dict[str, float]) -> None:
        self.metrics.predictor_told(numbers)


def _raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one; returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _escaped(text: str) -> str:
    """A value of a mount option: commas and backslashes would end it."""
    return text.replace("\\", "\\\\").replace(",", "\\,")
