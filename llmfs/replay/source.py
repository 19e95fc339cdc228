"""A slow directory, modelled: a latency for each request, a number of requests at a time, a shared line.

A request waits for one of `concurrency` places, then for the latency, then its bytes come over a line of
`bandwidth_bytes_s` that all transfers share equally. Programs' requests go before prefetches in the queue; what is
under way is not interrupted.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from random import Random

from predictor.control.state import Floor, Transfers


@dataclass(frozen=True, slots=True)
class Model:
    """What a source is like. `spread`: sigma of the latency's log-normal distribution; 0: always the median."""

    latency_s: float = 0.002
    spread: float = 0.0
    bandwidth_bytes_s: float = 200e6
    concurrency: int = 32
    demand_limit: int = 32  # the mount's own threads, for programs' requests
    prefetch_limit: int = 16  # and for prefetches
    seed: int = 1


class Arrival:
    """Something under way. Whoever waits for it is in `waiters`."""

    __slots__ = ("generator", "is_done", "waiters")

    def __init__(self, generator: str | None = None) -> None:
        self.is_done = False
        self.generator = generator  # who had it fetched ahead; None: a program asked for it
        self.waiters: list[object] = []


@dataclass(frozen=True, slots=True)
class Request:
    """One call to the source. `side`: 0 a program's, 1 a prefetch."""

    arrival: Arrival
    size_bytes: int
    side: int
    on_done: Callable[[Arrival, float], None]
    asked_s: float = 0.0


class Line:
    """Transfers that share a bandwidth equally (processor sharing).

    In *service*, the bytes that each of the transfers present has got since the beginning, a transfer of n bytes that
    begins at v ends at v + n, whoever comes and goes meanwhile; only the pace of v in time changes.
    """

    def __init__(self, bandwidth_bytes_s: float) -> None:
        self._bandwidth = bandwidth_bytes_s
        self._service = 0.0
        self._at_s = 0.0
        self._ends: list[tuple[float, int, Request]] = []
        self._sequence = 0

    def begin(self, now_s: float, request: Request) -> None:
        """A transfer joins those under way."""
        self._advance(now_s)
        self._sequence += 1
        heapq.heappush(self._ends, (self._service + request.size_bytes, self._sequence, request))

    def next_end_s(self) -> float | None:
        """When the next transfer ends, if none joins before."""
        if not self._ends:
            return None
        return self._at_s + max(0.0, self._ends[0][0] - self._service) * len(self._ends) / self._bandwidth

    def end(self, now_s: float) -> Request:
        """The transfer that ends now."""
        self._advance(now_s)
        service, _, request = heapq.heappop(self._ends)
        self._service = service  # what rounding left of it
        return request

    def _advance(self, now_s: float) -> None:
        if self._ends:
            self._service += (now_s - self._at_s) * self._bandwidth / len(self._ends)
        self._at_s = now_s


class ModelledSource:
    """Serves requests in virtual time."""

    def __init__(self, model: Model, call_at: Callable[[float, Callable[[], None]], None]) -> None:
        """`call_at(time_s, call)` has `call` called at that virtual time."""
        self.model = model
        self._call_at = call_at
        self._random = Random(model.seed)
        self._line = Line(model.bandwidth_bytes_s)
        self._line_version = 0  # of what is known about the next end of a transfer
        self._busy = [0, 0]  # programs' requests, prefetches
        self._queues: tuple[deque[Request], ...] = (deque(), deque())
        self._limits = (model.demand_limit, model.prefetch_limit)
        self.requests = [0, 0]
        self.bytes = [0, 0]
        self.answered = [0, 0]  # calls for names, for data
        self.name_floor = Floor()
        self.transfers = Transfers()
        self.answered_s = [0.0, 0.0]  # how long these took, all together

    def ask(self, now_s: float, arrival: Arrival, size_bytes: int, on_done: Callable[[Arrival, float], None]) -> None:
        """A request for `size_bytes` (0: names and attributes) at `now_s`; `on_done(arrival, seconds it took)` when it
        is answered."""
        side = 0 if arrival.generator is None else 1
        self.requests[side] += 1
        self.bytes[side] += size_bytes
        request = Request(arrival, size_bytes, side, on_done, now_s)
        if self._has_place(side):
            self._begin(now_s, request)
        else:
            self._queues[side].append(request)

    @property
    def busy(self) -> tuple[int, int]:
        """Requests of programs under way or waiting, and prefetches."""
        return self._busy[0] + len(self._queues[0]), self._busy[1] + len(self._queues[1])

    def _has_place(self, side: int) -> bool:
        return self._busy[side] < self._limits[side] and sum(self._busy) < self.model.concurrency

    def _begin(self, now_s: float, request: Request) -> None:
        self._busy[request.side] += 1
        latency_s = self.model.latency_s
        if self.model.spread:
            latency_s *= exp(self._random.gauss(0.0, self.model.spread))
        done_s = now_s + latency_s
        self._call_at(done_s, lambda: self._answered(done_s, request))

    def _answered(self, now_s: float, request: Request) -> None:
        """The latency has passed."""
        if request.size_bytes:
            self._line.begin(now_s, request)
            self._watch_line()
        else:
            self._done(now_s, request)

    def _watch_line(self) -> None:
        end_s = self._line.next_end_s()
        self._line_version += 1
        if end_s is not None:
            version = self._line_version
            self._call_at(end_s, lambda: self._transferred(end_s, version))

    def _transferred(self, now_s: float, version: int) -> None:
        if version == self._line_version:  # else another transfer has joined, and this one ends later
            request = self._line.end(now_s)
            self._watch_line()
            self._done(now_s, request)

    def _done(self, now_s: float, request: Request) -> None:
        self._busy[request.side] -= 1
        kind = 1 if request.size_bytes else 0
        self.answered[kind] += 1
        self.answered_s[kind] += now_s - request.asked_s
        if kind:
            self.transfers.add(request.size_bytes, now_s - request.asked_s)
        else:
            self.name_floor.add(now_s - request.asked_s)
        for side, queue in enumerate(self._queues):
            while queue and self._has_place(side):
                self._begin(now_s, queue.popleft())
        request.on_done(request.arrival, now_s - request.asked_s)
