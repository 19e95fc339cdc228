"""How malloc treats what is freed: glibc's mallopt(3), and nothing where there is another libc.

Left to itself it gives each thread an arena of its own, of which little is ever given back, and maps large values
(blocks of 128 KiB, messages) by themselves for a while: such a value costs a page fault for each of its pages, which
took more time than all else that is done for a read from the cache.
"""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_LARGE_BYTES, _SPARE_BYTES = 64 << 10, 128 << 10
_HUGE_BYTES, _KEPT_BYTES = 4 << 20, 64 << 20


def bound(arenas: int) -> None:
    """Where memory is dear: at most so many arenas from now on, and what is freed is given back.

    To be called before threads are started.
    """
    _set(arenas, _LARGE_BYTES, _SPARE_BYTES)


def reuse() -> None:
    """Where time is: what is freed is kept for the next value (64 MiB of it), whichever thread that is of.

    To be called before threads are started.
    """
    _set(1, _HUGE_BYTES, _KEPT_BYTES)


def _set(arenas: int, mapped_bytes: int, spare_bytes: int) -> None:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(_M_ARENA_MAX, arenas)
    mallopt(_M_MMAP_THRESHOLD, mapped_bytes)
    mallopt(_M_TRIM_THRESHOLD, spare_bytes)
