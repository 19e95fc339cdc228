"""Mounts a directory for as long as a command runs in it: python mount_from_python.py SOURCE MOUNTPOINT COMMAND...

The steps are those of `llmfs mount`: settings become a configuration, which is checked before anything is made; the
cache directory is prepared; a process in the background serves.
"""

import subprocess
import sys
from collections.abc import Callable

from llmfs import daemon, mounts, preflight, settings
from llmfs.cache_dir import CacheDir
from llmfs.errors import LlmfsError


def main(source: str, mountpoint: str, *command: str) -> int:
    said = settings.Settings(cache_size="2G", consistency="immutable")
    config = settings.mount_config(settings.absolute(source), settings.absolute(mountpoint), said)
    preflight.check(config)
    cache = CacheDir(config.cache_dir)
    cache.prepare(config.source)

    def serve(on_ready: Callable[[], None]) -> None:
        from llmfs.mount import serve  # in the child: what it imports starts threads, which a fork would lose

        serve(config, on_ready)

    daemon.serve_in_background(serve, cache.log)
    try:
        return subprocess.run(command, cwd=mountpoint, check=False).returncode
    finally:
        print(mounts.unmount(mountpoint), file=sys.stderr)


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except LlmfsError as error:
        sys.exit(f"mount_from_python: {error}")
