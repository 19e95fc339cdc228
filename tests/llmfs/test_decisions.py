"""What is remembered of decisions: the last ones of each file, of the files that were decided about last."""

from llmfs.decisions import DECISIONS_MAX, Decisions, What
from predictor.plan import PlanItem, Want


def test_a_file_s_decisions_come_in_the_order_of_their_time_whoever_noted_them() -> None:
    decisions = Decisions()
    decisions.fetched(7, "history", 0, 4096, at_s=2.0)
    decisions.planned([PlanItem(Want.DATA, b"a", 0, 4096, 0.9, 64, "history")], at_s=1.0)
    decisions.used(7, "history", was_late=False, at_s=3.0)
    decisions.evicted(7, "", 0, 4096, 0.25, at_s=4.0)
    decisions.fetched(8, "", 0, 1, at_s=2.5)  # another file
    found = decisions.of(b"a", 7)
    assert [each.what for each in found] == [What.PLANNED, What.FETCHED, What.USED, What.EVICTED]
    assert (found[0].want, found[0].score, found[0].horizon) == ("data", 0.9, 64)
    assert decisions.of(b"never", 9) == []


def test_blocks_fetched_one_after_the_other_are_one_decision() -> None:
    decisions = Decisions()
    for block in range(100):
        decisions.fetched(7, "", block * 100, 100, at_s=block)
    decisions.fetched(7, "history", 10_000, 100, at_s=100.0)
    decisions.fetched(7, "history", 20_000, 100, at_s=101.0)
    for block in range(100):
        decisions.used(7, "history", was_late=False, at_s=200.0 + block)
    told = [(each.what, each.who, each.offset, each.length) for each in decisions.of(b"", 7)]
    assert told == [
        (What.FETCHED, "", 0, 10_000),
        (What.FETCHED, "history", 10_000, 100),
        (What.FETCHED, "history", 20_000, 100),
        (What.USED, "history", 0, 0),
    ]


def test_memory_is_bounded_by_files_and_by_decisions_of_each() -> None:
    decisions = Decisions(files_max=10)
    for turn in range(1000):
        decisions.used(turn, "x", was_late=True, at_s=turn)
        decisions.used(-1, "x", was_late=turn % 2 == 0, at_s=turn)
    assert len(decisions) == 10
    kept = decisions.of(b"", -1)
    assert [each.at_s for each in kept] == list(range(1000 - DECISIONS_MAX, 1000))
    for turn in range(100):
        decisions.planned([PlanItem(Want.LISTING, b"%d" % turn, 0, 0, 0.5, 8, "x")] * 1000, at_s=turn)
    assert len(decisions.of(b"99", 0)) == DECISIONS_MAX and not decisions.of(b"50", 0)
    assert not decisions.of(b"", 0) and decisions.of(b"", 999)
