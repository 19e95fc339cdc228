"""The serving process over a real socket."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from predictor.frames import FrameReader, encode
from predictor.plan import PlanItem, Want
from predictor.process import network_in
from predictor.ranker import NAME, dump_weights
from tests.predictor.workload import Mount, covered, start_of_a_program, wanted

PATIENCE_S = 20


class Peer:
    """The mount's end."""

    def __init__(self, state_dir: Path, *options: str) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "predictor.process",
                    "--fd",
                    str(theirs.fileno()),
                    "--state-dir",
                    str(state_dir),
                    *options,
                ],
                pass_fds=[theirs.fileno()],
                stderr=subprocess.PIPE,
            )
        self.socket = ours
        ours.settimeout(PATIENCE_S)
        self._reader = FrameReader()
        self._messages: list[list[Any]] = []

    def send(self, message: list[Any]) -> None:
        self.socket.sendall(encode(message))

    def send_accesses(self, mount: Mount) -> None:
        names, streams, records = mount.take()
        self.send(["accesses", names, streams, records.tobytes()])

    def receive(self) -> list[Any]:
        """The next message."""
        while not self._messages:
            data = self.socket.recv(1 << 20)
            assert data, self.stderr()
            self._messages += self._reader.feed(data)
        return self._messages.pop(0)

    def receive_until(self, kind: str) -> list[list[Any]]:
        """All messages up to one of `kind`."""
        found = [self.receive()]
        while found[-1][0] != kind:
            found.append(self.receive())
        return found

    def drain_statistics(self, events: int) -> list[list[Any]]:
        """All messages up to the statistics that count `events`."""
        found = self.receive_until("statistics")
        while found[-1][1]["events"] < events:
            found += self.receive_until("statistics")
        return found

    def end(self) -> int:
        self.socket.close()
        status = self.process.wait(PATIENCE_S)
        self.stderr()
        return status

    def stderr(self) -> str:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            return stream.read().decode() if not stream.closed else ""


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[list[Peer]]:
    """Peers made by the test are ended after it."""
    made: list[Peer] = []
    yield made
    for peer in made:
        peer.socket.close()
        peer.process.kill()
        peer.process.wait()
        if peer.process.stderr is not None:
            peer.process.stderr.close()


def start(peers: list[Peer], state_dir: Path, *options: str) -> Peer:
    peer = Peer(state_dir, *options)
    peers.append(peer)
    assert peer.receive() == ["state", "loading"]
    assert peer.receive()[1] in ("rules", "pretrained")
    return peer


def items_of(messages: list[list[Any]]) -> list[PlanItem]:
    return [PlanItem(Want(row[0]), *row[1:]) for message in messages if message[0] == "plan" for row in message[1]]


def run(peer: Peer, accesses: int | None = None, tgid: int = 1) -> list[PlanItem]:
    """A run of the program, or its first accesses; what was planned for it."""
    mount = Mount()
    sent = 0
    for op, path, offset, length in list(start_of_a_program())[:accesses]:
        mount.add(op, path, offset, length, tgid=tgid)
        peer.send_accesses(mount)
        sent += 1
    return items_of(peer.drain_statistics(sent))


def test_the_second_run_is_planned_by_another_process(tmp_path: Path, peers: list[Peer]) -> None:
    peer = start(peers, tmp_path)
    run(peer)
    peer.send(["stop"])
    assert peer.process.wait(PATIENCE_S) == 0
    items = run(start(peers, tmp_path), accesses=60, tgid=9)
    assert covered(items, wanted()) > 0.8


@pytest.mark.parametrize("how", ["end of file", "SIGTERM"])
def test_the_state_is_saved_at_the_end(tmp_path: Path, peers: list[Peer], how: str) -> None:
    peer = start(peers, tmp_path)
    run(peer, accesses=50)
    if how == "SIGTERM":
        peer.process.send_signal(signal.SIGTERM)
        assert peer.process.wait(PATIENCE_S) == 0
    else:
        assert peer.end() == 0
    assert (tmp_path / "state.npz").exists()


def test_sigint_is_left_to_the_mount(tmp_path: Path, peers: list[Peer]) -> None:
    peer = start(peers, tmp_path)
    peer.process.send_signal(signal.SIGINT)
    assert len(run(peer, accesses=50)) >= 0
    assert peer.process.poll() is None


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        b"\x01\x00\x00\x00\xc1",
        encode(["accesses", 1, 2, b"x"]),
        encode(["accesses", [], [], b"not forty bytes"]),
        encode(["accesses", [["a"]], [], b""]),
        encode(["listing", "x"]),
        encode(["nonsense"]),
        encode(["outcomes", [[1]]]),
    ],
)
def test_rubbish_ends_it_with_status_1(tmp_path: Path, peers: list[Peer], data: bytes) -> None:
    peer = start(peers, tmp_path)
    peer.socket.sendall(data)
    assert peer.process.wait(PATIENCE_S) == 1
    assert "predictor: " in peer.stderr()


def test_a_damaged_state_does_not_stop_it(tmp_path: Path, peers: list[Peer]) -> None:
    (tmp_path / "state.npz").write_bytes(b"PK\x03\x04 nonsense")
    (tmp_path / "weights.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}nonsense")
    start(peers, tmp_path)
    assert (tmp_path / "state.npz.damaged").exists()
    assert (tmp_path / "weights.safetensors.damaged").exists()


def test_torch_is_not_imported_to_serve() -> None:
    code = "import sys, predictor.process; print([m for m in sys.modules if m.split('.')[0] in ('torch', 'pyarrow')])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_mount_that_does_not_read_is_not_waited_for(tmp_path: Path, peers: list[Peer]) -> None:
    peer = start(peers, tmp_path)
    mount = Mount()
    for turn in range(40):
        for number in range(200):
            mount.read_file(f"many/{turn}/{number}")
        peer.send_accesses(mount)
    assert peer.drain_statistics(40 * 600)


def test_a_mount_s_own_network_comes_before_the_shipped_one_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from predictor.model import Model

    own, shipped = tmp_path / NAME, tmp_path / "shipped"
    assert network_in(tmp_path, shipped) == (None, "rules")
    shipped.write_bytes(dump_weights(Model().weights()))
    assert network_in(tmp_path, shipped)[1] == "pretrained"
    own.write_bytes(dump_weights(Model().weights()))
    assert network_in(tmp_path, shipped)[1] == "learned"
    own.write_bytes(b"nonsense")
    assert network_in(tmp_path, shipped)[1] == "pretrained"
    assert not own.exists()  # set aside: the next start does not stumble over it
    shipped.write_bytes(b"nonsense")
    assert network_in(tmp_path, shipped) == (None, "rules")
    assert shipped.exists()


def test_a_small_one_that_does_not_train_plans_and_takes_any_state(tmp_path: Path, peers: list[Peer]) -> None:
    large = start(peers, tmp_path)
    run(large)
    large.send(["stop"])
    assert large.process.wait(PATIENCE_S) == 0
    small = start(peers, tmp_path, "--small", "--no-training", "--heap-arenas", "1", "--train-after", "1")
    small.send(["pressure", True, False])  # there is nothing to hold
    assert covered(run(small, accesses=60, tgid=9), wanted()) > 0.8
    maps = Path(f"/proc/{small.process.pid}/maps").read_text()
    assert "torch" not in maps and "numpy" in maps
    assert not _children(small.process.pid)
    small.send(["stop"])
    assert small.process.wait(PATIENCE_S) == 0


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
