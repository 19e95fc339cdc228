"""What became of guesses: data that was expected of files which nobody has read before.

How often the *names* that a generator proposes are used is counted where they are proposed (predictor.tracker). That
they are read then is another thing: of the siblings of a module most are looked up, if at all, and not read. So a guess
waits here until its file is read, or until its program has made WITHIN visits without that. How many were read, beside
how many should have been by what was said of them, corrects what the same generator says of the same program next.

A guess that is corrected so far down that nothing is fetched is watched all the same. A generator that is wrong of a
program falls silent by itself, and is heard again when it would have been right; to find that out costs nothing.
"""

from collections import OrderedDict

from predictor.recent import Recent
from predictor.tracker import HORIZONS, Group

WITHIN = HORIZONS[1]
"""Visits after which a guess counts as wrong. Is the file read later on, that is put right: waiting longer for all of
them would have a wrong generator go on for as long."""

STRENGTH = 4.0
"""Guesses that a generator is believed for at first, and that all programs' count for in one of them."""

KEPT_MAX = 64.0
"""Expected reads at which both counts are halved: what a program does changes."""

WAITING_MAX = 4096
JUDGED_MAX = 2048
RECORDS_MAX = 4096
ANY = 0
"""The command that stands for all of them."""

Record = list[float]
"""Reads that were expected, reads that came."""


class Guess:
    """One file whose data was guessed."""

    __slots__ = ("at", "chance", "is_done", "path", "records", "was_read")

    def __init__(self, path: int, at: int, chance: float, records: tuple[Record, Record]) -> None:
        self.path = path
        self.at = at
        self.chance = chance
        self.records = records
        self.is_done = False
        self.was_read = False


class Guesses:
    """All guesses that wait, and by generator and command what became of the others."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, int], Record] = {}
        self._waiting: OrderedDict[int, Guess] = OrderedDict()  # by path
        self._judged: Recent[int, Guess] = Recent(JUDGED_MAX)  # by path: a file counts once

    def clear(self) -> None:
        """No program goes on: what waits is not judged."""
        for guess in self._waiting.values():
            guess.is_done = True
        self._waiting.clear()

    def corrected(self, generator: str, command: int, chance: float) -> float:
        """The probability that data is read of which `generator` says `chance`."""
        expected, came = self._record(generator, ANY)
        among_all = (came + STRENGTH) / (expected + STRENGTH)
        expected, came = self._record(generator, command)
        return chance * min(1.0, (came + STRENGTH * among_all) / (expected + STRENGTH))

    def watch(self, path: int, group: Group, generator: str, command: int, chance: float) -> None:
        """`generator` said so of `path`, whether it is fetched or not."""
        if path in self._waiting or self._judged.get(path) is not None:
            return
        if len(self._waiting) >= WAITING_MAX:  # of programs that make no visits any more
            self._waiting.popitem(last=False)[1].is_done = True
        records = self._record(generator, ANY), self._record(generator, command)
        guess = self._waiting[path] = Guess(path, group.visits, chance, records)
        group.guesses.append(guess)

    def read(self, path: int) -> None:
        """Data of `path` was read."""
        guess = self._waiting.get(path)
        if guess is not None:
            guess.was_read = True
            self._settle(guess)
            return
        guess = self._judged.get(path)
        if guess is not None and not guess.was_read:
            guess.was_read = True
            for record in guess.records:
                record[1] += 1.0

    def tick(self, group: Group) -> None:
        """`group` made a visit: what should have been read by now was not."""
        guesses = group.guesses
        while guesses and (guesses[0].is_done or group.visits - guesses[0].at > WITHIN):
            guess = guesses.popleft()
            if not guess.is_done:
                self._settle(guess)

    def _settle(self, guess: Guess) -> None:
        guess.is_done = True
        del self._waiting[guess.path]
        self._judged[guess.path] = guess
        for record in guess.records:
            record[0] += guess.chance
            record[1] += guess.was_read
            if record[0] >= KEPT_MAX:
                record[:] = [value / 2 for value in record]

    def _record(self, generator: str, command: int) -> Record:
        record = self._records.get((generator, command))
        if record is None:
            record = self._records[generator, command] = [0.0, 0.0]
            if len(self._records) > RECORDS_MAX:
                del self._records[next(iter(self._records))]
        return record

    def rows(self) -> tuple[list[bytes], list[tuple[float, ...]]]:
        """What is kept: a generator a row, and (command, expected, came)."""
        names = [generator.encode() for generator, _ in self._records]
        return names, [(float(command), *record) for (_, command), record in self._records.items()]

    def load(self, names: list[bytes], numbers: list[list[float]]) -> None:
        """Takes back what `rows` gave. Raises ValueError where it makes no sense."""
        for name, (command, expected, came) in zip(names, numbers, strict=True):
            if expected < 0 or came < 0:
                raise ValueError("guesses")
            self._records[name.decode(), int(command)] = [expected, came]
