"""The predictor may die, hang or send rubbish at any time: reads go on, and it comes back."""

import os
import random
import signal
import threading
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.mount.conftest import Mounted, World, drop_pages, eventually, is_alive

SHIM = Path(__file__).with_name("rubbish_predictor.py")


def make_files(world: World, count: int = 12) -> dict[str, bytes]:
    rng = random.Random(4)
    files = {f"f{i}": rng.randbytes(200_000) for i in range(count)}
    for name, data in files.items():
        (world.backing / name).write_bytes(data)
    (world.backing / "d").mkdir()
    os.mkfifo(world.backing / "fifo")
    return files


def metric(m: Mounted, name: str, **labels: str) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(m.metrics_text())
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


class Readers:
    """Threads that read all files again and again and compare."""

    def __init__(self, m: Mounted, files: dict[str, bytes]) -> None:
        self._m = m
        self._files = files
        self._stop = threading.Event()
        self.rounds = 0
        self.wrong: list[object] = []
        self._threads = [threading.Thread(target=self._read) for _ in range(2)]

    def _read(self) -> None:
        try:
            while not self._stop.is_set():
                for name, data in self._files.items():
                    if (self._m / name).read_bytes() != data:
                        self.wrong.append(name)
                    drop_pages(self._m / name)
                self.rounds += 1
        except OSError as error:
            self.wrong.append(error)

    def __enter__(self) -> "Readers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        assert not self.wrong, self.wrong[:3]


def test_killed_predictor_comes_back_while_reads_go_on(world: World) -> None:
    world.expect_complaint("predictor")
    files = make_files(world)
    m = world.mount("--metrics-port", "0", source=world.slow_source())
    first = eventually(lambda: m.status()["predictor_pid"], 20, "a predictor")
    eventually(
        lambda: m.status()["predictor_state"] in ("rules", "pretrained", "learned"), 30, "a predictor that is ready"
    )
    with Readers(m, files) as readers:
        os.kill(first, signal.SIGKILL)
        second = eventually(lambda: m.status()["predictor_pid"] not in (None, first), 20, "another predictor")
        before = readers.rounds
        eventually(lambda: readers.rounds > before, 30, "reads while it loads")
        assert metric(m, "llmfs_predictor_restarts_total") == 1
        second = m.status()["predictor_pid"]
        os.kill(second, signal.SIGKILL)
        eventually(lambda: m.status()["predictor_pid"] not in (None, first, second), 30, "a third one")
        assert metric(m, "llmfs_predictor_restarts_total") == 2
        eventually(
            lambda: m.status()["predictor_state"] in ("rules", "pretrained", "learned"), 30, "a predictor that is ready"
        )
    third = m.status()["predictor_pid"]
    m.umount()
    eventually(lambda: not is_alive(third), 20, "its exit with the mount")


def test_stopped_predictor_does_not_hold_up_reads_nor_the_unmount(world: World) -> None:
    files = make_files(world)
    m = world.mount(source=world.slow_source())
    pid = eventually(lambda: m.status()["predictor_pid"], 20)
    eventually(
        lambda: m.status()["predictor_state"] in ("rules", "pretrained", "learned"), 30, "a predictor that is ready"
    )
    os.kill(pid, signal.SIGSTOP)
    with Readers(m, files) as readers:
        eventually(lambda: readers.rounds >= 4, 60, "reads")
    m.umount()
    eventually(lambda: not is_alive(pid), 20, "its end")


@pytest.mark.parametrize("kind", ["bytes", "huge", "frames", "plans", "deaf", "exit"])
def test_predictor_that_sends_rubbish_does_no_harm(world: World, kind: str) -> None:
    world.expect_complaint("predictor")
    world.expect_complaint(r"^Traceback|Error\b")  # the shim's own, when the mount hangs up on it
    files = make_files(world, 4)
    shims = world.root / "shims"
    shims.mkdir()
    # `python -m predictor.process` finds our module: the daemon itself is not touched.
    (shims / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'predictor.process' in ' '.join(sys.orig_argv):\n"
        f"    import runpy; sys.argv = sys.orig_argv[2:]; runpy.run_path({os.fspath(SHIM)!r}, run_name='__main__')\n"
        "    import os; os._exit(0)\n"
    )
    path = os.pathsep.join([os.fspath(shims), world.environment()["PYTHONPATH"]])
    m = world.prepare("--metrics-port", "0", source=world.slow_source())
    m.mount(env={"PYTHONPATH": path, "LLMFS_TEST_RUBBISH": kind})
    with Readers(m, files) as readers:
        if kind in ("bytes", "huge", "frames", "exit"):
            eventually(lambda: metric(m, "llmfs_predictor_restarts_total") >= 2, 30, "two restarts")
        eventually(lambda: readers.rounds >= 6, 60, "reads")
        assert sorted(os.listdir(m.path)) == sorted([*files, "d", "fifo"])
        if kind in ("bytes", "huge", "frames"):
            assert "the predictor failed: " in m.log()
        elif kind == "plans":
            made_up = {"generator": "other"}
            eventually(
                lambda: metric(m, "llmfs_prefetch_issued_total", **made_up) > 0, 30, "plans that are carried out"
            )
        elif kind == "deaf":
            assert m.status()["predictor_state"] == "learned"
    m.umount()


def test_predictor_state_is_shown_and_off_means_off(world: World) -> None:
    make_files(world, 1)
    m = world.mount("--predictor", "off", "--metrics-port", "0")
    status = m.status()
    assert (status["predictor"], status["predictor_pid"]) == ("off", None)
    assert 'llmfs_predictor_state{state="off"} 1.0' in m.metrics_text()
