"""What the numbers mean that a mount sends: they are its own, and start anew with each mount.

A frame that named a number may have been dropped; what is sent under it then stands for nothing.
"""

from predictor.events import ROOT, PathTable
from predictor.streams import StreamState


class Session:
    """One mount's path and stream ids, and what they stand for here."""

    def __init__(self, paths: PathTable) -> None:
        self._paths = paths
        self._path_ids: dict[int, int] = {ROOT: ROOT}
        self._processes: dict[int, tuple[int, str]] = {}
        self._streams: dict[int, StreamState] = {}

    def name_path(self, number: int, parent: int, name: bytes) -> None:
        """`number` stands for `name` in the directory that `parent` stands for."""
        known = self._path_ids.get(parent)
        if known is not None:
            self._path_ids[number] = self._paths.intern(known, name)

    def path(self, number: int) -> int | None:
        """The path id, or None where nothing is known under that number."""
        return self._path_ids.get(number)

    def name_process(self, number: int, tgid: int, command: str) -> None:
        """`number` stands for this process from now on."""
        self._processes[number] = (tgid, command)
        self._streams.pop(number, None)

    def process(self, number: int) -> tuple[int, str] | None:
        """(tgid, command), or None where nothing is known under that number."""
        return self._processes.get(number)

    def stream(self, number: int) -> StreamState | None:
        """The state last tied to that number."""
        return self._streams.get(number)

    def tie(self, number: int, stream: StreamState) -> None:
        """`number` is the process of `stream`."""
        self._streams[number] = stream

    def untie(self, stream: StreamState) -> None:
        """`stream` is no more."""
        self._streams = {number: each for number, each in self._streams.items() if each is not stream}
