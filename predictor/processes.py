"""The programs that run: a state for each process, a clock for all processes of one name. Bounded."""

from collections import OrderedDict
from collections.abc import Iterator

from predictor.candidates.history import History
from predictor.limits import Limits
from predictor.streams import StreamState
from predictor.tracker import Group


class Processes:
    """Streams by (tgid, command), the least recently begun or taken up forgotten first."""

    def __init__(self, history: History, limits: Limits) -> None:
        self._history = history
        self._limits = limits
        self._groups: OrderedDict[str, Group] = OrderedDict()
        self._streams: OrderedDict[tuple[int, str], StreamState] = OrderedDict()
        self.commands: dict[str, int] = {}  # their numbers, from 1

    def __iter__(self) -> Iterator[StreamState]:
        return iter(self._streams.values())

    def clear(self) -> None:
        """None of them goes on. Commands keep their numbers, groups their clocks."""
        self._streams.clear()

    def stream(self, tgid: int, command: str) -> tuple[StreamState, StreamState | None]:
        """The state of a process, and the state that was forgotten to make room for it."""
        stream = self._streams.get((tgid, command))
        if stream is not None:
            self._streams.move_to_end((tgid, command))
            return stream, None
        number = self.commands.setdefault(command, len(self.commands) + 1)
        stream = self._streams[tgid, command] = StreamState(self._history, self._group(command), number)
        if len(self._streams) > self._limits.streams:
            return stream, self._streams.popitem(last=False)[1]
        return stream, None

    def _group(self, command: str) -> Group:
        group = self._groups.get(command)
        if group is None:
            group = self._groups[command] = Group(command)
            if len(self._groups) > self._limits.groups:
                self._groups.popitem(last=False)
        return group
