"""Every PromQL expression of the examples, and where it stands."""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.examples.conftest import EXAMPLES

PROMETHEUS = EXAMPLES / "prometheus"
GRAFANA = EXAMPLES / "grafana"

RULES: list[dict[str, Any]] = [
    rule
    for name in ("rules.yml", "alerts.yml")
    for group in yaml.safe_load((PROMETHEUS / name).read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"]: rule for rule in RULES if "record" in rule}
DASHBOARDS = {path.name: json.loads(path.read_text()) for path in sorted(GRAFANA.glob("*.json"))}

_STRING = re.compile(r'"[^"]*"')
_SELECTOR = re.compile(r"(?<![\w:$])((?:\w+:)?(?:llmfs|process|up|ALERTS)\w*(?::\w+)?)(\{[^}]*\})?(?!\w*\s*\()")


def selectors(expression: str) -> list[tuple[str, str]]:
    """Names of series, and their matchers with braces or "". What stands in strings or in `by (...)` is none."""
    without = re.sub(r"\b(by|on|without)\s*\([^)]*\)", "", expression)
    return [(name, matchers) for name, matchers in _SELECTOR.findall(without) if name not in ("process",)]


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Of which dashboard, and the panel."""
    for name, dashboard in DASHBOARDS.items():
        yield from ((name, panel) for panel in dashboard["panels"])


def expressions() -> Iterator[tuple[str, str]]:
    """Of the dashboards: where it stands, and the PromQL with its variables."""
    for name, panel in panels():
        for target in panel.get("targets", ()):
            yield f"{name}: {panel['title']}", target["expr"]


def with_variables(expression: str) -> str:
    """As Grafana would send it: all mounts, over a minute."""
    for variable, value in (("$__rate_interval", "1m"), ("$__range", "5m"), ("$instance", ".*")):
        expression = expression.replace(variable, value)
    return expression
