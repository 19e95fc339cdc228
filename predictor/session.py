"""What the numbers mean that a mount sends: they are its own, and start anew with each mount.

A frame that named a number may have been dropped; what is sent under it then stands for nothing. Numbers that were
neither named nor used for long are forgotten, as `predictor.events` says: the mount gives new ones before that.
"""

from collections.abc import Iterator

from predictor.events import ROOT, STREAMS_IN_USE, PathTable
from predictor.recent import Recent
from predictor.streams import StreamState


class Session:
    """One mount's path and stream ids, and what they stand for here."""

    def __init__(self, paths: PathTable, paths_in_use: int) -> None:
        """`paths_in_use`: how many the mount may speak of; a recording that names each once, for good, of all."""
        self._table = paths
        self._paths: Recent[int, int] = Recent(paths_in_use)
        self._processes: Recent[int, tuple[int, str]] = Recent(STREAMS_IN_USE)
        self._streams: dict[int, StreamState] = {}

    def name_path(self, number: int, parent: int, name: bytes) -> None:
        """`number` stands for `name` in the directory that `parent` stands for."""
        known = self.path(parent)
        if known is not None:
            self._paths[number] = self._table.intern(known, name)

    def path(self, number: int) -> int | None:
        """The path id, or None where nothing is known under that number."""
        return self._paths.get(number) if number else ROOT

    def paths(self) -> Iterator[int]:
        """The path ids that the mount may still speak of."""
        return self._paths.values()

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
