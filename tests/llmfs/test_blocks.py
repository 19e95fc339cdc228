"""Blocks hold any subset of their pages, and what is not what was stored is not decoded."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfs.blocks import (
    BLOCK_BYTES,
    BLOCK_PAGES,
    PAGE_BYTES,
    Block,
    block_key,
    block_of,
    data_bytes,
    decode,
    disk_bytes,
    key_inode_id,
)

FILE = random.Random(1).randbytes(BLOCK_BYTES)

ranges = st.tuples(st.integers(0, BLOCK_PAGES - 1), st.integers(1, BLOCK_PAGES)).map(
    lambda pair: (pair[0], min(pair[0] + pair[1], BLOCK_PAGES))
)


@given(st.lists(ranges, min_size=1, max_size=6), st.integers(1, BLOCK_BYTES), st.data())
def test_what_was_put_together_is_cut_out_again(parts: list[tuple[int, int]], size: int, data: st.DataObject) -> None:
    """`size`: where the file ends within the block."""
    block: Block | None = None
    present: set[int] = set()
    for first, stop in parts:
        piece = FILE[first * PAGE_BYTES : min(stop * PAGE_BYTES, size)]
        if not piece:
            continue
        block = block_of(first, piece) if block is None else block.merged(first, piece)
        present |= set(range(first, first + -(-len(piece) // PAGE_BYTES)))
    if block is None:
        return
    assert {page for page, _ in block.pages()} == present
    assert {page for run in block.lacking(2, 30) for page in range(*run)} == set(range(2, 30)) - present
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, size))
    wanted = set(range(start // PAGE_BYTES, (stop - 1) // PAGE_BYTES + 1))
    expected = FILE[start:stop] if wanted <= present else None
    assert block.cut(start, stop) == expected
    stored = block.encode()
    cut = data.draw(st.integers(1, len(stored)))
    cut = max(cut, 16)  # the first chunk has the header
    assert decode([stored[:cut], stored[cut:]]) == decode([stored]) == block


@given(st.binary(max_size=200))
def test_bytes_from_elsewhere_do_not_decode(stored: bytes) -> None:
    with pytest.raises(ValueError):
        decode([stored])


def test_each_flipped_bit_is_noticed() -> None:
    stored = block_of(3, FILE[: 2 * PAGE_BYTES]).encode()
    rng = random.Random(2)
    for _ in range(300):
        damaged = bytearray(stored)
        damaged[rng.randrange(len(stored))] ^= 1 << rng.randrange(8)
        with pytest.raises(ValueError):
            decode([damaged])
    for other in (stored[:-1], stored + b"\0"):
        with pytest.raises(ValueError):
            decode([other])


def test_keys_sort_by_file_and_position_and_name_their_file() -> None:
    keys = [block_key(inode, 7, index) for inode in (1, 255, 256, 1 << 62) for index in (0, 1, 255, 256, 1 << 31)]
    assert keys == sorted(keys) and {len(key) for key in keys} == {20}
    assert key_inode_id(keys[-1]) == 1 << 62


@pytest.mark.parametrize("start", [0, 1, PAGE_BYTES - 1, PAGE_BYTES])
def test_cut_beyond_a_short_last_page_is_not_there(start: int) -> None:
    block = block_of(0, FILE[: PAGE_BYTES + 10])
    assert block.cut(start, PAGE_BYTES + 11) is None
    assert block.cut(start, PAGE_BYTES + 10) == FILE[start : PAGE_BYTES + 10]


@given(st.integers(0, BLOCK_PAGES), st.integers(1, BLOCK_BYTES))
def test_what_a_block_takes_tells_how_much_it_holds(pages: int, extent: int) -> None:
    """Of a file that has `extent` bytes where the block is: whole pages of it, or all."""
    held = min(pages * PAGE_BYTES, extent)
    assert data_bytes(disk_bytes(held), extent) == held
    assert held <= disk_bytes(held) <= held * 1.02 + 2 * PAGE_BYTES
