"""Bad input: one clear line, the right exit status, nothing left behind."""

import os
import socket
import tempfile
from pathlib import Path

import pytest

from llmfs import preflight
from llmfs.cache_dir import CacheDir, Holder
from llmfs.errors import MountError
from tests.cli.conftest import World


def test_no_such_source(world: World) -> None:
    line = world.refuses("mount", world.root / "nowhere", world.mountpoint, status=2)
    assert line == f"there is no source {world.root}/nowhere"


def test_source_is_a_file(world: World) -> None:
    file = world.root / "file"
    file.touch()
    assert "is not a directory" in world.refuses("mount", file, world.mountpoint, status=2)


def test_unreadable_source(world: World) -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0)
        me = os.geteuid()
        if me == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(MountError, match=r"cannot read the source .*: permission denied"):
                preflight._check_source(Path(directory))
        finally:
            os.seteuid(me)


def test_no_such_mountpoint(world: World) -> None:
    line = world.refuses("mount", world.source, world.root / "nowhere", status=2)
    assert line.endswith(f"make it with mkdir {world.root}/nowhere")


def test_mountpoint_is_a_file(world: World) -> None:
    file = world.root / "file"
    file.touch()
    assert "is not a directory" in world.refuses("mount", world.source, file, status=2)


def test_mountpoint_inside_source(world: World) -> None:
    inner = world.source / "inner"
    inner.mkdir()
    assert "lies inside the source" in world.refuses("mount", world.source, inner, status=2)


def test_mountpoint_inside_source_through_a_link(world: World) -> None:
    inner = world.source / "inner"
    inner.mkdir()
    link = world.root / "link"
    link.symlink_to(inner)
    assert "lies inside the source" in world.refuses("mount", world.source, link, status=2)


def test_source_inside_mountpoint(world: World) -> None:
    inner = world.mountpoint / "inner"
    inner.mkdir()
    assert "lies inside the mount point" in world.refuses("mount", inner, world.mountpoint, status=2)


def test_source_is_mountpoint(world: World) -> None:
    assert "the same directory" in world.refuses("mount", world.source, world.source, status=2)


def test_sibling_whose_name_begins_alike_is_elsewhere(world: World) -> None:
    sibling = world.root / "source2"
    sibling.mkdir()
    preflight._check_mountpoint(sibling)
    assert not preflight._contains(world.source, sibling)


@pytest.mark.parametrize("place", ["source", "mountpoint"])
def test_cache_inside_source_or_mountpoint(world: World, place: str) -> None:
    line = world.refuses_mount("--cache-dir", world.root / place / "not" / "there" / "yet", status=2)
    assert "name one elsewhere with --cache-dir" in line


@pytest.mark.parametrize("place", ["source", "mountpoint"])
def test_source_or_mountpoint_inside_cache(world: World, place: str) -> None:
    outer = world.root / "outer"
    (outer / place).mkdir(parents=True)
    arguments = {"source": world.source, "mountpoint": world.mountpoint, place: outer / place}
    line = world.refuses("mount", arguments["source"], arguments["mountpoint"], "--cache-dir", outer, status=2)
    assert "lies inside the cache directory" in line


@pytest.mark.parametrize("size", ["", "ten", "10X", "-1G", "1e3", "0x10", "10GG", "nan", "٣G"])
def test_size_that_does_not_parse(world: World, size: str) -> None:
    assert " is no size: " in world.refuses_mount(f"--cache-size={size}", status=2)


@pytest.mark.parametrize("size", ["99999999P", "9" * 5000])
def test_size_too_large(world: World, size: str) -> None:
    assert "more than any disk holds" in world.refuses_mount("--cache-size", size, status=2)


@pytest.mark.parametrize("size", ["0", "1M", "16383K"])
def test_size_too_small(world: World, size: str) -> None:
    assert "at least 16 MiB" in world.refuses_mount("--cache-size", size, status=2)


def test_unknown_choice_names_the_choices(world: World) -> None:
    assert "close-to-open, strict, immutable" in world.refuses_mount("--consistency", "lax", status=2)
    assert "learned, sequential, off" in world.refuses_mount("--predictor", "magic", status=2)


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_no_port(world: World, port: str) -> None:
    assert "--metrics-port" in world.refuses_mount(f"--metrics-port={port}", status=2)


def test_metrics_port_in_use(world: World) -> None:
    with socket.create_server((preflight.METRICS_ADDRESS, 0)) as server:
        port = server.getsockname()[1]
        assert "address already in use" in world.refuses_mount("--metrics-port", str(port), status=1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mount"], "Missing argument"),
        (["mount", "--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
        (["umount"], "Missing argument"),
        (["cache", "clear"], "say which cache"),
        (["cache", "info", "x", "--cache-dir", "y"], "not both"),
        (["mount", "a\0b", "c"], "null byte"),
        (["umount", "a\0b"], "null byte"),
    ],
)
def test_wrong_words(world: World, arguments: list[str], says: str) -> None:
    assert says in world.refuses(*arguments, status=2)


def test_names_with_line_breaks_stay_on_one_line(world: World) -> None:
    line = world.refuses("mount", world.root / "no\nwhere\udcff", world.mountpoint, status=2)
    assert line.endswith("no\\nwhere\\xff")


def test_no_fuse_device(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "FUSE_DEVICE", "/dev/no-fuse")
    assert "there is no /dev/no-fuse: modprobe fuse" in world.refuses_mount(status=1)


def test_fusermount_is_missing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(world.root))
    assert "fusermount3 is missing: sudo apt install fuse3" in world.refuses_mount(status=1)


def test_allow_other_is_not_allowed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = world.root / "fuse.conf"
    configuration.write_text("# user_allow_other\n")
    monkeypatch.setattr(preflight, "FUSE_CONFIGURATION", str(configuration))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "user_allow_other" in world.refuses_mount("--allow-other", status=1)
    assert "user_allow_other" in world.refuses_mount("-o", "allow_other", status=1)
    configuration.write_text("user_allow_other\n")
    assert preflight.allow_other() is None


def test_cache_dir_is_not_a_directory(world: World) -> None:
    file = world.root / "file"
    file.touch()
    assert "not a directory" in world.refuses_mount("--cache-dir", file, status=1)
    assert "not a directory" in world.refuses_mount("--cache-dir", file / "below", status=1)


def test_cache_dir_is_something_else(world: World) -> None:
    home = world.root / "home"
    home.mkdir()
    (home / "thesis.tex").touch()
    assert "is not a cache of llmfs (it holds thesis.tex)" in world.refuses_mount("--cache-dir", home, status=1)


def test_cache_dir_in_use(world: World) -> None:
    cache = CacheDir(world.root / "c")
    cache.prepare(world.source)
    with cache.locked(Holder(123, str(world.source), "/mnt/other", 1)):
        line = world.refuses_mount("--cache-dir", cache.path, status=1)
    assert line.endswith("in use by the mount at /mnt/other (pid 123): run llmfs umount /mnt/other first")


def test_cache_dir_of_another_source(world: World) -> None:
    cache = CacheDir(world.root / "c")
    cache.prepare(Path("/elsewhere"))
    assert "holds /elsewhere: name another" in world.refuses_mount("--cache-dir", cache.path, status=1)


def test_no_home_directory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert "name one with --cache-dir" in world.refuses_mount(status=2)


def test_umount_of_nothing(world: World) -> None:
    assert "nothing is mounted at" in world.refuses("umount", world.mountpoint, status=2)


def test_umount_of_another_kind_of_mount(world: World) -> None:
    assert "/proc is a mount of another kind (proc)" in world.refuses("umount", "/proc", status=2)


def test_status_of_nothing(world: World) -> None:
    assert "there is no mount of llmfs" in world.refuses("status", world.mountpoint, status=2)


def test_cache_of_nothing(world: World) -> None:
    assert "there is no cache at" in world.refuses("cache", "info", world.source, status=1)
    assert "there is no cache at" in world.refuses("cache", "clear", world.source, status=1)
