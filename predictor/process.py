"""The predictor's process: `python -m predictor.process --fd N --state-dir DIR`, started by the mount.

One loop, one thread. It reads all that the mount sent, learns from it, and answers one plan for all of it: when the
mount is faster than we are, batches grow and plans get fewer, so the lag stays small. Writes never block: what the
mount does not take is dropped once `OUTGOING_MAX_BYTES` wait. Training runs in a child of its own (predictor.schedule).

It ends when the mount closes the socket, says ["stop"], or on SIGTERM, and saves what it learned first. SIGINT is for
the mount, whose terminal it shares. Bytes that are no frames end it with status 1; the mount starts another one.

The network runs in NumPy here: importing torch takes longer than many mounts have until their first program starts.
"""

import argparse
import dataclasses
import gc
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from predictor import heap, ranker, state
from predictor.events import ACCESS
from predictor.frames import FrameError, FrameReader, encode
from predictor.limits import SMALL, Limits
from predictor.plan import LEARNED, PRETRAINED, RULES
from predictor.ranker import NetworkRanker
from predictor.schedule import NEW_CANDIDATES, SECONDS, Schedule, TrainingChild

READ_BYTES = 1 << 20
OUTGOING_MAX_BYTES = 4 << 20
"""About 40,000 plan items: a mount that has not read them is not going to prefetch in time."""

STATISTICS_S = 1.0
SCORES_S = 0.25
SAVE_S = 30.0

log = logging.getLogger("predictor")


class Server:
    """Serves one mount over a connected socket."""

    def __init__(
        self,
        connection: socket.socket,
        state_dir: Path,
        limit_bytes: int,
        training: TrainingChild | None,
        limits: Limits | None = None,
    ) -> None:
        """Without `training` the network stays as it is, and torch is never loaded."""
        self._socket = connection
        self._state_dir = state_dir
        self._limit_bytes = limit_bytes
        self._limits = limits
        self._reader = FrameReader()
        self._outgoing = bytearray()
        self._is_stopping = False
        self._state = ""
        self._statistics: dict[str, float] = dict.fromkeys(
            (
                "plans",
                "plans_dropped",
                "inference_seconds",
                "training_runs",
                "training_seconds",
                "lag_seconds",
                "state_bytes",
            ),
            0.0,
        )
        self._saved_events = 0
        self._training = training
        connection.setblocking(False)

    def run(self) -> None:
        """Serves until the mount ends it. Raises FrameError when the peer speaks something else."""
        self._announce("loading")
        self._flush()
        self._engine = state.load(self._state_dir, self._limits, self._limit_bytes)
        self._follow(*network_in(self._state_dir))
        # A collection walks through all tables: tens of milliseconds. There are hardly any cycles, so it can wait.
        gc.collect()
        gc.freeze()
        gc.disable()
        next_statistics = next_scores = next_collection = time.monotonic()
        next_save = next_statistics + SAVE_S
        while not self._is_stopping:
            writers = [self._socket] if self._outgoing else []
            readable, writable, _ = select.select([self._socket], writers, [], STATISTICS_S)
            if readable and not self._receive():
                break
            now = time.monotonic()
            self._train(now, is_idle=not readable)
            if now >= next_scores:
                next_scores = now + SCORES_S
                self._send_scores(self._engine.scores())
            if now >= next_statistics:
                next_statistics = now + STATISTICS_S
                self._report()
            if now >= next_save:
                next_save = now + SAVE_S
                self.save()
            if now >= next_collection and not readable:
                next_collection = now + SAVE_S
                gc.collect()
            if writable or self._outgoing:
                self._flush()
        if self._training is not None:
            self._training.stop()
        self.save()

    def _train(self, now_s: float, is_idle: bool) -> None:
        if self._training is None:
            return
        network = self._training.tick(now_s, self._engine.examples, is_idle)
        if network is not None:
            self._follow(network, LEARNED)

    def _follow(self, network: NetworkRanker | None, how: str) -> None:
        self._engine.ranker, self._engine.network = network, how
        self._announce(how)

    def stop(self) -> None:
        """Ends `run` at its next turn."""
        self._is_stopping = True

    def save(self) -> None:
        """Saves the state if it changed. A disk error is logged: serving goes on."""
        events = self._engine.counters["events"]
        if events == self._saved_events:
            return
        try:
            self._statistics["state_bytes"] = state.save(self._engine, self._state_dir, self._limit_bytes)
            self._saved_events = events
        except OSError as error:
            log.warning("the state was not saved: %s", error)

    def _receive(self) -> bool:
        """Takes in all that has arrived and answers it. False at the end of the stream."""
        is_open = True
        data = bytearray()
        while len(data) < 16 * READ_BYTES:
            try:
                piece = self._socket.recv(READ_BYTES)
            except (BlockingIOError, InterruptedError):
                break
            except ConnectionResetError:
                piece = b""
            if not piece:
                is_open = False
                break
            data += piece
        started = time.perf_counter()
        for message in self._reader.feed(bytes(data)):
            self._handle(message)
        if is_open:
            items = self._engine.plan()
            if items:
                rows = [[i.want, i.path, i.offset, i.length, i.score, i.horizon, i.generator, i.model] for i in items]
                self._send(["plan", rows])
            self._send_scores(self._engine.turned())
        self._statistics["inference_seconds"] += time.perf_counter() - started
        return is_open

    def _handle(self, message: Sequence[Any]) -> None:
        try:
            match message:
                case ["accesses", paths, streams, bytes(records)]:
                    self._accesses(paths, streams, records)
                case ["listing", int(path), names, types]:
                    self._engine.listing(path, names, types)
                case ["outcomes", rows]:
                    self._engine.outcomes(rows)
                case ["pressure", bool(is_pressed), bool(is_contended)]:
                    if self._training is not None:
                        self._training.hold(is_pressed, is_contended)
                case ["stop"]:
                    self.stop()
                case _:
                    raise FrameError(f"not a message of ours: {message[0]!r}")
        except (TypeError, ValueError, AttributeError, KeyError, OverflowError) as error:
            raise FrameError(f"{message[0]!r}: {type(error).__name__}: {error}") from error

    def _accesses(self, paths: Any, streams: Any, data: bytes) -> None:
        records = np.frombuffer(data, ACCESS)
        self._engine.observe(paths, streams, records)
        if len(records):
            self._statistics["lag_seconds"] = max(0.0, time.time() - int(records["time_ns"][-1]) / 1e9)

    def _send_scores(self, scores: list[tuple[bytes, float]]) -> None:
        if scores:
            self._send(["scores", [[path, score] for path, score in scores]])

    def _report(self) -> None:
        if self._training is not None:
            self._statistics |= self._training.statistics()
        self._send(["statistics", {**self._statistics, **self._engine.counters}])

    def _announce(self, name: str) -> None:
        if name != self._state:
            self._state = name
            self._send(["state", name])

    def _send(self, message: list[Any]) -> None:
        frame = encode(message)
        if len(self._outgoing) + len(frame) > OUTGOING_MAX_BYTES:
            self._statistics["plans_dropped"] += 1
            return
        if message[0] == "plan":
            self._statistics["plans"] += 1
        self._outgoing += frame

    def _flush(self) -> None:
        try:
            while self._outgoing:
                sent = self._socket.send(self._outgoing[:READ_BYTES])
                del self._outgoing[:sent]
        except (BlockingIOError, InterruptedError):
            pass
        except (BrokenPipeError, ConnectionResetError):
            self._outgoing.clear()
            self.stop()


def network_in(state_dir: Path, shipped: Path = ranker.SHIPPED) -> tuple[NetworkRanker | None, str]:
    """The state directory's own network, else the shipped one, else none; and what that state is called."""
    own = state_dir / ranker.NAME
    for path, how in ((own, LEARNED), (shipped, PRETRAINED)):
        try:
            return ranker.load(path), how
        except FileNotFoundError:
            continue
        except (OSError, ranker.WeightsError) as error:
            log.warning("the network is set aside: %s", error)
            if path == own:
                state.set_aside(path)
    return None, RULES


NICENESS = 5
"""Programs go first where there are fewer cores than work: what is predicted for them must not slow them down."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the process; returns its exit status."""
    parser = argparse.ArgumentParser(prog="predictor.process", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--fd", type=int, required=True, help="a connected stream socket to the mount")
    parser.add_argument("--state-dir", type=Path, required=True, help="where what is learned is kept")
    parser.add_argument("--state-limit", type=int, default=state.LIMIT_BYTES, help="bytes it may take on disk")
    parser.add_argument("--ahead-bytes", type=int, default=Limits().ahead_bytes, help="planned and not used, at most")
    parser.add_argument(
        "--train-after", type=int, default=NEW_CANDIDATES, metavar="N", help="outcomes that make a training worth it"
    )
    parser.add_argument("--train-seconds", type=float, default=SECONDS, metavar="S", help="of CPU, for one training")
    parser.add_argument("--no-training", action="store_true", help="the network stays as it is")
    parser.add_argument("--small", action="store_true", help="remember less (limits.SMALL)")
    parser.add_argument("--heap-arenas", type=int, metavar="N", help="of malloc's, and what is freed is given back")
    options = parser.parse_args(arguments)
    if options.heap_arenas is not None:
        heap.bound(options.heap_arenas)
    os.nice(NICENESS)
    logging.basicConfig(level=logging.INFO, format="predictor: %(message)s", stream=sys.stderr)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=options.fd) as connection:
        schedule = Schedule(new_candidates=options.train_after)
        training = None if options.no_training else TrainingChild(options.state_dir, schedule, options.train_seconds)
        limits = dataclasses.replace(SMALL if options.small else Limits(), ahead_bytes=options.ahead_bytes)
        server = Server(connection, options.state_dir, options.state_limit, training, limits)

        def terminate(_signal: int, _frame: FrameType | None) -> None:
            server.stop()

        signal.signal(signal.SIGTERM, terminate)
        try:
            server.run()
        except FrameError as error:
            log.error("%s", error)
            return 1
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
