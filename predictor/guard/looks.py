"""What a few kilobytes of a file look like: how evenly its bytes are spread, and whether they begin as a known format.

Ciphertext is uniform over its alphabet: all bytes, or the 64 characters of base64 where it is wrapped as text. So are
well compressed data; what tells those apart is that nearly all formats that hold them begin with a signature, and
ciphertext with none. Entropy alone judges neither small samples nor compressed originals fairly: a sample is held
against what uniform bytes of its length show, and a signature that is lost counts as well as a rise.
"""

from functools import lru_cache
from math import lgamma, log, log1p, log2
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SAMPLE_BYTES = 4096
SAMPLE_BYTES_MIN = 128
"""Fewer bytes say nothing: 128 uniform ones show 6.7 bits, and many formats' headers as much."""

ALPHABET_MIN = 60
"""Distinct bytes of the smallest alphabet that ciphertext is looked for in: base64 has 64. Hexadecimal digits and the
letters of genomes are uniform without being ciphertext."""

MARGIN_BITS = 0.15
"""Below what uniform bytes are expected to show, and still uniform; six standard deviations at 512 bytes."""

RISE_BITS = 0.5
"""The least rise that counts. Between text (4 to 5 bits), programs (5 to 6.5) and ciphertext (7.9) there are more."""

_SIGNATURES: tuple[bytes, ...] = (
    b"PK\x03\x04", b"PK\x05\x06", b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"%PDF", b"%!PS", b"RIFF", b"ID3",
    b"\xff\xfb", b"OggS", b"fLaC", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18",
    b"7z\xbc\xaf", b"Rar!", b"\xd0\xcf\x11\xe0", b"SQLite format 3", b"\x7fELF", b"MZ", b"\xca\xfe\xba\xbe",
    b"\xcf\xfa\xed\xfe", b"II*\x00", b"MM\x00*", b"BM", b"wOFF", b"wOF2", b"\x00\x01\x00\x00", b"OTTO", b"PACK",
    b"DIRC", b"PAR1", b"\x89HDF", b"\x93NUMPY", b"\x1a\x45\xdf\xa3", b"{\\rtf", b"<?xml", b"<!DOCTYPE", b"<html",
    b"!<arch>", b"\x30\x82", b"-----BEGIN", b"AGE-",
)  # fmt: skip
"""How formats begin whose files people keep. Those of containers of ciphertext ("Salted__") are left out on purpose."""

_ZLIB = frozenset((0x01, 0x5E, 0x9C, 0xDA))
"""The second byte of a zlib stream after 0x78 (RFC 1950): git's objects."""


class Look(NamedTuple):
    """What a sample of `size_bytes` bytes looks like."""

    size_bytes: int
    entropy_bits: float  # per byte, of the sample itself
    is_uniform: bool  # over all bytes or an alphabet of `ALPHABET_MIN` at least
    has_format: bool  # it begins with a known signature


def look(sample: bytes | bytearray | memoryview, *, is_head: bool) -> Look:
    """Judges a sample; `is_head`: it is the beginning of its file. 8 us for 4 KiB."""
    sample = memoryview(sample)[:SAMPLE_BYTES]
    size_bytes = len(sample)
    if not size_bytes:
        return Look(0, 0.0, False, False)
    counts = np.bincount(np.frombuffer(sample, np.uint8), minlength=256)  # (256,)
    entropy_bits = log2(size_bytes) - float(_N_LOG_N[counts].sum()) / size_bytes
    is_uniform = False
    if size_bytes >= SAMPLE_BYTES_MIN and entropy_bits > _LEAST_UNIFORM_BITS:
        alphabet = int(np.count_nonzero(counts))
        # A short sample does not show its whole alphabet: one that can only be of all bytes is held against those.
        alphabet = 256 if alphabet > 100 else alphabet
        is_uniform = alphabet >= ALPHABET_MIN and entropy_bits >= uniform_bits(size_bytes, alphabet) - MARGIN_BITS
    return Look(size_bytes, entropy_bits, is_uniform, is_head and _has_signature(bytes(sample[:16])))


def is_encrypted(old: Look, new: Look) -> bool:
    """Whether what replaced `old` may be its ciphertext: uniform, without a format, and the old was not so."""
    if not new.is_uniform or new.has_format or old.size_bytes < SAMPLE_BYTES_MIN:
        return False
    if old.has_format:
        return True
    fair_bits = new.entropy_bits
    if old.size_bytes < new.size_bytes:  # a short sample cannot show as much
        fair_bits = min(fair_bits, uniform_bits(old.size_bytes, 256))
    return not old.is_uniform and fair_bits - old.entropy_bits >= RISE_BITS


@lru_cache(maxsize=1 << 13)
def uniform_bits(size_bytes: int, alphabet: int) -> float:
    """The expected entropy of a sample of uniform bytes: each count is binomial. Rounded to a sixteenth of the size."""
    step = max(1, size_bytes >> 4)
    return _expected_bits(size_bytes - size_bytes % step, alphabet)


@lru_cache(maxsize=1 << 13)
def _expected_bits(size_bytes: int, alphabet: int) -> float:
    p = 1 / alphabet
    total = 0.0
    mean = size_bytes * p
    for count in range(2, min(size_bytes, int(mean + 12 * mean**0.5 + 12)) + 1):
        log_p = (
            lgamma(size_bytes + 1) - lgamma(count + 1) - lgamma(size_bytes - count + 1)
            + count * log(p) + (size_bytes - count) * log1p(-p)
        )  # fmt: skip
        total += 2.718281828459045**log_p * count * log2(count)
    return log2(size_bytes) - alphabet * total / size_bytes


def _has_signature(head: bytes) -> bool:
    if head.startswith(_SIGNATURES):
        return True
    return (
        (head[:1] == b"x" and head[1:2] != b"" and head[1] in _ZLIB)
        or head[4:8] == b"ftyp"
        or head[257:262] == b"ustar"
    )


def _table() -> npt.NDArray[np.float64]:
    numbers = np.arange(SAMPLE_BYTES + 1, dtype=np.float64)  # (SAMPLE_BYTES + 1,)
    return numbers * np.log2(np.maximum(numbers, 1))


_N_LOG_N = _table()
_LEAST_UNIFORM_BITS = 5.3
"""Less than any sample that could be uniform shows: 128 bytes of base64 show 5.4."""
