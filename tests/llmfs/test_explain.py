"""What a mount tells of one file: its blocks, its last accesses, what is expected of it."""

import json

import numpy as np

from llmfs.blocks import BLOCK_BYTES
from llmfs.decisions import DECISIONS_MAX, Decisions
from llmfs.explain import ACCESSES_SHOWN, BLOCKS_LOOKED_AT, RUNS_SHOWN, LatestAccesses, blocks_of, explain
from llmfs.policy.eviction import Resident
from llmfs.policy.rules import Do, Rule, Rules, described
from llmfs.status import as_fit
from predictor.events import ACCESS, Op, Tier
from predictor.plan import PlanItem, Want


def accesses(*rows: tuple[int, int]) -> bytes:
    records = np.zeros(len(rows), ACCESS)
    records["time_ns"], records["path"] = np.array(rows).T
    records["op"], records["tier"], records["stream"], records["latency_us"] = Op.READ, Tier.SOURCE, 3, 1500
    return records.tobytes()


def test_the_last_accesses_of_a_path_come_first_with_their_process() -> None:
    latest = LatestAccesses()
    latest.add(accesses((1 * 10**9, 5), (2 * 10**9, 6), (3 * 10**9, 5)))
    found = latest.of(5, {3: (42, "python")}.get, now_s=10.0)
    assert [each["ago_s"] for each in found] == [7.0, 9.0]
    assert found[0]["command"] == "python" and found[0]["latency_ms"] == 1.5 and found[0]["tier"] == "source"
    assert "command" not in latest.of(6, lambda stream: None, now_s=10.0)[0]


def test_accesses_are_bounded_in_memory_and_in_the_answer() -> None:
    latest = LatestAccesses(records_max=100)
    for turn in range(1000):
        latest.add(accesses((turn, 5)))
        assert len(latest._records) <= 200 * ACCESS.itemsize
    assert len(latest.of(5, lambda stream: None, now_s=0.0)) == ACCESSES_SHOWN
    assert latest.of(5, lambda stream: None, now_s=1.0)[0]["ago_s"] == 1.0


def test_blocks_in_the_same_state_are_one_run_that_ends_with_the_file() -> None:
    waiting = Resident(1000, "history")
    states = {0: Resident(1000, None), 1: Resident(1000, None), 3: waiting}
    told = blocks_of(3 * BLOCK_BYTES + 10, states.get)
    assert (told["blocks"], told["cached"], told["cached_bytes"]) == (4, 3, 3000)
    assert [(run["offset"], run["length"], run["unused_of"]) for run in told["runs"]] == [
        (0, 2 * BLOCK_BYTES, None),
        (3 * BLOCK_BYTES, 10, "history"),
    ]
    assert blocks_of(0, states.get)["runs"] == []


def test_of_an_enormous_file_the_beginning_is_looked_at() -> None:
    asked: list[int] = []
    told = blocks_of(1 << 50, lambda index: asked.append(index))
    assert told["looked_at"] == len(asked) == BLOCKS_LOOKED_AT


def test_what_was_planned_is_expected_until_it_is_used() -> None:
    decisions = Decisions()
    decisions.planned([PlanItem(Want.ATTRIBUTES, b"a", 0, 0, 0.9, 64, "sibling")], at_s=100.0)
    for used_ago_s, is_expected in ((5.0, True), (0.5, False)):
        told = explain(b"a", "file", 1, {}, 0.5, decisions.of(b"a", 1), [{"ago_s": used_ago_s}], [], now_s=101.0)
        assert (told["expected"] is not None) == is_expected
    assert told["decisions"][0] | {"score": 0.9, "by": "sibling", "ago_s": 1.0} == told["decisions"][0]


def test_the_longest_answer_fits_an_extended_attribute() -> None:
    decisions = Decisions()
    for turn in range(100):
        item = PlanItem(Want.DATA, b"a", 2**60, 2**60, 1 / 3, 512, "a generator with a long name")
        decisions.planned([item], at_s=turn)
        decisions.fetched(1, "a generator with a long name", 2**60, 2**60, at_s=turn)
    blocks = blocks_of(2**40, lambda index: Resident(2**17, "a generator with a long name") if index % 2 else None)
    assert len(blocks["runs"]) == RUNS_SHOWN
    latest = LatestAccesses()
    latest.add(accesses(*[(number, 5) for number in range(100)]))
    used = latest.of(5, lambda stream: (2**22, "\x01" * 15), now_s=1e9)
    path = b"\xff" * 4095
    rule = Rule(Do.NO_PREFETCH, 1 / 3, command=("ü" * 15,) * 10, path=("é" * 100,))
    policies = as_fit(map(described, Rules([rule] * 1000).tallies))
    assert 3 < len(policies) < 1000
    told = explain(path, "directory", 2**40, blocks, 1 / 3, decisions.of(b"a", 1), used, policies, now_s=1e9)
    assert len(told["decisions"]) == 2 * DECISIONS_MAX
    assert len(json.dumps(told).encode()) < 64 << 10
