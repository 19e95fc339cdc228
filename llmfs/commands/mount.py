"""`llmfs mount` and `llmfs umount`."""

import logging
import os
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

import llmfs
from llmfs import daemon, mounts, preflight, settings
from llmfs.cache_dir import CacheDir
from llmfs.commands.completion import choices, mountpoints
from llmfs.config import Consistency, Control, GuardMode, LogLevel, MountConfig, Offline, Predictor
from llmfs.errors import LlmfsError, MountError, show
from llmfs.machine_profile import Profile
from llmfs.web.address import read_address

_log = logging.getLogger(__name__)


def _option(*names: str, metavar: str | None = None, about: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=about, show_default=False)


def _choice(name: str, kind: type[StrEnum], about: str) -> Any:
    """An option that takes one of some words. settings.py judges them, for they may stand in a file as well."""
    return typer.Option(name, metavar="|".join(kind), help=about, show_default=False, autocompletion=choices(kind))


def mount(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The slow directory.", show_default=False)],
    mountpoint: Annotated[str, typer.Argument(metavar="MOUNTPOINT", help="An existing directory.", show_default=False)],
    foreground: Annotated[
        bool, _option("--foreground", "-f", about="Serve in this process and log to stderr.")
    ] = False,
    cache_dir: Annotated[
        str | None,
        _option(
            "--cache-dir",
            metavar="DIR",
            about="What the mount keeps (default: in ~/.cache/llmfs).",
        ),
    ] = None,
    cache_size: Annotated[
        str | None,
        _option("--cache-size", metavar="SIZE", about="Its limit on disk, such as 500M (default: 10G)."),
    ] = None,
    consistency: Annotated[
        str | None,
        _choice(
            "--consistency",
            Consistency,
            "When others' changes to the source are seen: at the next open (default), at once, never.",
        ),
    ] = None,
    predictor: Annotated[
        str | None,
        _choice("--predictor", Predictor, "What prefetches (default: learned)."),
    ] = None,
    control: Annotated[
        str | None,
        _choice("--control", Control, "What holds prefetching back and shares out cache and line (default: rules)."),
    ] = None,
    profile: Annotated[
        str | None,
        _choice(
            "--profile",
            Profile,
            "How much memory and how many threads it takes (default: auto, by the machine). edge: 150 MB in all.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        _option(
            "--threads", metavar="N", about="Threads that wait for the source; half as many prefetch (default: 32)."
        ),
    ] = None,
    train: Annotated[
        bool | None,
        _option("--train/--no-train", about="Train the predictor's network when idle (default: yes, but on edge no)."),
    ] = None,
    metrics_port: Annotated[
        int | None,
        _option("--metrics-port", metavar="PORT", about="Serve Prometheus metrics there; 0 takes any free port."),
    ] = None,
    web: Annotated[
        bool | None, _option("--web/--no-web", about="Serve a live page beside the metrics; llmfs status says where.")
    ] = None,
    web_address: Annotated[
        str | None,
        _option("--web-address", metavar="ADDRESS", about="Where both are served (default: 127.0.0.1, this machine)."),
    ] = None,
    read_only: Annotated[bool | None, _option("--read-only/--no-read-only", about="Refuse writes.")] = None,
    allow_other: Annotated[bool | None, _option("--allow-other/--no-allow-other", about="Let other users in.")] = None,
    source_timeout: Annotated[
        float | None,
        _option(
            "--source-timeout",
            metavar="SECONDS",
            about="A request that waits longer for the source fails with ETIMEDOUT (default: it waits).",
        ),
    ] = None,
    offline: Annotated[
        str | None,
        _choice(
            "--offline",
            Offline,
            "When SOURCE is not there: fail (default), or mount and serve what is cached until it is.",
        ),
    ] = None,
    log_level: Annotated[
        str | None,
        _choice("--log-level", LogLevel, "The least that is logged (default: info)."),
    ] = None,
    guard: Annotated[
        str | None,
        _choice(
            "--guard",
            GuardMode,
            "What is done about programs that seem to encrypt your files: told (default), slowed down, stopped.",
        ),
    ] = None,
    guard_hook: Annotated[
        str | None,
        _option("--guard-hook", metavar="COMMAND", about="Run for each finding, with LLMFS_GUARD_ID and the like set."),
    ] = None,
    options: Annotated[
        list[str] | None,
        _option("-o", metavar="OPTIONS", about="ro, allow_other, KEY=VALUE as above, and FUSE's own, by commas."),
    ] = None,
    config: Annotated[
        str | None,
        _option("--config", metavar="FILE", about="A TOML file with a [mount] table; options beat it."),
    ] = None,
) -> None:
    """Mount SOURCE at MOUNTPOINT, and return when it is ready."""
    real_source, real_mountpoint = settings.absolute(source), settings.absolute(mountpoint)
    said = settings.Settings(
        cache_dir=cache_dir,
        cache_size=cache_size,
        consistency=consistency,
        predictor=predictor,
        control=control,
        profile=profile,
        threads=threads,
        train=train,
        metrics_port=metrics_port,
        web=web,
        web_address=web_address,
        read_only=read_only,
        allow_other=allow_other,
        source_timeout=source_timeout,
        offline=offline,
        guard=guard,
        guard_hook=guard_hook,
        log_level=log_level,
    ).over(settings.read_options(options or []))
    file = str(settings.absolute(config)) if config is not None else None  # a daemon has another working directory

    def read() -> MountConfig:
        merged = said if file is None else said.over(settings.read_file(file, real_source))
        return settings.mount_config(real_source, real_mountpoint, merged)

    resolved = read()
    preflight.check(resolved)
    _serve(resolved, read, foreground=foreground)


def umount(
    mountpoint: Annotated[str, typer.Argument(metavar="MOUNTPOINT", show_default=False, autocompletion=mountpoints)],
    lazy: Annotated[bool, _option("--lazy", about="Detach it now, even if it is busy.")] = False,
    force: Annotated[
        bool,
        _option("--force", about="End it, even if it does not answer: programs that wait for it get errors."),
    ] = False,
) -> None:
    """Take a mount down, and return when its cache can be mounted again."""
    print(mounts.unmount(mountpoint, lazy=lazy, force=force))


def _serve(config: MountConfig, reread: Callable[[], MountConfig], *, foreground: bool) -> None:
    cache = CacheDir(config.cache_dir)
    made = cache.prepare(config.source)

    def serve(on_ready: Callable[[], None]) -> None:
        daemon.take_log_level(config.log_level)

        def ready() -> None:
            where = show(config.source), show(config.mountpoint)
            _log.info("llmfs %s: %s is mounted at %s", llmfs.__version__, *where)
            _log.info("its profile is %s: %s", config.profile.name, config.profile_reason)
            on_ready()

        _load_serve()(config, ready, reread)

    try:
        if foreground:
            daemon.serve_in_foreground(serve)
        else:
            daemon.serve_in_background(serve, cache.log)
            print(f"{show(config.source)} is mounted at {show(config.mountpoint)}; its log is {show(cache.log)}")
            if (page := read_address(cache.path)) is not None:
                print(f"its page is {page}")
    except daemon.DaemonError:
        raise  # the log is in there
    except (LlmfsError, KeyboardInterrupt):
        cache.remove(made)
        raise


def _load_serve() -> Callable[[MountConfig, Callable[[], None], Callable[[], MountConfig]], None]:
    """The file system, loaded where it will run: it brings what may start threads."""
    # NumPy's BLAS starts a thread for each core when it is loaded, which would wait for matrices that never come.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from llmfs.mount import serve
    except ImportError as error:
        raise MountError(f"cannot load the file system ({error}): llmfs doctor says what is missing") from error
    return serve
