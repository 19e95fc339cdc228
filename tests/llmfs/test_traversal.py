"""Who goes through a tree is followed in the order that he takes, and who does not costs little."""

import random
import stat
from collections.abc import Callable, Iterator

import pytest

from llmfs.inodes import ListedName, Listing
from llmfs.policy import traversal
from llmfs.policy.account import UNUSED_SHARE
from llmfs.policy.traversal import LISTED_AHEAD, ORDERS, Ahead, Traversals

SIZE = 10_000


class Place:
    """A directory."""

    def __init__(self, place: "tuple[Place, bytes] | None" = None) -> None:
        self.place = place
        self.listing: Listing | None = None
        self.folders: dict[bytes, Place] = {}


File = tuple[Place, bytes]


def tree(seed: int = 1, folders: int = 60, names: tuple[bytes, ...] = (b".py", b".md")) -> Place:
    """Directories of none to five files, some below others; listings and inode numbers in no order of names."""
    draw, root = random.Random(seed), Place()
    places = [root]
    for number in range(folders):
        above = draw.choice(places[-8:])
        name = b"%s%d" % (draw.choice((b"a", b"k", b"z")), number)
        folder = above.folders[name] = Place((above, name))
        places.append(folder)
    for place in places:
        count = draw.randrange(6)
        files = [b"%s%d%s" % (draw.choice((b"b", b"m", b"x")), n, draw.choice(names)) for n in range(count)]
        listed = [(name, stat.S_IFREG) for name in files] + [(name, stat.S_IFDIR) for name in place.folders]
        draw.shuffle(listed)
        place.listing = Listing([ListedName(name, kind, draw.randrange(1 << 30)) for name, kind in listed], 1)
    return root


def walk(place: Place, order: int) -> Iterator[File]:
    """All files, as a program comes by them that takes this one of the ORDERS."""
    key, is_files_first = ORDERS[order]
    assert place.listing is not None
    names = sorted(place.listing.names, key=key) if key is not None else list(place.listing.names)
    if is_files_first:
        names = [n for n in names if n.kind == stat.S_IFREG] + [n for n in names if n.kind == stat.S_IFDIR]
    for listed in names:
        if listed.kind == stat.S_IFDIR:
            yield from walk(place.folders[listed.name], order)
        else:
            yield place, listed.name


class Reader:
    """Reads files; what the rule wishes for is there from then on."""

    def __init__(self, is_known: Callable[[Place], bool] = lambda place: True) -> None:
        self.rule: Traversals[Place] = Traversals(self._child)
        self.is_known = is_known
        self.there: set[File] = set()
        self.wished = 0
        self.waits: list[bool] = []
        self.folders: list[File] = []

    def _child(self, directory: Place, name: bytes) -> Place | None:
        folder = directory.folders[name]
        return folder if self.is_known(folder) else None

    def read(self, file: File) -> None:
        has_waited = file not in self.there
        self.waits.append(has_waited)
        if not has_waited:
            self.rule.used(SIZE)
        self.have(self.rule.began(*file, SIZE, has_waited))

    def have(self, ahead: Ahead[Place]) -> None:
        for file in ahead.files:
            self.there.add(file)
            self.wished += 1
            self.rule.fetched(SIZE)
        self.folders += ahead.folders


@pytest.mark.parametrize("order", range(len(ORDERS)))
def test_who_takes_an_order_finds_the_files_to_come(order: int) -> None:
    reader, files = Reader(), list(walk(tree(), order))
    for file in files:
        reader.read(file)
    first = files[len(files) // 4][0]
    began = next(n for n, file in enumerate(files) if file[0] is first)
    assert sum(reader.waits[began:]) <= 0.1 * len(files[began:])
    assert reader.there <= set(files)


@pytest.mark.parametrize("threads", [2, 8])
def test_threads_that_share_the_work_are_one_traversal(threads: int) -> None:
    draw, reader, files = random.Random(3), Reader(), list(walk(tree(folders=150), 2))
    pending: list[File] = []
    for file in files:
        pending.append(file)
        if len(pending) == threads:
            reader.read(pending.pop(draw.randrange(threads)))
    assert sum(reader.waits[len(files) // 2 :]) <= 0.2 * (len(files) // 2)


def test_two_programs_in_two_trees_are_both_followed() -> None:
    reader = Reader()
    one, other = list(walk(tree(5, 100), 2)), list(walk(tree(6, 100), 3))
    for files in zip(one, other, strict=False):
        for file in files:
            reader.read(file)
    assert sum(reader.waits[len(reader.waits) // 2 :]) <= 0.1 * (len(reader.waits) // 2)


def test_files_of_a_kind_that_is_left_out_are_left_alone() -> None:
    reader = Reader()
    files = list(walk(tree(folders=200), 2))
    wanted = [file for file in files if file[1].endswith(b".py")]
    for file in wanted:
        reader.read(file)
    assert sum(reader.waits[len(wanted) // 2 :]) <= 0.15 * (len(wanted) // 2)
    late = set(files[len(files) // 2 :])
    assert len(reader.there & late - set(wanted)) <= 0.1 * len(late)


def test_who_reads_here_and_there_costs_little() -> None:
    reader, files = Reader(), list(walk(tree(folders=400), 0))
    random.Random(4).shuffle(files)
    for file in files:
        reader.read(file)
    assert reader.wished <= 0.05 * len(files)


def test_who_wastes_what_is_fetched_gets_no_more_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that begins each traversal and does something else after a few directories."""
    monkeypatch.setattr(traversal, "PROBE_BYTES", 20 * SIZE)
    reader, read = Reader(), 0
    for seed in range(100):
        files = list(walk(tree(seed, 40), 2))[:25]
        for file in files:
            reader.read(file)
        read += len(files)
    unused = reader.wished - (len(reader.waits) - sum(reader.waits))
    assert unused <= UNUSED_SHARE * read + traversal.LAST_WINDOW


def test_folders_that_nobody_listed_are_and_then_it_goes_on() -> None:
    root = tree(7, 150)
    known = {root}
    reader, files = Reader(is_known=known.__contains__), list(walk(root, 2))
    for file in files:
        place: Place | None = file[0]
        while place is not None and place not in known:  # the program lists what it goes into
            known.add(place)
            place = place.place[0] if place.place is not None else None
        reader.read(file)
        listed, reader.folders = reader.folders, []
        assert len(listed) <= 4 * LISTED_AHEAD
        for above, name in listed:
            known.add(above.folders[name])
            reader.have(reader.rule.listed(above.folders[name]))
    assert sum(reader.waits[len(files) // 2 :]) <= 0.15 * (len(files) // 2)


def test_hidden_folders_are_gone_into_by_whom_goes_into_one() -> None:
    root = tree(8, 80)
    hidden = root.folders[b".git"] = tree(9, 80)
    hidden.place = (root, b".git")
    assert root.listing is not None
    root.listing = Listing([ListedName(b".git", stat.S_IFDIR, 1), *root.listing.names], 1)
    below = set(walk(hidden, 2))
    reader, files = Reader(), [file for file in walk(root, 2) if file not in below]
    for file in files:
        reader.read(file)
    assert not reader.there & below
    reader, files = Reader(), list(walk(root, 2))
    for file in files:
        reader.read(file)
    assert len(reader.there & below) > 0.8 * len(below)


def test_where_all_is_cached_nothing_is_wished_for() -> None:
    reader, files = Reader(), list(walk(tree(folders=200), 2))
    for file in files:
        reader.have(reader.rule.began(*file, SIZE, has_waited=False))
    assert reader.wished <= traversal.LAST_WINDOW


def test_a_tree_that_is_deeper_than_the_stack_is_gone_through() -> None:
    root = place = Place()
    files: list[File] = []
    for number in range(3000):
        place.folders[b"d"] = Place((place, b"d"))
        place.listing = Listing([ListedName(b"a", stat.S_IFREG, number), ListedName(b"d", stat.S_IFDIR, 5)], 1)
        files.append((place, b"a"))
        place = place.folders[b"d"]
    place.listing = Listing([], 1)
    reader = Reader()
    for file in files:
        reader.read(file)
    assert sum(reader.waits) < 20 and root.place is None
