"""From words to a configuration: sizes, precedence, files, -o."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llmfs.config import Consistency, LogLevel, Predictor
from llmfs.errors import UsageError
from llmfs.machine_profile import DESKTOP, EDGE, Machine, Profile
from llmfs.policy.rules import Do, Rule
from llmfs.settings import (
    Settings,
    default_cache_dir,
    format_size,
    mount_config,
    parse_size,
    read_file,
    read_options,
)

SOURCE = Path("/mnt/slow")
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("1048576", 1 << 20),
        ("10G", 10 << 30),
        ("10g", 10 << 30),
        ("10GiB", 10 << 30),
        ("10 GB", 10 << 30),
        (" 1.5M ", 3 << 19),
        ("512b", 512),
        ("7.9", 7),
        (4096, 4096),
    ],
)
def test_sizes(text: str | int, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@given(st.integers(0, 4000), st.sampled_from(sorted(UNITS)), st.sampled_from(["", "B", "iB"]), st.booleans())
def test_every_way_to_write_a_size_is_read(number: int, unit: str, ending: str, lower: bool) -> None:
    text = f"{number}{unit}{ending if unit else ''}"
    assert parse_size(text.lower() if lower else text) == number * UNITS[unit]


@given(st.text() | st.from_regex(r"\A\s*[0-9.+-]+\s*[KMGTPkmgtp]?i?B?\s*\Z"))
def test_any_text_is_a_size_or_a_usage_error(text: str) -> None:
    try:
        assert 0 <= parse_size(text) < 1 << 63
    except UsageError as error:
        assert "\n" not in str(error)


@given(st.integers(0, (1 << 63) - (1 << 59)))
def test_what_is_printed_is_read_back_to_a_digit(size_bytes: int) -> None:
    assert parse_size(format_size(size_bytes)) == pytest.approx(size_bytes, rel=0.06)


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    config = mount_config(SOURCE, Path("/mnt/fast"), Settings(), lambda: Machine(16 << 30, 8))
    assert config.profile == DESKTOP
    assert config.cache_size_bytes == 10 << 30
    assert config.consistency is Consistency.CLOSE_TO_OPEN
    assert config.predictor is Predictor.LEARNED
    assert (config.metrics_port, config.read_only, config.allow_other) == (None, False, False)
    assert config.cache_dir.parent == Path("/var/cache/llmfs")


def test_default_cache_is_one_per_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    one, other = default_cache_dir(Path("/a/data")), default_cache_dir(Path("/b/data"))
    assert one != other
    assert one.name.startswith("data-") and len(one.name) == len("data-") + 12
    assert default_cache_dir(Path("/")).name.startswith("root-")
    assert default_cache_dir(Path("/odd/\udcff")).parent == one.parent


def test_a_relative_cache_home_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv("HOME", "/nonexistent")
    assert default_cache_dir(SOURCE).parent == Path("/nonexistent/.cache/llmfs")


def test_command_line_beats_source_table_beats_general_table(tmp_path: Path) -> None:
    file = tmp_path / "llmfs.toml"
    file.write_text(
        "[mount]\ncache-size = '1G'\npredictor = 'off'\nconsistency = 'strict'\nread-only = true\n"
        "[mount.'/mnt/slow']\ncache-size = '2G'\npredictor = 'sequential'\n"
        "[mount.'/mnt/other']\nconsistency = 'immutable'\n"
    )
    said = Settings(cache_size="3G", read_only=False).over(read_file(str(file), SOURCE))
    config = mount_config(SOURCE, Path("/mnt/fast"), said)
    assert config.cache_size_bytes == 3 << 30  # command line
    assert config.read_only is False  # command line, though false
    assert config.predictor is Predictor.SEQUENTIAL  # the source's table
    assert config.consistency is Consistency.STRICT  # the general table


def test_options_of_file_and_command_line_add_up(tmp_path: Path) -> None:
    file = tmp_path / "llmfs.toml"
    file.write_text("[mount]\noptions = ['noatime', 'allow_other']\n")
    said = read_options(["nosuid,ro"]).over(read_file(str(file), SOURCE))
    assert said.fuse_options == ("noatime", "nosuid")
    assert said.read_only is True and said.allow_other is True


def test_cache_dir_of_a_file_is_relative_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "llmfs.toml"
    file.write_text("[mount]\ncache-dir = 'cache'\n")
    config = mount_config(SOURCE, Path("/mnt/fast"), read_file(str(file), SOURCE))
    assert config.cache_dir == tmp_path / "cache"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[mount]\ncache_size = '1G'", "unknown key 'cache_size' in .*: did you mean cache-size"),
        ("[mount]\nspeed = 9", "unknown key 'speed' in .*: known are cache-dir"),
        ("cache-size = '1G'", "unknown key 'cache-size' in .*: there is one table"),
        ("[mount]\ncache-size = true", "cache-size in .* must be a string or a number"),
        ("[mount]\nmetrics-port = '80'", "metrics-port in .* must be a number"),
        ("[mount]\nread-only = 1", "read-only in .* must be true or false"),
        ("[mount]\noptions = [1]", "options in .* must be a string or a list"),
        ("[mount]\ncache-size = '1X'", "'1X' is no size.*llmfs.toml"),
        ("[mount]\npredictor = 'magic'", "'magic' is no predictor.*llmfs.toml"),
        ("[mount.data]\nread-only = true", r"unknown table \[mount.data\]"),
        ("[mount.'/other']\nspeed = 9", r"unknown key 'speed' in .*llmfs.toml, \[mount./other\]"),
        ("mount = 1", "must be a table"),
        ("[mount", "cannot read the configuration .*llmfs.toml: Expected"),
        ("\udcff", "cannot read the configuration .*llmfs.toml: "),
    ],
)
def test_a_file_that_is_wrong_is_named_with_the_key(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "llmfs.toml"
    file.write_text(text, errors="surrogateescape")
    with pytest.raises(UsageError, match=says) as caught:
        read_file(str(file), SOURCE)
    assert "\n" not in str(caught.value)


_POLICY = "[[mount.policy]]\n"


def test_policies_of_a_file_come_in_their_order_and_those_of_the_source_first(tmp_path: Path) -> None:
    file = tmp_path / "llmfs.toml"
    file.write_text(
        _POLICY + "command = 'cp'\ndo = 'bypass'\n"
        "[[mount.'/mnt/slow'.policy]]\nuid = 'root'\npath = ['a/**', '*.b']\ndo = 'no-prefetch'\nshare = '5%'\n"
        "[[mount.'/mnt/slow'.policy]]\npath = 'p'\ndo = 'immutable'\n"
        "[[mount.'/mnt/other'.policy]]\nuid = 1\ndo = 'cache'\n"
    )
    assert mount_config(SOURCE, Path("/mnt/fast"), read_file(str(file), SOURCE)).policies == (
        Rule(Do.NO_PREFETCH, 0.05, uid=(0,), path=("a/**", "*.b")),
        Rule(Do.IMMUTABLE, path=("p",)),
        Rule(Do.BYPASS, command=("cp",)),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[mount.policy]\ndo = 'cache'", r"must be a list of tables: write \[\[mount.policy\]\]"),
        ("[mount]\npolicy = 1", "must be a list of tables"),
        (_POLICY + "do = 'bypass'", "policy 1 says not what it is for"),
        (_POLICY + "path = 'x'", "policy 1 says not what to do"),
        (_POLICY + "path = 'x'\ndoo = 'bypass'", "unknown key 'doo' in .*, policy 1: did you mean do"),
        (_POLICY + "path = 'x'\ndo = 'magic'", "do in .* must be one of cache, bypass.* not 'magic'"),
        (_POLICY + "path = 'x'\ndo = []", "do in .* must be one of"),
        (_POLICY + "path = ''\ndo = 'cache'", "path in .* must be a pattern"),
        (_POLICY + "command = [1]\ndo = 'cache'", "command in .* must be a pattern"),
        (_POLICY + "path = '[b-a]'\ndo = 'cache'", "is no pattern: bad character range"),
        (_POLICY + "uid = 'no such user'\ndo = 'cache'", "there is no user 'no such user'"),
        (_POLICY + "uid = -1\ndo = 'cache'", "must be a number or a user's name"),
        (_POLICY + "path = 'x'\nshare = '101%'", 'share in .* from "1%" to'),
        (_POLICY + "path = 'x'\nshare = 0.5", "share in .* from"),
        (_POLICY + "path = 'x'\ndo = 'bypass'\nshare = '5%'", "exclude each other"),
        (_POLICY + "path = 'x'\nuid = 0\ndo = 'immutable'", "goes by the path alone"),
    ],
)
def test_a_policy_that_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "llmfs.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=says) as caught:
        read_file(str(file), SOURCE)
    assert "\n" not in str(caught.value)


_SCALARS = st.integers() | st.booleans() | st.text(max_size=8).map(lambda text: json.dumps(text))
_LINES = st.builds("{} = {}".format, st.sampled_from(["cache-size", "predictor", "options", "mount", "x"]), _SCALARS)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=100) | st.lists(_LINES, max_size=4).map(lambda lines: "\n".join(["[mount]", *lines]).encode())
)
@example(b"a = " + b"[" * 100_000)
def test_any_bytes_are_a_configuration_or_refused_in_a_line(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "llmfs.toml"
    file.write_bytes(data)
    try:
        mount_config(SOURCE, Path("/mnt/fast"), read_file(str(file), SOURCE))
    except UsageError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["missing.toml", ".", "\0"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot read the configuration"):
        read_file(str(tmp_path / name), SOURCE)


def test_the_example_is_right() -> None:
    example = Path(__file__).parents[2] / "examples" / "llmfs.toml"
    read_file(str(example), SOURCE)


def test_options_as_fstab_writes_them() -> None:
    said = read_options(["rw,_netdev,x-systemd.automount,nofail,cache_size=1G,metrics-port=9100", "dev,,exec"])
    assert said == Settings(cache_size="1G", metrics_port=9100, read_only=False, fuse_options=("dev", "exec"))


def test_the_page_is_on_loopback_unless_another_address_is_named() -> None:
    config = mount_config(SOURCE, Path("/mnt/fast"), read_options(["web"]))
    assert (config.web, config.web_address) == (True, "127.0.0.1")
    said = read_options(["web,web-address=::1", "log-level=debug"])
    config = mount_config(SOURCE, Path("/mnt/fast"), said)
    assert (config.web_address, config.log_level) == ("::1", LogLevel.DEBUG)
    with pytest.raises(UsageError, match="is no address: --web-address"):
        mount_config(SOURCE, Path("/mnt/fast"), Settings(web_address="example.org"))


@pytest.mark.parametrize("option", ["cache-size", "cache-size=", "metrics-port=http", "metrics-port=²", "subtype=x"])
def test_options_that_are_wrong(option: str) -> None:
    with pytest.raises(UsageError, match="-o "):
        read_options([option])


def test_what_is_said_wins_over_the_profile(tmp_path: Path) -> None:
    file = tmp_path / "llmfs.toml"
    file.write_text("[mount]\nprofile = 'edge'\nthreads = 6\ntrain = true\n")
    of_the_file = read_file(str(file), SOURCE)
    config = mount_config(SOURCE, Path("/mnt/fast"), of_the_file)
    assert config.profile.name is Profile.EDGE and config.profile_reason == "asked for"
    assert config.cache_size_bytes == 10 << 30
    assert (config.profile.demand_threads, config.profile.prefetch_threads, config.profile.trains) == (6, 3, True)
    assert config.profile.idle_inodes == EDGE.idle_inodes
    said = read_options(["cache-size=3G,threads=1,no-train"]).over(of_the_file)
    config = mount_config(SOURCE, Path("/mnt/fast"), said)
    assert config.cache_size_bytes == 3 << 30
    assert (config.profile.demand_threads, config.profile.prefetch_threads, config.profile.trains) == (1, 1, False)
    assert mount_config(SOURCE, Path("/mnt/fast"), Settings(profile="desktop").over(said)).profile.hot_blocks == 128


@pytest.mark.parametrize(
    "said", [Settings(profile="pocket"), Settings(threads=0), Settings(threads=257), Settings(threads=-1)]
)
def test_no_such_profile_nor_number_of_threads(said: Settings) -> None:
    with pytest.raises(UsageError, match=r"--profile takes one of auto, edge|--threads takes 1 to"):
        mount_config(SOURCE, Path("/mnt/fast"), said)
