"""What llmfs raises on purpose.

    LlmfsError              what was asked for failed             exit status 1
    ├── UsageError          asked for wrongly: change the words   exit status 2
    ├── MountError          the file system did not come up       exit status 1
    └── CacheError          not a cache, or not ours to use       exit status 1
        └── CacheInUseError a mount holds it                      exit status 1

The message of each is one line that says what is wrong and, where there is one, the way out. The command line
prints that line and nothing else; errors of the source never become one of these, they reach the program with
their own errno.
"""

import os
from pathlib import Path


class LlmfsError(Exception):
    """What was asked for failed."""

    exit_status = 1


class UsageError(LlmfsError):
    """The command line or the configuration file asks for what cannot be: other words are needed."""

    exit_status = 2


class MountError(LlmfsError):
    """The file system could not be mounted or unmounted."""


class CacheError(LlmfsError):
    """The directory is no cache of llmfs, or not one that this version or this source may use."""


class CacheInUseError(CacheError):
    """A mount holds the cache directory."""


def one_line(text: str) -> str:
    """`text` as one printable line, whatever a file's name has in it."""
    printable = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in printable)


def show(path: Path | bytes) -> str:
    """A path as it goes into a message."""
    return one_line(os.fsdecode(path))


def reason(error: OSError) -> str:
    """An error of the operating system in the words of its errno, without the path: the message names it."""
    return (error.strerror or str(error)).lower()
