"""A real Prometheus server on loopback, with the rules of the examples, that scrapes one mount."""

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import yaml

from tests.examples.conftest import EXAMPLES
from tests.mount.conftest import eventually

needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")

_EVERY = "200ms"
_START_TIMEOUT_S = 30
_STOP_TIMEOUT_S = 20


class PrometheusServer:
    """Runs while the context lasts. `target_port`: where the mount serves its metrics."""

    def __init__(self, directory: Path, target_port: int) -> None:
        self._directory = directory
        self._target_port = target_port
        self._log = directory / "prometheus.log"

    def __enter__(self) -> Self:
        self._directory.mkdir()
        configuration = yaml.safe_load((EXAMPLES / "prometheus" / "prometheus.yml").read_text())
        configuration["global"] = {"scrape_interval": _EVERY, "evaluation_interval": _EVERY}
        configuration["rule_files"] = [str(EXAMPLES / "prometheus" / name) for name in configuration["rule_files"]]
        (job,) = configuration["scrape_configs"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{self._target_port}"]}]
        file = self._directory / "prometheus.yml"
        file.write_text(yaml.safe_dump(configuration))
        self._address = f"127.0.0.1:{free_port()}"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={file}",
                    f"--storage.tsdb.path={self._directory / 'data'}",
                    f"--web.listen-address={self._address}",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            eventually(self._is_ready, _START_TIMEOUT_S, "a Prometheus that answers")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query, as the API has them. Fails the test where Prometheus refuses it."""
        found = self._ask("query", query=expression)
        assert found["resultType"] in ("vector", "scalar"), expression
        return found["result"] if found["resultType"] == "vector" else [{"value": found["result"]}]

    def rules(self) -> list[dict[str, Any]]:
        """All rules, with their health."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def _ask(self, what: str, **parameters: str) -> Any:
        url = f"http://{self._address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            pytest.fail(f"{parameters}: {error.read().decode(errors='replace')}")

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            with urllib.request.urlopen(f"http://{self._address}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
