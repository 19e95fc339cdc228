"""How much to fetch when a program needs pages that are not in the cache.

A request costs the source's latency whatever its size, so fetching a little more is nearly free to a program that goes
on reading, and pure waste to one that jumps about. Sequential readers get the rest of the block, and small files come
whole; everybody else gets exactly the pages he asked for (read amplification 1).
"""

from llmfs.blocks import BLOCK_PAGES, PAGE_BYTES

WHOLE_FILE_BYTES = 64 << 10
"""Files up to this size are fetched whole: at 100 MB/s it is 0.6 ms, less than the latency of what llmfs is for."""


def pages_to_fetch(first_page: int, stop_page: int, size_bytes: int, is_sequential: bool) -> tuple[int, int]:
    """The pages [first, stop) of the file to fetch when [first_page, stop_page) are wanted and missing.

    Pages are counted from the beginning of the file; `size_bytes` is the file's.
    """
    end_page = -(-size_bytes // PAGE_BYTES)
    if size_bytes <= WHOLE_FILE_BYTES:
        return 0, end_page
    if is_sequential:
        block_stop = -(-stop_page // BLOCK_PAGES) * BLOCK_PAGES
        return first_page, min(block_stop, end_page)
    return first_page, min(stop_page, end_page)
