"""Rules that need no predictor: regions wanted whole, companions, namesakes, directories below one listed."""

import random
import stat
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from llmfs.config import Predictor
from llmfs.inodes import ASKED_SINGLY, ListedName, Listing
from llmfs.local_rules import LocalRules
from llmfs.policy import companions, descent, namesakes, regions
from llmfs.policy.account import UNUSED_SHARE, UNUSED_SHARE_POOR
from llmfs.policy.companions import Companions
from llmfs.policy.descent import Descent
from llmfs.policy.namesakes import Namesakes
from llmfs.policy.regions import REGION_BYTES, Regions
from llmfs.policy.scanning import Scan
from predictor.baselines.readahead import Readahead
from predictor.events import Tier
from predictor.plan import Want

KIB, MIB = 1 << 10, 1 << 20


def listing_of(*names: str) -> Listing:
    """Names that end in a slash are directories."""
    kinds = [(name.rstrip("/").encode(), stat.S_IFDIR if name.endswith("/") else stat.S_IFREG) for name in names]
    return Listing([ListedName(name, kind, number) for number, (name, kind) in enumerate(kinds, 2)], 1)


def lacking() -> Regions:
    """The state of who found something of a file lacking."""
    rule = Regions()
    rule.lacks_some()
    return rule


class Reads:
    """What random reads of a file cost with the rule: pages read, and pages fetched for them or beside them."""

    def __init__(self) -> None:
        self.rule = lacking()
        self.read: set[int] = set()
        self.had: set[int] = set()
        self.misses = 0

    def __call__(self, offset: int, length: int, size: int = 1 << 40) -> None:
        pages = set(range(offset // 4096, -(-(offset + length) // 4096)))
        self.misses += not pages <= self.had
        self.read |= pages
        self.had |= pages
        for start, more in self.rule.observe(offset, length, size):
            self.had |= set(range(start // 4096, -(-(start + more) // 4096)))

    @property
    def amplification(self) -> float:
        return len(self.had) / len(self.read)


def jumper() -> Regions:
    """The state of who has read here and there in a file already."""
    rule = lacking()
    for number in range(100, 100 + regions.LEAST_PAGES):
        assert rule.observe(number * REGION_BYTES, 4096, 1 << 40) == []
    return rule


def test_region_of_which_a_quarter_was_read_is_fetched_whole_once() -> None:
    rule = jumper()
    assert rule.observe(REGION_BYTES + 64 * KIB, 64 * KIB, 1 << 30) == []
    assert rule.observe(REGION_BYTES + 256 * KIB, 64 * KIB, 1 << 30) == [(REGION_BYTES, REGION_BYTES)]
    assert rule.observe(REGION_BYTES + 384 * KIB, 128 * KIB, 1 << 30) == []


def test_nothing_is_fetched_of_a_file_that_is_read_as_it_was_before() -> None:
    rule = Regions()
    rule.are_of_program()
    places = [number * REGION_BYTES for number in range(9)]
    assert [rule.observe(offset, 64 * KIB, 1 << 30) for offset in places[:8]] == [[]] * 8
    rule.lacks_some()
    assert rule.observe(places[8], 64 * KIB, 1 << 30) == [(places[8], REGION_BYTES)]


def test_region_ends_with_the_file() -> None:
    assert jumper().observe(REGION_BYTES, 128 * KIB, REGION_BYTES + 200 * KIB) == [(REGION_BYTES, 200 * KIB)]


def test_who_reads_the_head_of_a_file_alone_gets_no_more_of_it() -> None:
    assert lacking().observe(0, 256 * KIB, 1 << 30) == []


def test_pages_read_again_show_nothing_new() -> None:
    rule = lacking()
    assert [rule.observe(0, 64 * KIB, 1 << 30) for _ in range(10)] == [[]] * 10


def test_jumping_about_in_a_part_of_a_file_misses_seldom() -> None:
    chance = random.Random(3)
    reads = Reads()
    places = [part * 8 * MIB + piece * 64 * KIB for part in range(16) for piece in range(64)]  # 4 of every 8 MiB
    chance.shuffle(places)
    for offset in places:
        reads(offset, 64 * KIB)
    assert reads.misses < 0.75 * len(places) and reads.amplification < 1.05


@given(st.integers(1, 40), st.integers(0, 1000))
def test_who_reads_at_random_pays_half_more_at_most(pages: int, seed: int) -> None:
    chance = random.Random(seed)
    reads = Reads()
    for _ in range(400):
        reads(chance.randrange(1 << 20) * 4096, pages * 4096)
    probe = regions.PROBE_PAGES / len(reads.read)
    assert reads.amplification <= 1 + max(UNUSED_SHARE, probe)


def test_memory_of_regions_is_bounded() -> None:
    rule = lacking()
    for number in range(3 * regions.REGIONS_MAX):
        rule.observe(number * REGION_BYTES, 128 * KIB, 1 << 50)
    assert len(rule._pages) <= regions.REGIONS_MAX and len(rule._whole) <= regions.REGIONS_MAX


def test_a_fifth_of_the_files_of_a_kind_foretells_the_others() -> None:
    listing = listing_of(*(f"{n}.pyc" for n in range(10)), *(f"{n}.txt" for n in range(10)), "d/")
    rule = Companions()
    assert rule.wanted(listing, b"0.pyc", 1000) == []
    assert rule.wanted(listing, b"0.txt", 1000) == []
    assert rule.wanted(listing, b"0.pyc", 1000) == []  # the same again
    assert rule.wanted(listing, b"5.pyc", 1000) == [b"%d.pyc" % n for n in (1, 2, 3, 4, 6, 7, 8, 9)]
    assert rule.wanted(listing, b"6.pyc", 1000) == []


def test_who_finds_companions_in_the_cache_has_none_fetched() -> None:
    listing = listing_of(*(f"{n}.h" for n in range(10)))
    rule = Companions()
    assert [rule.wanted(listing, b"%d.h" % n, 1000, may_wish=False) for n in range(5)] == [[]] * 5
    assert rule.wanted(listing, b"5.h", 1000) == [b"6.h", b"7.h", b"8.h", b"9.h"]


def test_companions_that_nobody_uses_are_fetched_no_more() -> None:
    rule = Companions()
    size, read, fetched = 64 * KIB, 0, 0
    for number in range(400):
        listing = listing_of(*(f"{number}-{n}" for n in range(50)))
        for n in range(10):
            read += size
            more = rule.wanted(listing, b"%d-%d" % (number, n), size)
            rule.fetched(len(more) * size)
            fetched += len(more) * size
    assert companions.PROBE_BYTES // 2 < fetched <= max(companions.PROBE_BYTES, UNUSED_SHARE_POOR * read)


def test_directories_are_listed_ahead_while_enough_of_them_are_gone_into() -> None:
    rule = Descent()
    names = [b"%d" % n for n in range(40)]
    assert rule.below(names, is_ahead=False) == names
    for name in names * 2:
        rule.fetched(name)
    assert rule.below(names, is_ahead=False) == []  # nobody went into any
    asked = [rule.below([b"other"], is_ahead=False) for _ in range(2 * descent.TRY_EVERY)]
    assert 1 <= sum(map(bool, asked)) <= 2  # but it is tried again
    for n in range(20):
        rule.used(b"%d" % n)
    assert rule.below([b"other"], is_ahead=False) == [b"other"]


def test_names_that_are_gone_into_are_listed_two_levels_down_and_those_that_are_not_are_left_out() -> None:
    rule = Descent()
    for _ in range(10):
        rule.fetched(b"__pycache__")
        rule.used(b"__pycache__")
        rule.fetched(b"tests")
    names = [b"__pycache__", b"new", b"tests"]
    assert rule.below(names, is_ahead=True) == [b"__pycache__"]
    assert rule.below(names, is_ahead=False) == [b"__pycache__", b"new"]


def test_memory_of_names_is_bounded() -> None:
    rule = Descent()
    for n in range(3 * descent.NAMES_MAX):
        rule.fetched(b"%d" % n)
    assert len(rule._names) <= descent.NAMES_MAX


def reader_of(*names: str) -> Namesakes:
    """The state of who has read files of these names in two directories."""
    rule = Namesakes()
    for directory in range(2):
        for name in names:
            rule.began(directory, name.encode(), 1000)
    return rule


def test_a_name_that_was_read_in_two_directories_is_wanted_in_others() -> None:
    rule = Namesakes()
    listing = listing_of("__init__.py", "other.py", "d/")
    for _ in range(5):
        rule.began(1, b"__init__.py", 1000)
    assert rule.wanted(listing) == []  # the same file, read often
    rule.began(2, b"__init__.py", 1000)
    rule.began(3, b"other.py", 1000)
    assert rule.wanted(listing) == [b"__init__.py"]
    assert rule.wanted(listing_of("other.py")) == []


def test_a_name_whose_files_are_not_used_is_wanted_no_more_and_the_others_are() -> None:
    rule = reader_of("README", "config")
    listing = listing_of("README", "config")
    for _ in range(namesakes.NAME_PROBE):
        assert rule.wanted(listing) == [b"README", b"config"]
        for name in (b"README", b"config"):
            rule.fetched(name, 1000)
        rule.used(b"config", 1000)
    assert rule.wanted(listing) == [b"config"]


def test_namesakes_that_nobody_uses_cost_little() -> None:
    size, read, fetched = 64 * KIB, 0, 0
    rule = Namesakes()
    for directory in range(2000):
        names = [f"{directory // 3}-{n}" for n in range(4)]  # each name in three directories, read in two of them
        if directory % 3 < 2:
            for name in names:
                rule.began(directory, name.encode(), size)
                read += size
        else:
            for wanted in rule.wanted(listing_of(*names)):
                rule.fetched(wanted, size)
                fetched += size
    assert namesakes.PROBE_BYTES // 2 < fetched <= max(namesakes.PROBE_BYTES, UNUSED_SHARE_POOR * read)


def test_memory_of_namesakes_is_bounded() -> None:
    rule = Namesakes()
    for n in range(2 * namesakes.NAMES_MAX):
        rule.began(1, b"%d" % n, 1)
        rule.began(n % 3, b"known-%d" % (n // 4), 1)
    assert len(rule._read) <= namesakes.NAMES_MAX and len(rule._known) <= namesakes.KNOWN_MAX


class Place:
    """A file or directory, as far as the rules know."""

    def __init__(self, size: int = 0, place: "tuple[Place, bytes] | None" = None) -> None:
        self.size = size
        self.place = place
        self.listing: Listing | None = None
        self.scan: Scan | None = None
        self.misses = 0
        self.checked_ns = 1


class Reader:
    def __init__(self, inode: Place) -> None:
        self.inode = inode
        self.readahead: Readahead | None = None
        self.regions: Regions | None = None


class Wishes:
    """Notes what the rules wish for."""

    def __init__(self) -> None:
        self.data: list[tuple[str, int, int]] = []
        self.listings: list[bytes] = []
        self.files: list[bytes] = []
        self.looks = 0

    def accessed(self, directory: Place | None = None, name: bytes = b"") -> None:
        pass

    def was_read(self, inode: Place, start: int, stop: int) -> None:
        pass

    def have_ready(self, want: Want, inode: Place, offset: int = 0, length: int = 0, generator: str = "rule") -> None:
        self.data.append((generator, offset, length))

    def have_names_ready(self, directory: Place, names: Sequence[bytes]) -> None:
        raise AssertionError

    def have_looks_ready(self, directory: Place) -> None:
        self.looks += 1

    def have_listings_ready(self, directory: Place, names: Sequence[bytes], generator: str) -> None:
        self.listings += names

    def have_files_ready(
        self, directory: Place, names: Sequence[bytes], length: int, generator: str, first: int = 0
    ) -> None:
        self.files += names


def rules_of(wishes: Wishes, kind: Predictor = Predictor.SEQUENTIAL) -> LocalRules[Place]:
    return LocalRules(wishes, kind, lambda directory, names: None, Namesakes())


def test_a_listing_is_descended_from_once_and_not_after_a_remount() -> None:
    wishes, directory = Wishes(), Place()
    rules = rules_of(wishes)
    directory.listing = listing_of("a/", "f", "b/")
    rules.listed(directory)
    rules.listed(directory)
    assert wishes.listings == [b"a", b"b"]
    directory.listing = listing_of("c/")
    directory.listing.is_old = True  # of a former mount: what was of use then is planned by who has learned it
    rules.listed(directory)
    assert wishes.listings == [b"a", b"b"]


def test_a_directory_that_was_listed_ahead_is_descended_from_when_a_program_gets_there() -> None:
    wishes, directory = Wishes(), Place()
    rules = rules_of(wishes)
    directory.listing = listing_of("a/", "f", "b/")
    rules.listed_ahead(directory, b"d", "descent")
    assert wishes.listings == []
    rules.listing_used(directory, b"d", "descent")
    rules.listed(directory)
    assert wishes.listings == [b"a", b"b"]


def test_who_goes_through_a_tree_has_the_files_and_the_folders_to_come_wished_for() -> None:
    wishes, root = Wishes(), Place()
    root.listing = listing_of(*(f"{letter}/" for letter in "abcdefg"))
    folders = {letter.encode(): Place(place=(root, letter.encode())) for letter in "abcdefg"}
    for letter in (b"a", b"b", b"c", b"d", b"e"):
        folders[letter].listing = listing_of("x.py", "y.py")
    rules = LocalRules(
        wishes, Predictor.SEQUENTIAL, lambda directory, names: None, Namesakes(), child=lambda _, name: folders[name]
    )
    for letter in (b"a", b"b", b"c"):
        for name in (b"x.py", b"y.py"):
            rules.was_read(Reader(Place(1 << 20, (folders[letter], name))), 0, Tier.SOURCE, b"")
    assert wishes.files == []  # larger than what has companions, and two steps from folder to folder are not enough
    rules.was_read(Reader(Place(1 << 20, (folders[b"d"], b"x.py"))), 0, Tier.SOURCE, b"")
    assert wishes.files == [b"y.py", b"x.py", b"y.py"]
    assert wishes.listings == [b"f", b"g"]
    folders[b"f"].listing = listing_of("z.py")
    rules.listed_ahead(folders[b"f"], b"f", "traversal")
    assert wishes.files[3:] == [b"z.py"]


def test_namesakes_are_wished_for_when_a_directory_was_listed_ahead() -> None:
    wishes = Wishes()
    rules = rules_of(wishes)
    places = [Place() for _ in range(2)]
    for place in places:
        rules.was_read(Reader(Place(100, (place, b"__init__.py"))), 0, Tier.SOURCE, b"")
    directory = Place()
    directory.listing = listing_of("__init__.py", "x.py")
    rules.listed_ahead(directory, b"d", "descent")
    assert wishes.files == [b"__init__.py"]
    for _ in range(namesakes.NAME_PROBE):
        rules.data_fetched(Place(100, (directory, b"__init__.py")), "namesake", 100)
    rules.listed_ahead(directory, b"d", "descent")
    assert wishes.files == [b"__init__.py"]


def test_companions_are_wished_for_after_a_miss() -> None:
    wishes, directory = Wishes(), Place()
    rules = rules_of(wishes)
    directory.listing = listing_of(*(f"{n}.h" for n in range(6)))
    for n in range(2):
        rules.was_read(Reader(Place(100, (directory, b"%d.h" % n))), 0, Tier.CACHE, b"")
    assert wishes.files == []
    rules.was_read(Reader(Place(100, (directory, b"2.h"))), 0, Tier.SOURCE, b"")
    assert wishes.files == [b"3.h", b"4.h", b"5.h"]


def test_a_listed_directory_whose_names_are_asked_for_one_by_one_is_looked_at_whole() -> None:
    wishes, directory = Wishes(), Place()
    rules = rules_of(wishes)
    directory.listing = listing_of(*(f"{n}.h" for n in range(60)))
    for n in range(0, 48, 6):  # no walk: steps are too long for one
        rules.looked_up(directory, b"%d.h" % n, Place(), Tier.SOURCE)
        rules.looked_up(directory, b"%d.h" % (n + 1), Place(), Tier.CACHE)
    assert wishes.looks == 8 // ASKED_SINGLY


def test_a_steady_sequential_reader_is_left_to_readahead() -> None:
    wishes = Wishes()
    rules, reader = rules_of(wishes), Reader(Place(64 * MIB))
    for offset in range(0, 64 * MIB, 128 * KIB):
        rules.read(reader, offset, 128 * KIB)
    assert sum(generator == "region" for generator, _, _ in wishes.data) <= 2


def test_without_a_predictor_nothing_is_wished_for() -> None:
    wishes, directory = Wishes(), Place()
    rules = rules_of(wishes, Predictor.OFF)
    directory.listing = listing_of("a/", *(f"{n}.h" for n in range(6)))
    rules.listed(directory)
    for n in range(6):
        rules.was_read(Reader(Place(100, (directory, b"%d.h" % n))), 0, Tier.SOURCE, b"")
    reader = Reader(Place(64 * MIB))
    for n in range(8):
        rules.read(reader, n * 128 * KIB, 128 * KIB)
    assert (wishes.data, wishes.listings, wishes.files) == ([], [], [])
