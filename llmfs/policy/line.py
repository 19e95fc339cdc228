"""The line to the source: how much may be on its way ahead of need, and for each of the programs that share it.

A line to a source, be it a network's or a disk's, brings so many bytes a second whoever they are for. What is fetched
ahead fills it without anybody waiting for it, and then a read of 4 KiB waits for all the megabytes that were asked for
before it: beside a sequential reader over 25 MB/s it took 56 ms in place of 8 (`bench.contention`). More than keeps the
line busy is not faster either.

So the bytes under way have a window, as in congestion control that watches the delay and not the losses: the rate that
the line has shown, times what a call takes while nothing is under way and what others may be made to wait (BBR,
Cardwell et al., ACM Queue 2016; LEDBAT, RFC 6817). While the rate is bounded by the window and not by the line, that
makes the window larger than it was, so it finds the line's rate in a few steps.

What programs ask for is counted, and on a crowded line each program has a part of the window (`turns.py`).

Pure: the time comes in with each call. What is asked for twice, because the source's client has it come once, counts
once.
"""

from collections import OrderedDict, deque
from enum import Enum

from llmfs.policy.turns import UNBOUNDED, Program, Turns

DELAY_S = 0.005
"""What a program's read may have to wait for what was fetched ahead; where a request takes longer than that, as long as
it does."""

CALM_DELAY_S = 0.050
"""The same while programs read on where they were, or in files that something is fetched of ahead, a piece for each
such read: that is for them. It makes up for delays of our own, too."""

HURRY_S = 0.1
"""For so long after a read of another kind the next one is expected."""

STUCK_S = 5.0
"""A request that takes longer waits for something else than the line, and keeps nothing else from it."""

FILES = 64
"""Of which something was fetched ahead of late."""

START_BYTES = 2 << 20
"""The window before anything is known."""

LEAST_BYTES = 256 << 10
"""The kernel's own readahead has as much under way."""

LEAST_CROWDED_BYTES = 128 << 10
"""The same where programs stand behind each other's bytes."""

PIECE_BYTES_MAX = 1 << 20
PIECE_BYTES_MIN = 128 << 10
PIECE_CROWDED_BYTES_MIN = 64 << 10
PIECES = 4
"""In a window: the sooner the line is given to somebody else, the smaller they are."""

PART_PIECES = 2
"""In a program's part: while one is worked on the next is asked for."""

SLICE_S = 0.05
SLICES = 10
"""The rate is the best of so many slices of time, in all of which something was under way."""

CROWDED_RANK = 3
"""On a crowded line the third best: the best ones may have brought what the source's client had in memory."""

CALLS = 16
"""Latencies of which the median counts: some calls are answered from memory, others while the machine is busy. Of
those beside others' bytes the shortest but one."""

READS_AHEAD_S = 0.02
"""For so long after a long read the source's client may read ahead of it, unseen, which a short one waits for."""

CLIENT_S = 150e-6
"""What the source's client answers from memory takes less and says nothing."""


class Need(Enum):
    """What bytes are asked for."""

    AHEAD = 1  # nobody waits for them yet
    RUN = 2  # a program reads on where it was
    LEAP = 3  # a program reads somewhere else


class Request:
    """Bytes that were asked for. `program`: that waits for them, where one does.

    `is_alone`: nothing else was under way; `is_first`: nothing else of the program, but much of another.
    """

    __slots__ = ("began_s", "is_alone", "is_first", "need", "program", "size_bytes")

    def __init__(
        self, began_s: float, size_bytes: int, need: Need, program: Program | None, is_alone: bool, is_first: bool
    ) -> None:
        self.began_s = began_s
        self.is_alone = is_alone
        self.is_first = is_first
        self.size_bytes = size_bytes
        self.need = need
        self.program = program


class Line:
    """What is under way, the window for what is fetched ahead, and the programs' parts."""

    def __init__(self) -> None:
        self.bytes = 0
        """Under way, for whomever."""
        self.turns = Turns()
        """Of the programs."""
        self._ahead_bytes = 0
        self._under_way: dict[Request, None] = {}  # the longest first
        self._files: OrderedDict[int, int] = OrderedDict()  # pieces fetched ahead of each, less leaps; the latest last
        self._leaps = 0  # in other files, under way
        self._leapt_s = float("-inf")  # when the latest of them ended
        self._streamed_s = float("-inf")  # when the latest request ended after which the client may read ahead
        self._reads: deque[tuple[float, int]] = deque(maxlen=CALLS)  # seconds and bytes
        self._looks: deque[float] = deque(maxlen=CALLS)  # of names, which may be in memory where data is not
        self._firsts: deque[float] = deque(maxlen=CALLS)  # beside others', less the transfer
        self._rates: deque[float] = deque(maxlen=SLICES)
        self._slice_s = 0.0
        self._slice_bytes = 0
        self._came_bytes = 0
        self._was_full = False

    @property
    def bytes_s(self) -> float:
        """The rate that the line has shown; 0 where nothing is known."""
        if self.turns.is_crowded and len(self._rates) == SLICES:
            return sorted(self._rates)[-CROWDED_RANK]
        return max(self._rates, default=0.0)

    @property
    def latency_s(self) -> float:
        """What a call takes, but for the transfer, while nothing else is under way; 0 where it is not known."""
        bytes_s = self.bytes_s
        reads = [seconds - (size_bytes / bytes_s if bytes_s else 0.0) for seconds, size_bytes in self._reads]
        known = sorted(reads or self._looks)
        latency_s = known[len(known) // 2] if known else 0.0
        if len(self._firsts) == CALLS:
            latency_s = min(latency_s, sorted(self._firsts)[1])
        return max(0.0, latency_s)

    def window_bytes(self, now_s: float) -> int:
        """How much may be under way, that which is fetched ahead among it."""
        if not self._rates:
            return START_BYTES
        latency_s = self.latency_s
        delay_s = max(DELAY_S if self._leaps or now_s - self._leapt_s < HURRY_S else CALM_DELAY_S, latency_s)
        least_bytes = LEAST_CROWDED_BYTES if self.turns.is_crowded else LEAST_BYTES
        return max(least_bytes, int(self.bytes_s * (latency_s + delay_s)))

    def piece_bytes(self, now_s: float) -> int:
        """How much to ask for at once, in whole minimal pieces."""
        least = PIECE_CROWDED_BYTES_MIN if self.turns.is_crowded else PIECE_BYTES_MIN
        return min(max(self.window_bytes(now_s) // PIECES // least * least, least), PIECE_BYTES_MAX)

    def has_room(self, now_s: float, size_bytes: int) -> bool:
        """Whether so much may be asked for ahead of need. One piece may always."""
        while self._ahead_bytes and self.bytes + size_bytes > self.window_bytes(now_s):
            oldest = next(iter(self._under_way))
            if now_s - oldest.began_s < STUCK_S:
                self._was_full = True
                return False
            self._leave(now_s, oldest)
        return True

    def part_piece_bytes(self, now_s: float, program: int) -> int:
        """How much a program that waits for it is to ask for at once, in whole minimal pieces."""
        if not self.turns.is_crowded:
            return UNBOUNDED
        part_bytes = self.turns.part_bytes(now_s, program, self.window_bytes(now_s))
        least = PIECE_CROWDED_BYTES_MIN
        return max(least, part_bytes // PART_PIECES // least * least)

    def has_turn(self, now_s: float, program: int, size_bytes: int) -> bool:
        """Whether a program may have so much more under way."""
        turns = self.turns
        return not turns.is_crowded or turns.has_turn(now_s, program, size_bytes, self.window_bytes(now_s))

    def begin(
        self, now_s: float, file: int, size_bytes: int, need: Need, program: int = 0, is_opening: bool = False
    ) -> Request:
        """So much is asked for, of a file; `program`: that waits for it. `is_opening`: the file has to be opened."""
        if not self.bytes:
            self._begin_slice(now_s)
        if need is Need.LEAP and (pieces := self._files.get(file, 0)):
            self._files[file] = pieces - 1
            need = Need.RUN
        asks, is_first = None, False
        if need is not Need.AHEAD:
            is_first = not is_opening and self.turns.is_behind_others(now_s, program)
            asks = self.turns.program(now_s, program)
        is_beside = need is Need.LEAP and now_s - self._streamed_s < READS_AHEAD_S
        is_alone = not (self.bytes or is_beside or is_opening)
        request = Request(now_s, size_bytes, need, asks, is_alone, is_first)
        if asks is not None:
            asks.begin(size_bytes)
        self._under_way[request] = None
        self.bytes += size_bytes
        if need is Need.AHEAD:
            self._ahead_bytes += size_bytes
            self._files[file] = self._files.pop(file, 0) + 1
            if len(self._files) > FILES:
                self._files.popitem(last=False)
        elif need is Need.LEAP:
            self._leaps += 1
        return request

    def end(self, now_s: float, request: Request, came_bytes: int) -> None:
        """A request is over; `came_bytes` is 0 where it failed."""
        if request in self._under_way:
            self._leave(now_s, request)
        took_s = now_s - request.began_s
        if request.is_alone and request.need is not Need.RUN and came_bytes and took_s >= CLIENT_S:
            self._reads.append((took_s, came_bytes))
        if request.is_first and came_bytes:
            self._firsts.append(took_s - (came_bytes / self.bytes_s if self.bytes_s else 0.0))
            self.turns.waited(self._firsts[-1] - self.latency_s)
        if request.need is not Need.LEAP or request.size_bytes >= PIECE_BYTES_MIN:
            self._streamed_s = now_s
        self._came_bytes += came_bytes
        if (seconds := now_s - self._slice_s) >= SLICE_S:
            rate = self._came_bytes / seconds
            # By Little's law there was a queue if more was under way. Without one the rate says what the line does at
            # least, and is what was asked for.
            has_queued = min(self._slice_bytes, self.bytes) >= rate * (self.latency_s + DELAY_S)
            if self._was_full or has_queued or rate > self.bytes_s:
                self._rates.append(rate)
            self._begin_slice(now_s)

    def called(self, seconds: float) -> None:
        """A call for no data, of a name or attributes, took so long. From any thread."""
        if not self.bytes and seconds >= CLIENT_S:
            self._looks.append(seconds)

    def _leave(self, now_s: float, request: Request) -> None:
        del self._under_way[request]
        self.bytes -= request.size_bytes
        if request.program is not None:
            request.program.end(now_s, request.size_bytes)
        if request.need is Need.AHEAD:
            self._ahead_bytes -= request.size_bytes
        elif request.need is Need.LEAP:
            self._leaps -= 1
            self._leapt_s = now_s

    def _begin_slice(self, now_s: float) -> None:
        self._slice_s = now_s
        self._slice_bytes = self.bytes
        self._came_bytes = 0
        self._was_full = False
