"""What is planned of files that were never seen."""

import random
from pathlib import Path

from predictor import state
from predictor.engine import Engine
from predictor.events import Op
from predictor.plan import PlanItem, Want
from tests.predictor.workload import Mount


def import_module(mount: Mount, package: str, name: str, command: str = "python") -> None:
    """As Python does it: the source is looked at, the compiled file is read."""
    mount.add(Op.LOOKUP, f"{package}/{name}.py", 5000, command=command)
    mount.add(Op.LOOKUP, f"{package}/__pycache__", command=command)
    mount.read_file(f"{package}/__pycache__/{name}.cpython-311.pyc", 6000, command=command)


def learn_imports(engine: Engine, mount: Mount, modules: int = 30) -> None:
    chance = random.Random(4)
    for _ in range(modules):
        import_module(mount, "lib", f"m{chance.getrandbits(30):x}")
        mount.send(engine)


def data_of(items: list[PlanItem]) -> set[str]:
    return {item.path.decode() for item in items if item.want is Want.DATA}


def test_the_compiled_file_of_a_module_never_seen_is_planned_when_its_source_is_looked_up() -> None:
    engine, mount = Engine(), Mount()
    learn_imports(engine, mount)
    mount.add(Op.LOOKUP, "other/never.py", 4000)
    assert "other/__pycache__/never.cpython-311.pyc" in data_of(mount.send(engine))


def test_the_bytes_of_a_kind_that_is_read_are_planned_at_its_lookup_and_others_are_not() -> None:
    engine, mount = Engine(), Mount()
    learn_imports(engine, mount)
    mount.add(Op.LOOKUP, "elsewhere/unheard.pyc", 7000)
    items = mount.send(engine)
    assert [(i.offset, i.length) for i in items if i.path == b"elsewhere/unheard.pyc"] == [(0, 0)]
    mount.add(Op.LOOKUP, "elsewhere/unheard.py", 7000)
    assert "elsewhere/unheard.py" not in data_of(mount.send(engine))


def test_of_a_large_file_never_seen_only_the_head_is_planned() -> None:
    engine, mount = Engine(), Mount()
    learn_imports(engine, mount)
    mount.add(Op.LOOKUP, "elsewhere/huge.pyc", 1 << 30)
    items = mount.send(engine)
    assert 0 < sum(i.length for i in items if i.path == b"elsewhere/huge.pyc") <= 1 << 20


def test_a_template_of_one_command_is_no_use_for_a_command_that_does_otherwise() -> None:
    engine, mount = Engine(), Mount()
    learn_imports(engine, mount)
    for number in range(30):
        mount.add(Op.LOOKUP, f"lib{number}/x{number}.py", 4000, tgid=7, command="find")
        mount.send(engine)
    mount.add(Op.LOOKUP, "new/name.py", 4000, tgid=7, command="find")
    assert not data_of(mount.send(engine))


def read_packages(engine: Engine, mount: Mount, share: float, packages: int = 12) -> list[PlanItem]:
    """Packages of 20 modules in a directory that is listed when we ask for it; `share` of each is read, shuffled."""
    chance = random.Random(5)
    items: list[PlanItem] = []
    for package in range(packages):
        place = f"site/p{package}/__pycache__"
        names = [f"n{chance.getrandbits(30):x}.cpython-311.pyc" for _ in range(20)]
        is_listed = False
        for name in chance.sample(names, int(20 * share)):
            import_module(mount, f"site/p{package}", name.split(".")[0])
            new = mount.send(engine)
            items += new
            if not is_listed and any(i.want is Want.LISTING and i.path == place.encode() for i in new):
                is_listed = True
                number = mount.paths.intern_path(place.encode())
                engine.listing(number, [name.encode() for name in names], [8] * 20)
                items += engine.plan()
        for other in range(200):  # something else for a while: the package is settled
            mount.add(Op.LOOKUP, f"etc/{package}/{chance.getrandbits(30):x}{other}")
            mount.send(engine)
    return items


def ahead(items: list[PlanItem], package: int) -> int:
    return len({p for p in data_of(items) if p.startswith(f"site/p{package}/")})


def test_packages_are_fetched_whole_where_packages_are_read_whole() -> None:
    engine, mount = Engine(), Mount()
    items = read_packages(engine, mount, share=1.0)
    assert ahead(items, 11) >= 16
    sources = {i.path for i in items if i.path.endswith(b".py") and i.path.startswith(b"site/p11/")}
    assert len(sources) >= 12  # the names that are asked for on the way


def test_packages_are_not_fetched_where_little_of_them_is_read() -> None:
    engine, mount = Engine(), Mount()
    items = read_packages(engine, mount, share=0.2)
    used = 4
    assert ahead(items, 11) <= used + 1


def test_what_was_learned_of_names_survives(tmp_path: Path) -> None:
    engine, mount = Engine(), Mount()
    learn_imports(engine, mount)
    read_packages(engine, mount, share=1.0)
    state.save(engine, tmp_path)
    again = state.load(tmp_path)
    for name, (rows, _, _) in engine.unseen.tables().items():
        assert again.unseen.tables()[name][0]() == rows()
    mount = Mount(start_s=2_000_000)
    mount.add(Op.LOOKUP, "other/never.py", 4000)
    assert "other/__pycache__/never.cpython-311.pyc" in data_of(mount.send(again))
