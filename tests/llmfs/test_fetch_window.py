"""What is fetched ahead keeps the line busy and no program waiting for long, whatever the line."""

import heapq
import itertools
from collections.abc import Callable

import pytest

from llmfs.policy.fetch_window import CALLS, HURRY_S, LEAST_BYTES, START_BYTES, STUCK_S, FetchWindow, Need, Request

AHEAD, OTHER = 1, 2
"""Files: one that is fetched ahead, and one that is not."""


class Link:
    """A source behind a line, and somebody who fetches ahead as much as he may."""

    def __init__(self, latency_s: float, bytes_s: float) -> None:
        self.window = FetchWindow()
        self.now_s = 100.0
        self.came_bytes = 0
        self._latency_s, self._bytes_s = latency_s, bytes_s
        self._free_s = 0.0  # when the line has brought all that it was asked for
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.window.called(latency_s)

    def ask(self, size_bytes: int, need: Need, file: int, then: Callable[[], None]) -> None:
        request = self.window.begin(self.now_s, file, size_bytes, need)
        self._free_s = max(self._free_s, self.now_s) + size_bytes / self._bytes_s
        self._at(self._free_s + self._latency_s, lambda: self._came(request, then))

    def run(self, seconds: float) -> None:
        stop_s = self.now_s + seconds
        while self._events and self._events[0][0] <= stop_s:
            self.now_s, _, call = heapq.heappop(self._events)
            call()
        self.now_s = stop_s

    def fetch_ahead(self) -> None:
        """From now on, without end."""
        while self.window.has_room(self.now_s, piece := self.window.piece_bytes(self.now_s)):
            self.ask(piece, Need.AHEAD, AHEAD, self.fetch_ahead)

    def read_now_and_then(self, file: int, need: Need, taken: list[float]) -> None:
        """A program's small reads, each some milliseconds after the last one; the seconds that they take."""
        began_s = self.now_s

        def came() -> None:
            taken.append(self.now_s - began_s)
            self._at(self.now_s + 0.003, lambda: self.read_now_and_then(file, need, taken))

        self.ask(4096, need, file, came)

    def _at(self, time_s: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time_s, next(self._numbers), call))

    def _came(self, request: Request, then: Callable[[], None]) -> None:
        self.window.end(self.now_s, request, request.size_bytes)
        self.came_bytes += request.size_bytes
        then()


LINES = [(0.0005, 25e6), (0.002, 200e6), (0.02, 100e6), (0.1, 50e6)]


@pytest.mark.parametrize(("latency_s", "bytes_s"), LINES)
def test_the_line_is_kept_busy(latency_s: float, bytes_s: float) -> None:
    link = Link(latency_s, bytes_s)
    link.fetch_ahead()
    link.run(2)
    link.came_bytes = 0
    link.run(1)
    assert link.came_bytes > 0.9 * bytes_s


def test_a_line_is_kept_busy_whose_names_are_in_memory_and_whose_data_is_not() -> None:
    link = Link(0.1, 50e6)
    for _ in range(CALLS):
        link.window.called(0.0003)
    link.fetch_ahead()
    link.run(4)
    link.came_bytes = 0
    link.run(1)
    assert link.came_bytes > 0.9 * 50e6


@pytest.mark.parametrize(("latency_s", "bytes_s"), LINES)
def test_a_program_that_reads_something_else_waits_little(latency_s: float, bytes_s: float) -> None:
    link, taken = Link(latency_s, bytes_s), list[float]()
    link.read_now_and_then(OTHER, Need.LEAP, taken)
    link.fetch_ahead()
    link.run(2)
    taken.clear()
    link.came_bytes = 0
    link.run(1)
    assert link.came_bytes > 0.8 * bytes_s
    assert max(taken) <= latency_s + 2 * max(0.010, latency_s, LEAST_BYTES / bytes_s)


def test_a_program_that_reads_what_is_fetched_ahead_is_not_in_its_way() -> None:
    link, taken = Link(0.002, 200e6), list[float]()
    link.fetch_ahead()
    link.read_now_and_then(AHEAD, Need.LEAP, taken)
    link.read_now_and_then(OTHER, Need.RUN, taken)
    link.run(1)
    wide = link.window.window_bytes(link.now_s)
    link.read_now_and_then(OTHER, Need.LEAP, taken)
    link.run(1)
    assert link.window.window_bytes(link.now_s) < wide / 2


def test_the_window_opens_again_when_nobody_else_reads() -> None:
    link = Link(0.002, 200e6)
    link.fetch_ahead()
    link.run(1)
    link.ask(4096, Need.LEAP, OTHER, lambda: None)
    narrow = link.window.window_bytes(link.now_s)
    link.run(2 * HURRY_S)
    assert link.window.window_bytes(link.now_s) > 2 * narrow


def test_a_line_that_becomes_slower_is_noticed() -> None:
    link = Link(0.002, 200e6)
    link.fetch_ahead()
    link.run(1)
    link._bytes_s = 20e6
    link.run(10)
    assert link.window.bytes_s < 30e6


def test_small_requests_of_programs_say_nothing_of_what_the_line_can_do() -> None:
    link = Link(0.002, 200e6)
    link.fetch_ahead()
    link.run(1)
    rate = link.window.bytes_s
    while link.window.bytes:
        link._events.sort()
        link.now_s, _, call = link._events.pop(0)
        link.window.has_room = lambda now_s, size_bytes: False  # type: ignore[method-assign]
        call()
    link.read_now_and_then(OTHER, Need.LEAP, [])
    link.run(5)
    assert link.window.bytes_s == rate


def test_before_anything_is_known_there_is_a_window_and_one_piece_is_always_let_through() -> None:
    window = FetchWindow()
    assert window.window_bytes(0.0) == START_BYTES
    assert window.has_room(0.0, 10 * START_BYTES)
    window.begin(0.0, AHEAD, 10 * START_BYTES, Need.AHEAD)
    assert not window.has_room(0.0, 1)


def test_a_request_that_hangs_keeps_nothing_else_from_the_line() -> None:
    window = FetchWindow()
    stuck = window.begin(0.0, AHEAD, START_BYTES, Need.AHEAD)
    window.begin(STUCK_S - 1, AHEAD, 1, Need.AHEAD)
    assert not window.has_room(STUCK_S - 1, 1)
    assert window.has_room(STUCK_S, 1) and window.bytes == 1
    window.end(STUCK_S + 1, stuck, START_BYTES)
    assert window.bytes == 1


def test_a_request_that_failed_brought_nothing() -> None:
    window = FetchWindow()
    window.end(1.0, window.begin(0.0, AHEAD, 1 << 20, Need.AHEAD), 0)
    assert window.bytes == 0 and window.bytes_s == 0
