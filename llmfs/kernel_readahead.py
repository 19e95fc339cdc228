"""How far the kernel reads ahead of a program on our mount, and so how much it asks for at a time: 128 KiB by default.

What a request costs us hardly depends on what it asks for, so a larger window is less work for the same bytes. A file
of 96 MiB read from start to end over 2 ms and 200 MB/s (`bench.matrix`'s "fio sequential", the window set by hand after
mounting) with 128, 256, 512 KiB, medians: cold 0.72, 0.68, 0.66 s, and 1.08, 0.74, 0.91 s while others kept the cores
busy; cached 0.17, 0.19, 0.15 s, and 0.68, 0.61, 0.52 s. The window is also what a page fault in a mapped file brings:
an import of torch asked for 1% more bytes with 256 KiB, and for 11% more with 512.

Only root can widen it: FUSE_INIT can only narrow it, and the file in sysfs is root's (sysfs-class-bdi in the kernel's
documentation). Where it cannot be written all is as it was.
"""

import logging
from pathlib import Path

log = logging.getLogger(__name__)

DEFAULT_KB = 128
"""VM_READAHEAD_PAGES. Another value somebody wanted: it stays."""

WINDOW_KB = 256


def window_of(device: int) -> Path:
    """The file that says how far, by a FUSE mount's minor device number; its major one is 0."""
    return Path(f"/sys/class/bdi/0:{device}/read_ahead_kb")


def widen(window: Path) -> None:
    """Have the kernel read ahead as far as is good for us, where nobody has wanted anything else."""
    try:
        if int(window.read_text(encoding="ascii")) == DEFAULT_KB:
            window.write_text(str(WINDOW_KB), encoding="ascii")
    except (OSError, ValueError) as error:
        log.debug("the kernel's readahead stays as it is: %s", error)
