"""Prometheus's and Grafana's files fit what a mount serves and each other, and what is generated is up to date."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmfs import metrics_table
from tests.examples.conftest import EXAMPLES
from tests.examples.promql import (
    ALERTS,
    DASHBOARDS,
    GRAFANA,
    PROMETHEUS,
    RECORDED,
    RULES,
    expressions,
    panels,
    selectors,
)

CONFIGURATION = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
COMPOSE = yaml.safe_load((GRAFANA / "compose.yml").read_text())["services"]
_MATCHER = re.compile(r'(\w+)(=|=~|!=|!~)"([^"]*)"')

TABLE = metrics_table.rows()
ROWS = {series: row for row in TABLE for series in row.series}
OF_PROMETHEUS = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "instance"}}

SCREEN_ROWS = 24
"""Of Grafana's grid on 1080 lines."""


def test_expressions_name_what_a_mount_serves() -> None:
    for where, expression in [*((rule.get("alert") or rule["record"], rule["expr"]) for rule in RULES), *expressions()]:
        found = selectors(expression)
        assert found, f"{where} names no metric"
        for name, matchers in found:
            if name in RECORDED or name in OF_PROMETHEUS:
                continue
            assert name in ROWS, f"{where}: there is no metric {name}"
            for label, _, value in _MATCHER.findall(matchers):
                if label in ("instance", "job"):
                    continue
                known = ROWS[name].labels.get(label)
                assert known is not None, f"{where}: {name} has no label {label}"
                assert not known or set(value.split("|")) <= set(known), f"{where}: {name} has no {label} {value}"


def test_what_is_recorded_is_used() -> None:
    asked = [rule["expr"] for rule in ALERTS] + [expression for _, expression in expressions()]
    used = {name for expression in asked for name, _ in selectors(expression)}
    assert set(RECORDED) <= used


def test_nearly_every_metric_is_on_a_dashboard_or_in_an_alert() -> None:
    """What is served and never looked at is a series for nothing."""
    asked = [rule["expr"] for rule in RULES] + [expression for _, expression in expressions()]
    used = {name for expression in asked for name, _ in selectors(expression)}
    idle = {row.name for row in TABLE if not used.intersection(row.series)}
    ours = {name for name in idle if "process_" not in name}
    assert ours <= {
        "llmfs_cache_evicted_blocks",  # bytes are shown
        "llmfs_predictor_visits",  # to understand the predictor by hand
        "llmfs_predictor_unknown",
        "llmfs_predictor_plans",
        "llmfs_predictor_plans_dropped",
    }


def test_alerts_say_what_to_do() -> None:
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS) > 0
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("info", "warning")
        assert rule["annotations"]["summary"] and rule["annotations"]["description"]


def test_every_alert_is_seen_to_fire_and_not_to_fire() -> None:
    cases = yaml.safe_load(Path(__file__).with_name("alerts_test.yml").read_text())["tests"]
    expected = [(case["alertname"], bool(case["exp_alerts"])) for test in cases for case in test["alert_rule_test"]]
    assert {rule["alert"] for rule in ALERTS} == {name for name, fires in expected if fires}
    assert {rule["alert"] for rule in ALERTS} == {name for name, fires in expected if not fires}


def test_configuration_names_its_rules() -> None:
    assert all((PROMETHEUS / name).is_file() for name in CONFIGURATION["rule_files"])
    assert sorted(CONFIGURATION["rule_files"]) == ["alerts.yml", "rules.yml"]
    assert [job["job_name"] for job in CONFIGURATION["scrape_configs"]] == ["llmfs"]
    assert any('job="llmfs"' in rule["expr"] for rule in ALERTS)


def test_dashboards_are_what_their_code_makes(tmp_path: Path) -> None:
    """And they go through Grafana's types back and forth unchanged, so nothing in them is unknown to the schema."""
    pytest.importorskip("grafana_foundation_sdk")
    program = (
        "import json, pathlib, sys; sys.path.insert(0, sys.argv[1]); import dashboards\n"
        "from grafana_foundation_sdk.models.dashboard import Dashboard\n"
        "for name, made in dashboards.FILES.items():\n"
        "    text = pathlib.Path(sys.argv[1], name).read_text()\n"
        "    assert text == dashboards.encoded(made()), f'python examples/grafana/dashboards.py: {name} is old'\n"
        "    assert dashboards.encoded(Dashboard.from_json(json.loads(text))) == text, name\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, GRAFANA], capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_are_complete_and_apart(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARDS[name]["panels"]:
        assert panel["type"] == "row" or (panel["targets"] and panel["description"]), panel["title"]
        place: dict[str, Any] = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]
    assert len({panel["id"] for panel in DASHBOARDS[name]["panels"]}) == len(DASHBOARDS[name]["panels"])


def test_overview_is_one_screen_that_answers_four_questions() -> None:
    panels = DASHBOARDS["llmfs.json"]["panels"]
    assert max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) <= SCREEN_ROWS
    assert [panel["title"] for panel in panels if panel["type"] == "row"] == [
        "Is it helping?",
        "How much?",
        "What is it doing now?",
        "Is anything wrong?",
    ]


def test_dashboards_find_their_data_source_by_the_variable() -> None:
    for _, panel in panels():
        for asked in (panel, *panel.get("targets", ())):
            assert panel["type"] == "row" or asked["datasource"]["uid"] == "${datasource}", panel["title"]


def test_compose_mounts_what_is_here_and_grafana_finds_it() -> None:
    mounted: dict[str, Path] = {}
    for service in COMPOSE.values():
        assert ":" in service["image"], "a version, so that tomorrow's is the same"
        for volume in service["volumes"]:
            here, there = volume.split(":")[:2]
            if here.startswith("."):
                mounted[there] = (GRAFANA / here).resolve()
                assert mounted[there].exists(), volume
    assert mounted["/etc/prometheus"] == (EXAMPLES / "prometheus").resolve()
    provisioning = mounted["/etc/grafana/provisioning"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "llmfs.yml").read_text())["providers"]
    shown = {name for name in mounted if name.startswith(provider["options"]["path"] + "/")}
    assert {Path(name).name for name in shown} == set(DASHBOARDS)
    assert COMPOSE["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] in shown
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    address = source["url"].removeprefix("http://")
    assert f"--web.listen-address={address}" in COMPOSE["prometheus"]["command"]
    assert source["isDefault"] and source["jsonData"]["timeInterval"] == CONFIGURATION["global"]["scrape_interval"]


def test_only_this_machine_can_look() -> None:
    assert COMPOSE["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert "--web.listen-address=127.0.0.1:9090" in COMPOSE["prometheus"]["command"]
    assert not any("ports" in service for service in COMPOSE.values())


def test_table_of_metrics_is_up_to_date() -> None:
    assert (PROMETHEUS / "METRICS.md").read_text() == metrics_table.markdown(TABLE), (
        "python -m llmfs.metrics_table > examples/prometheus/METRICS.md"
    )


def test_table_names_what_prometheus_sees() -> None:
    assert {"llmfs_reads_total", "llmfs_request_duration_seconds_bucket", "llmfs_cache_bytes", "llmfs_info"} <= set(
        ROWS
    )
    assert ROWS["llmfs_reads_total"].labels == {"tier": ["cache", "joined", "source"]}


def test_the_documentation_says_what_to_do_on_each_alert() -> None:
    rows = re.findall(r"^\| `(Llmfs\w+)` \| .", (EXAMPLES.parent / "docs/how-to/watch.md").read_text(), re.MULTILINE)
    assert rows == [rule["alert"] for rule in ALERTS]
