"""A real Prometheus scrapes a live mount under load and finds data for all that the dashboards and rules ask.

And promtool, Prometheus's own linter, accepts the metrics, the rules and what the alerts are expected to say.
"""

import itertools
import math
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import needs_fuse
from tests.examples.prometheus_server import PrometheusServer, needs_prometheus, needs_promtool
from tests.examples.promql import ALERTS, PROMETHEUS, RECORDED, RULES, expressions, selectors, with_variables
from tests.mount.conftest import Mounted, World, drop_pages, eventually

FILES = 60
LARGE_BYTES = 600_000
CACHE_SIZE = "32M"
DATA_TIMEOUT_S = 90

MAY_BE_UNKNOWN = frozenset(("llmfs_predictor_training_loss",))
"""Served, but not a number before the first training."""


class Load:
    """Three programs: one reads all files again and again, one in small pieces, one lists directories and looks at each
    name."""

    def __init__(self, mounted: Mounted) -> None:
        self._mounted = mounted
        self._is_over = threading.Event()
        self._errors: list[OSError] = []
        self._threads = [
            threading.Thread(target=self._run, args=(act,)) for act in (self._read, self._pick, self._look)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(30)
        assert not self._errors, self._errors[:3]

    def _run(self, act: object) -> None:
        assert callable(act)
        try:
            for number in itertools.count():
                if self._is_over.is_set():
                    return
                act(number)
        except OSError as error:
            self._errors.append(error)

    def _read(self, number: int) -> None:
        path = self._mounted / f"data/file-{number % FILES:03}"
        path.read_bytes()
        drop_pages(path)

    def _pick(self, number: int) -> None:
        with open(self._mounted / f"data/file-{number % FILES:03}", "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            for offset in range(0, LARGE_BYTES, 4 * 4096):
                os.pread(file.fileno(), 4096, offset)
        time.sleep(0.1)  # the kernel is given what was asked for in pieces

    def _look(self, number: int) -> None:
        with os.scandir(self._mounted / f"names/{number % 8}") as entries:
            for entry in entries:
                entry.stat()
        (self._mounted / "written").write_bytes(b"x" * (1 + number % 1000))


@pytest.fixture
def prometheus(world: World) -> Iterator[PrometheusServer]:
    """Of a mount that is at work."""
    (world.backing / "data").mkdir()
    for number in range(FILES):
        (world.backing / "data" / f"file-{number:03}").write_bytes(os.urandom(LARGE_BYTES))
    for directory in range(8):
        (world.backing / "names" / str(directory)).mkdir(parents=True)
        for number in range(40):
            (world.backing / "names" / str(directory) / f"{number:03}").touch()
    # Less than the files have: there is always something to fetch, and something to evict.
    configuration = world.root / "llmfs.toml"
    configuration.write_text("[[mount.policy]]\npath = 'data/file-00*'\nshare = '10%'\n")
    options = ("--metrics-port", "0", "--cache-size", CACHE_SIZE, "--config", str(configuration))
    mounted = world.mount(*options, source=world.slow_source())
    port = mounted.status()["metrics_port"]
    with PrometheusServer(world.root / "prometheus", port) as server, Load(mounted):
        yield server


@needs_fuse
@needs_prometheus
def test_prometheus_finds_data_for_every_expression(prometheus: PrometheusServer) -> None:
    wanted = {f"{where}: {asked}": with_variables(asked) for where, asked in expressions()}
    wanted |= {f"recorded {name}": name for name in RECORDED}
    for rule in ALERTS:  # a healthy mount fires none, but what they look at has to be there
        for name, matchers in selectors(rule["expr"]):
            wanted[f"{rule['alert']}: {name}{matchers}"] = name + matchers

    def missing() -> set[str]:
        for where, asked in list(wanted.items()):
            values = [float(sample["value"][1]) for sample in prometheus.query(asked)]
            is_unknown = any(name in MAY_BE_UNKNOWN for name, _ in selectors(asked))
            if any(is_unknown or not math.isnan(value) for value in values):
                del wanted[where]
        return set(wanted)

    try:
        eventually(lambda: not missing(), DATA_TIMEOUT_S)
    except pytest.fail.Exception:
        pytest.fail("no data for " + "\n".join(sorted(wanted)))


@needs_fuse
@needs_prometheus
def test_rules_are_healthy_and_a_mount_that_works_fires_no_alert(prometheus: PrometheusServer) -> None:
    eventually(lambda: prometheus.query("instance:llmfs_prefetch_accuracy:ratio_rate1h"), DATA_TIMEOUT_S, "records")
    eventually(lambda: "unknown" not in {rule["health"] for rule in prometheus.rules()}, DATA_TIMEOUT_S, "evaluations")
    rules = prometheus.rules()
    assert len(rules) == len(RULES)
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []


@needs_fuse
@needs_promtool
def test_promtool_finds_nothing_wrong_with_the_metrics_of_a_mount(world: World, files: list[Path]) -> None:
    mounted = world.mount("--metrics-port", "0")
    for path in files:
        (mounted / path.name).read_bytes()
    url = f"http://127.0.0.1:{mounted.status()['metrics_port']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        served = answer.read()
    done = subprocess.run(["promtool", "check", "metrics"], input=served, capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", PROMETHEUS / "prometheus.yml"),
        ("check", "rules", PROMETHEUS / "rules.yml", PROMETHEUS / "alerts.yml"),
        ("test", "rules", Path(__file__).with_name("alerts_test.yml")),
    ],
    ids=["config", "rules", "alerts"],
)
def test_promtool_accepts(arguments: tuple[str | Path, ...]) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
