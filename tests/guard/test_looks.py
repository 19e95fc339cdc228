"""Ciphertext is told from what programs write, whatever its wrapping, and nothing short is judged."""

import base64
import random
import zlib

import pytest

from predictor.guard.looks import SAMPLE_BYTES, SAMPLE_BYTES_MIN, Look, is_encrypted, look

CHANCE = random.Random(1)
TEXT = b"the quick brown fox jumps over the lazy dog; " * 200
RANDOM = CHANCE.randbytes(SAMPLE_BYTES)


def head(data: bytes) -> Look:
    return look(data, is_head=True)


@pytest.mark.parametrize("size_bytes", [256, 512, 1024, 2000, 4096])
def test_random_bytes_and_their_base64_are_uniform(size_bytes: int) -> None:
    data = CHANCE.randbytes(size_bytes)
    assert head(data).is_uniform
    assert head(base64.encodebytes(data)).is_uniform


@pytest.mark.parametrize("data", [TEXT, b"", b"\0" * 4096, RANDOM.hex().encode(), b"ACGT" * 900])
def test_other_bytes_are_not(data: bytes) -> None:
    assert not head(data).is_uniform


def test_too_short_a_sample_says_nothing() -> None:
    assert not head(RANDOM[: SAMPLE_BYTES_MIN - 1]).is_uniform
    assert not is_encrypted(head(TEXT[: SAMPLE_BYTES_MIN - 1]), head(RANDOM))


def test_text_that_becomes_random_is_encrypted() -> None:
    assert is_encrypted(head(TEXT), head(RANDOM))
    assert is_encrypted(head(TEXT), head(base64.b64encode(RANDOM)))
    assert not is_encrypted(head(TEXT), head(TEXT[::-1]))


def test_compressed_file_that_loses_its_format_is_encrypted() -> None:
    picture = b"\xff\xd8\xff\xe0" + RANDOM
    assert is_encrypted(head(picture), head(RANDOM[::-1]))
    assert not is_encrypted(head(picture), head(b"PK\x03\x04" + RANDOM))
    assert not is_encrypted(head(RANDOM), head(RANDOM[::-1])), "ciphertext that becomes other ciphertext"


def test_compressed_text_has_a_format() -> None:
    packed = zlib.compress(CHANCE.randbytes(5000))
    assert head(packed).has_format and not is_encrypted(head(TEXT), head(packed))


def test_short_original_is_not_held_against_a_long_copy() -> None:
    assert not is_encrypted(head(CHANCE.randbytes(200)), head(RANDOM))
