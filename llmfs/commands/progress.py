"""How far a long command is: on stderr, a bar on a terminal, a line now and then elsewhere."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from llmfs.errors import one_line

if TYPE_CHECKING:
    from rich.progress import Progress

PLAIN_EVERY_S = 5.0
"""Between two lines where there is no terminal."""


class Show(Protocol):
    def __call__(self, text: str, share: float | None = None) -> None:
        """What is being done, and how much of it is, from 0 to 1, where that is known."""


@contextlib.contextmanager
def shown_progress(is_wanted: bool) -> Iterator[Show]:
    """Says how far it is, as often as it is told."""
    if not is_wanted:
        yield lambda text, share=None: None
    elif os.isatty(sys.stderr.fileno()):
        with _bar() as progress:
            task = progress.add_task("starting", total=None)
            yield lambda text, share=None: progress.update(
                task, description=one_line(text), total=None if share is None else 1.0, completed=share or 0.0
            )
    else:
        yield _plain_lines()


def _bar() -> "Progress":
    """A bar on stderr, gone when it is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column

    about = TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True))
    columns = (about, BarColumn(bar_width=20), TaskProgressColumn(), TimeRemainingColumn(elapsed_when_finished=True))
    return Progress(*columns, console=Console(stderr=True), transient=True, expand=True)


def _plain_lines() -> Show:
    last_s = time.monotonic()

    def show(text: str, share: float | None = None) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= PLAIN_EVERY_S:
            last_s = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    return show
