"""Directories that are walked in order."""

from random import Random

import pytest

from predictor.candidates.directory import Directories
from predictor.candidates.runs import AHEAD_MAX, Runs
from predictor.events import PathTable

NAMES = 400


@pytest.fixture
def paths() -> PathTable:
    return PathTable()


def a_directory(paths: PathTable, names: list[bytes]) -> tuple[Runs, list[int]]:
    """A listed directory; the ids of its names in the order given."""
    directories = Directories(1 << 18)
    parent = paths.intern_path(b"set")
    children = [paths.intern(parent, name) for name in names]
    directories.listed(parent, children, set())
    return Runs(paths, directories), children


def numbered(count: int = NAMES) -> list[bytes]:
    names = [b"item%d.bin" % number for number in range(count)]
    Random(1).shuffle(names)  # listings are in no order of names
    return names


def test_a_walk_by_number_is_found_in_a_listing_without_order(paths: PathTable) -> None:
    runs, children = a_directory(paths, numbered())
    by_number = sorted(children, key=lambda child: int(paths.name(child)[4:-4]))
    ahead: set[int] = set()
    late = 0
    for child in by_number:
        late += child not in ahead
        ahead.update(runs.read(child))
    assert late <= 3
    assert ahead <= set(children)


def test_a_walk_by_listing_is_found_too(paths: PathTable) -> None:
    runs, children = a_directory(paths, numbered())
    ahead: set[int] = set()
    late = 0
    for child in children:
        late += child not in ahead
        ahead.update(runs.visit(child))
    assert late <= 3


def test_two_programs_that_share_a_walk_are_one(paths: PathTable) -> None:
    runs, children = a_directory(paths, numbered())
    by_number = sorted(children, key=lambda child: int(paths.name(child)[4:-4]))
    shared = [by_number[at ^ 1] for at in range(NAMES)]  # the second worker is a little ahead of the first
    ahead: set[int] = set()
    late = 0
    for child in shared:
        late += child not in ahead
        ahead.update(runs.read(child))
    assert late < NAMES // 10


def test_random_readers_are_not_followed(paths: PathTable) -> None:
    runs, children = a_directory(paths, numbered(4000))
    random = Random(2)
    proposed = sum(len(runs.read(random.choice(children))) for _ in range(300))
    assert proposed < 60


def test_files_of_another_kind_do_not_disturb(paths: PathTable) -> None:
    names = [b"%d.%s" % (number, kind) for number in range(100) for kind in (b"txt", b"jpg", b"json", b"md", b"wav")]
    runs, children = a_directory(paths, names)
    images = [child for child in children if paths.name(child).endswith(b".jpg")]
    ahead: set[int] = set()
    for child in images[:50]:
        ahead.update(runs.read(child))
    assert ahead
    assert ahead <= set(images)
    assert set(images[3:50]) <= ahead


def test_a_walk_is_bounded(paths: PathTable) -> None:
    runs, children = a_directory(paths, [b"%06d" % number for number in range(5 * AHEAD_MAX)])
    ahead = 0
    for at, child in enumerate(children[: 3 * AHEAD_MAX]):
        for found in runs.read(child):
            ahead = max(ahead, children.index(found) - at)
    assert AHEAD_MAX // 2 <= ahead <= AHEAD_MAX + 1


def test_a_directory_listed_anew_is_walked_by_its_new_names(paths: PathTable) -> None:
    runs, children = a_directory(paths, [b"%03d" % number for number in range(50)])
    for child in children[:5]:
        runs.visit(child)
    parent = paths.intern_path(b"set")
    more = [paths.intern(parent, b"%03d" % number) for number in range(80)]
    runs._directories.listed(parent, more, set())
    ahead: set[int] = set()
    for child in more[5:45]:
        ahead.update(runs.visit(child))
    assert any(paths.name(child) >= b"050" for child in ahead)
