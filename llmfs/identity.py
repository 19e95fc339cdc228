"""Doing a thing as somebody else, in one thread.

A daemon that runs as root serves many people; what they create must be theirs and what they may not do must fail.
Linux keeps credentials per thread; the C library's wrappers change all of them, so the bare system calls are used here.
Dropping the file system user id to a person's also drops root's file capabilities for that thread (capabilities(7)).
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_libc = ctypes.CDLL(None, use_errno=True)
_CAP_SYS_ADMIN = 1 << 21
_SETGROUPS = {"x86_64": 116, "aarch64": 159, "riscv64": 159}.get(os.uname().machine)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asked: the ids of the process that made the request."""

    uid: int
    gid: int
    pid: int

    def groups(self) -> tuple[int, ...]:
        """The supplementary groups, from /proc; none where the process is gone."""
        return tuple(int(group) for group in self._status("Groups:"))

    def may_administer(self) -> bool:
        """Whether this is root with CAP_SYS_ADMIN; in a user namespace of its own or gone it is not."""
        return self.uid == 0 and any(int(mask, 16) & _CAP_SYS_ADMIN for mask in self._status("CapEff:"))

    def _status(self, field: str) -> list[str]:
        """The words of a line of /proc/PID/status, see proc(5)."""
        try:
            with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as status:
                return next((line.split()[1:] for line in status if line.startswith(field)), [])
        except OSError:
            return []


_is_root = os.geteuid() == 0


@contextmanager
def acting_as(caller: Caller | None) -> Iterator[None]:
    """Run the block in this thread with the caller's file system ids. Does nothing unless we are root and he is not.

    Root with another group than ours counts as another: what he makes is of that group.
    """
    if caller is None or not _is_root or (caller.uid == 0 and caller.gid == os.getegid()):
        yield
        return
    own_groups = os.getgroups()
    _set_groups(caller.groups())
    _libc.setfsgid(caller.gid)
    _libc.setfsuid(caller.uid)
    try:
        yield
    finally:
        _libc.setfsuid(0)
        _libc.setfsgid(os.getegid())
        _set_groups(own_groups)


def _set_groups(groups: "tuple[int, ...] | list[int]") -> None:
    if _SETGROUPS is None:
        return
    array = (ctypes.c_uint32 * len(groups))(*groups)
    if _libc.syscall(_SETGROUPS, len(groups), array) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
