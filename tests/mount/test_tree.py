"""A tree looks through the mount as it does without: cold, warm, after a remount, with a cache that is too small."""

import os
import shutil
from pathlib import Path

import pytest

from tests.mount.conftest import World, drop_pages
from tests.mount.trees import differences, make_mixed, snapshot


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mixed")
    make_mixed(root)
    return root


@pytest.fixture
def tree(world: World, mixed: Path) -> Path:
    """A tree of the test's own. Its backing directory is replaced by it."""
    shutil.rmtree(world.backing)
    world.backing = mixed
    return mixed


def drop_all_pages(root: Path) -> None:
    for directory, _, names in os.walk(os.fsencode(root)):
        if directory.endswith(b"/many"):
            continue
        for name in names:
            path = os.path.join(directory, name)
            if os.path.isfile(path) and not os.path.islink(path):
                drop_pages(path)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["plain", "slow"])
def test_tree_is_identical_cold_warm_and_after_a_remount(world: World, tree: Path, kind: str) -> None:
    source = tree if kind == "plain" else world.slow_source(0.0002)
    expected = snapshot(tree)
    m = world.mount(source=source)
    assert differences(expected, snapshot(m.path)) == []  # cold
    drop_all_pages(m.path)
    assert differences(expected, snapshot(m.path)) == []  # warm
    m.remount()
    assert differences(expected, snapshot(m.path)) == []
    m.remount("--consistency", "immutable" if kind == "slow" else "strict")
    assert differences(expected, snapshot(m.path)) == []


def test_tree_is_identical_with_the_smallest_cache(world: World, tree: Path) -> None:
    expected = snapshot(tree)
    m = world.mount("--cache-size", "16M", source=world.slow_source(0.0002))
    assert differences(expected, snapshot(m.path)) == []
    drop_all_pages(m.path)
    assert differences(expected, snapshot(m.path)) == []
    m.remount()
    assert differences(expected, snapshot(m.path)) == []


def test_inode_numbers_are_the_sources_and_hard_links_show(world: World, tree: Path) -> None:
    m = world.mount("--predictor", "off")
    for name in ("text.txt", "links/hard", "binary-4096", "deep", "fifo"):
        assert os.lstat(m / name).st_ino == os.lstat(tree / name).st_ino
    assert os.path.samefile(m / "text.txt", m / "links" / "hard")


def test_paths_deeper_than_recursion_are_readable(world: World) -> None:
    depth = 400
    fd = os.open(world.backing, os.O_RDONLY)
    try:
        for _ in range(depth):
            os.mkdir("d", dir_fd=fd)
            deeper = os.open("d", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = deeper
        leaf = os.open("leaf", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd)
        os.write(leaf, b"deep water")
        os.close(leaf)
    finally:
        os.close(fd)
    m = world.mount("--predictor", "off", source=world.slow_source(0.0004))
    for consistency in ("close-to-open", "immutable", "immutable"):
        m.remount("--consistency", consistency)
        fd = os.open(m.path, os.O_RDONLY)
        try:
            for _ in range(depth):
                deeper = os.open("d", os.O_RDONLY, dir_fd=fd)
                os.close(fd)
                fd = deeper
            leaf = os.open("leaf", os.O_RDONLY, dir_fd=fd)
            assert os.read(leaf, 100) == b"deep water"
            os.close(leaf)
            leaf = os.open("leaf", os.O_RDWR, dir_fd=fd)  # asks the source, from the root down
            assert os.write(leaf, b"deep") == 4
            os.close(leaf)
        finally:
            os.close(fd)
