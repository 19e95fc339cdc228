"""Prometheus's and Grafana's files name what a mount serves, and the table of metrics is up to date."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmfs import metrics_table
from tests.cli.conftest import needs_fuse
from tests.examples.conftest import EXAMPLES
from tests.mount.conftest import World, eventually

PROMETHEUS = EXAMPLES / "prometheus"
CONFIGURATION = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
ALERTS = [
    rule for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD = json.loads((EXAMPLES / "grafana" / "llmfs.json").read_text())
PANELS = DASHBOARD["panels"]

_SELECTOR = re.compile(r"\b(llmfs_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=|=~|!=|!~)"([^"]*)"')

TABLE = metrics_table.rows()
ROWS = {series: row for row in TABLE for series in row.series}


def expressions() -> Iterator[tuple[str, str]]:
    """Where it stands, and the PromQL."""
    yield from ((rule["alert"], rule["expr"]) for rule in ALERTS)
    yield from ((panel["title"], target["expr"]) for panel in PANELS for target in panel.get("targets", ()))


def test_expressions_name_what_a_mount_serves() -> None:
    for where, expression in expressions():
        selectors = _SELECTOR.findall(expression)
        assert selectors or where == "LlmfsDown", f"{where} names no metric"
        for name, matchers in selectors:
            assert name in ROWS, f"{where}: there is no metric {name}"
            for label, _, value in _MATCHER.findall(matchers):
                if label == "instance":
                    continue
                known = ROWS[name].labels.get(label)
                assert known is not None, f"{where}: {name} has no label {label}"
                assert not known or set(value.split("|")) <= set(known), f"{where}: {name} has no {label} {value}"


@needs_fuse
def test_every_series_is_served_by_a_real_mount(world: World, files: list[Path]) -> None:
    mounted = world.mount("--metrics-port", "0")
    for path in files:
        (mounted / path.name).read_bytes()
    wanted = {name for _, expression in expressions() for name, _ in _SELECTOR.findall(expression)}

    def missing() -> set[str]:
        return wanted - set(re.findall(r"^(\w+)", mounted.metrics_text(), re.MULTILINE))

    eventually(lambda: not missing(), 10, "all series are served")  # the predictor reports once a second


def test_alerts_say_what_to_do() -> None:
    assert ALERTS
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("info", "warning")
        assert rule["annotations"]["summary"] and rule["annotations"]["description"]


def test_configuration_names_its_rules() -> None:
    assert [(PROMETHEUS / name).is_file() for name in CONFIGURATION["rule_files"]] == [True]
    jobs = [job["job_name"] for job in CONFIGURATION["scrape_configs"]]
    assert jobs == ["llmfs"]
    assert any('job="llmfs"' in rule["expr"] for rule in ALERTS)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_configuration() -> None:
    done = subprocess.run(
        ["promtool", "check", "config", PROMETHEUS / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_are_complete_and_apart() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in PANELS:
        assert panel["type"] == "row" or (panel["targets"] and panel["description"]), panel["title"]
        place: dict[str, Any] = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_table_of_metrics_is_up_to_date() -> None:
    assert (PROMETHEUS / "METRICS.md").read_text() == metrics_table.markdown(TABLE), (
        "python -m llmfs.metrics_table > examples/prometheus/METRICS.md"
    )


def test_table_names_what_prometheus_sees() -> None:
    assert {"llmfs_reads_total", "llmfs_request_duration_seconds_bucket", "llmfs_cache_bytes", "llmfs_info"} <= set(
        ROWS
    )
    assert ROWS["llmfs_reads_total"].labels == {"tier": ["cache", "joined", "source"]}
