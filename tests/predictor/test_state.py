"""What survives the process, and what happens to a state that cannot be read."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from predictor import state
from predictor.engine import Engine
from tests.predictor.test_engine import FLOODED, flood, second_run
from tests.predictor.workload import Mount, covered, run_program, wanted


@pytest.fixture
def learned() -> Engine:
    engine = Engine()
    mount = Mount()
    mount.list_directory(engine, "data", [f"{n}.bin" for n in range(50)] + ["sub"], folders=("sub",))
    run_program(mount, engine)
    return engine


def test_a_second_run_is_planned_from_the_saved_state(tmp_path: Path, learned: Engine) -> None:
    state.save(learned, tmp_path)
    loaded = state.load(tmp_path)
    assert covered(second_run(loaded, accesses=60), wanted()) > 0.5
    assert covered(second_run(loaded, accesses=1200), wanted()) > 0.95


def test_everything_comes_back_as_it_was(tmp_path: Path, learned: Engine) -> None:
    state.save(learned, tmp_path)
    first = (tmp_path / state.NAME).read_bytes()
    loaded = state.load(tmp_path)
    assert len(loaded.paths) == len(learned.paths)
    assert loaded.sizes == learned.sizes
    assert loaded.prior.cells == learned.prior.cells
    assert loaded.successors.rows() == learned.successors.rows()
    state.save(loaded, tmp_path)
    with np.load(tmp_path / state.NAME) as again:
        (tmp_path / "first.npz").write_bytes(first)
        with np.load(tmp_path / "first.npz") as before:
            assert set(again.files) == set(before.files)
            for name in before.files:
                if not name.startswith("example"):
                    np.testing.assert_array_equal(before[name], again[name], err_msg=name)


def test_a_state_whose_engine_has_forgotten_paths_comes_back(tmp_path: Path) -> None:
    engine, mount = Engine(FLOODED), Mount(paths_in_use=150)
    run_program(mount, engine, files=60)
    flood(engine, mount, 0, 3000)
    run_program(mount, engine, files=60, tgid=7)
    run_program(mount, engine, files=60, tgid=8)
    assert engine.paths.next > len(engine.paths)
    state.save(engine, tmp_path)
    loaded = state.load(tmp_path)
    assert {loaded.paths.path(path) for path in loaded.paths} == {engine.paths.path(path) for path in engine.paths}
    assert {loaded.paths.path(p): size for p, size in loaded.sizes.items()} == {
        engine.paths.path(p): size for p, size in engine.sizes.items()
    }
    assert {loaded.paths.path(p): n for p, (n, _) in loaded.reuse.uses.items()} == {
        engine.paths.path(p): n for p, (n, _) in engine.reuse.uses.items()
    }
    assert covered(second_run(loaded, accesses=300, files=60), wanted(60)) > 0.9


def test_a_state_without_a_directory_is_empty(tmp_path: Path) -> None:
    assert state.load(tmp_path / "none").counters["visits"] == 0


def test_the_limit_holds_and_the_newest_history_is_kept(tmp_path: Path, learned: Engine) -> None:
    limit = 60_000
    assert state.save(learned, tmp_path, limit) <= limit
    loaded = state.load(tmp_path)
    kept = loaded.history.end - loaded.history.first
    assert 100 < kept < learned.history.end - learned.history.first
    assert b"big.so" in loaded.paths.path(loaded.history.path[(loaded.history.end - 1) % loaded.history.capacity])


def test_rubbish_is_set_aside_and_learning_starts_anew(tmp_path: Path) -> None:
    (tmp_path / state.NAME).write_bytes(b"this is no state")
    assert state.load(tmp_path).counters["visits"] == 0
    assert not (tmp_path / state.NAME).exists()
    assert (tmp_path / f"{state.NAME}.damaged").read_bytes() == b"this is no state"


def test_another_version_is_set_aside(tmp_path: Path, learned: Engine) -> None:
    arrays = learned.snapshot(100)
    np.savez(tmp_path / state.NAME, allow_pickle=False, version=np.array([state.VERSION + 1]), **arrays)
    assert state.load(tmp_path).counters["visits"] == 0
    assert (tmp_path / f"{state.NAME}.damaged").exists()


def test_a_pickle_is_never_loaded(tmp_path: Path, learned: Engine) -> None:
    arrays = learned.snapshot(100)
    arrays["version"] = np.array([state.VERSION])
    arrays["sizes"] = np.array([{"a": 1}], object)
    np.savez(tmp_path / state.NAME, allow_pickle=True, **arrays)
    assert state.load(tmp_path).counters["visits"] == 0


def test_a_save_that_is_interrupted_leaves_the_old_state(tmp_path: Path, learned: Engine) -> None:
    state.save(learned, tmp_path)
    before = (tmp_path / state.NAME).read_bytes()
    with pytest.raises(RuntimeError):
        state.replace(tmp_path / state.NAME, _fail)
    assert (tmp_path / state.NAME).read_bytes() == before


def _fail(_file: object) -> None:
    raise RuntimeError


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_survived(tmp_path: Path, data: st.DataObject) -> None:
    engine = Engine()
    run_program(Mount(), engine, files=20)
    state.save(engine, tmp_path)
    content = bytearray((tmp_path / state.NAME).read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / state.NAME).write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    second_run(state.load(tmp_path), accesses=50, files=20)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_arrays_are_restored_or_refused(data: st.DataObject) -> None:
    engine = Engine()
    run_program(Mount(), engine, files=20)
    arrays = engine.snapshot(1000)
    name = data.draw(st.sampled_from(sorted(arrays)))
    array = arrays[name].copy()
    if array.size:
        flat = array.reshape(-1)
        place = data.draw(st.integers(0, flat.size - 1))
        if array.dtype.kind == "f":
            flat[place] = data.draw(st.sampled_from([np.nan, np.inf, -1.0, 0.0]))
        else:
            info = np.iinfo(array.dtype)
            flat[place] = data.draw(st.integers(int(info.min), int(info.max)))
    arrays[name] = array[: data.draw(st.integers(0, len(array)))]
    restored = Engine()
    try:
        restored.restore(arrays)
    except (ValueError, KeyError, IndexError, OverflowError):
        return
    second_run(restored, accesses=50, files=20)
