"""A world to mount in, as of tests/mount."""

from tests.mount.conftest import world

__all__ = ["world"]
