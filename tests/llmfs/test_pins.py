"""Pins are remembered, do not overlap, and a damaged file of them is no reason to fail."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfs.pins import NAME, Pin, Pins


def pin(path: str, *ids: int, size_bytes: int = 10) -> Pin:
    return Pin(path, frozenset(ids), size_bytes)


def test_pins_are_remembered(tmp_path: Path) -> None:
    pins = Pins(tmp_path)
    kept = [pin("models/a", 7, 1 << 63), pin("odd\udcff\n", 8), pin("empty")]
    for each in kept:
        pins.put(each)
    again = Pins(tmp_path)
    assert list(again) == kept and again.files == 3 and again.size_bytes == 30
    assert again.holds(1 << 63) and not again.holds(9)
    json.dumps(again.described())
    assert os.listdir(tmp_path) == [NAME]


def test_a_pin_takes_the_place_of_those_below_it(tmp_path: Path) -> None:
    pins = Pins(tmp_path)
    for path in ("a/b", "a/c/d", "ab"):
        pins.put(pin(path, len(path)))
    pins.put(pin("a", 100))
    assert [each.path for each in pins] == ["ab", "a"]
    assert pins.above("a/x") == pin("a", 100) and pins.above("abc") is None
    assert pins.remove("a/b") == [] and [each.path for each in pins.remove("")] == ["ab", "a"]
    assert len(Pins(tmp_path)) == 0 and not pins.holds(100)


def test_what_cannot_be_written_down_is_not_pinned(tmp_path: Path) -> None:
    pins = Pins(tmp_path)
    pins.put(pin("a", 1))
    (tmp_path / f"{NAME}.new").mkdir()
    with pytest.raises(OSError):
        pins.put(pin("b", 2))
    assert not pins.holds(2) and [each.path for each in Pins(tmp_path)] == ["a"]


@given(
    st.binary(max_size=50)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["pins", "path", "ids", "bytes"]), inner, max_size=3)
        ),
    ).map(lambda value: json.dumps({"pins": value}).encode())
)
def test_a_damaged_file_is_no_pins(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    directory = tmp_path_factory.mktemp("pins")
    (directory / NAME).write_bytes(data)
    Pins(directory).put(pin("a", 1))
