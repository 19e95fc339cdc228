"""The programs that run: a state for each process, a clock for all processes of one name. Bounded."""

from collections import OrderedDict
from collections.abc import Iterator
from zlib import crc32

from predictor.candidates.history import History
from predictor.limits import Limits
from predictor.streams import StreamState
from predictor.tracker import Group, Tracker

COMMANDS_MAX = 4096
"""Names of programs that get a number of their own. Beyond that, as with names that have a number in them, a new one
shares the number, and so what is known, of another."""


class Processes:
    """Streams by (tgid, command), the least recently begun or taken up forgotten first."""

    def __init__(self, history: History, tracker: Tracker, limits: Limits) -> None:
        self._history = history
        self._tracker = tracker
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
        stream = StreamState(self._history, self._group(command), self._number(command))
        self._streams[tgid, command] = stream
        if len(self._streams) > self._limits.streams:
            return stream, self._streams.popitem(last=False)[1]
        return stream, None

    def _number(self, command: str) -> int:
        known = self.commands.get(command)
        if known is None:
            if len(self.commands) >= COMMANDS_MAX:
                return 1 + crc32(command.encode("utf-8", "surrogateescape")) % COMMANDS_MAX
            known = self.commands[command] = len(self.commands) + 1
        return known

    def _group(self, command: str) -> Group:
        group = self._groups.get(command)
        if group is None:
            group = self._groups[command] = Group(command)
            if len(self._groups) > self._limits.groups:
                self._forget_group()
        else:
            self._groups.move_to_end(command)
        return group

    def _forget_group(self) -> None:
        """The one that had a new process last the longest ago, of those that have none now."""
        running = {stream.group.command for stream in self._streams.values()}
        for command, group in self._groups.items():
            if command not in running:
                self._tracker.abandon(group)
                del self._groups[command]
                return
