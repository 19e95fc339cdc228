"""A predictor gone wrong: installed as `predictor.process` by a `sitecustomize` on the daemon's path.

LLMFS_TEST_RUBBISH says how.
"""

import argparse
import os
import random
import socket
import time
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int)
    peer = socket.socket(fileno=parser.parse_known_args()[0].fd)
    kind = os.environ["LLMFS_TEST_RUBBISH"]
    from predictor.frames import encode

    rng = random.Random(os.getpid())
    if kind == "bytes":
        peer.sendall(rng.randbytes(100_000))
    elif kind == "huge":  # frames
        peer.sendall(b"\xff\xff\xff\x7f" + bytes(1 << 20))
    elif kind == "frames":
        frames: list[list[Any]] = [
            ["plan", 5], ["plan", [[1]]], ["plan", [[3, b"a", -1, 0, 0.5, 1, "x", "counts"]]], ["scores", {"a": "b"}],
            ["statistics", {"x": "y"}], ["nonsense"], ["state", 5], ["plan", [[99, b"a", 0, 0, 0.5, 1, "x", "counts"]]],
            ["plan", [[3, "text", 0, 0, 0.5, 1, "x", "counts"]]],
            ["plan", [[3, b"f", 0, 0, 0.5, float("inf"), "x", "counts"]]],
            ["plan", [[3, b"../..", 0, 0, 0.9, 1, "x", "counts"]]],
            ["plan", [[3, b"a\0b", 0, 0, 0.9, 1, "x", "counts"]]],
            ["plan", [[3, b"d/../d/..", 1 << 70, 0, 0.9, 1, "x", "counts"]]],
            ["plan", [[3, b"f", 0, 0, 0.9, 1, "x", "a model nobody knows"]]],
        ]  # fmt: skip
        peer.sendall(encode(rng.choice(frames)))
    elif kind == "plans":  # well formed, and nothing in them is true
        while True:
            items = [
                [rng.randrange(1, 4), rng.choice((b"f0", b"d", b"not/there", b"n" * 5000, b"f0/x", b"", b"fifo", b"/")),
                 rng.randrange(1 << 50), rng.randrange(1 << 50), rng.random(), rng.randrange(1 << 40), "made up",
                 "counts"]
                for _ in range(50)
            ]  # fmt: skip
            peer.sendall(encode(["plan", items]))
            peer.sendall(encode(["scores", [[b"f0", float("nan")], [b"../x", -1e300]]]))
            time.sleep(0.02)
    elif kind == "deaf":  # reads nothing and says it is fine
        peer.sendall(encode(["state", "learned"]))
        time.sleep(600)
    elif kind == "exit":
        return
    while peer.recv(1 << 16):
        pass


main()
