"""Regions of a file that are wanted whole: programs that jump about in a part of a file mostly want all of it.

A mapped library is read where its code leads, in pieces of 4 to 128 KiB that follow no order, but what is used of it
lies together: over the libraries of an import of PyTorch a quarter of a region's pages foretold the rest so well that
fetching it took 548 requests in place of 1,454, for 1.41 times the bytes (what one run read, played through the rule).

Somebody who reads at random over all of a large file is not to pay for that (`account.py`). Where the file is known to
be a program or a library, who touches a region wants it: over the same import 435 requests in place of 542, for 4% more
bytes.
"""

from llmfs.policy.account import Account

REGION_BYTES = 512 << 10
_PAGE_BYTES = 4096
_PAGES = REGION_BYTES // _PAGE_BYTES
_WHOLE = (1 << _PAGES) - 1

WANTED_SHARE = 0.25
"""Of a region's pages: who has read so many wants the others."""

REGIONS_MAX = 2048
"""Remembered for a reader (1 GiB of them): the oldest goes."""

LEAST_PAGES = 128
"""Read of a file before a region of it is fetched whole: who reads its head alone does not jump about."""

PROBE_PAGES = 256
"""Fetched before it is known how much comes true: 1 MiB."""

PROGRAM = b"\x7fELF"
"""How programs and libraries begin,"""

PROGRAM_PROBE_PAGES = 2048
"""and what is fetched of one before it is known how much comes true."""


class Regions:
    """What one reader has read of a file, by region."""

    __slots__ = ("_account", "_lacks_some", "_least_pages", "_pages", "_wanted_pages", "_whole")

    def __init__(self) -> None:
        self._pages: dict[int, int] = {}  # by region: a bit for each page that was read
        self._whole: dict[int, int] = {}  # of regions that were fetched whole: the pages that nobody had read
        self._account = Account(PROBE_PAGES)
        self._lacks_some = False
        self._least_pages = LEAST_PAGES
        self._wanted_pages = int(WANTED_SHARE * _PAGES)

    def lacks_some(self) -> None:
        """Something that is read was not there. Until then the file is read as it was before, and needs nothing."""
        self._lacks_some = True

    def are_of_program(self) -> None:
        """The file turned out to be a program: what of it has been read is its head."""
        self._account.probe = PROGRAM_PROBE_PAGES
        self._least_pages = self._wanted_pages = 1

    def observe(self, offset: int, length: int, size: int, may_wish: bool = True) -> list[tuple[int, int]]:
        """`length` bytes at `offset` of a file of `size` bytes are read: (offset, length) of what to fetch whole.

        Without `may_wish`, and while nothing was lacking, it is noted, and nothing fetched.
        """
        found = []
        account = self._account
        may_wish = may_wish and self._lacks_some
        first, stop = offset // _PAGE_BYTES, -(-(offset + length) // _PAGE_BYTES)
        for region in range(first // _PAGES, (stop - 1) // _PAGES + 1):
            base = region * _PAGES
            low, high = max(first - base, 0), min(stop - base, _PAGES)
            before = self._pages.get(region, 0)
            new = ((1 << high) - (1 << low)) & ~before
            if not new:
                continue
            now = self._pages[region] = before | new
            rest = _WHOLE & ~now
            account.read += new.bit_count()
            if region in self._whole:
                account.used += (new & self._whole[region]).bit_count()
            elif may_wish and now.bit_count() >= self._wanted_pages and self._is_worth(rest):
                self._whole[region] = rest
                account.fetched += rest.bit_count()
                start = region * REGION_BYTES
                found.append((start, min(REGION_BYTES, size - start)))
        if len(self._pages) > REGIONS_MAX:
            oldest = next(iter(self._pages))
            del self._pages[oldest]
            self._whole.pop(oldest, None)
        return found

    def _is_worth(self, rest: int) -> bool:
        """Whether the pages of this bitmap may be fetched."""
        return bool(rest) and self._account.read >= self._least_pages and self._account.allows(rest.bit_count())
