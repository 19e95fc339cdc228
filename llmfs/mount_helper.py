"""`mount.llmfs`: what mount(8) starts for `mount -t llmfs SOURCE MOUNTPOINT -o OPTIONS` and for lines of /etc/fstab.

    mount.llmfs SOURCE MOUNTPOINT [-sfnv] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]

mount(8) looks for it in /sbin: link it there. Options are those of `llmfs mount -o`, and `config=FILE`. Exit statuses
are mount's: 1 for words that are wrong, 32 where the mount failed.
"""

import getopt
import os
import sys
from typing import NoReturn

from llmfs.errors import one_line

USAGE = "usage: mount.llmfs SOURCE MOUNTPOINT [-sfnv] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]"

USAGE_ERROR, FAILURE = 1, 32
_STATUSES = {0: 0, 2: USAGE_ERROR, 130: FAILURE}


def main() -> NoReturn:
    """The `mount.llmfs` program."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Mounts as mount(8) asks for it; returns the exit status."""
    try:
        words, is_fake = read(arguments)
    except (getopt.GetoptError, ValueError) as error:
        print(f"mount.llmfs: {one_line(str(error))}: {USAGE}", file=sys.stderr)
        return USAGE_ERROR
    if is_fake:
        return 0
    os.environ.setdefault("PATH", os.defpath)  # at boot there may be none to find fusermount3 on
    from llmfs import cli

    return _STATUSES.get(cli.run(words), FAILURE)


def read(arguments: list[str]) -> tuple[list[str], bool]:
    """The words for `llmfs` that mount's words stand for, and whether it is all to be pretended (-f).

    Raises GetoptError, ValueError.
    """
    flags, names = getopt.gnu_getopt(arguments, "sfnvwrN:t:o:")
    if len(names) != 2:
        raise ValueError("SOURCE and MOUNTPOINT are needed")
    options: list[str] = []
    for flag, value in flags:
        if flag == "-o":
            options += filter(None, value.split(","))
        elif flag == "-r":
            options.append("ro")
        elif flag == "-N":
            raise ValueError("it cannot mount in another namespace (-N): use nsenter")
    if "remount" in options:
        raise ValueError("it cannot change a mount: take it down with umount, and mount it again")
    words = ["mount"]
    passed = []
    for option in options:
        key, _, value = option.partition("=")
        if key == "config":
            words += ["--config", value]
        else:
            passed.append(option)
    if passed:
        words += ["-o", ",".join(passed)]
    return [*words, "--", *names], "-f" in dict(flags)
