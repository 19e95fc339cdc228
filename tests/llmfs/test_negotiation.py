"""FUSE_INIT's answer is amended as far as the kernel offered, and left alone where anything is unexpected."""

import struct

import pytest

from llmfs.negotiation import CACHE_SYMLINKS, MAX_BACKGROUND, PARALLEL_DIROPS, amended


def request(opcode: int = 26, offered: int = 0xFFFFFFFF) -> bytes:
    return struct.pack("<IIQQIIIIIIII", 56, opcode, 2, 0, 0, 0, 0, 0, 7, 40, 131072, offered)


def reply(error: int = 0, minor: int = 31, flags: int = 1, background: int = 0) -> bytes:
    body = struct.pack("<IIIIHH", 7, minor, 131072, flags, background, 0) + bytes(40)
    return struct.pack("<IiQ", 16 + len(body), error, 2) + body


def flags_of(answer: bytes) -> int:
    return int(struct.unpack_from("<I", answer, 28)[0])


def test_what_the_kernel_offers_is_added() -> None:
    answer = amended(request(), reply())
    assert flags_of(answer) == 1 | PARALLEL_DIROPS | CACHE_SYMLINKS
    assert struct.unpack_from("<H", answer, 32)[0] == MAX_BACKGROUND
    assert len(answer) == len(reply()) and answer[36:] == reply()[36:]


def test_what_the_kernel_does_not_offer_is_not_added() -> None:
    assert flags_of(amended(request(offered=PARALLEL_DIROPS), reply())) == 1 | PARALLEL_DIROPS


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (request(opcode=1), reply()),
        (request(), reply(error=-5)),
        (request(), reply(minor=12)),
        (request(), reply()[:20]),
        (request()[:30], reply()),
        (b"", b""),
    ],
)
def test_what_is_not_understood_is_left_alone(asked: bytes, answered: bytes) -> None:
    assert amended(asked, answered) == answered
