"""The frames between the mount and the predictor's process: msgpack behind a 4-byte little-endian length.

Both directions are bounded and may be dropped; neither side ever waits for the other to make progress on a request.

    mount -> predictor
        ["accesses", paths, streams, records]   paths: [[id, parent, name]...], new since the last frame
                                                streams: [[id, tgid, command]...], likewise
                                                records: bytes, an array of predictor.events.ACCESS
        ["listing", path, names, types]         a directory's names and d_type values, as it was listed
        ["outcomes", [[path, generator, outcome]...]]   path: bytes, relative to the source
        ["stop"]                                save the state and exit

    predictor -> mount
        ["state", name]                         "loading", "rules" (no network), "pretrained", "learned"
        ["plan", [[want, path, offset, length, score, horizon, generator, model]...]]
        ["scores", [[path, score]...]]          probability of reuse, for eviction
        ["statistics", {name: number}]          cumulative, for metrics
"""

import struct
from typing import Any

import msgpack

MAX_FRAME_BYTES = 16 << 20
"""A longer frame is a broken peer, not a big batch: batches are cut at a few thousand records."""

_LENGTH = struct.Struct("<I")


class FrameError(ValueError):
    """The peer sent bytes that are not a frame."""


def encode(message: list[Any]) -> bytes:
    """The bytes of one frame."""
    body: bytes = msgpack.packb(message, use_bin_type=True)
    return _LENGTH.pack(len(body)) + body


class FrameReader:
    """Cuts a byte stream into messages. Feed it what arrived; take out what is complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[list[Any]]:
        """The messages completed by `data`. Raises FrameError on bytes that cannot be a frame."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_FRAME_BYTES:
                raise FrameError(f"a frame of {length} bytes")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            try:
                message = msgpack.unpackb(body, raw=False, strict_map_key=True)
            except (ValueError, msgpack.exceptions.UnpackException) as error:
                raise FrameError(f"not msgpack: {error}") from error
            if not isinstance(message, list) or not message or not isinstance(message[0], str):
                raise FrameError("not a message")
            messages.append(message)
        return messages
