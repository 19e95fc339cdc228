"""The kernel's first question, answered better than libfuse's defaults do.

When a FUSE file system is mounted the kernel sends FUSE_INIT with all that it can do, and the reply says what of that
is wanted. pyfuse3 gives no say in it, and libfuse 3.14 leaves out what matters over a slow directory:

- *parallel directory operations*: without them the kernel holds a mutex over each lookup in a directory, so lookups in
  one directory wait for each other's round trips, and one that hangs blocks the directory for everybody,
  uninterruptibly;
- *cached symbolic links*: a link's target is asked for once and not at every walk through it;
- more requests in the background than 12, so that readahead of several programs is in flight at a time.

So the first exchange goes through our hands: libfuse's descriptor of /dev/fuse is replaced by a socket for as long as
it takes to hand it the request and to take its reply; the reply is amended and given to the kernel, and the
descriptor is put back. Nothing else ever passes here. Layouts are those of linux/fuse.h (struct fuse_init_in,
fuse_init_out), protocol 7.23 and later; with an older kernel, or where anything is not as expected, the reply goes on
as libfuse made it.
"""

import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable

import trio

log = logging.getLogger(__name__)

PARALLEL_DIROPS = 1 << 18
CACHE_SYMLINKS = 1 << 23
MAX_BACKGROUND = 128
CONGESTION_THRESHOLD = 96

_REQUEST_BYTES = 1 << 20
_OPCODE_INIT = 26
# length opcode unique node uid gid pid padding; major minor readahead flags
_IN = struct.Struct("<IIQQIIII" + "IIII")
# length error unique; major minor readahead flags background congestion
_OUT = struct.Struct("<IiQ" + "IIIIHH")


async def negotiate(serve: Callable[[], Awaitable[None]]) -> None:
    """Let `serve` (pyfuse3.main) answer FUSE_INIT and nothing more, and amend its answer on the way to the kernel.

    To be called between pyfuse3.init and pyfuse3.main.
    """
    fuse_fd = _fuse_descriptor()
    if fuse_fd is None:
        log.debug("libfuse's descriptor was not found: its defaults stay")
        return
    kernel_fd = os.dup(fuse_fd)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    try:
        await trio.lowlevel.wait_readable(kernel_fd)
        request = os.read(kernel_fd, _REQUEST_BYTES + 4096)
        with theirs:
            os.dup2(theirs.fileno(), fuse_fd, inheritable=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_wrapped, serve)
            ours.send(request)
            await trio.lowlevel.wait_readable(ours)
            reply = ours.recv(4096)
            nursery.cancel_scope.cancel()
        trio.lowlevel.notify_closing(fuse_fd)
        os.write(kernel_fd, amended(request, reply))
    finally:
        os.dup2(kernel_fd, fuse_fd, inheritable=False)
        os.close(kernel_fd)
        ours.close()


def amended(request: bytes, reply: bytes) -> bytes:
    """libfuse's reply to FUSE_INIT with what we want added, as far as the kernel offered it."""
    if len(request) < _IN.size or len(reply) < _OUT.size:
        return reply
    *_, offered = _IN.unpack_from(request)
    opcode = _IN.unpack_from(request)[1]
    length, error, unique, major, minor, readahead, flags, background, congestion = _OUT.unpack_from(reply)
    if opcode != _OPCODE_INIT or error or length != len(reply) or (major, minor) < (7, 23):
        return reply
    flags |= offered & (PARALLEL_DIROPS | CACHE_SYMLINKS)
    head = _OUT.pack(
        length, error, unique, major, minor, readahead, flags,
        max(background, MAX_BACKGROUND), max(congestion, CONGESTION_THRESHOLD),
    )  # fmt: skip
    return head + reply[_OUT.size :]


async def _wrapped(serve: Callable[[], Awaitable[None]]) -> None:
    await serve()


def _fuse_descriptor() -> int | None:
    """The descriptor that pyfuse3.init opened last."""
    found = None
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}") == "/dev/fuse":
                found = max(found or 0, int(name))
        except OSError:
            continue  # the descriptor of this listing itself
    return found
