"""The page of memory that a running slowdir shares with us: settings out, counters in.

Its layout is `struct control` in slowdir.c. A word is read and written in one piece (a native 64-bit item of
a memoryview), so no lock is needed; counters only ever grow, so nothing is lost between a read and a reset.
"""

import mmap
import os
import tempfile
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path

PAGE_BYTES = 4096
MAGIC = 0x32304C5344574C53
NAME_BYTES = 256


class Word(IntEnum):
    """The index of each word."""

    MAGIC = 0
    ENTRY_TIMEOUT_NS = 1
    ATTR_TIMEOUT_NS = 2
    NEGATIVE_TIMEOUT_NS = 3
    THREADS = 4
    MAX_BACKGROUND = 5
    HAS_CTIME = 6

    LATENCY_NS = 8
    BANDWIDTH_BYTES_S = 9
    FREE_MASK = 10
    FAULT_MASK = 11
    FAULT_ERRNO = 12
    HANG_MASK = 13
    HEAL_GENERATION = 14
    LEAVING = 15

    READY = 16
    DROPS_DONE = 17
    WAITING = 18
    PEAK_WAITING = 19
    HUNG = 20
    DELAYED = 21
    DELAYED_NS = 22
    FAULTED = 23
    BYTES_READ = 24
    BYTES_WRITTEN = 25

    REQUESTS = 32


_FAULT_NAME = (Word.REQUESTS + 64) * 8
_HANG_NAME = _FAULT_NAME + NAME_BYTES
_OPERATIONS = _HANG_NAME + NAME_BYTES


class Control:
    """The shared page, in a file of its own that is removed by `close`."""

    def __init__(self) -> None:
        fd, name = tempfile.mkstemp(prefix="slowdir-control-")
        self.path = Path(name)
        try:
            os.ftruncate(fd, PAGE_BYTES)
            self._page = mmap.mmap(fd, PAGE_BYTES)
        finally:
            os.close(fd)
        self._words = memoryview(self._page).cast("Q")
        self[Word.MAGIC] = MAGIC

    def __getitem__(self, index: int) -> int:
        return self._words[index]

    def __setitem__(self, index: int, value: int) -> None:
        self._words[index] = value

    def operations(self) -> dict[str, int]:
        """The name of each operation and its bit; known once slowdir is ready."""
        text = self._page[_OPERATIONS:].split(b"\0", 1)[0].decode()
        return {name: bit for bit, name in enumerate(text.split())}

    def mask(self, operations: Iterable[str]) -> int:
        """The bits of the operations. Raises ValueError for a name that slowdir has not got."""
        bits = self.operations()
        wanted = [operations] if isinstance(operations, str) else list(operations)
        if unknown := [name for name in wanted if name not in bits]:
            raise ValueError(f"slowdir has no operation {', '.join(unknown)}; it has {', '.join(bits)}")
        return sum(1 << bits[name] for name in set(wanted))

    def set_fault_name(self, name: bytes) -> None:
        """Which names the next fault mask is for. Only while the mask is 0."""
        self._set_name(_FAULT_NAME, name)

    def set_hang_name(self, name: bytes) -> None:
        """Which names the next hang mask is for. Only while the mask is 0."""
        self._set_name(_HANG_NAME, name)

    def _set_name(self, offset: int, name: bytes) -> None:
        if len(name) > NAME_BYTES:
            raise ValueError(f"at most {NAME_BYTES} bytes of a name")
        self._page[offset : offset + NAME_BYTES] = name.ljust(NAME_BYTES, b"\0")

    def close(self) -> None:
        self._words.release()
        self._page.close()
        self.path.unlink(missing_ok=True)
