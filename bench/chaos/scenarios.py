"""The scenarios by name, in the order in which they run, and the running of one."""

from collections.abc import Callable, Mapping

from bench.chaos.cache_disk import cache_disk
from bench.chaos.cache_slow import cache_slow
from bench.chaos.kill import kill_mount, kill_predictor, kill_push
from bench.chaos.many import many_files, many_handles, memory
from bench.chaos.place import Result, Task
from bench.chaos.soak import soak

SCENARIOS: Mapping[str, Callable[[Task], Result]] = {
    "kill-mount": kill_mount,
    "kill-predictor": kill_predictor,
    "kill-push": kill_push,
    "many-handles": many_handles,
    "many-files": many_files,
    "memory": memory,
    "cache-disk": cache_disk,
    "cache-slow": cache_slow,
    "soak": soak,
}

ELSEWHERE = {"clock": "jumps of the clock take a clock of our own: tests/mount/test_clock.py has them"}
"""What one might look for here."""
