"""The predictor's process, seen from the mount: started, fed, listened to, and started again when it dies.

Everything here may be lost: a frame that finds the queue full is dropped, an answer that makes no sense ends the
process, and while there is none the mount goes on with its own rules. Back-off: half a second, doubling to half a
minute, from the start after a minute of good behaviour.

Only names must not be lost, for later records refer to them. They are numbered in the order in which they came, so it
is enough to know how many of them the process was told: the next frame begins with those after that. A process that
starts in the middle is told them all first, a slice at a time.

A frame is written at once where nothing waits and the socket takes it, as it does of a predictor that keeps up; only
what is left of it, and what comes then, waits in the queue. For a task that is woken to send it costs the event loop
more than the write does, some hundred times a second.

Invariant: records are sent only to who was told every name in them. The event loop is never held for longer than a
slice takes, however many names there are.
"""

import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import trio

from predictor.events import ACCESS
from predictor.frames import FrameError, FrameReader, encode
from predictor.plan import MODELS, Outcome, PlanItem, Want

log = logging.getLogger(__name__)

QUEUE_FRAMES = 256
NAMES_IN_SLICE = 4000
"""Paths, and as many streams, put into one frame: about 1 ms of the event loop's time (all of a million: 0.9 s)."""

LONGEST_LISTING = 30_000
"""Names of 255 bytes, they still are half of what a frame may be (frames.MAX_FRAME_BYTES)."""

SHORTEST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0
GOOD_BEHAVIOUR_S = 60.0
STOP_S = 5.0
"""How long a predictor may take to save its state when the mount ends."""

_PACKAGES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""Where `python -m predictor.process` finds its package, wherever the mount was started."""

Dictionary = Callable[[int, int, int], tuple[list[tuple[int, int, bytes]], list[tuple[int, int, str]]]]
"""The next paths and streams after these ids, at most so many of each (recorder.dictionary)."""


class PredictorLink:
    """The connection to the predictor's process."""

    def __init__(
        self,
        arguments: list[str],
        dictionary: Dictionary,
        on_plan: Callable[[list[PlanItem]], None],
        on_scores: Callable[[list[tuple[bytes, float]]], None],
        on_state: Callable[[str], None],
        on_statistics: Callable[[dict[str, float]], None],
        on_dropped: Callable[[int], None],
        on_restart: Callable[[], None],
    ) -> None:
        self._arguments = arguments
        self._dictionary = dictionary
        self._on_plan = on_plan
        self._on_scores = on_scores
        self._on_state = on_state
        self._on_statistics = on_statistics
        self._on_dropped = on_dropped
        self._on_restart = on_restart
        self._send, self._receive = trio.open_memory_channel[bytes](QUEUE_FRAMES)
        self._last_path = 0
        self._last_stream = 0
        self._is_connected = False
        self._waiting = 0  # frames in the queue or on their way out of it
        self._fd = -1
        self._outcomes: list[tuple[bytes, str, int]] = []
        self._pressure = (False, False)
        self.pid: int | None = None

    # --- telling it

    def accesses(self, records: bytes) -> None:
        """Pass on the records of a batch of the recorder's."""
        if not self._is_connected:
            return  # it is told all names when there is somebody to listen
        paths, streams, is_all = self._next_names()
        # Names come first: while it is further behind than a slice, that is what it gets.
        if self._post(["accesses", paths, streams, records if is_all else b""]):
            self._told(paths, streams)
        else:
            is_all = False
        if not is_all:
            self._on_dropped(len(records) // ACCESS.itemsize)
        if self._outcomes:
            self._post(["outcomes", self._outcomes])
            self._outcomes = []

    def skip(self) -> None:
        """A batch came that is not worth learning from: its names are told with a later one."""
        paths, streams, is_all = self._next_names() if self._is_connected else ([], [], True)
        if not is_all and self._post(["accesses", paths, streams, b""]):
            self._told(paths, streams)

    def listing(self, path_id: int, names: list[bytes], types: list[int]) -> None:
        """Pass on the names of a directory."""
        if self._is_connected and len(names) <= LONGEST_LISTING:
            self._post(["listing", path_id, names, types])

    def pressure(self, is_pressed: bool, is_contended: bool) -> None:
        """Memory is short, or cores are contended: no time to train. A process that starts later is told, too."""
        self._pressure = (is_pressed, is_contended)
        if self._is_connected:
            self._post(["pressure", *self._pressure])

    def outcome(self, path: bytes, generator: str, outcome: Outcome) -> None:
        """What became of something that was planned; sent with the next batch."""
        if self._is_connected and len(self._outcomes) < 1024:
            self._outcomes.append((path, generator, int(outcome)))

    def _next_names(self) -> tuple[list[tuple[int, int, bytes]], list[tuple[int, int, str]], bool]:
        """A slice of what it was not told yet, and whether that is all."""
        paths, streams = self._dictionary(self._last_path, self._last_stream, NAMES_IN_SLICE)
        return paths, streams, max(len(paths), len(streams)) < NAMES_IN_SLICE

    def _told(self, paths: list[tuple[int, int, bytes]], streams: list[tuple[int, int, str]]) -> None:
        if paths:
            self._last_path = paths[-1][0]
        if streams:
            self._last_stream = streams[-1][0]

    def _post(self, message: list[Any]) -> bool:
        left = self._written(encode(message))
        if left:
            try:
                self._send.send_nowait(left)
            except (trio.WouldBlock, trio.BrokenResourceError):
                return False
            self._waiting += 1
        return True

    def _written(self, frame: bytes) -> bytes:
        """Write what the socket takes of a frame now; returns the rest."""
        if self._waiting:
            return frame
        try:
            return frame[os.write(self._fd, frame) :]
        except OSError:  # it takes nothing now, or has ended, which `_hear` notices
            return frame

    # --- keeping it alive

    async def run(self) -> None:
        """Keep a predictor running until cancelled."""
        backoff_s = SHORTEST_BACKOFF_S
        while True:
            started = trio.current_time()
            try:
                await self._converse()
            except Exception as error:  # whatever it did: it is the mount that has to live
                while isinstance(error, ExceptionGroup):
                    error = error.exceptions[0]  # a nursery's wrapping
                log.warning("the predictor failed: %s", str(error) or type(error).__name__)
            self._on_state("down")
            if trio.current_time() - started > GOOD_BEHAVIOUR_S:
                backoff_s = SHORTEST_BACKOFF_S
            log.warning("the predictor has ended; starting it again in %.1f s", backoff_s)
            await trio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, LONGEST_BACKOFF_S)
            self._on_restart()

    async def _converse(self) -> None:
        """Start a process and talk with it until it ends."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220  # 1 ms, once
                [sys.executable, "-m", "predictor.process", "--fd", str(theirs.fileno()), *self._arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd=_PACKAGES,
            )
        self.pid = process.pid
        self._on_state("loading")
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell, stream)
                await self._hear(stream)
                nursery.cancel_scope.cancel()
        finally:
            self._is_connected = False
            self.pid = None
            with trio.CancelScope(shield=True):
                await self._end(process, stream)

    async def _tell(self, stream: trio.SocketStream) -> None:
        while True:  # what was meant for its predecessor
            try:
                self._receive.receive_nowait()
            except trio.WouldBlock:
                break
        self._waiting, self._fd = 0, stream.socket.fileno()
        try:
            await self._tell_names(stream)
            self._is_connected = True
            if any(self._pressure):
                self._post(["pressure", *self._pressure])
            async for frame in self._receive:
                await stream.send_all(frame)
                self._waiting -= 1
        except trio.BrokenResourceError:
            return  # it died: `_hear` notices too

    async def _tell_names(self, stream: trio.SocketStream) -> None:
        """All names so far, those too that come meanwhile; each slice waits until the one before is sent."""
        self._last_path = self._last_stream = 0
        is_all = False
        while not is_all:
            paths, streams, is_all = self._next_names()
            self._told(paths, streams)
            if paths or streams:
                await stream.send_all(encode(["accesses", paths, streams, b""]))

    async def _hear(self, stream: trio.SocketStream) -> None:
        reader = FrameReader()
        while True:
            try:
                data = await stream.receive_some(1 << 18)
            except trio.BrokenResourceError:
                return
            if not data:
                return
            for message in reader.feed(bytes(data)):
                self._understand(message)

    def _understand(self, message: list[Any]) -> None:
        try:
            match message:
                case ["plan", items]:
                    self._on_plan([_plan_item(item) for item in items])
                case ["scores", scores]:
                    self._on_scores([(bytes(path), float(score)) for path, score in scores])
                case ["state", str(name)]:
                    self._on_state(name)
                case ["statistics", dict(numbers)]:
                    self._on_statistics({str(name): float(number) for name, number in numbers.items()})
                case _:
                    raise FrameError(f"an unknown message {message[0]!r}")
        except (ValueError, TypeError, ArithmeticError) as error:
            raise FrameError(f"the predictor sent rubbish: {error}") from error

    async def _end(self, process: "subprocess.Popen[bytes]", stream: trio.SocketStream) -> None:
        """Ask it to save and go; insist after a while."""
        with trio.move_on_after(STOP_S):
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
                await stream.send_all(encode(["stop"]))
            await stream.aclose()
            while process.poll() is None:  # noqa: ASYNC110  # nobody tells us of its end
                await trio.sleep(0.02)
        if process.poll() is None:
            process.kill()
            process.wait()


def _plan_item(item: Any) -> PlanItem:
    want, path, offset, length, score, horizon, generator, model = item
    if not isinstance(path, bytes) or not 0 <= offset < 1 << 63 or not 0 <= length < 1 << 63 or model not in MODELS:
        raise ValueError("a plan item that is none")
    if b"\0" in path or not {b".", b".."}.isdisjoint(path.split(b"/")):
        raise ValueError("a path that does not stay in the source")
    return PlanItem(Want(want), path, int(offset), int(length), float(score), int(horizon), str(generator), model)
