"""What is shipped: gathered, loaded, ignored where it is damaged."""

from pathlib import Path

import numpy as np
import pytest

from predictor import experience, state
from predictor.engine import Engine
from predictor.events import Op
from tests.predictor.test_unseen import data_of, learn_imports
from tests.predictor.workload import Mount


def shipped(tmp_path: Path) -> Path:
    engine = Engine()
    learn_imports(engine, Mount())
    arrays = experience.save(experience.gather([engine]))
    np.savez(tmp_path / "experience.npz", allow_pickle=False, **arrays)
    return tmp_path / "experience.npz"


def test_what_other_programs_had_in_common_helps_the_first_file(tmp_path: Path) -> None:
    engine = Engine()
    assert experience.give(engine, shipped(tmp_path))
    assert len(engine.paths) == 1  # how programs read, not what
    mount = Mount()
    mount.add(Op.LOOKUP, "elsewhere/unheard.pyc", 7000, command="another")
    assert "elsewhere/unheard.pyc" in data_of(mount.send(engine))


def test_what_is_seen_outweighs_what_was_shipped(tmp_path: Path) -> None:
    engine = Engine()
    experience.give(engine, shipped(tmp_path))
    mount = Mount()
    for number in range(80):
        mount.add(Op.LOOKUP, f"elsewhere/unheard{number}.pyc", 7000)
        items = mount.send(engine)
    assert not data_of(items)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 nonsense"])
def test_a_damaged_file_is_ignored(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "experience.npz").write_bytes(data)
    assert not experience.give(Engine(), tmp_path / "experience.npz")


def test_the_shipped_file_is_small_loads_and_names_nobody(tmp_path: Path) -> None:
    if not experience.SHIPPED.exists():
        pytest.skip("none is shipped")
    assert experience.SHIPPED.stat().st_size < 1 << 20
    engine = state.load(tmp_path)
    assert engine.unseen.usage.classes
    assert len(engine.paths) == 1
    assert not engine.processes.commands
