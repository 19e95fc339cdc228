"""What a predictor is told: every name before a record that needs it, in slices, whenever it starts."""

import contextlib
import os
import socket
from collections.abc import Callable

import numpy as np
import pytest
import trio
import trio.testing

from llmfs import predictor_link as module
from llmfs.attributes import Attributes
from llmfs.inodes import ROOT_ID, Inode
from llmfs.predictor_link import QUEUE_FRAMES, PredictorLink
from llmfs.recorder import Recorder
from predictor.engine import Engine
from predictor.events import ACCESS, Op, Tier
from predictor.frames import FrameReader

DIRECTORY = Attributes(0o40755, 2, 0, 0, 0, 0, 4096, 0, 0, 0, 0, 0, 2)
SLICE = 300  # more than a batch can need


class _Pipe:
    """A mount's recorder and link, and what a predictor at their other end was told."""

    def __init__(self) -> None:
        self.recorder = Recorder(lambda batch: self.link.accesses(batch[2]))
        self.dropped = 0
        self.slices: list[int] = []
        self.link = PredictorLink(
            [], self._dictionary, *[lambda *_: None] * 4, on_dropped=self._drop, on_restart=lambda: None
        )
        self.engine = Engine()
        self.frames = 0
        self._reader = FrameReader()
        self._root = Inode(ROOT_ID, None, DIRECTORY)

    def _dictionary(self, *arguments: int) -> tuple[list[tuple[int, int, bytes]], list[tuple[int, int, str]]]:
        told = self.recorder.dictionary(*arguments)
        self.slices.append(len(told[0]))
        return told

    def _drop(self, records: int) -> None:
        self.dropped += records

    def use(self, first: int, stop: int, *, is_recorded: bool = True) -> None:
        for number in range(first, stop):
            path = self.recorder.child_of(self._root, b"%d" % number)
            if is_recorded:
                self.recorder.record(Op.READ, Tier.CACHE, path, self.recorder.stream_of(os.getpid()), 0.0, 0, 1)

    def hear(self, data: bytes) -> None:
        for kind, paths, streams, records in self._reader.feed(data):
            assert kind == "accesses"
            self.frames += 1
            self.engine.observe(paths, streams, np.frombuffer(records, ACCESS))


def _converse(
    pipe: _Pipe, *steps: Callable[[], None], while_told: Callable[[], None] = lambda: None, skipped: int = 0
) -> None:
    """Connect a predictor; after each step wait until it heard of all accesses that were neither dropped nor `skipped`.

    `while_told` happens after each piece that it hears until it is connected.
    """

    async def main() -> None:
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # as if it were slow to listen
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        with trio.fail_after(20):
            there = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
            async with stream, there, trio.open_nursery() as nursery:

                async def hear() -> None:
                    with contextlib.suppress(trio.ClosedResourceError):
                        async for data in there:
                            if not pipe.link._is_connected:
                                while_told()
                            pipe.hear(bytes(data))

                nursery.start_soon(hear)
                nursery.start_soon(pipe.link._tell, stream)
                while not pipe.link._is_connected:
                    await trio.sleep(0.001)
                for step in steps:
                    step()
                    pipe.recorder.flush()
                    while pipe.engine.counters["events"] + pipe.dropped < pipe.recorder.recorded - skipped:
                        await trio.sleep(0.001)
                nursery.cancel_scope.cancel()

    trio.run(main)


def test_predictor_that_starts_late_is_told_all_names_a_slice_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NAMES_IN_SLICE", SLICE)
    pipe = _Pipe()
    known, new = 20 * SLICE, iter(range(20 * SLICE, 24 * SLICE))

    def while_told() -> None:
        number = next(new, None)
        if number is not None:
            pipe.use(number, number + 1, is_recorded=False)

    async def before() -> None:
        pipe.use(0, known, is_recorded=False)

    trio.run(before)
    _converse(pipe, lambda: pipe.use(0, 24 * SLICE), while_told=while_told)
    assert max(pipe.slices) == SLICE  # the event loop never built more at once
    assert len(pipe.slices) > 20
    assert pipe.engine.counters["events"] == 24 * SLICE and pipe.dropped == 0
    assert pipe.engine.counters["unknown"] == 0


def test_names_of_frames_that_found_the_queue_full_are_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NAMES_IN_SLICE", SLICE)
    pipe = _Pipe()
    monkeypatch.setattr("llmfs.recorder.BATCH_RECORDS", 10)

    names = 10 * (2 * QUEUE_FRAMES)
    dropped: list[int] = []
    _converse(
        pipe,
        lambda: pipe.use(0, names),  # in one go: nobody takes from socket and queue meanwhile
        lambda: dropped.append(pipe.dropped),
        lambda: pipe.use(0, 1),
        *[lambda first=first: pipe.use(first, first + 1000) for first in range(0, names, 1000)],
    )
    assert 0 < dropped[0] < names - 10 * QUEUE_FRAMES
    assert pipe.dropped <= dropped[0] + 10 * (dropped[0] // SLICE + 1)  # frames that carry names alone, to catch up
    assert pipe.engine.counters["unknown"] == 0


def test_frame_that_the_socket_takes_in_part_arrives_whole_and_before_the_next() -> None:
    pipe = _Pipe()
    _converse(pipe, lambda: pipe.use(0, 3000))  # the buffer is smaller than what is told in one go
    assert pipe.engine.counters["events"] == 3000 and pipe.dropped == 0
    assert pipe.engine.counters["unknown"] == 0


def test_names_of_batches_that_are_skipped_are_told_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NAMES_IN_SLICE", SLICE)
    pipe = _Pipe()

    def use() -> None:
        pipe.recorder._take = lambda _batch: pipe.link.skip()
        pipe.use(0, 3 * SLICE)
        pipe.recorder.flush()
        pipe.recorder._take = lambda batch: pipe.link.accesses(batch[2])
        for _ in range(4):  # the first ones carry names alone
            pipe.use(0, 3 * SLICE)
            pipe.recorder.flush()

    _converse(pipe, use, skipped=3 * SLICE)
    assert pipe.engine.counters["unknown"] == 0
    assert pipe.engine.counters["events"] > 3 * SLICE
