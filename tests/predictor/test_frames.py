"""Frames: any cut of the bytes gives the same messages, rubbish gives FrameError."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.frames import MAX_FRAME_BYTES, FrameError, FrameReader, encode

VALUES = st.recursive(
    st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=20) | st.text(max_size=20) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=10,
)


@given(st.lists(st.lists(VALUES, max_size=4), max_size=5), st.data())
def test_any_cut_gives_the_same_messages(bodies: list[list[object]], data: st.DataObject) -> None:
    messages = [["kind", *body] for body in bodies]
    stream = b"".join(encode(message) for message in messages)
    reader = FrameReader()
    found = []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        found += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert found == messages


@given(st.binary(max_size=200))
def test_any_bytes_give_messages_or_a_frame_error(data: bytes) -> None:
    try:
        for message in FrameReader().feed(data):
            assert isinstance(message[0], str)
    except FrameError:
        pass


def test_a_frame_that_claims_too_much_is_refused_before_it_is_buffered() -> None:
    with pytest.raises(FrameError):
        FrameReader().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "little"))
