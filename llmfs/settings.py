"""From what the user wrote, on the command line and in a file, to one MountConfig.

    command line  >  [mount."/the/source"]  >  [mount]  >  the defaults here

All sources are brought to the same shape first, a `Settings` in which None means "not said", so that one rule
merges them. Words are judged here; whether the machine can do what they ask for is judged in
`llmfs.preflight`.
"""

import dataclasses
import difflib
import hashlib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from llmfs import machine
from llmfs.config import Consistency, Control, GuardMode, LogLevel, MountConfig, Offline, Predictor
from llmfs.errors import UsageError, one_line, reason, show
from llmfs.guard.hook import words as hook_words
from llmfs.machine_profile import Machine, Profile, adjusted, fitting
from llmfs.policies import read_policies
from llmfs.policy.rules import Rule

DEFAULT_CACHE_SIZE = "10G"
MINIMUM_CACHE_SIZE_BYTES = 16 << 20
"""128 blocks of 128 KiB: with fewer, one sequential reader's read-ahead displaces itself."""
_MAXIMUM_SIZE_BYTES = (1 << 63) - 1

THREADS_AT_MOST = 256
"""A call that hangs has another thread started in its place: there are 512 at most (workers.py)."""

_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(?:([KMGTP])(?:i?B)?|B)?\s*", re.IGNORECASE)
_UNITS = "KMGTP"


@dataclass(frozen=True, slots=True)
class Settings:
    """What one place said about a mount; None where it said nothing. The names are the options' names."""

    cache_dir: str | None = None
    cache_size: str | int | None = None
    consistency: str | None = None
    predictor: str | None = None
    control: str | None = None
    profile: str | None = None
    threads: int | None = None
    train: bool | None = None
    metrics_port: int | None = None
    web: bool | None = None
    web_address: str | None = None
    read_only: bool | None = None
    allow_other: bool | None = None
    source_timeout: float | None = None
    offline: str | None = None
    log_level: str | None = None
    guard: str | None = None
    guard_hook: str | None = None
    fuse_options: tuple[str, ...] = ()
    policies: tuple[Rule, ...] = ()

    def over(self, other: "Settings") -> "Settings":
        """These settings where they say something, else those of `other`. Options for FUSE add up, and so do policies:
        these come first, so that they count where both match."""
        merged = {
            field.name: theirs if (ours := getattr(self, field.name)) is None else ours
            for field in dataclasses.fields(self)
            for theirs in [getattr(other, field.name)]
        }
        merged["fuse_options"] = other.fuse_options + self.fuse_options
        merged["policies"] = self.policies + other.policies
        return Settings(**merged)


def mount_config(
    source: Path, mountpoint: Path, settings: Settings, look: Callable[[], Machine] = machine.look
) -> MountConfig:
    """The configuration of one mount. `source` and `mountpoint` are resolved. Raises UsageError.

    `look()` at the machine says which profile `auto` is.
    """
    fits = fitting(_choice(Profile, "profile", settings.profile, Profile.AUTO), look())
    if settings.threads is not None and not 1 <= settings.threads <= THREADS_AT_MOST:
        raise UsageError(f"{settings.threads} is no number of threads: --threads takes 1 to {THREADS_AT_MOST}")
    profile = adjusted(fits.profile, settings.threads, settings.train)
    size_bytes = parse_size(DEFAULT_CACHE_SIZE if settings.cache_size is None else settings.cache_size)
    if size_bytes < MINIMUM_CACHE_SIZE_BYTES:
        raise UsageError(
            f"a cache of {format_size(size_bytes)} is too small:"
            f" --cache-size must be at least {format_size(MINIMUM_CACHE_SIZE_BYTES)}"
        )
    port = settings.metrics_port
    if port is not None and not 0 <= port <= 65535:
        raise UsageError(f"{port} is no port: --metrics-port takes 0 (any free one) to 65535")
    if settings.guard_hook is not None:
        hook_words(settings.guard_hook)
    timeout_s = settings.source_timeout
    if timeout_s is not None and not 0 < timeout_s < 1e6:
        raise UsageError(f"{timeout_s} is no time-out: --source-timeout takes seconds, more than 0")
    return MountConfig(
        source=source,
        mountpoint=mountpoint,
        cache_dir=absolute(settings.cache_dir) if settings.cache_dir else default_cache_dir(source),
        cache_size_bytes=size_bytes,
        consistency=_choice(Consistency, "consistency", settings.consistency, Consistency.CLOSE_TO_OPEN),
        predictor=_choice(Predictor, "predictor", settings.predictor, Predictor.LEARNED),
        control=_choice(Control, "control", settings.control, Control.RULES),
        profile=profile,
        profile_reason=fits.reason,
        metrics_port=port,
        web=bool(settings.web),
        web_address=_address(settings.web_address),
        read_only=bool(settings.read_only),
        allow_other=bool(settings.allow_other),
        source_timeout_s=timeout_s,
        is_offline_ok=_choice(Offline, "offline", settings.offline, Offline.FAIL) is Offline.OK,
        log_level=_choice(LogLevel, "log-level", settings.log_level, LogLevel.INFO),
        guard=_choice(GuardMode, "guard", settings.guard, GuardMode.WATCH),
        guard_hook=settings.guard_hook,
        fuse_options=settings.fuse_options,
        policies=settings.policies,
    )


def parse_size(text: str | int) -> int:
    """Bytes of `10G`, `1.5 GiB`, `64mb`, `1048576`: units are powers of 1024. Raises UsageError."""
    match = _SIZE.fullmatch(str(text))
    if match is None:
        raise UsageError(f"'{one_line(str(text))}' is no size: write a number and K, M, G or T, as in 10G")
    number, unit = match.groups()
    factor = 1024 ** (_UNITS.index(unit.upper()) + 1) if unit else 1
    # Whether it is too long to be a size is told by its length: Decimal would round it, int would take its
    # time.
    size_bytes = _MAXIMUM_SIZE_BYTES + 1 if len(number) > 25 else int(Decimal(number) * factor)
    if size_bytes > _MAXIMUM_SIZE_BYTES:
        raise UsageError(f"'{one_line(str(text))[:40]}' is more than any disk holds")
    return size_bytes


def format_size(size_bytes: float) -> str:
    """`1.5 GiB` and the like, for people."""
    if size_bytes < 1024:
        return f"{size_bytes:.0f} B"
    for unit in _UNITS:
        size_bytes /= 1024
        if size_bytes < 1024 or unit == _UNITS[-1]:
            break
    return f"{size_bytes:.1f} {unit}iB".replace(".0 ", " ")


def default_cache_dir(source: Path) -> Path:
    """One directory per source under `$XDG_CACHE_HOME/llmfs`: a name for people, a hash for us."""
    digest = hashlib.sha256(os.fsencode(source)).hexdigest()[:12]
    return default_cache_root() / f"{source.name or 'root'}-{digest}"


def default_cache_root() -> Path:
    """`$XDG_CACHE_HOME/llmfs`. Raises UsageError where there is no home directory."""
    # The specification says to ignore a relative path there.
    if (configured := os.environ.get("XDG_CACHE_HOME", "")).startswith("/"):
        return Path(os.path.realpath(configured)) / "llmfs"
    try:
        return Path(os.path.realpath(Path.home())) / ".cache" / "llmfs"
    except RuntimeError:
        raise UsageError("there is no home directory to keep a cache in: name one with --cache-dir") from None


def absolute(path: str) -> Path:
    """`path` from the root on, its links resolved, whether it exists or not."""
    try:
        return Path(os.path.realpath(os.path.expanduser(path)))
    except ValueError:
        raise UsageError("a path cannot contain a null byte") from None


def read_options(texts: list[str]) -> Settings:
    """What `-o ro,allow_other,cache-size=1G,noatime` says, as fstab writes it. Raises UsageError."""
    said: dict[str, Any] = {}
    passed: list[str] = []
    for option in filter(None, (each.strip() for text in texts for each in text.split(","))):
        name, _, value = option.partition("=")
        if option in _FLAGS:
            said.update(_FLAGS[option])
        elif (key := name.replace("_", "-")) in _KINDS and _KINDS[key] is not bool and key != "options":
            said[key.replace("-", "_")] = _from_text(key, value)
        elif name == "subtype":
            raise UsageError("-o subtype is llmfs's own: its mounts are found by it")
        elif option not in _FSTAB and not option.startswith("x-"):
            passed.append(option)
    return Settings(**said, fuse_options=tuple(passed))


_FLAGS: dict[str, dict[str, bool]] = {
    "ro": {"read_only": True},
    "rw": {"read_only": False},
    "allow_other": {"allow_other": True},
    "web": {"web": True},
    "train": {"train": True},
    "no-train": {"train": False},
}
_FSTAB = frozenset({"defaults", "auto", "noauto", "user", "nouser", "users", "nofail", "_netdev"})
"""What mount(8) and systemd read in an fstab line and FUSE would refuse."""

_KINDS: dict[str, type | tuple[type, ...]] = {
    "cache-dir": str,
    "cache-size": (str, int),
    "consistency": str,
    "predictor": str,
    "control": str,
    "profile": str,
    "threads": int,
    "train": bool,
    "metrics-port": int,
    "web": bool,
    "web-address": str,
    "read-only": bool,
    "allow-other": bool,
    "source-timeout": (int, float),
    "offline": str,
    "guard": str,
    "guard-hook": str,
    "log-level": str,
    "options": (str, list),
}
"""The keys of a `[mount]` table and what TOML type each takes."""

_KIND_NAMES = {
    str: "a string",
    int: "a number",
    float: "a number of seconds",
    bool: "true or false",
    list: "a list of strings",
}

KEYS = tuple(_KINDS)
"""Of a `[mount]` table, `policy` aside."""


def kind_of(key: str) -> str:
    """What a key takes, in words."""
    kind = _KINDS[key]
    return " or ".join(_KIND_NAMES[each] for each in (kind if isinstance(kind, tuple) else (kind,)))


def read_file(path: str, source: Path) -> Settings:
    """What a configuration file says about mounting `source`. Raises UsageError that names file and key."""
    name = show(Path(path))
    try:
        with open(os.path.expanduser(path), "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise UsageError(f"cannot read the configuration {name}: {reason(error)}") from None
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, a null byte in the path, nested without end
        raise UsageError(f"cannot read the configuration {name}: {one_line(str(error))}") from None
    for key in document:
        if key != "mount":
            raise UsageError(f"unknown key '{one_line(key)}' in {name}: there is one table, [mount]")
    table = document.get("mount", {})
    if not isinstance(table, dict):
        raise UsageError(f"'mount' in {name} must be a table: write [mount]")
    general = {key: value for key, value in table.items() if not isinstance(value, dict)}
    here = os.path.dirname(os.path.realpath(os.path.expanduser(path)))
    settings = _read_table(general, here, name)
    for key, value in table.items():
        if isinstance(value, dict):
            if not key.startswith(("/", "~")):
                raise UsageError(
                    f"unknown table [mount.{one_line(key)}] in {name}: name a source by its path, as in"
                    ' [mount."/mnt/data"]'
                    if key != "policy"
                    else f"[mount.policy] in {name} must be a list of tables: write [[mount.policy]]"
                )
            own = _read_table(value, here, f"{name}, [mount.{one_line(key)}]")
            if absolute(key) == source:
                settings = own.over(settings)
    return settings


def _read_table(table: dict[str, Any], here: str, where: str) -> Settings:
    said: dict[str, Any] = {}
    options: list[str] = []
    for key, value in table.items():
        if key == "policy":
            said["policies"] = read_policies(value, where)
            continue
        kind = _KINDS.get(key)
        if kind is None:
            near = difflib.get_close_matches(key, _KINDS, 1)
            hint = f": did you mean {near[0]}?" if near else f": known are {', '.join(_KINDS)}, policy"
            raise UsageError(f"unknown key '{one_line(key)}' in {where}{hint}")
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if type(value) not in kinds or (type(value) is list and not all(type(each) is str for each in value)):
            expected = " or ".join(_KIND_NAMES[each] for each in kinds)
            raise UsageError(f"{key} in {where} must be {expected}")
        if key == "options":
            options = [value] if isinstance(value, str) else value
        elif key == "cache-dir":
            said["cache_dir"] = os.path.join(here, os.path.expanduser(value))  # relative to the file, not to the shell
        else:
            said[key.replace("-", "_")] = value
    settings = Settings(**said).over(read_options(options))
    try:
        _judge(settings)
    except UsageError as error:
        raise UsageError(f"{error} (in {where})") from None
    return settings


def _judge(settings: Settings) -> None:
    """Raises UsageError where a value cannot be, so that the message can name the file it stands in."""
    mount_config(Path("/"), Path("/"), dataclasses.replace(settings, cache_dir="/"))


def _address(text: str | None) -> str:
    """Raises UsageError where it is no address: a name would have to be looked up, and may be another tomorrow."""
    try:
        return str(ipaddress.ip_address(text or "127.0.0.1"))
    except ValueError:
        raise UsageError(f"'{one_line(text or '')}' is no address: --web-address takes one, such as 0.0.0.0") from None


def _from_text(key: str, value: str) -> str | int | float:
    if not value:
        raise UsageError(f"-o {key} needs a value, as in -o {key}=...")
    if key == "source-timeout":
        try:
            return float(value)
        except ValueError:
            raise UsageError(f"-o {key} takes seconds, not '{one_line(value)}'") from None
    if _KINDS[key] is not int:
        return value
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        raise UsageError(f"-o {key} takes a number, not '{one_line(value)}'")
    return int(value)


_Choice = TypeVar("_Choice", Consistency, Control, GuardMode, Predictor, Profile, Offline, LogLevel)


def _choice(kind: type[_Choice], option: str, value: str | None, default: _Choice) -> _Choice:
    if value is None:
        return default
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(kind)
        raise UsageError(f"'{one_line(value)}' is no {option}: --{option} takes one of {known}") from None
