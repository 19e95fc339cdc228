"""Guesses at data that nobody has read before: corrected by what became of those before."""

import pytest

from predictor.guesses import WAITING_MAX, WITHIN, Guesses
from predictor.tracker import Group

COMMAND, OTHER = 1, 2


class Program:
    """Guesses of one program, a file a visit; those of its files in `reads` are read at once."""

    def __init__(self, guesses: Guesses, command: int = COMMAND) -> None:
        self.guesses = guesses
        self.group = Group("program")
        self.command = command

    def guess(self, paths: range, reads: range = range(0), chance: float = 0.8) -> None:
        for path in paths:
            self.guesses.watch(path, self.group, "sibling", self.command, chance)
            self.wait(1)
            if path in reads:
                self.guesses.read(path)

    def wait(self, visits: int) -> None:
        for _ in range(visits):
            self.group.visits += 1
            self.guesses.tick(self.group)

    def believed(self) -> float:
        return self.guesses.corrected("sibling", self.command, 0.8)


def test_a_generator_that_is_wrong_of_a_program_is_not_believed_and_one_that_is_right_is() -> None:
    wrong, right = Program(Guesses()), Program(Guesses())
    wrong.guess(range(100))
    right.guess(range(100), reads=range(100))
    assert wrong.believed() < 0.1
    assert right.believed() == 0.8


def test_it_is_believed_again_when_it_would_have_been_right() -> None:
    program = Program(Guesses())
    program.guess(range(100))
    program.guess(range(100, 400), reads=range(100, 400))
    assert program.believed() > 0.7


def test_what_is_read_late_puts_right_that_it_counted_as_wrong() -> None:
    guesses = Guesses()
    program = Program(guesses)
    program.guess(range(40))
    program.wait(WITHIN + 1)
    before = program.believed()
    for path in range(40):
        guesses.read(path)
        guesses.read(path)
    assert before < 0.1 and program.believed() == 0.8


def test_of_other_programs_it_is_doubted_a_little() -> None:
    guesses = Guesses()
    wrong, new, right = Program(guesses), Program(guesses, OTHER), Program(guesses, OTHER)
    wrong.guess(range(60))
    wrong.wait(WITHIN + 1)
    assert new.believed() < 0.2
    right.guess(range(1000, 1050), reads=range(1000, 1050))
    assert right.believed() > 0.6 > 0.5 > wrong.believed()


def test_a_file_counts_once_and_what_waits_is_bounded() -> None:
    program = Program(Guesses())
    program.guess(range(10))
    program.wait(WITHIN + 1)
    once = program.believed()
    for _ in range(5):
        program.guess(range(10))
        program.wait(WITHIN + 1)
    assert program.believed() == once
    for path in range(100, 100 + 2 * WAITING_MAX):
        program.guesses.watch(path, program.group, "sibling", COMMAND, 0.5)
    assert len(program.guesses._waiting) == WAITING_MAX


def test_what_became_of_guesses_is_kept() -> None:
    program = Program(Guesses())
    program.guess(range(100), reads=range(50))
    again = Guesses()
    again.load(*program.guesses.rows())
    assert again.corrected("sibling", COMMAND, 0.8) == program.believed()
    with pytest.raises(ValueError, match="guesses"):
        again.load([b"sibling"], [[1.0, -1.0, 0.0]])
