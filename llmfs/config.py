"""What a mount is told: one frozen value, made by the command line, read by everybody else."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from llmfs.machine_profile import DESKTOP, MachineProfile
from llmfs.policy.rules import Rule


class Consistency(StrEnum):
    """How soon a change made to the source by somebody else is seen."""

    CLOSE_TO_OPEN = "close-to-open"  # at the next open, at most the attribute time-to-live (3-60 s) later
    STRICT = "strict"  # at once: every open and stat asks the source
    IMMUTABLE = "immutable"  # never: the source does not change


class Predictor(StrEnum):
    """What prefetches."""

    LEARNED = "learned"
    SEQUENTIAL = "sequential"
    OFF = "off"


class Control(StrEnum):
    """What steers how eager prefetching is."""

    LEARNED = "learned"
    RULES = "rules"
    OFF = "off"


class Offline(StrEnum):
    """What to do where the source is not there when it is to be mounted."""

    FAIL = "fail"
    OK = "ok"  # mount, serve what is cached, and take up the source when it comes


class LogLevel(StrEnum):
    """The least that goes to the log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class GuardMode(StrEnum):
    """What is done about programs that seem to encrypt other people's files."""

    OFF = "off"
    WATCH = "watch"  # tell: log, metric, hook
    THROTTLE = "throttle"  # also delay their changes, and keep what they overwrite
    PROTECT = "protect"  # also refuse them with EROFS


@dataclass(frozen=True, slots=True)
class MountConfig:
    """Everything that `llmfs mount` decides before it mounts. Paths are absolute and resolved."""

    source: Path
    mountpoint: Path
    cache_dir: Path
    cache_size_bytes: int
    consistency: Consistency = Consistency.CLOSE_TO_OPEN
    predictor: Predictor = Predictor.LEARNED
    control: Control = Control.RULES
    profile: MachineProfile = DESKTOP
    profile_reason: str = ""  # why it is that one
    metrics_port: int | None = None  # None: no endpoint; 0: any free port
    web: bool = False  # a page beside the metrics, on any free port where none was said
    web_address: str = "127.0.0.1"  # of both
    read_only: bool = False
    allow_other: bool = False
    source_timeout_s: float | None = None  # a request that waits longer for the source ends in ETIMEDOUT
    log_level: LogLevel = LogLevel.INFO
    is_offline_ok: bool = False  # mount although the source is not there
    guard: GuardMode = GuardMode.WATCH
    guard_hook: str | None = None  # a command that is run for each finding
    fuse_options: tuple[str, ...] = ()
    policies: tuple[Rule, ...] = ()  # the first one that matches counts
