"""The rivals do what their names say."""

from predictor.baselines.last_successor import LastSuccessor, ProgramLastSuccessor
from predictor.baselines.order2 import Order2
from predictor.baselines.siblings import Siblings
from predictor.candidates.directory import neighbours
from predictor.events import PathTable


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
