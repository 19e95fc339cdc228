"""What is proposed of files that were never seen, and what for."""

from predictor.candidates.directory import UNREAD, Directory
from predictor.candidates.history import ATTRIBUTES, DATA
from predictor.engine import Engine
from predictor.events import Op, PathTable
from tests.predictor.workload import Mount

NAMES = [f"{number:03d}.bin" for number in range(300)]


def footprint(engine: Engine, path: str) -> int:
    """What the only program would use `path` for."""
    number = engine._find(path.encode())
    (stream,) = engine.processes
    assert number is not None
    return engine._proposer.footprint(number, stream)[0]


def test_a_file_is_expected_to_be_read_as_its_siblings_though_the_last_one_is_only_looked_up_yet() -> None:
    engine, mount = Engine(), Mount()
    mount.list_directory(engine, "set", [*NAMES, "notes.txt"])
    mount.read_file("set/007.bin")
    mount.send(engine)
    assert footprint(engine, "set/100.bin") == DATA
    mount.add(Op.LOOKUP, "set/050.bin", 10_000)
    mount.send(engine)
    assert footprint(engine, "set/100.bin") == DATA
    assert footprint(engine, "set/notes.txt") == ATTRIBUTES


def test_the_unread_of_a_set_are_taken_from_where_its_reader_is_and_round() -> None:
    paths = PathTable()
    children = [paths.intern_path(f"set/{name}".encode()) for name in NAMES]
    directory = Directory()
    directory.set_children(children)
    for child in children[:250:20]:
        directory.use(child)
    after = directory.unread_ones(children[120], b".bin", paths)
    assert after[0] == children[121] and len(after) == UNREAD
    round_the_end = directory.unread_ones(children[298], b".bin", paths)
    assert round_the_end[:2] == [children[299], children[1]]
    for child in children[:290]:
        directory.use(child)
    assert directory.unread_ones(children[50], b".bin", paths) == children[290:]
