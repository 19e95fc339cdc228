"""The quick half of the chaos, and that it would say if something were wrong."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from bench.chaos import __main__ as chaos
from bench.chaos.load import RECORD_BYTES, record, whole_records
from bench.chaos.place import Daemon, Result, Task, is_alive
from bench.chaos.scenarios import SCENARIOS
from bench.chaos.soak import grown, thirds
from bench.report import Progress

needs_fuse = pytest.mark.skipif(
    not (os.access("/dev/fuse", os.R_OK | os.W_OK) and shutil.which("fusermount3")),
    reason="this machine cannot mount",
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="it mounts disks: as root")
needs_prlimit = pytest.mark.skipif(not shutil.which("prlimit"), reason="util-linux is missing")


def quickly(name: str, directory: Path) -> Result:
    result = chaos.run(name, True, 0.1, directory, Progress())
    assert str(directory) not in Path("/proc/self/mountinfo").read_text()
    assert not list(directory.iterdir())
    return result


@needs_fuse
@pytest.mark.usefixtures("_slowdir_works")
@pytest.mark.parametrize("name", ["kill-mount", "kill-predictor", "memory"])
def test_mount_over_a_slow_source_bears_it(name: str, tmp_path: Path) -> None:
    assert quickly(name, tmp_path).failures == []


@needs_fuse
@needs_root
@pytest.mark.usefixtures("_slowdir_works")
@pytest.mark.parametrize("name", ["cache-disk", "kill-push"])
def test_what_root_alone_can_do_or_see_is_borne(name: str, tmp_path: Path) -> None:
    assert quickly(name, tmp_path).failures == []


@needs_fuse
@needs_prlimit
@pytest.mark.parametrize("name", ["many-handles", "many-files"])
def test_mount_bears_it(name: str, tmp_path: Path) -> None:
    assert quickly(name, tmp_path).failures == []


@needs_fuse
def test_daemon_is_gone_whatever_happens_in_its_context(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(ZeroDivisionError), Daemon(tmp_path / "source", tmp_path, "--predictor", "off") as daemon:
        assert daemon.readers() >= 0
        raise ZeroDivisionError
    assert not is_alive(daemon.pid)
    assert not os.path.ismount(daemon.mountpoint)


def test_torn_and_missing_records_are_seen() -> None:
    data = b"".join(map(record, range(4)))
    assert whole_records(data) == 4
    assert whole_records(data[:-1]) == 3
    assert whole_records(data[: 2 * RECORD_BYTES] + data[3 * RECORD_BYTES :]) == 2
    assert whole_records(bytes(len(data))) == 0


def test_growth_is_seen_and_noise_is_not() -> None:
    steady = [100.0, 90.0, 110.0] * 4
    assert grown({"MiB": steady, "threads": [20.0] * 12}) == []
    assert grown({"MiB": [100.0 + 10 * step for step in range(12)]}) == ["MiB went from 115 to 195"]
    assert thirds({"MiB": [1.0]}) == {}


def test_scenario_that_fails_is_an_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(task: Task) -> Result:
        result = Result("nothing")
        result.check(False, "it went wrong")
        return result

    def breaks(task: Task) -> Result:
        raise FileNotFoundError(2, "no such thing")

    monkeypatch.setattr(chaos, "SCENARIOS", {"fails": fails, "breaks": breaks, **SCENARIOS})
    output = tmp_path / "chaos.json"
    for name, says in (("fails", "it went wrong"), ("breaks", "no such thing")):
        monkeypatch.setattr(sys, "argv", ["chaos", "--only", name, "--output", str(output)])
        assert chaos.main() == 1
        assert says in capsys.readouterr().out
        assert says in output.read_text()


def test_what_was_sampled_is_drawn_beside_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")

    def sampled(task: Task) -> Result:
        return Result("nothing", series={"MiB": [(0.1, 50.0), (0.2, 51.0)], "threads": [(0.2, 9.0)]})

    monkeypatch.setattr(chaos, "SCENARIOS", {"soak": sampled})
    monkeypatch.setattr(sys, "argv", ["chaos", "--output", str(tmp_path / "chaos.json")])
    assert chaos.main() == 0
    assert (tmp_path / "chaos-soak.png").read_bytes().startswith(b"\x89PNG")
    assert '"threads"' in (tmp_path / "chaos.json").read_text()
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as where it is not installed
    capsys.readouterr()
    assert chaos.main() == 0
    assert "llmfs[bench]" in capsys.readouterr().out
