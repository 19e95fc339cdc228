"""`llmfs pin` and `unpin` on live mounts: what is pinned stays, over remounts, within the cache's limit."""

import os
import signal
from pathlib import Path

import pytest

from llmfs.blocks import BLOCK_BYTES
from llmfs.pins import NAME
from tests.mount.conftest import Mounted, World, drop_pages, eventually
from tests.mount.test_upkeep import cached, fails, run, says

SMALL = ("--cache-size", "16M", "--predictor", "off")
OLD = (1_000_000, 1_000_000)
"""Where the source has no times of change, for a file that changed just now is looked at anew (policy/freshness.py)."""


@pytest.fixture
def tree(world: World) -> None:
    for number in range(8):
        write(world.backing / "kept" / f"k{number}", 3 * BLOCK_BYTES)
    for number in range(60):
        write(world.backing / "other" / f"o{number}", 4 * BLOCK_BYTES)


def write(path: Path, size: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(os.urandom(size))
    os.utime(path, OLD)


def flood(m: Mounted) -> None:
    """Read twice as much as the cache holds."""
    for path in (m / "other").iterdir():
        drop_pages(path)
        path.read_bytes()


def is_whole(path: Path) -> bool:
    return cached(path) == path.stat().st_size


@pytest.mark.usefixtures("tree")
def test_what_is_pinned_stays_over_floods_and_remounts(world: World) -> None:
    m = world.mount(*SMALL, source=world.slow_source(has_ctime=False))
    said = says(world, "pin", m / "kept")
    assert said == {"files": 8, "bytes": 24 * BLOCK_BYTES, "fetched_bytes": 24 * BLOCK_BYTES, "errors": 0}
    flood(m)
    assert all(is_whole(path) for path in (m / "kept").iterdir())
    assert m.status()["cache"]["evictions"] > 0
    m.remount()
    flood(m)
    assert all(is_whole(path) for path in (m / "kept").iterdir())
    assert m.status()["pinned"]["paths"] == ["kept"]
    assert "pinned     8 files (3 MiB): kept" in world.llmfs("status", m.path)
    assert "8 files are not pinned any more" in world.llmfs("unpin", m / "kept")
    flood(m)
    flood(m)
    assert not all(is_whole(path) for path in (m / "kept").iterdir())
    assert "\n  pinned " not in world.llmfs("status", m.path)


@pytest.mark.usefixtures("tree")
def test_more_than_half_of_the_cache_is_refused(world: World) -> None:
    m = world.mount(*SMALL, source=world.slow_source(has_ctime=False))
    world.llmfs("pin", m / "kept")
    words = fails(world, "pin", m / "other")
    assert "30 MiB with the 3 MiB that are pinned already is more than half of what the cache holds" in words
    assert "is more than half" in fails(world, "pin", m.path)
    assert m.status()["pinned"]["paths"] == ["kept"]


@pytest.mark.usefixtures("tree")
def test_a_file_in_a_pinned_tree_is_pinned_with_it(world: World) -> None:
    m = world.mount(*SMALL, source=world.slow_source(has_ctime=False))
    world.llmfs("pin", m / "kept/k1", m / "kept/k2")
    assert m.status()["pinned"]["pins"] == 2
    world.llmfs("pin", m / "kept")
    assert m.status()["pinned"]["paths"] == ["kept"]
    assert "pinned already, with all of kept" in fails(world, "pin", m / "kept/k1")
    assert "unpin that" in fails(world, "unpin", m / "kept/k1")
    assert "it is not pinned" in fails(world, "unpin", m / "other")
    world.llmfs("unpin", m.path)
    assert m.status()["pinned"]["pins"] == 0


@pytest.mark.usefixtures("tree")
def test_pins_are_looked_over_when_mounted(world: World) -> None:
    # Over the disk itself: the kernel of a slow directory would believe the old names for a while.
    m = world.mount(*SMALL, "--consistency", "strict")
    world.llmfs("pin", m / "kept", m / "other/o1")
    m.umount()
    write(world.backing / "kept" / "new", BLOCK_BYTES)
    write(world.backing / "kept" / "k0", 2 * BLOCK_BYTES)
    (world.backing / "other" / "o1").unlink()
    m.mount()
    size_bytes = sum(path.stat().st_size for path in (world.backing / "kept").iterdir())
    expected = {"pins": 1, "files": 9, "bytes": size_bytes, "paths": ["kept"]}
    eventually(lambda: m.status()["pinned"] == expected, 20)
    assert "unpinned, for it is gone: other/o1" in m.log()


def test_a_damaged_list_of_pins_is_said_and_passed_over(world: World) -> None:
    write(world.backing / "f", 1000)
    m = world.mount(*SMALL)
    world.llmfs("pin", m / "f")
    m.umount()
    (m.cache_dir / NAME).write_bytes(b"no")
    world.expect_complaint("what was pinned is forgotten")
    m.mount()
    assert m.status()["pinned"]["pins"] == 0 and "what was pinned is forgotten" in m.log()


@pytest.mark.usefixtures("tree")
def test_what_a_trace_read_is_warmed(world: World) -> None:
    source = world.slow_source()
    m = world.mount("--predictor", "off", source=source)
    (m / "kept/k3").read_bytes()
    with (m / "other/o7").open("rb", buffering=0) as stream:
        stream.seek(2 * BLOCK_BYTES)
        stream.read(BLOCK_BYTES)
    m.umount()
    (world.backing / "other/o9").unlink()
    other = world.mount("--predictor", "off", source=source, name="other")
    said = says(world, "warm", "--wait", "--from-trace", m.cache_dir / "trace", other.path)
    assert said["is_done"] and (said["missing"], said["errors"]) == (0, 0)
    assert is_whole(other / "kept/k3") and cached(other / "other/o7") >= BLOCK_BYTES and not cached(other / "kept/k1")
    again = world.mount("--predictor", "off", source=source, name="again")
    assert "being warmed" in world.llmfs("warm", "--from-trace", m.cache_dir / "trace", again.path)
    eventually(lambda: is_whole(again / "kept/k3"), 20)
    exported = world.root / "exported.csv"
    world.llmfs("trace", "export", "--cache-dir", m.cache_dir, "-o", exported)
    third = world.mount("--predictor", "off", source=source, name="third")
    said = says(world, "warm", "--wait", "--from-trace", exported, third.path)
    assert said["is_done"] and (said["missing"], said["errors"]) == (0, 0)
    assert is_whole(third / "kept/k3") and cached(third / "other/o7") >= BLOCK_BYTES and not cached(third / "kept/k1")
    exported.write_text("nothing,of,the,kind\n")
    assert "the columns must be" in fails(world, "warm", "--from-trace", exported, other.path)
    assert "cannot read the trace" in fails(world, "warm", "--from-trace", world.root, other.path)
    assert "cannot read the trace" in fails(world, "warm", "--from-trace", world.root / "no.csv", other.path)
    assert "takes one PATH" in fails(world, "warm", "--from-trace", "t", other.path, other.path, status=2)


def test_sighup_takes_up_the_log_level_and_names_what_needs_a_mount(world: World) -> None:
    file = world.root / "llmfs.toml"
    file.write_text("[mount]\nlog-level = 'warning'\n")
    m = world.mount("--predictor", "off", "--config", str(file))
    assert "is mounted" not in m.log()
    file.write_text("[mount]\nlog-level = 'info'\ncache-size = '1G'\n")
    world.expect_complaint("takes another mount")
    os.kill(m.pid, signal.SIGHUP)
    eventually(lambda: "takes another mount: cache_size_bytes" in m.log(), 10)
    file.write_text("[mount]\nlog-level = 'info'\n")
    os.kill(m.pid, signal.SIGHUP)
    eventually(lambda: m.log().rstrip().endswith("reloaded"), 10)
    assert "log-level takes one of" in run(world, "mount", "/", "/x", "--log-level", "loud").stderr
