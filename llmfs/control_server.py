"""The daemon's end of `control.py`: listens in the cache directory, checks who asks, carries it out, tells how it goes.

Whoever gets here could read the cache directory anyway: the socket is 0600 in a directory that is 0700, and the peer's
uid is looked at once more. What a request does is bounded: so many connections, so long a line. A handler gets the
request and a table of figures that it keeps up to date; they are sent a few times a second, and its last state when it
returns. It fails with an OSError or a ValueError, whose text is the answer; anything else is a bug, logged. A socket
that cannot be made costs the commands that need it, never the mount.
"""

import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import trio

from llmfs.control import LINE_BYTES_MAX, SOCKET, address

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 16
TELL_EVERY_S = 0.25

_PEER = struct.Struct("=iII")  # struct ucred: pid, uid, gid


class Session:
    """What is known of one connection: who is at its other end, and what to undo when it closes."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.undo = contextlib.ExitStack()


Handler = Callable[[Mapping[str, Any], dict[str, Any], Session], Awaitable[None]]
"""Carries out a request and keeps its figures up to date."""


class ControlServer:
    """Serves one mount's socket."""

    def __init__(self, cache_dir: Path, handlers: Mapping[str, Handler]) -> None:
        self._cache_dir = cache_dir
        self._handlers = handlers
        self._connections = 0

    async def run(self) -> None:
        """Listen until cancelled; the socket is gone then."""
        try:
            listener = self._listen()
        except OSError as error:
            log.warning("no commands are taken: cannot listen in %s (%s)", self._cache_dir, error.strerror)
            return
        with listener:
            try:
                async with trio.open_nursery() as nursery:
                    while True:
                        stream, _ = await listener.accept()
                        if self._connections < CONNECTIONS_MAX and (session := _admitted(stream)) is not None:
                            self._connections += 1
                            nursery.start_soon(self._serve, trio.SocketStream(stream), session)
                        else:
                            stream.close()
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(self._cache_dir / SOCKET)

    def _listen(self) -> trio.socket.SocketType:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._cache_dir / SOCKET)  # a killed mount's: the directory's lock is ours
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(made.fileno(), 0o600)  # before there is a name: bind makes it with this mode (unix(7))
            with address(self._cache_dir) as path:
                made.bind(path)
            made.listen()
            return trio.socket.from_stdlib_socket(made)
        except BaseException:
            made.close()
            raise

    async def _serve(self, stream: trio.SocketStream, session: Session) -> None:
        try:
            async with stream:
                with session.undo:
                    await self._requests(stream, session)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # who asked is gone
        except* Exception:  # a bug of ours in what nobody needs for reading must not take the mount down
            log.exception("a connection failed")
        finally:
            self._connections -= 1

    async def _requests(self, stream: trio.SocketStream, session: Session) -> None:
        waiting = bytearray()
        while True:
            while b"\n" not in waiting:
                more = await stream.receive_some(1 << 16)
                if not more or len(waiting) > LINE_BYTES_MAX:
                    return
                waiting += more
            line, _, rest = bytes(waiting).partition(b"\n")
            waiting = bytearray(rest)
            await self._answer(stream, line, session)

    async def _answer(self, stream: trio.SocketStream, line: bytes, session: Session) -> None:
        figures: dict[str, Any] = {}
        try:
            request = json.loads(line)
            if not isinstance(request, dict) or (handler := self._handlers.get(str(request.get("do")))) is None:
                raise ValueError("the mount is of an llmfs that cannot do this: remount it")
            is_done = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_tell, stream, figures, is_done)
                await handler(request, figures, session)
                is_done.set()
            last = {**figures, "is_done": True}
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            raise
        except* (OSError, ValueError, RecursionError) as group:
            last = {"error": _words(group)}
        except* Exception:
            log.exception("a command failed")
            last = {"error": "a bug of llmfs: its log has it"}
        await stream.send_all(_line(last))


async def _tell(stream: trio.SocketStream, figures: dict[str, Any], is_done: trio.Event) -> None:
    """Tells how far it is. Ends between two lines: half a one would be followed by the last."""
    while not is_done.is_set():
        with trio.move_on_after(TELL_EVERY_S):
            await is_done.wait()
            return
        await stream.send_all(_line(figures))


def _admitted(stream: trio.socket.SocketType) -> Session | None:
    """Whether root or the mount's own user is at the other end: unix(7), SO_PEERCRED."""
    pid, uid, _ = _PEER.unpack(stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return Session(pid) if uid in (0, os.geteuid()) else None


def _line(figures: Mapping[str, Any]) -> bytes:
    return json.dumps(figures).encode("ascii") + b"\n"


def _words(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
