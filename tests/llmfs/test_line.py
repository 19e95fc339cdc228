"""What is fetched ahead keeps the line busy and no program waiting for long, nor do programs each other."""

import heapq
import itertools
from collections.abc import Callable

import pytest

from llmfs.policy.line import (
    CALLS,
    HURRY_S,
    LEAST_BYTES,
    START_BYTES,
    STUCK_S,
    Line,
    Need,
    Request,
)
from llmfs.policy.turns import FIRSTS, PART_BYTES_MIN, UNBOUNDED

AHEAD, OTHER = 1, 2
"""Files: one that is fetched ahead, and one that is not."""

LONG, SHORT = 1, 2
"""Programs: one that reads on, and one that reads single pages."""


class Link:
    """A source behind a line, and somebody who fetches ahead as much as he may."""

    def __init__(self, latency_s: float, bytes_s: float) -> None:
        self.line = Line()
        self.now_s = 100.0
        self.came_bytes = 0
        self._latency_s, self._bytes_s = latency_s, bytes_s
        self._free_s = 0.0  # when the line has brought all that it was asked for
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._held: list[tuple[int, Need, int, Callable[[], None], int]] = []
        self.line.called(latency_s)

    def ask(self, size_bytes: int, need: Need, file: int, then: Callable[[], None], program: int = 0) -> None:
        request = self.line.begin(self.now_s, file, size_bytes, need, program)
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
        while self.line.has_room(self.now_s, piece := self.line.piece_bytes(self.now_s)):
            self.ask(piece, Need.AHEAD, AHEAD, self.fetch_ahead)

    def read_on(self, size_bytes: int, program: int) -> None:
        """A program that reads on, from now on, with so much asked for at any time."""
        left = size_bytes

        def came(piece_bytes: int) -> None:
            nonlocal left
            left -= piece_bytes
            if not left:
                self.read_on(size_bytes, program)

        for start in range(0, size_bytes, at_once := self.line.part_piece_bytes(self.now_s, program)):
            piece = min(at_once, size_bytes - start)
            self._held.append((piece, Need.RUN, OTHER, lambda piece=piece: came(piece), program))  # type: ignore[misc]
        self._hand_on()

    def read_now_and_then(self, file: int, need: Need, taken: list[float], program: int = 0) -> None:
        """A program's small reads, each some milliseconds after the last one; the seconds that they take."""
        began_s = self.now_s

        def came() -> None:
            taken.append(self.now_s - began_s)
            self._at(self.now_s + 0.003, lambda: self.read_now_and_then(file, need, taken, program))

        self.ask(4096, need, file, came, program)

    def _at(self, time_s: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time_s, next(self._numbers), call))

    def _came(self, request: Request, then: Callable[[], None]) -> None:
        self.line.end(self.now_s, request, request.size_bytes)
        self.came_bytes += request.size_bytes
        then()
        self._hand_on()

    def _hand_on(self) -> None:
        for held in tuple(self._held):
            size_bytes, *_, program = held
            if self.line.has_turn(self.now_s, program, size_bytes):
                self._held.remove(held)
                self.ask(*held)


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
        link.line.called(0.0003)
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
    wide = link.line.window_bytes(link.now_s)
    link.read_now_and_then(OTHER, Need.LEAP, taken)
    link.run(1)
    assert link.line.window_bytes(link.now_s) < wide / 2


def test_the_window_opens_again_when_nobody_else_reads() -> None:
    link = Link(0.002, 200e6)
    link.fetch_ahead()
    link.run(1)
    link.ask(4096, Need.LEAP, OTHER, lambda: None)
    narrow = link.line.window_bytes(link.now_s)
    link.run(2 * HURRY_S)
    assert link.line.window_bytes(link.now_s) > 2 * narrow


def test_a_line_that_becomes_slower_is_noticed() -> None:
    link = Link(0.002, 200e6)
    link.fetch_ahead()
    link.run(1)
    link._bytes_s = 20e6
    link.run(10)
    assert link.line.bytes_s < 30e6


def test_small_requests_of_programs_say_nothing_of_what_the_line_can_do() -> None:
    link = Link(0.002, 200e6)
    link.fetch_ahead()
    link.run(1)
    rate = link.line.bytes_s
    while link.line.bytes:
        link._events.sort()
        link.now_s, _, call = link._events.pop(0)
        link.line.has_room = lambda now_s, size_bytes: False  # type: ignore[method-assign]
        call()
    link.read_now_and_then(OTHER, Need.LEAP, [])
    link.run(5)
    assert link.line.bytes_s == rate


def test_before_anything_is_known_there_is_a_window_and_one_piece_is_always_let_through() -> None:
    line = Line()
    assert line.window_bytes(0.0) == START_BYTES
    assert line.has_room(0.0, 10 * START_BYTES)
    line.begin(0.0, AHEAD, 10 * START_BYTES, Need.AHEAD)
    assert not line.has_room(0.0, 1)


def test_a_request_that_hangs_keeps_nothing_else_from_the_line() -> None:
    line = Line()
    stuck = line.begin(0.0, AHEAD, START_BYTES, Need.AHEAD)
    line.begin(STUCK_S - 1, AHEAD, 1, Need.AHEAD)
    assert not line.has_room(STUCK_S - 1, 1)
    assert line.has_room(STUCK_S, 1) and line.bytes == 1
    line.end(STUCK_S + 1, stuck, START_BYTES)
    assert line.bytes == 1


def test_a_request_that_failed_brought_nothing() -> None:
    line = Line()
    line.end(1.0, line.begin(0.0, AHEAD, 1 << 20, Need.AHEAD), 0)
    assert line.bytes == 0 and line.bytes_s == 0


@pytest.mark.parametrize(("latency_s", "bytes_s"), [(0.0005, 25e6), (0.02, 20e6)])
def test_beside_a_program_that_reads_on_another_one_waits_little_and_the_line_is_busy(
    latency_s: float, bytes_s: float
) -> None:
    link, taken = Link(latency_s, bytes_s), list[float]()
    for _ in range(2):
        link.read_on(1 << 20, LONG)
    link.read_now_and_then(AHEAD, Need.LEAP, taken, SHORT)
    link.run(4)
    assert link.line.turns.is_crowded
    taken.clear()
    link.came_bytes = 0
    link.run(1)
    assert max(taken) < latency_s + (2 << 20) / bytes_s / 4  # what it has under way where nothing is held back
    assert max(taken) <= latency_s + max(PART_BYTES_MIN / bytes_s, 2 * latency_s, 0.010)
    assert link.came_bytes > 0.85 * bytes_s


def test_programs_that_read_on_get_equal_parts_of_a_crowded_line() -> None:
    link = crowded(Link(0.0005, 25e6))
    began = {1: 0, 2: 0}
    begin = link.line.begin

    def counted(now_s: float, file: int, size_bytes: int, need: Need, program: int = 0) -> Request:
        began[program] = began.get(program, 0) + size_bytes
        return begin(now_s, file, size_bytes, need, program)

    link.line.begin = counted  # type: ignore[method-assign,assignment]
    for program, streams in ((1, 8), (2, 2)):
        for _ in range(streams):
            link.read_on(256 << 10, program)
    link.run(2)
    assert began[1] < 1.2 * began[2]


def test_where_nobody_else_reads_a_program_has_all_of_the_line() -> None:
    link = crowded(Link(0.0005, 25e6))
    link.run(2 * HURRY_S)
    assert part_of(link) == UNBOUNDED


def test_where_nobody_waits_for_others_none_is_held_back() -> None:
    link, taken = Link(0.002, 1e9), list[float]()
    link.read_on(512 << 10, LONG)
    link.read_now_and_then(AHEAD, Need.LEAP, taken, SHORT)
    link.run(2)
    assert not link.line.turns.is_crowded
    assert link.line.part_piece_bytes(link.now_s, LONG) == UNBOUNDED


def test_a_line_that_becomes_free_is_noticed() -> None:
    link = crowded(Link(0.0005, 25e6))
    for _ in range(FIRSTS):
        link.ask(128 << 10, Need.RUN, OTHER, lambda: None, LONG)
        other = link.line.begin(link.now_s, OTHER, 4096, Need.LEAP, SHORT)
        link.now_s += 0.0006
        link.line.end(link.now_s, other, 4096)
        link.run(1)
    assert not link.line.turns.is_crowded


def test_something_a_program_may_always_have_under_way() -> None:
    link = crowded(Link(0.0005, 25e6))
    link.ask(4096, Need.LEAP, OTHER, lambda: None, SHORT)
    assert link.line.has_turn(link.now_s, LONG, 1 << 30)
    link.ask(part_of(link), Need.RUN, OTHER, lambda: None, LONG)
    assert not link.line.has_turn(link.now_s, LONG, 1)


def test_a_file_has_to_be_fetched_ahead_of_again_for_the_next_leap_in_it_to_be_foreseen() -> None:
    line = Line()
    line.end(0.1, line.begin(0.0, AHEAD, 4096, Need.AHEAD), 4096)
    assert line.begin(0.2, AHEAD, 4096, Need.LEAP).need is Need.RUN
    assert line.begin(0.3, AHEAD, 4096, Need.LEAP).need is Need.LEAP


def test_a_read_that_has_to_open_the_file_first_says_nothing_of_the_latency() -> None:
    line = Line()
    line.called(0.0005)
    line.end(0.5, line.begin(0.0, OTHER, 4096, Need.LEAP, is_opening=True), 4096)
    assert line.latency_s == 0.0005


def test_a_short_read_that_waits_for_what_the_client_reads_ahead_says_nothing_of_the_latency() -> None:
    line = Line()
    line.called(0.0005)
    line.end(1.0, line.begin(0.9, OTHER, 1 << 20, Need.RUN), 1 << 20)
    line.end(1.1, line.begin(1.001, AHEAD, 4096, Need.LEAP), 4096)
    assert line.latency_s == 0.0005


def part_of(link: Link) -> int:
    """Of the program that reads on."""
    return link.line.turns.part_bytes(link.now_s, LONG, link.line.window_bytes(link.now_s))


def crowded(link: Link) -> Link:
    """A line of which two programs waited for each other."""
    link.read_on(1 << 20, LONG)
    link.read_now_and_then(AHEAD, Need.LEAP, [], SHORT)
    link.run(3)
    link._events.clear()
    link._held.clear()
    for request in tuple(link.line._under_way):
        link.line._leave(link.now_s, request)
    assert link.line.turns.is_crowded
    link._free_s = link.now_s
    return link
