"""Policies on live mounts: a backup leaves the cache as it was, and what else the rules promise."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lmdb
import pytest

from llmfs.blocks import BLOCK_BYTES
from llmfs.source import LOOKS_IN_LISTING
from tests.mount.conftest import Mounted, World, drop_pages, eventually
from tests.mount.test_metrics import value

OLD = (1_000_000, 1_000_000)


def write(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    os.utime(path, OLD)


def configured(world: World, text: str) -> str:
    file = world.root / "llmfs.toml"
    file.write_text(text)
    return str(file)


def another_name(world: World, program: str, name: str) -> Path:
    """The program under another name: the command that rules go by."""
    there = world.root / "bin" / name
    there.parent.mkdir(exist_ok=True)
    shutil.copy2(os.path.realpath(program), there)
    return there


def program(world: World, name: str) -> Path:
    """An interpreter under another name."""
    return another_name(world, sys.executable, name)


READ_ALL = """
import os, sys
for at, _, names in os.walk(sys.argv[1]):
    for name in sorted(names):
        with open(os.path.join(at, name), "rb") as file:
            while file.read(1 << 20):
                pass
"""


LOOK_AT_FOUR = """
import os, sys
first = int(sys.argv[2])
for name in os.listdir(sys.argv[1])[first : first + 4]:
    try:
        os.getxattr(os.path.join(sys.argv[1], name), "security.capability")
    except OSError:
        pass
"""


def read_all(interpreter: Path, root: Path) -> None:
    run(interpreter, READ_ALL, root)


def run(interpreter: Path, code: str, *arguments: Path | str) -> None:
    environment = {**os.environ, "PYTHONHOME": sys.base_prefix}
    command = [interpreter, "-S", "-c", code, *arguments]
    subprocess.run(command, check=True, timeout=60, env=environment)


def listed(world: World, name: str, root: Path) -> None:
    """`ls -lR` under another name."""
    ls = another_name(world, "/bin/ls", name)
    subprocess.run([ls, "-lR", root], check=True, timeout=60, stdout=subprocess.DEVNULL)


def fetched_ahead(m: Mounted) -> dict[str, Any]:
    """What was fetched ahead and what became of it, once no more is on its way."""
    shown: list[dict[str, Any]] = []

    def is_settled() -> bool:
        time.sleep(0.3)
        shown.append(m.status()["prefetch"])
        return len(shown) > 1 and shown[-1] == shown[-2]

    eventually(is_settled, 20, "no more prefetches")
    return shown[-1]


def cached(path: Path) -> int:
    return int(os.getxattr(path, "user.llmfs.cached"))


def programs_waited(m: Mounted) -> dict[tuple[str, str], float]:
    """How many requests of each kind count as answered, by tier; the root is looked at by who asks for the status."""
    return {
        (operation, tier): value(m, "llmfs_request_duration_seconds_count", operation=operation, tier=tier)
        for operation in ("lookup", "open", "read", "readdir")
        for tier in ("cache", "joined", "source")
    }


def blocks(m: Mounted) -> dict[bytes, bytes]:
    """What is in the cache of a mount that is not mounted: keys and values."""
    with (
        lmdb.open(os.fspath(m.cache_dir / "blocks"), max_dbs=4, readonly=True, lock=False) as environment,
        environment.begin(environment.open_db(b"blocks", create=False)) as transaction,
    ):
        return {bytes(key): bytes(value) for key, value in transaction.cursor()}


def test_a_backup_leaves_the_cache_as_it_was(world: World) -> None:
    for number in range(20):
        write(world.backing / "work" / f"w{number}", 300_000)
    for number in range(100):
        write(world.backing / "archive" / f"a{number}", 300_000)
    time.sleep(2.1)  # what changed just now is believed for one look (policy/freshness.py)
    file = configured(world, "[[mount.policy]]\ncommand = 'backup'\ndo = 'bypass'\n")
    m = world.mount("--cache-size", "16M", "--config", file, source=world.slow_source())
    for path in (m / "work").iterdir():
        path.read_bytes()
    m.umount()
    before = blocks(m)
    assert len(before) >= 40
    m.mount("--metrics-port", "0")
    waited = programs_waited(m)
    read_all(program(world, "backup"), m.path)  # 36 MB past a cache of 16 MB
    told = m.status()
    assert told["prefetch"]["issued"] == 0
    assert set(told["reads"].values()) == set(told["read_bytes"].values()) == {0}, "it is in nobody's hit rate"
    assert programs_waited(m) == waited, "nor in what programs wait"
    (policy,) = told["policies"]
    assert policy["read_bytes"] == 120 * 300_000 and policy["requests"] > 120
    assert value(m, "llmfs_policy_read_bytes_total", do="bypass") == policy["read_bytes"]
    assert value(m, "llmfs_policy_requests_total", do="bypass") == policy["requests"]
    assert all(cached(path) == 300_000 for path in (m / "work").iterdir())
    m.umount()
    assert blocks(m) == before
    # The control: the same program under a name that no rule is for.
    m.mount()
    read_all(program(world, "reader"), m.path)
    m.umount()
    assert blocks(m) != before


@pytest.mark.parametrize("do", ["bypass", "no-prefetch"])
def test_who_is_not_prefetched_for_can_list_a_tree(world: World, do: str) -> None:
    for directory in ("a", "a/b", "a/b/c", "a/b/c/d"):
        for number in range(40):
            write(world.backing / directory / f"{number:02}", 10)
    time.sleep(2.1)
    file = configured(world, f"[[mount.policy]]\ncommand = 'backup'\ndo = '{do}'\n")
    options, source = ("--predictor", "sequential", "--config", file), world.slow_source()
    m = world.mount(*options, source=source)
    listed(world, "backup", m.path)
    nothing = fetched_ahead(m)
    assert (nothing["attributes_issued"], nothing["listings_issued"]) == (0, 0)
    # What was fetched ahead for others it does not use up, and nothing follows from it.
    m = world.mount(*options, source=source, name="others")
    subprocess.run(["ls", m / "a"], check=True, stdout=subprocess.DEVNULL)
    before = fetched_ahead(m)
    assert before["listings_issued"] > 0
    listed(world, "backup", m.path)
    assert fetched_ahead(m) == before
    # The control: another program is asked ahead of.
    m = world.mount(*options, source=source, name="control")
    listed(world, "reader", m.path)
    assert fetched_ahead(m)["listings_issued"] > 0


@pytest.mark.parametrize("do", ["bypass", "no-prefetch"])
def test_who_is_not_prefetched_for_has_no_attributes_asked_ahead(world: World, do: str) -> None:
    for number in range(LOOKS_IN_LISTING + 100):  # of the last of them the listing brings no attributes along
        (world.backing / f"{number:05}").touch()
    time.sleep(2.1)
    file = configured(world, f"[[mount.policy]]\ncommand = 'backup'\ndo = '{do}'\n")
    m = world.mount("--predictor", "sequential", "--config", file, source=world.slow_source())
    assert world.slow is not None
    before = world.slow.counters["getxattr"]
    run(program(world, "backup"), LOOK_AT_FOUR, m.path, str(LOOKS_IN_LISTING + 10))
    assert fetched_ahead(m)["attributes_issued"] == 0
    assert world.slow.counters["getxattr"] - before == 4
    run(program(world, "reader"), LOOK_AT_FOUR, m.path, str(LOOKS_IN_LISTING + 40))
    assert fetched_ahead(m)["attributes_issued"] > 0


def test_a_bypassing_read_gets_the_right_bytes_beside_cached_ones(world: World) -> None:
    write(world.backing / "f", 5 * BLOCK_BYTES + 77)
    file = configured(world, "[[mount.policy]]\npath = 'f'\ndo = 'bypass'\n")
    m = world.mount("--predictor", "off", source=world.slow_source())
    with (m / "f").open("rb", buffering=0) as stream:
        stream.seek(2 * BLOCK_BYTES)
        stream.read(BLOCK_BYTES)
    assert 0 < cached(m / "f") < 5 * BLOCK_BYTES
    m.remount("--config", file)
    before = cached(m / "f")
    for _ in range(2):
        assert (m / "f").read_bytes() == (world.backing / "f").read_bytes()
        drop_pages(m / "f")
    assert cached(m / "f") == before
    with (m / "f").open("r+b") as stream:
        stream.write(b"new")
    assert (m / "f").read_bytes() == (world.backing / "f").read_bytes()


def test_no_prefetch_keeps_what_was_read_and_fetches_nothing_ahead(world: World) -> None:
    write(world.backing / "plain", 40 * BLOCK_BYTES)
    write(world.backing / "stream.iso", 40 * BLOCK_BYTES)
    file = configured(world, "[[mount.policy]]\npath = '*.iso'\ndo = 'no-prefetch'\n")
    m = world.mount("--predictor", "sequential", "--config", file, source=world.slow_source())

    def read_half(name: str) -> int:
        with (m / name).open("rb", buffering=0) as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # no readahead of the kernel's own
            for _ in range(20):
                stream.read(BLOCK_BYTES)
        return int(m.status()["prefetch"]["issued"])

    assert read_half("stream.iso") == 0
    assert cached(m / "stream.iso") == 20 * BLOCK_BYTES
    assert read_half("plain") > 0


def test_a_share_bounds_what_some_files_take(world: World) -> None:
    for number in range(30):
        write(world.backing / "stream" / f"s{number}", 2 * BLOCK_BYTES)
        write(world.backing / "work" / f"w{number}", BLOCK_BYTES)
    file = configured(world, "[[mount.policy]]\npath = 'stream'\nshare = '10%'\n")
    m = world.mount("--cache-size", "16M", "--predictor", "off", "--config", file, source=world.slow_source())
    for directory in ("work", "stream"):
        for path in sorted((m / directory).iterdir()):
            path.read_bytes()
    assert sum(cached(path) for path in (m / "stream").iterdir()) < 1.6e6  # 7.8 MB without the rule
    assert all(cached(path) == BLOCK_BYTES for path in (m / "work").iterdir())


def test_immutable_files_are_not_asked_about_again_and_others_are(world: World) -> None:
    for name in ("published/f", "live/f"):
        write(world.backing / name, 1000)
    file = configured(world, "[[mount.policy]]\npath = 'published'\ndo = 'immutable'\n")
    m = world.mount("--predictor", "off", "--consistency", "strict", "--config", file, source=world.slow_source())
    for name in ("published/f", "live/f"):
        (m / name).read_bytes()
    for name in ("published/f", "live/f"):
        (world.backing / name).write_bytes(b"another")
    eventually(lambda: (m / "live/f").stat().st_size == 7, 10)  # the slow directory's kernel believes for a while
    assert (m / "published/f").stat().st_size == 1000
    assert (m / "live/f").read_bytes() == b"another" and (m / "published/f").read_bytes() != b"another"
    m.remount()
    assert (m / "published/f").stat().st_size == 1000


@pytest.mark.parametrize("pattern", ["published", "published/**", "*.done"])
def test_what_comes_to_be_among_immutable_files_is_so_too(world: World, pattern: str) -> None:
    for name in ("published", "live"):
        (world.backing / name).mkdir()
    file = configured(world, f"[[mount.policy]]\npath = '{pattern}'\ndo = 'immutable'\n")
    m = world.mount("--predictor", "off", "--consistency", "strict", "--config", file, source=world.slow_source())
    for name in ("live/made", "live/moved", "published/made.done"):
        (m / name).write_bytes(b"mine")
    (m / "live/moved").rename(m / "published/moved.done")
    (m / "published/below").mkdir()
    (m / "published/below/made.done").write_bytes(b"mine")
    immutable = ("published/made.done", "published/moved.done", "published/below/made.done")
    assert all((m / name).stat().st_size == 4 for name in immutable)
    for name in (*immutable, "live/made"):
        (world.backing / name).write_bytes(b"another")
    eventually(lambda: (m / "live/made").stat().st_size == 7, 10)
    assert [(m / name).stat().st_size for name in immutable] == [4, 4, 4]


def test_policies_are_read_again_on_sighup(world: World) -> None:
    for name in ("a", "b"):
        write(world.backing / name, 1000)
    file = configured(world, "[[mount.policy]]\npath = 'a'\ndo = 'bypass'\n")
    m = world.mount("--predictor", "off", "--config", file, source=world.slow_source())
    (m / "a").read_bytes()
    assert cached(m / "a") == 0
    configured(world, "[[mount.policy]]\npath = 'b'\ndo = 'bypass'\n")
    os.kill(m.pid, signal.SIGHUP)
    eventually(lambda: "reloaded" in m.log(), 10)
    for name in ("a", "b"):
        drop_pages(m / name)
        (m / name).read_bytes()
    assert (cached(m / "a"), cached(m / "b")) == (1000, 0)
    world.expect_complaint("takes another mount")
    configured(world, "[[mount.policy]]\npath = 'b'\ndo = 'immutable'\n")
    os.kill(m.pid, signal.SIGHUP)
    eventually(lambda: "takes another mount: policies that say immutable" in m.log(), 10)


# --- every condition with everything that a rule can say

BY_PATH, DEEP, BY_COMMAND, BY_UID, BY_CGROUP = "globbed/*.iso", "deep/**/x.*", "reader", "nobody", "llmfs-test"
CONDITIONS = {
    "path": f"path = '{BY_PATH}'",
    "path across directories": f"path = '{DEEP}'",
    "command": f"command = '{BY_COMMAND}'",
    "uid": f"uid = '{BY_UID}'",
    "cgroup": f"cgroup = '{BY_CGROUP}'",
}
MET = {"path": "globbed/x.iso", "path across directories": "deep/er/still/x.bin"}
"""Files that meet a condition whoever reads them; whom the others are about reads what is PLAIN."""

PLAIN, UNMET = "globbed/plain", "globbed/unmet"
BLOCKS = 40


def control_group() -> Path:
    """A new control group, of whichever hierarchy this machine lets us make one in; skips where there is none."""
    for hierarchy in ("unified", "", "systemd", "pids"):
        group = Path("/sys/fs/cgroup", hierarchy, BY_CGROUP)
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / "cgroup.procs").exists():
            return group
        group.rmdir()
    pytest.skip("no control group can be made here; tests/llmfs/test_rules.py knows one by what /proc says")


def read_half(world: World, m: Mounted, condition: str) -> Path:
    """Have a program read half of a file, so that the condition holds; "": none does. Returns the file."""
    path = m / MET.get(condition, PLAIN if condition else UNMET)
    dd = another_name(world, "/bin/dd", BY_COMMAND if condition == "command" else "another")
    command = [dd, f"if={path}", "of=/dev/null", f"bs={BLOCK_BYTES}", "count=20", "iflag=direct", "status=none"]
    options: dict[str, Any] = {"check": True, "timeout": 60}
    match condition:
        case "uid":
            for each in (world.root, *world.root.parents):
                if each.stat().st_mode & 0o055 != 0o055:
                    each.chmod(each.stat().st_mode | 0o055)
            subprocess.run(command, user=BY_UID, **options)
        case "cgroup":
            group = control_group()
            try:
                subprocess.run(command, preexec_fn=lambda: (group / "cgroup.procs").write_text("0"), **options)
            finally:
                group.rmdir()
        case _:
            subprocess.run(command, **options)
    return path


@pytest.mark.parametrize("do", ["bypass", "no-prefetch", "cache", "share"])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_condition_goes_with_everything_that_a_rule_can_say(world: World, condition: str, do: str) -> None:
    if condition == "uid" and os.geteuid() != 0:
        pytest.skip("it takes root to be somebody else")
    for name in (PLAIN, UNMET, *MET.values()):
        write(world.backing / name, BLOCKS * BLOCK_BYTES)
    said = "share = '5%'" if do == "share" else f"do = '{do}'"
    rules = f"[[mount.policy]]\n{CONDITIONS[condition]}\n{said}\n"
    if do == "cache":  # an exception
        rules += "[[mount.policy]]\npath = '**'\ndo = 'bypass'\n"
    options = ("--cache-size", "32M", "--predictor", "sequential", "--allow-other", "--config")
    m = world.mount(*options, configured(world, rules), source=world.slow_source())

    met = cached(read_half(world, m, condition))
    issued = m.status()["prefetch"]["issued"]
    policy = m.status()["policies"][0]
    assert policy["requests"] > 0 and policy["read_bytes"] == 20 * BLOCK_BYTES
    if do == "share":
        assert 0 < met <= policy["limit_bytes"] and 0 < policy["used_bytes"] <= policy["limit_bytes"] < 20 * BLOCK_BYTES
    elif do == "cache":
        assert met >= 20 * BLOCK_BYTES and issued > 0
    else:
        assert (met, issued) == (20 * BLOCK_BYTES if do == "no-prefetch" else 0, 0)

    unmet = cached(read_half(world, m, ""))
    assert m.status()["policies"][0]["read_bytes"] == 20 * BLOCK_BYTES
    assert unmet == 0 if do == "cache" else unmet >= 20 * BLOCK_BYTES


def test_a_file_tells_which_rules_hold_for_it(world: World) -> None:
    write(world.backing / "published/f", 1000)
    file = configured(
        world,
        "[[mount.policy]]\ncommand = 'backup'\ndo = 'bypass'\n"
        "[[mount.policy]]\npath = 'other'\ndo = 'bypass'\n"
        "[[mount.policy]]\npath = 'published'\ndo = 'immutable'\n",
    )
    m = world.mount("--predictor", "off", "--config", file)
    told = json.loads(world.llmfs("explain", "--json", m / "published/f"))["policies"]
    assert told == [
        {"rule": 1, "do": "bypass", "command": ["backup"]},
        {"rule": 3, "do": "immutable", "path": ["published"]},
    ]
    assert "policies   1: bypass: command backup\n" in world.llmfs("explain", m / "published/f")
    assert "policies   1: bypass: command backup; 0 requests, 0 B read\n" in world.llmfs("status", m.path)
