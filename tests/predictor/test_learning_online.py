"""Learning online end to end: the real serving process, its training child, promotion, and a restart."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from predictor import ranker
from predictor.ranker import load
from predictor.trainer import REPORT
from tests.predictor.test_process import PATIENCE_S, Peer, peers, start
from tests.predictor.workload import Mount, Op

__all__ = ["peers"]

pytest.importorskip("torch")

TRAINING_PATIENCE_S = 120
STREAMS = 8
ROUNDS = 240
PACE_S = 0.02
"""As a mount does, and slower than a slow core takes a frame in: what has piled up is answered by one plan."""

FAST = ("--train-after", "500")


def work(peer: Peer, seed: int = 1, is_enough: Callable[[], bool] = lambda: False) -> int:
    """Directories never seen before: of those with `.all` files each is read, of those with `.one` files one.

    By count, a next sibling comes true half of the time. A network can tell by the extension. Returns the accesses.
    """
    chance = random.Random(seed)
    mount = Mount()
    plans: list[list[tuple[str, str]]] = [[] for _ in range(STREAMS)]
    sent = 0
    for turn in range(ROUNDS):
        if is_enough():
            break
        listings: list[tuple[str, list[str]]] = []
        for stream, plan in enumerate(plans):
            if not plan:
                kind = chance.choice(("all", "one"))
                place = f"{kind[0]}{seed}{turn}x{stream}"
                names = [f"{chance.getrandbits(40):x}.{kind}" for _ in range(10)]
                mount.add(Op.READDIR, place, tgid=stream)
                sent += 1
                listings.append((place, names))
                plan += [(place, name) for name in (names if kind == "all" else names[:1])]
            place, name = plan.pop(0)
            mount.read_file(f"{place}/{name}", tgid=stream)
            sent += 3
        peer.send_accesses(mount)
        for place, names in listings:
            number = mount.paths.intern_path(place.encode())
            peer.send(["listing", number, [name.encode() for name in names], [8] * len(names)])
        time.sleep(PACE_S)
    return sent


def training_of(peer: Peer) -> tuple[int, int] | None:
    """(pid, nice) of the process's training child, while there is one."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            command = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == peer.process.pid and b"predictor.trainer" in command:
            return int(stat.parent.name), int(fields[16])
    return None


def after_training(peer: Peer) -> tuple[dict[str, Any], list[list[Any]], set[int]]:
    """The statistics that count a run, the messages up to them, the niceness that its child was seen with."""
    found: list[list[Any]] = []
    nice: set[int] = set()
    limit = time.monotonic() + TRAINING_PATIENCE_S
    while time.monotonic() < limit:
        found += peer.receive_until("statistics")
        child = training_of(peer)
        if child is not None:
            nice.add(child[1])
        if found[-1][1]["training_runs"]:
            return found[-1][1], found, nice
    raise AssertionError("no training within the time")


def test_a_network_is_trained_promoted_announced_and_kept(tmp_path: Path, peers: list[Peer]) -> None:
    peer = Peer(tmp_path, *FAST)
    peers.append(peer)
    first = [peer.receive(), peer.receive()]
    work(peer)
    statistics, messages, nice = after_training(peer)
    assert statistics["training_runs"] == 1
    assert statistics["training_promotions"] == 1, (tmp_path / REPORT).read_text()
    assert statistics["training_seconds"] > 0
    assert 0 < statistics["loss_shadow"] < statistics["loss_incumbent"] < 1
    assert statistics["loss_shadow"] < statistics["loss_prior"] < 1
    assert 19 in nice  # torch takes a second to import: one of the looks at /proc found it
    assert ["state", "learned"] in first + messages
    load(tmp_path / ranker.NAME)
    weights = (tmp_path / ranker.NAME).read_bytes()

    peer.send(["stop"])
    assert peer.process.wait(PATIENCE_S) == 0
    again = Peer(tmp_path, *FAST)
    peers.append(again)
    assert [again.receive(), again.receive()] == [["state", "loading"], ["state", "learned"]]
    assert (tmp_path / ranker.NAME).read_bytes() == weights


def test_a_candidate_that_is_no_better_is_not_promoted(tmp_path: Path, peers: list[Peer]) -> None:
    peer = start(peers, tmp_path, *FAST, "--train-seconds", "0")  # trained for no time it is what it began with
    work(peer, seed=2)
    statistics, _, _ = after_training(peer)
    assert statistics["training_runs"] == 1
    assert statistics["training_promotions"] == 0
    assert not (tmp_path / ranker.NAME).exists()


def test_a_training_that_is_under_way_ends_with_the_mount(tmp_path: Path, peers: list[Peer]) -> None:
    peer = start(peers, tmp_path, *FAST)
    work(peer, seed=3, is_enough=lambda: training_of(peer) is not None)  # on a busy machine it is over before the work
    limit = time.monotonic() + TRAINING_PATIENCE_S
    child = None
    while child is None and time.monotonic() < limit:
        peer.receive()
        child = training_of(peer)
    assert child is not None
    assert peer.end() == 0
    assert not Path(f"/proc/{child[0]}").exists()
    assert (tmp_path / "state.npz").exists()
