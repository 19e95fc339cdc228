"""A recurrent network over the steps between accesses, trained as it goes: the delta-LSTM.

Hashemi et al., "Learning memory access patterns" (ICML 2018), their embedding LSTM: prefetching as classification of
the next step among those that are frequent. A step is the distance of two blocks read one after the other in a file, or
that of two files used one after the other in a directory, in listing order or by name, whichever is the shorter way;
the program's name stands in for the address of the instruction. Steps that are not in the vocabulary, and those to
another directory, are one token that is never expected. Where they trained on one half of a trace and tested on the
other, this one is trained online: every TRAIN_EVERY tokens a gradient step on the latest windows and some of the past.
Up to ten steps are expected at once, as there, here only those of at least PROBABILITY_MIN.

Needs torch and a hundred times the time of a rule: about half a millisecond a token on one core, two fifths of it
for training. Everything is bounded: vocabulary, sequences, windows kept. Randomness is seeded.
"""

import random
from collections import deque
from collections.abc import Collection, Sequence
from zlib import crc32

import torch
from torch import nn
from torch.nn import functional

from predictor.baselines.file_rival import STREAMS_MAX, DirectoryRival
from predictor.baselines.read_rival import READERS_MAX
from predictor.baselines.rival import BLOCK_BYTES, Access, Bounded, Wish
from predictor.candidates.directory import DIRECTORIES_MAX, NAMES_MAX, natural
from predictor.events import Op, PathTable
from predictor.plan import Want

VOCABULARY = 1024
FREQUENT_MIN = 2
"""How often a step must be seen to enter the vocabulary. Ten times in the paper, whose traces are far longer."""

CANDIDATES_MAX = 1 << 14
PROGRAMS = 64
EMBEDDING = 32
PROGRAM_EMBEDDING = 8
HIDDEN = 64

EXPECTED_MAX = 10
PROBABILITY_MIN = 0.1

WINDOW = 16
"""Tokens of a training window: most programs are short."""

TRAIN_EVERY = 32
BATCH = 16
WINDOWS_MAX = 1024
LEARNING_RATE = 1e-2
"""Of a repeated pattern of six steps it takes 1,000 tokens to expect all with this, and more than 2,000 with 3e-3."""

UNKNOWN = 0

Step = tuple[str, int]
"""A kind (LISTED, NAMED or BLOCK) and a distance."""

LISTED, NAMED, BLOCK = "listed", "named", "block"

Window = tuple[tuple[int, ...], int]
"""WINDOW + 1 tokens, UNKNOWN in front of shorter sequences, and the program."""

State = tuple[torch.Tensor, torch.Tensor]


class Network(nn.Module):
    """The network: what step comes next."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.Embedding(VOCABULARY, EMBEDDING)
        self.programs = nn.Embedding(PROGRAMS, PROGRAM_EMBEDDING)
        self.lstm = nn.LSTM(EMBEDDING + PROGRAM_EMBEDDING, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, VOCABULARY)

    def forward(
        self, tokens: torch.Tensor, programs: torch.Tensor, state: State | None = None
    ) -> tuple[torch.Tensor, State]:
        """`tokens` (B, T), `programs` (B,): logits (B, T, VOCABULARY) of what follows, and the state (1, B, H)."""
        program = self.programs(programs)[:, None].expand(-1, tokens.shape[1], -1)  # (B, T, P)
        hidden, state = self.lstm(torch.cat((self.steps(tokens), program), -1), state)  # (B, T, H)
        return self.head(hidden), state


class Walker:
    """One sequence of steps: where it is, and what the network remembers of it."""

    __slots__ = ("at", "program", "state", "tokens")

    def __init__(self, command: str) -> None:
        self.program = crc32(command.encode()) % PROGRAMS
        self.at = -1  # a path, or a block of a file
        self.state: State | None = None
        self.tokens: deque[int] = deque(maxlen=WINDOW + 1)


class StepPredictor:
    """Learns sequences of steps while predicting them."""

    def __init__(self, seed: int = 0) -> None:
        torch.set_num_threads(1)  # steps as small as these wait for threads longer than they compute
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = Network()
        self._optimizer = torch.optim.Adam(self._network.parameters(), LEARNING_RATE)
        self._random = random.Random(seed)
        self._counts: Bounded[Step, int] = Bounded(CANDIDATES_MAX)
        self._tokens: dict[Step, int] = {}
        self._steps: list[Step] = [("", 0)]  # of each token; the first is UNKNOWN
        self._fresh: deque[Window] = deque(maxlen=BATCH // 2)
        self._past: deque[Window] = deque(maxlen=WINDOWS_MAX)
        self._until_training = TRAIN_EVERY

    def observe(self, walker: Walker, step: Step | None) -> list[Step]:
        """The walker took a step (None: one that says nothing): the steps expected next, the likeliest first."""
        token = self._token(step) if step is not None else UNKNOWN
        walker.tokens.append(token)
        self._learn(walker)
        with torch.no_grad():
            logits, walker.state = self._network(torch.tensor([[token]]), torch.tensor([walker.program]), walker.state)
            likeliest = torch.topk(functional.softmax(logits[0, 0], -1), EXPECTED_MAX)
        return [
            self._steps[other]
            for probability, other in zip(likeliest.values.tolist(), likeliest.indices.tolist(), strict=True)
            if probability >= PROBABILITY_MIN and UNKNOWN < other < len(self._steps)
        ]

    def _token(self, step: Step) -> int:
        token = self._tokens.get(step)
        if token is not None:
            return token
        count = self._counts[step] = self._counts.get(step, 0) + 1
        if count < FREQUENT_MIN or len(self._steps) >= VOCABULARY:
            return UNKNOWN
        token = self._tokens[step] = len(self._steps)
        self._steps.append(step)
        return token

    def _learn(self, walker: Walker) -> None:
        tokens = tuple(walker.tokens)
        if tokens[-1] != UNKNOWN and len(tokens) > 1:
            window = ((UNKNOWN,) * (WINDOW + 1 - len(tokens)) + tokens, walker.program)
            self._fresh.append(window)
            if self._random.random() < 2 / WINDOW:  # windows overlap: few of a sequence are enough
                self._past.append(window)
        self._until_training -= 1
        if self._until_training > 0 or not self._fresh:
            return
        self._until_training = TRAIN_EVERY
        self._train([*self._fresh, *self._random.sample(self._past, min(len(self._past), BATCH // 2))])

    def _train(self, windows: Sequence[Window]) -> None:
        tokens = torch.tensor([window for window, _ in windows])  # (B, WINDOW + 1)
        programs = torch.tensor([program for _, program in windows])  # (B,)
        logits, _ = self._network(tokens[:, :-1], programs)  # (B, WINDOW, VOCABULARY)
        loss = functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=UNKNOWN)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()


class _Directory:
    """The children of a directory in both orders."""

    __slots__ = ("orders", "places")

    def __init__(self, listed: list[int], named: list[int]) -> None:
        self.orders = {LISTED: listed, NAMED: named}
        self.places = {kind: {child: i for i, child in enumerate(order)} for kind, order in self.orders.items()}

    def step(self, before: int, child: int) -> Step | None:
        """The shorter way from one child to another, None where one of them is not listed."""
        steps = [
            (kind, place[child] - place[before])
            for kind, place in self.places.items()
            if child in place and before in place
        ]
        return min(steps, key=lambda step: abs(step[1]), default=None)

    def after(self, child: int, step: Step) -> int | None:
        """The child that a step leads to."""
        kind, distance = step
        if kind == BLOCK or child not in self.places[kind]:
            return None
        place = self.places[kind][child] + distance
        return self.orders[kind][place] if 0 <= place < len(self.orders[kind]) else None


class DeltaLSTM(DirectoryRival):
    """Expects the files and blocks that the likeliest steps lead to."""

    name = "delta-LSTM"

    def __init__(self, paths: PathTable, seed: int = 0) -> None:
        super().__init__(paths)
        self._predictor = StepPredictor(seed)
        self._directories: Bounded[int, _Directory] = Bounded(DIRECTORIES_MAX)
        self._walkers: Bounded[tuple[int, str], Walker] = Bounded(STREAMS_MAX)  # at a path
        self._readers: Bounded[tuple[int, int], Walker] = Bounded(READERS_MAX)  # at a block

    def access(self, access: Access) -> Sequence[Wish]:
        """An access happened: files, and blocks of its file, to have ready."""
        wishes = super().access(access)
        if access.op == Op.READ and access.length:
            return [*wishes, *self._read(access)]
        return wishes

    def listing(self, directory: int, children: Sequence[int], folders: Collection[int]) -> None:
        """`directory` was listed."""
        super().listing(directory, children, folders)
        listed = list(children[:NAMES_MAX])
        named = sorted(listed, key=lambda child: natural(self._paths.name(child)))
        self._directories[directory] = _Directory(listed, named)

    def visit(self, tgid: int, command: str, path: int) -> Sequence[int]:
        """A program came to `path`: the files of the same directory expected next."""
        walker = self._walkers.get((tgid, command))
        if walker is None:
            walker = self._walkers[tgid, command] = Walker(command)
        before, walker.at = walker.at, path
        parent = self._paths.parent(path)
        directory = self._directories.get(parent)
        steps = self._predictor.observe(walker, directory.step(before, path) if directory is not None else None)
        if directory is None:
            self._use_unlisted(parent, path)
            return ()
        found = (directory.after(path, step) for step in steps)
        return [other for other in found if other is not None]

    def _read(self, access: Access) -> list[Wish]:
        reader = self._readers.get((access.tgid, access.path))
        if reader is None:
            reader = self._readers[access.tgid, access.path] = Walker(access.command)
        last = (access.offset + access.length - 1) // BLOCK_BYTES
        steps: list[Step] = []
        for block in range(max(access.offset // BLOCK_BYTES, last - WINDOW), last + 1):
            if block != reader.at:
                before, reader.at = reader.at, block
                steps = self._predictor.observe(reader, (BLOCK, block - before) if before >= 0 else None)
        blocks = (reader.at + distance for kind, distance in steps if kind == BLOCK)
        return [
            Wish(access.path, Want.DATA, block * BLOCK_BYTES, BLOCK_BYTES)
            for block in blocks
            if block >= 0 and (not access.size or block * BLOCK_BYTES < access.size)
        ]
