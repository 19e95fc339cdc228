"""Extended attributes are asked for ahead of who walks a directory, as `ls -l` does."""

import errno
import os
import subprocess
import time

from tests.mount.conftest import World, eventually

FILES = 60
NAME = "security.capability"


def asked(world: World) -> int:
    assert world.slow is not None
    return int(world.slow.counters["getxattr"])


def is_there(path: os.PathLike[str]) -> bool:
    try:
        os.getxattr(path, NAME)
    except OSError as error:
        assert error.errno == errno.ENODATA
        return False
    return True


def test_a_walk_is_asked_ahead_of(world: World) -> None:
    (world.backing / "d").mkdir()
    for number in range(FILES):
        (world.backing / "d" / f"{number:03}").touch()
    os.setxattr(world.backing / "d" / "030", "security.capability", b"\x01\0\0\x02" + bytes(16))
    time.sleep(2.1)  # what changed just now is believed for one look (policy/freshness.py)
    source = world.slow_source(0.0005)
    mounted = world.mount("--predictor", "off", source=source)
    names = [entry.name for entry in os.scandir(mounted / "d")]
    before = asked(world)
    for name in names[:4]:
        is_there(mounted / "d" / name)
    eventually(lambda: asked(world) - before >= 4 + 8, 10, "more is asked than was asked for")
    for name in names[4:]:
        assert is_there(mounted / "d" / name) == (name == "030")
    eventually(lambda: asked(world) - before >= FILES, 10, "all were asked")
    at_last = asked(world)
    assert not any(is_there(mounted / "d" / name) for name in names[-8:] if name != "030")
    assert asked(world) == at_last  # what was learned ahead is believed


def test_who_walked_a_directory_is_asked_ahead_of_in_the_next_one(world: World) -> None:
    for directory in ("d", "e"):
        (world.backing / directory).mkdir()
        for number in range(FILES):
            (world.backing / directory / f"{number:03}").touch()
    time.sleep(2.1)
    mounted = world.mount("--predictor", "off", source=world.slow_source(0.0005))
    for entry in os.scandir(mounted / "d"):
        assert not is_there(entry.path)
    eventually(lambda: asked(world) >= FILES, 10, "all of the first were asked")
    before = asked(world)
    names = [entry.name for entry in os.scandir(mounted / "e")]
    eventually(lambda: asked(world) - before == FILES, 10, "listing the second is enough")
    assert not any(is_there(mounted / "e" / name) for name in names)
    assert asked(world) - before == FILES
    # Another process did not walk: that it lists a directory says nothing.
    (world.backing / "f").mkdir()
    for number in range(FILES):
        (world.backing / "f" / f"{number:03}").touch()
    subprocess.run(["ls", mounted / "f"], check=True, stdout=subprocess.DEVNULL)
    time.sleep(0.3)
    assert asked(world) - before == FILES


def test_who_does_not_walk_is_not(world: World) -> None:
    (world.backing / "d").mkdir()
    for number in range(FILES):
        (world.backing / "d" / f"{number:03}").touch()
    time.sleep(2.1)
    mounted = world.mount("--predictor", "off", source=world.slow_source(0.0005))
    names = [entry.name for entry in os.scandir(mounted / "d")]
    before = asked(world)
    for position in (3, 50, 20, 37, 9):
        is_there(mounted / "d" / names[position])
    time.sleep(0.3)
    assert asked(world) - before == 5


def test_what_a_file_has_not_got_is_known_after_a_remount(world: World) -> None:
    (world.backing / "f").touch()
    time.sleep(2.1)
    mounted = world.mount("--predictor", "off", source=world.slow_source(0.0005))
    assert not is_there(mounted / "f")
    mounted.remount()
    before = asked(world)
    assert not is_there(mounted / "f")
    assert asked(world) == before
    time.sleep(3.1)  # what was seen of it is too old to be believed: its generation tells
    assert not is_there(mounted / "f")
    assert asked(world) == before
    os.setxattr(world.backing / "f", NAME, b"\x01\0\0\x02" + bytes(16))
    eventually(lambda: is_there(mounted / "f"), 10, "one that was set behind the mount is seen")


def test_what_we_set_ourselves_is_there_at_once_and_after_a_remount(world: World) -> None:
    (world.backing / "f").touch()
    time.sleep(2.1)
    mounted = world.mount("--predictor", "off", source=world.slow_source(0.0005))
    assert not is_there(mounted / "f")
    os.setxattr(mounted / "f", NAME, b"\x01\0\0\x02" + bytes(16))
    assert is_there(mounted / "f")
    mounted.remount()
    assert is_there(mounted / "f")
    os.removexattr(mounted / "f", NAME)
    assert not is_there(mounted / "f")
