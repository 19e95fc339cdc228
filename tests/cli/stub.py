"""The command line with a file system behind it that is as small as can be: run as a program by the tests.

`STUB` says how its `serve` behaves; `sys.modules` is told before the command line asks for `llmfs.mount`.
"""

import errno
import json
import os
import signal
import stat
import sys
import threading
import types
from collections.abc import Callable

from llmfs import cli
from llmfs.cache_dir import CacheDir
from llmfs.config import MountConfig
from llmfs.daemon import complaints_of_libraries
from llmfs.errors import MountError


def serve(config: MountConfig, on_ready: Callable[[], None], reread: Callable[[], MountConfig]) -> None:
    match os.environ.get("STUB", "serve"):
        case "refuse":
            raise MountError("the stub\nrefuses")
        case "bug":
            raise RuntimeError("a bug")
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "returns":
            return
        case "state":
            _write_state(config, on_ready)
        case _:
            with CacheDir.open(config):
                _serve_empty_directory(config, on_ready)


def _write_state(config: MountConfig, on_ready: Callable[[], None]) -> None:
    """Says what the process in the background is like, in the file whose name the cache directory's has plus .json."""
    print("said on stderr", file=sys.stderr, flush=True)
    state = {
        "cwd": os.getcwd(),
        "session_is_own": os.getsid(0) == os.getpid(),
        "umask": os.umask(0),
        "threads": threading.active_count(),
        "descriptors": sorted(
            os.readlink(f"/proc/self/fd/{each}").split(":")[0]
            for each in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{each}")
        ),
        "loaded_early": [each for each in ("torch", "trio", "pyfuse3", "numpy") if each in sys.modules],
    }
    on_ready()
    unfinished = f"{config.cache_dir}.tmp"
    with open(unfinished, "w") as file:
        json.dump(state, file)
    os.rename(unfinished, f"{config.cache_dir}.json")


def _serve_empty_directory(config: MountConfig, on_ready: Callable[[], None]) -> None:
    import pyfuse3
    import trio

    class Empty(pyfuse3.Operations):
        async def getattr(
            self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext | None = None
        ) -> pyfuse3.EntryAttributes:
            entry = pyfuse3.EntryAttributes()
            entry.st_ino = pyfuse3.ROOT_INODE
            entry.st_mode = stat.S_IFDIR | 0o755
            entry.st_uid, entry.st_gid = os.getuid(), os.getgid()
            return entry

        async def opendir(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileHandleT:
            return pyfuse3.FileHandleT(1)

        async def readdir(self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
            return

        async def getxattr(self, inode: pyfuse3.InodeT, name: pyfuse3.XAttrNameT, ctx: pyfuse3.RequestContext) -> bytes:
            if name != b"user.llmfs.status":
                raise pyfuse3.FUSEError(errno.ENODATA)
            status = {
                "pid": os.getpid(),
                "source": str(config.source),
                "cache_dir": str(config.cache_dir),
                "reads": {"cache": 3, "source": 1},
            }
            return json.dumps(status).encode()

    options = {"fsname=" + str(config.source), "subtype=llmfs", *config.fuse_options}
    try:
        with complaints_of_libraries() as complaints:
            pyfuse3.init(Empty(), str(config.mountpoint), options)
    except RuntimeError as error:
        why = "; ".join(complaints) or str(error)
        raise ExceptionGroup("a nursery's", [MountError(f"cannot mount at {config.mountpoint}: {why}")]) from error

    async def main() -> None:
        on_ready()
        await pyfuse3.main()

    try:
        trio.run(main)
    finally:
        pyfuse3.close(unmount=True)


if __name__ == "__main__":
    module = types.ModuleType("llmfs.mount")
    module.serve = serve  # type: ignore[attr-defined]
    sys.modules["llmfs.mount"] = module
    cli.main()
