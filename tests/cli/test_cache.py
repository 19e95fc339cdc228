"""A cache directory: layout, lock, what is cleared and what is left alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llmfs.cache_dir import CacheDir, Holder
from llmfs.config import MountConfig
from llmfs.errors import CacheError, CacheInUseError
from tests.cli.conftest import World


def _more_json(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    keys = st.sampled_from(["format", "source", "pid", "mountpoint", "limit_bytes"])
    return st.lists(values, max_size=3) | st.dictionaries(keys, values)


def _as_json(value: object) -> bytes:
    return json.dumps(value).encode()


HOLDER = Holder(os.getpid(), "/mnt/slow", "/mnt/fast", 1 << 30)


@pytest.fixture
def cache(world: World) -> CacheDir:
    cache = CacheDir(world.root / "above" / "c")
    cache.prepare(world.source)
    return cache


def fill(cache: CacheDir) -> None:
    for part in (cache.meta, cache.blocks, cache.learned, cache.trace):
        (part / "data").write_bytes(bytes(8192))
    cache.log.write_text("a line\n")


def parts_with_data(cache: CacheDir) -> list[str]:
    return [each for each in ("blocks", "learned", "meta", "trace") if (cache.path / each / "data").exists()]


def test_layout_is_private_and_made_once(cache: CacheDir, world: World) -> None:
    assert cache.path.stat().st_mode & 0o777 == 0o700
    assert cache.prepare(world.source) == []
    assert cache.source() == world.source


def test_open_holds_the_lock_and_says_who(world: World) -> None:
    config = MountConfig(world.source, world.mountpoint, world.root / "c", 1 << 30)
    with CacheDir.open(config) as cache:
        assert cache.holder() == Holder(os.getpid(), str(world.source), str(world.mountpoint), 1 << 30)
        with pytest.raises(CacheInUseError), CacheDir.open(config):
            pass
        with pytest.raises(CacheInUseError):
            cache.clear()
    assert cache.holder() is None
    with CacheDir.open(config):
        pass


def test_lock_of_a_killed_holder_is_free(cache: CacheDir) -> None:
    program = (
        "import os, sys; from pathlib import Path; from llmfs.cache_dir import CacheDir, Holder\n"
        "with CacheDir(Path(sys.argv[1])).locked(Holder(1, '', '', 0)): print(flush=True); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, cache.path], stdout=subprocess.DEVNULL, check=False)
    assert cache.holder() is None
    assert cache.last_holder() == Holder(1, "", "", 0)


def test_lock_is_not_inherited_by_programs_that_the_mount_starts(cache: CacheDir) -> None:
    with cache.locked(HOLDER):
        sleeper = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        assert cache.holder() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_clear_keeps_what_was_learned(cache: CacheDir, world: World) -> None:
    fill(cache)
    result = world.run("cache", "clear", "--cache-dir", cache.path)
    assert (result.status, result.err) == (0, "")
    assert "16 KiB freed; what was learned is kept" in result.out
    assert parts_with_data(cache) == ["learned", "trace"]
    assert cache.source() == world.source


def test_clear_all_drops_everything_and_leaves_a_directory_for_any_source(cache: CacheDir, world: World) -> None:
    fill(cache)
    assert world.run("cache", "clear", "--all", "--cache-dir", cache.path).status == 0
    assert list(cache.path.iterdir()) == []
    cache.prepare(world.mountpoint)


def test_clear_by_source(world: World) -> None:
    (world.cache_home / "llmfs").mkdir(parents=True)
    result = world.run("cache", "info")
    assert (result.status, result.out) == (0, f"no cache under {world.cache_home}/llmfs\n")
    from llmfs.settings import default_cache_dir

    cache = CacheDir(default_cache_dir(world.source))
    cache.prepare(world.source)
    fill(cache)
    assert str(world.source) in world.run("cache", "info").out
    assert world.run("cache", "clear", world.source).status == 0
    assert parts_with_data(cache) == ["learned", "trace"]


def test_clear_while_mounted_is_refused(cache: CacheDir, world: World) -> None:
    fill(cache)
    with cache.locked(HOLDER):
        line = world.refuses("cache", "clear", "--cache-dir", cache.path, status=1)
    assert "is in use by the mount at /mnt/fast" in line
    assert parts_with_data(cache) == ["blocks", "learned", "meta", "trace"]


def test_clear_of_another_directory_is_refused(world: World) -> None:
    (world.source / "precious").touch()
    line = world.refuses("cache", "clear", "--all", "--cache-dir", world.source, status=1)
    assert "is not a cache of llmfs (it holds precious)" in line


def test_info(cache: CacheDir, world: World) -> None:
    fill(cache)
    with cache.locked(HOLDER):
        (described,) = json.loads(world.run("cache", "info", "--json", "--cache-dir", cache.path).out)
        shown = world.run("cache", "info", "--cache-dir", cache.path).out
    assert described["source"] == str(world.source)
    assert described["in_use_by"]["mountpoint"] == "/mnt/fast"
    assert described["limit_bytes"] == 1 << 30
    assert described["bytes"]["blocks"] == 8192
    assert f"by the mount at /mnt/fast (pid {os.getpid()})" in shown
    assert json.loads(world.run("cache", "info", "--json", "--cache-dir", cache.path).out)[0]["in_use_by"] is None


@pytest.mark.parametrize(("text", "says"), [("", "damaged"), ("[]", "damaged"), ('{"format": 99}', "damaged")])
def test_format_that_is_not_ours(cache: CacheDir, text: str, says: str) -> None:
    (cache.path / "format").write_text(text)
    with pytest.raises(CacheError, match=says):
        cache.source()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.recursive(st.none() | st.integers() | st.text(max_size=5), _more_json).map(_as_json))
@example(b"[" * 100_000)
@example(b'{"format": {}, "source": "\\u0000"}')
def test_whatever_stands_in_its_files_is_a_cache_or_refused(cache: CacheDir, text: bytes) -> None:
    for name in ("format", "lock"):
        (cache.path / name).write_bytes(text)
    assert cache.last_holder() is None or isinstance(cache.last_holder(), Holder)
    try:
        assert isinstance(cache.source(), Path)
    except CacheError as error:
        assert "\n" not in str(error)


def test_a_new_disk_and_an_unfinished_cache_are_taken(world: World) -> None:
    cache = CacheDir(world.root / "c")
    (cache.path / "lost+found").mkdir(parents=True)
    (cache.path / "format.123").touch()
    (cache.path / "lock").touch()
    cache.prepare(world.source)
    assert cache.source() == world.source


def test_remove_undoes_prepare_alone(world: World) -> None:
    before = world.entries()
    cache = CacheDir(world.root / "a" / "b" / "c")
    made = cache.prepare(world.source)
    assert made == [world.root / "a", world.root / "a" / "b", cache.path]
    with cache.locked(HOLDER):
        cache.remove(made)
    assert cache.source() == world.source  # another mount had come to hold it
    cache.remove([])
    assert cache.source() == world.source  # it was there before
    cache.remove(made)
    assert world.entries() == before


def test_source_with_a_name_that_is_not_text(world: World) -> None:
    source = Path(f"{world.root}/\udcff")
    cache = CacheDir(world.root / "c")
    cache.prepare(source)
    assert cache.source() == source
    assert "\\xff" in world.run("cache", "info", "--cache-dir", cache.path).out
