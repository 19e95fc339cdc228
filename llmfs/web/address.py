"""Where a mount's page is: a file in its cache directory, for its owner alone. Loads nothing: the command line asks."""

import contextlib
import os
from pathlib import Path

ADDRESS_FILE = "web"


def write_address(cache_dir: Path, address: str, port: int, secret: str) -> None:
    """Write down where the page is. Raises OSError."""
    host = f"[{address}]" if ":" in address else address
    descriptor = os.open(cache_dir / ADDRESS_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        file.write(f"http://{host}:{port}/{secret}/\n")


def read_address(cache_dir: Path) -> str | None:
    """Where the page of the mount with this cache directory is, as far as one may know."""
    try:
        return (cache_dir / ADDRESS_FILE).read_text("ascii").strip() or None
    except (OSError, ValueError):
        return None


def remove_address(cache_dir: Path) -> None:
    """The mount goes, and its page with it."""
    with contextlib.suppress(OSError):
        (cache_dir / ADDRESS_FILE).unlink()
