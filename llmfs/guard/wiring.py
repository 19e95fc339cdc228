"""How a mount gets its guard: the parts that `llmfs/mount.py` connects, by mode."""

import logging
import os
from collections.abc import Callable
from functools import partial

from llmfs.block_cache import BlockCache
from llmfs.blocks import BLOCK_BYTES, block_key
from llmfs.budget import Budget
from llmfs.cache_dir import CacheDir
from llmfs.config import GuardMode, MountConfig
from llmfs.content import Content
from llmfs.control_server import Handler
from llmfs.guard.hook import Hook
from llmfs.guard.operations import GuardedOperations
from llmfs.guard.recording import Recording
from llmfs.guard.restore import Restorer
from llmfs.guard.undo import Undo
from llmfs.guard.watch import Guard
from llmfs.inodes import Inode
from llmfs.kernel import KernelCache
from llmfs.metadata import Metadata
from llmfs.metrics import Metrics
from llmfs.operations import Operations
from llmfs.source import Source
from llmfs.workers import Workers
from predictor.guard import model

log = logging.getLogger(__name__)

RECORD_TO = "LLMFS_GUARD_RECORD"
"""An environment variable that names a file for the events, to train on (bench/guard). Nothing is recorded without
it."""


def keeps_undo(config: MountConfig) -> bool:
    """Whether what is overwritten is kept. A mount that nobody writes to needs nothing of the guard."""
    return config.guard in (GuardMode.THROTTLE, GuardMode.PROTECT) and not config.read_only


def guard_of(config: MountConfig, cache_dir: CacheDir, budget: Budget, metrics: Metrics) -> Guard | None:
    """The guard of a mount, None where there is none: it is off, or it could not be made, which is counted."""
    if config.guard is GuardMode.OFF or config.read_only:
        return None
    try:
        undo = None
        if keeps_undo(config):
            undo = Undo(cache_dir.guard / "undo", budget.undo, metrics.guard_undo_dropped.inc)
            metrics.guard_undo_bytes.set_function(lambda: undo.used_bytes)
        hook = Hook(config.guard_hook) if config.guard_hook is not None else None
        record_to = os.environ.get(RECORD_TO)
        observe = Recording(record_to) if record_to else None
        guard = Guard(config.guard, cache_dir.guard, model.shipped(), undo, hook, metrics, observe)
        metrics.guard_up.set_function(lambda: not guard.is_down)
        return guard
    except Exception:
        log.exception("there is no guard: it could not be made")
        metrics.faults["guard"].inc()
        metrics.guard_up.set(False)
        return None


def operations_of(
    guard: Guard | None, source: Source, blocks: BlockCache, demand: Workers
) -> Callable[..., Operations]:
    """What answers the kernel: with a guard or without."""
    if guard is None:
        return Operations
    return partial(GuardedOperations, guard, partial(_peek, source, blocks, demand))


def handlers(
    guard: Guard | None,
    source: Source,
    metadata: Metadata,
    content: Content,
    kernel: KernelCache,
    workers: Workers,
) -> dict[str, Handler]:
    """What the control socket takes."""
    if guard is None:
        return {}
    restorer = Restorer(guard, source, metadata, content, kernel, workers)
    return {"guard-list": guard.list, "guard-allow": guard.allow, "guard-restore": restorer.restore}


def _peek(
    source: Source, blocks: BlockCache, demand: Workers, inode: Inode, offset: int, length: int
) -> bytes | bytearray | None:
    """Bytes of a file where they are in memory or in the cache; None where one would have to wait for the source."""
    length = min(length, inode.size - offset)
    if length <= 0:
        return None
    index, at = divmod(offset, BLOCK_BYTES)
    block = blocks.look(block_key(inode.id, inode.generation, index))
    if block is not None:
        cut = block.cut(at, min(at + length, BLOCK_BYTES))
        if cut is not None:
            return cut
    return source.read_now(inode, offset, length, may_open=demand.is_inline)
