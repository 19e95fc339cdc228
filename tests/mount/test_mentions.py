"""What a file names is there when it is asked for, the first time too."""

import os
import re

from tests.mount.conftest import Mounted, World, eventually


def issued(mounted: Mounted) -> int:
    """Files and blocks that were fetched because others name them."""
    pattern = r'^llmfs_prefetch_issued_total\{generator="mention",kind="data"\} (\S+)$'
    found = re.search(pattern, mounted.metrics_text(), re.MULTILINE)
    return int(float(found[1])) if found else 0


def test_headers_of_a_source_are_read_from_the_cache_the_first_time(world: World) -> None:
    headers = [f"part{n:02}.h" for n in range(12)]
    others = [f"unused{n:02}.h" for n in range(12)]
    (world.backing / "main.c").write_text("".join(f'#include "{name}"\n' for name in headers))
    for name in headers + others:
        (world.backing / name).write_text(f"/* {name} */\n" * 100)
    m = world.mount("--predictor", "sequential", "--metrics-port", "0", source=world.slow_source())
    os.listdir(m.path)
    (m / "main.c").read_text()
    eventually(lambda: issued(m) >= len(headers), 20, "what it names is fetched")
    assert world.slow is not None
    world.slow.reset_counters()
    for name in headers:
        assert (m / name).read_text() == f"/* {name} */\n" * 100
    assert world.slow.counters["read"] == 0
    assert issued(m) == len(headers), "and nothing else is"


def test_without_a_predictor_nothing_is_looked_into(world: World) -> None:
    (world.backing / "main.c").write_text('#include "part.h"\n')
    (world.backing / "part.h").write_text("x")
    m = world.mount("--predictor", "off", "--metrics-port", "0", source=world.slow_source())
    os.listdir(m.path)
    (m / "main.c").read_text()
    (m / "part.h").read_text()
    assert issued(m) == 0
