"""The rivals that expect files do what their names say, and ask for what was used of a file last time."""

import random
import subprocess
import sys

import pytest

from predictor.baselines.catalogue import RIVALS
from predictor.baselines.file_rival import FileRival
from predictor.baselines.footprints import Footprints
from predictor.baselines.last_successor import LastSuccessor, ProgramLastSuccessor
from predictor.baselines.mithril import Mithril
from predictor.baselines.order2 import Order2
from predictor.baselines.probability_graph import ProbabilityGraph
from predictor.baselines.rival import BLOCK_BYTES, Access, Bounded, Rival, Wish
from predictor.baselines.siblings import Siblings
from predictor.candidates.directory import SIBLINGS, neighbours
from predictor.events import Op, PathTable
from predictor.plan import Want


def visit_all(rule: FileRival, paths: list[int], tgid: int = 1) -> None:
    for path in paths:
        rule.visit(tgid, "a", path)


def test_last_successor_follows_the_chain_whoever_made_it() -> None:
    rule = LastSuccessor(depth=3)
    for path in (1, 2, 3, 4, 5):
        rule.visit(1, "a", path)
    assert rule.visit(2, "a", 1) == [2, 3, 4]
    assert rule.visit(3, "b", 1) == [2, 3, 4]


def test_the_program_based_one_follows_the_chain_of_its_program() -> None:
    rule = ProgramLastSuccessor(depth=3)
    for path in (1, 2, 3, 4, 5):
        rule.visit(1, "a", path)
    for path in (1, 9):
        rule.visit(2, "b", path)
    assert rule.visit(3, "a", 1) == [2, 3, 4]
    assert rule.visit(4, "b", 1) == [9]
    assert rule.visit(5, "c", 1) == []


def test_order_2_tells_apart_what_order_1_cannot() -> None:
    rule = Order2()
    for _ in range(3):
        for path in (1, 9, 2, 3, 9, 4):
            rule.visit(1, "a", path)
    rule.visit(2, "a", 1)
    assert rule.visit(2, "a", 9)[0] == 2
    rule.visit(3, "a", 3)
    assert rule.visit(3, "a", 9)[0] == 4


def test_siblings_come_in_listing_order_then_in_natural_order() -> None:
    paths = PathTable()
    names = [b"part10", b"part2", b"other", b"part1", b"part3"]
    children = [paths.intern(0, name) for name in names]
    rule = Siblings(paths)
    rule.listing(0, children, ())
    expected = [paths.name(path) for path in rule.visit(1, "a", children[1])]
    assert expected == [b"other", b"part1", b"part3", b"part10"]


def test_numbered_neighbours_keep_their_width() -> None:
    assert neighbours(b"img_0098.png", 1, 3) == [b"img_0099.png", b"img_0100.png", b"img_0101.png"]
    assert neighbours(b"a1", -1, 4) == [b"a0"]
    assert neighbours(b"none", 1) == []


def test_mithril_associates_what_came_near_each_other_min_support_times() -> None:
    rule = Mithril(min_support=3, mined=4)
    strangers = iter(range(1000, 2000))
    for _ in range(2):
        visit_all(rule, [1, next(strangers), next(strangers), 2, *(next(strangers) for _ in range(30)), 7, 8])
    assert rule.visit(1, "a", 1) == ()
    visit_all(rule, [next(strangers), next(strangers), 2, *(next(strangers) for _ in range(30)), 7, 8])
    assert rule.visit(1, "a", 1) == (2,)
    assert rule.visit(1, "a", 7) == (8,)


def test_mithril_does_not_associate_what_is_farther_apart_than_the_lookahead() -> None:
    rule = Mithril(lookahead=5, mined=2)
    for start in (1000, 2000, 3000):
        visit_all(rule, [1, *range(start, start + 10), 2, *range(start + 100, start + 130)])
    assert rule.visit(1, "a", 1) == ()


def test_mithril_leaves_what_is_frequent_to_the_cache() -> None:
    rule = Mithril(max_support=4, mined=1000)
    visit_all(rule, [1, 2] * 4)
    assert set(rule._mining) == {1, 2}
    visit_all(rule, [1, 2])
    assert not rule._mining


def test_pg_finds_what_follows_within_the_window_whatever_lies_between() -> None:
    rule = ProbabilityGraph(window=2, minimum_chance=0.6)
    for stranger in range(100, 110):
        visit_all(rule, [1, stranger, 3, 50, 51, 52])
    assert rule.visit(2, "a", 1) == [3]
    narrow = ProbabilityGraph(window=1, minimum_chance=0.6)
    for stranger in range(100, 110):
        visit_all(narrow, [1, stranger, 3, 50, 51, 52])
    assert narrow.visit(2, "a", 1) == []


def test_pg_leaves_out_what_follows_less_often_than_the_minimum_chance() -> None:
    rule = ProbabilityGraph(window=1, minimum_chance=0.5)
    for other in (2, 2, 2, 3):
        visit_all(rule, [1, other])
    assert rule.visit(2, "a", 1) == [2]


def test_a_file_never_visited_is_wished_for_by_its_first_block() -> None:
    assert Footprints().wishes(7) == (Wish(7, Want.DATA, 0, BLOCK_BYTES),)


def test_a_file_is_wished_for_as_its_last_whole_stay_read_it() -> None:
    footprints = Footprints()
    for offset in (0, 10 << 20):
        footprints.observe(Access(Op.READ, 7, 1, "a", offset, 4096))
    footprints.observe(Access(Op.OPEN, 7, 1, "a"))
    footprints.observe(Access(Op.READ, 7, 1, "a", 0, 100))
    assert footprints.wishes(7) == [Wish(7, Want.DATA, 0, 4096), Wish(7, Want.DATA, 10 << 20, 4096)]
    footprints.observe(Access(Op.OPEN, 7, 1, "a"))
    footprints.observe(Access(Op.OPEN, 7, 1, "a"))
    assert footprints.wishes(7) == [Wish(7, Want.DATA, 0, 100)]


def test_names_and_directories_are_wished_for_as_such() -> None:
    footprints = Footprints()
    footprints.observe(Access(Op.ABSENT, 1, 1, "a"))
    footprints.observe(Access(Op.READDIR, 2, 1, "a"))
    footprints.observe(Access(Op.WRITE, 4, 1, "a", 0, 10))
    footprints.listing([3])
    assert footprints.wishes(1) == (Wish(1, Want.ATTRIBUTES),)
    assert footprints.wishes(2) == (Wish(2, Want.LISTING),)
    assert footprints.wishes(3) == (Wish(3, Want.LISTING),)
    assert footprints.wishes(4) == (Wish(4, Want.DATA, 0, BLOCK_BYTES),)


def test_a_stay_at_a_file_is_one_visit_and_is_answered_once() -> None:
    rule = LastSuccessor()
    for path in (1, 2, 1):
        for op in (Op.LOOKUP, Op.OPEN, Op.READ):
            answer = rule.access(Access(op, path, 1, "a", 0, 100 if op == Op.READ else 0))
            if path == 1 and op == Op.OPEN:
                assert answer == ()
    assert rule.access(Access(Op.LOOKUP, 5, 1, "a")) == []
    assert rule.access(Access(Op.LOOKUP, 1, 2, "a"))[0].path == 5


def test_directories_in_use_are_listed_once_for_siblings() -> None:
    paths = PathTable()
    files = [paths.intern_path(b"d/%d" % number) for number in range(20)]
    directory = paths.intern_path(b"d")
    rule = Siblings(paths)
    assert rule.access(Access(Op.OPEN, files[0], 1, "a")) == []
    assert rule.access(Access(Op.OPEN, files[1], 1, "a")) == [Wish(directory, Want.LISTING)]
    assert rule.access(Access(Op.OPEN, files[2], 1, "a")) == []
    rule.listing(directory, files, ())
    assert [wish.path for wish in rule.access(Access(Op.OPEN, files[3], 1, "a"))] == files[4 : 4 + SIBLINGS]


def test_bounded_forgets_what_was_set_first() -> None:
    table: Bounded[int, int] = Bounded(2)
    table[1], table[2] = 1, 2
    table[1] = 3
    table[4] = 4
    assert dict(table) == {2: 2, 4: 4}


@pytest.mark.parametrize("name", [name for name in RIVALS if name != "delta-LSTM"])
def test_rivals_answer_any_accesses_with_wishes_of_known_paths_within_files(name: str) -> None:
    paths = PathTable()
    files = [paths.intern_path(b"d%d/f%d" % (number % 5, number)) for number in range(100)]
    folders = [paths.intern_path(b"d%d" % number) for number in range(5)]
    rival: Rival = RIVALS[name](paths)
    assert rival.name == name
    chance = random.Random(1)
    listed = set()
    size = 3 << 20
    for step in range(4000):
        op = chance.choice((Op.LOOKUP, Op.ABSENT, Op.OPEN, Op.READ, Op.READ, Op.WRITE, Op.UNLINK, Op.READDIR))
        path = chance.choice(folders if op == Op.READDIR else files)
        offset = chance.randrange(size // 4096) * 4096
        answer = rival.access(Access(op, path, step % 3, "a", offset, min(4096, size - offset), size, step))
        for wish in answer:
            assert 0 <= wish.path < len(paths)
            if wish.want is Want.DATA:
                assert 0 <= wish.offset < size
            if wish.want is Want.LISTING and wish.path not in listed:
                listed.add(wish.path)
                rival.listing(wish.path, [file for file in files if paths.parent(file) == wish.path], folders)


def test_the_catalogue_imports_no_torch() -> None:
    program = "import sys, predictor.baselines.catalogue, predictor.baselines.readahead; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
