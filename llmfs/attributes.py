"""What stat tells of a file, in a form that is cheap to keep and to store."""

from __future__ import annotations

import stat
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import os


class Attributes(NamedTuple):
    """The fields of stat(2). Times in nanoseconds since the epoch, sizes in bytes.

    `dev` is 0 for the file system of the source's root: the number it has changes whenever that is mounted anew.
    """

    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    blksize: int
    blocks: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    dev: int
    ino: int

    @classmethod
    def of(cls, st: os.stat_result, root_device: int) -> Attributes:
        """What stat said, where the source's root lies on `root_device`."""
        return cls(
            st.st_mode,
            st.st_nlink,
            st.st_uid,
            st.st_gid,
            st.st_rdev,
            st.st_size,
            st.st_blksize,
            st.st_blocks,
            st.st_atime_ns,
            st.st_mtime_ns,
            st.st_ctime_ns,
            0 if st.st_dev == root_device else st.st_dev,
            st.st_ino,
        )

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_regular(self) -> bool:
        return stat.S_ISREG(self.mode)


PACKED = struct.Struct("<IIIIQqIqqqqQQ")
"""`Attributes`, field by field, as the cache stores them."""
