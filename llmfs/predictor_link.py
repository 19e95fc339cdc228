"""The predictor's process, seen from the mount: started, fed, listened to, and started again when it dies.

Everything here may be lost: a frame that finds the queue full is dropped (its new path names are sent with the next
one, for later records refer to them), an answer that makes no sense ends the process, and while there is none the
mount goes on with its own rules. Back-off: half a second, doubling to half a minute, from the start after a minute of
good behaviour.
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

from llmfs.recorder import Batch
from predictor.frames import FrameError, FrameReader, encode
from predictor.plan import Outcome, PlanItem, Want

log = logging.getLogger(__name__)

QUEUE_FRAMES = 256
PATHS_IN_FRAME = 30_000
"""Names of 255 bytes, they still are half of what a frame may be (frames.MAX_FRAME_BYTES)."""

SHORTEST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0
GOOD_BEHAVIOUR_S = 60.0
STOP_S = 5.0
"""How long a predictor may take to save its state when the mount ends."""

_PACKAGES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""Where `python -m predictor.process` finds its package, wherever the mount was started."""

Dictionary = Callable[[], tuple[list[tuple[int, int, bytes]], list[tuple[int, int, str]]]]
"""All paths and streams so far, for a process that starts in the middle."""


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
        self._owed: tuple[list[tuple[int, int, bytes]], list[tuple[int, int, str]]] = ([], [])
        self._is_connected = False
        self._outcomes: list[tuple[bytes, str, int]] = []
        self.pid: int | None = None

    # --- telling it

    def accesses(self, batch: Batch) -> None:
        """Pass on a batch of the recorder's."""
        paths, streams, records = batch
        if not self._is_connected:
            return  # the dictionary is sent as a whole when there is somebody to read it
        owed_paths, owed_streams = self._owed
        self._owed = ([], [])
        while len(owed_paths) > PATHS_IN_FRAME and self._post(["accesses", owed_paths[:PATHS_IN_FRAME], [], b""]):
            owed_paths = owed_paths[PATHS_IN_FRAME:]
        if len(owed_paths) > PATHS_IN_FRAME:
            self._owed = (owed_paths + paths, owed_streams + streams)
            self._on_dropped(len(records) // 40)
            return
        message = ["accesses", owed_paths + paths, owed_streams + streams, records]
        if not self._post(message):
            self._owed = (owed_paths + paths, owed_streams + streams)
            self._on_dropped(len(records) // 40)
        if self._outcomes:
            self._post(["outcomes", self._outcomes])
            self._outcomes = []

    def skip(self, batch: Batch) -> None:
        """A batch that is not worth learning from: only its names are kept, for later batches refer to them."""
        if self._is_connected:
            self._owed[0].extend(batch[0])
            self._owed[1].extend(batch[1])

    def listing(self, path_id: int, names: list[bytes], types: list[int]) -> None:
        """Pass on the names of a directory."""
        if self._is_connected and len(names) <= PATHS_IN_FRAME:
            self._post(["listing", path_id, names, types])

    def outcome(self, path: bytes, generator: str, outcome: Outcome) -> None:
        """What became of something that was planned; sent with the next batch."""
        if self._is_connected and len(self._outcomes) < 1024:
            self._outcomes.append((path, generator, int(outcome)))

    def _post(self, message: list[Any]) -> bool:
        try:
            self._send.send_nowait(encode(message))
        except (trio.WouldBlock, trio.BrokenResourceError):
            return False
        return True

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
        self._owed = self._dictionary()
        self._is_connected = True
        try:
            async for frame in self._receive:
                await stream.send_all(frame)
        except trio.BrokenResourceError:
            return  # it died: `_hear` notices too

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
    want, path, offset, length, score, horizon, generator = item
    if not isinstance(path, bytes) or not 0 <= offset < 1 << 63 or not 0 <= length < 1 << 63:
        raise ValueError("a plan item that is none")
    if b"\0" in path or not {b".", b".."}.isdisjoint(path.split(b"/")):
        raise ValueError("a path that does not stay in the source")
    return PlanItem(Want(want), path, int(offset), int(length), float(score), int(horizon), str(generator))
