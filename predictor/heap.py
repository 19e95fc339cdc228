"""Holds malloc to what is in use, where memory is dear: glibc's mallopt(3), and nothing where there is another libc.

Each thread would have an arena of its own, of which little is ever given back. Large values (blocks of 128 KiB,
messages) are mapped by themselves, so that they go when they are freed: 10 us each, so it is not done everywhere.
"""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_LARGE_BYTES = 64 << 10
_SPARE_BYTES = 128 << 10


def bound(arenas: int) -> None:
    """At most so many arenas from now on. To be called before threads are started."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(_M_ARENA_MAX, arenas)
    mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _SPARE_BYTES)
