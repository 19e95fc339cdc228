"""Rules: which of them a process and a path meet, what they say, and what a share of the cache bounds."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfs.attributes import Attributes
from llmfs.inodes import Inode, path_below
from llmfs.policy.rules import ORDINARY, Do, Process, Rule, Rules, Treatment, decide, described, translate
from llmfs.policy.shares import Shares
from llmfs.treatments import BELIEVED_S, Treatments, cgroups_of, shown_path

BACKUP = Process(("/system.slice/backup.service",), 0, "restic")
PERSON = Process(("/user.slice/user-1000.slice/session-2.scope",), 1000, "python3")


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.iso", "a.iso", True),
        ("*.iso", "deep/down/a.iso", True),
        ("*.iso", "a.iso.txt", False),
        ("*.iso", "images.iso/part", True),  # a directory's pattern is for all in it
        ("data", "data/x/y", True),
        ("data", "other/data", True),
        ("data/", "data/x", True),
        ("/data", "data/x", True),
        ("/data", "other/data", False),
        ("a/data", "other/a/data", False),
        ("data/*.bin", "data/x.bin", True),
        ("data/*.bin", "data/deep/x.bin", False),
        ("data/**/*.bin", "data/x.bin", True),
        ("data/**/*.bin", "data/deep/er/x.bin", True),
        ("data/**", "data/x", True),
        ("data/**", "data", False),
        ("**", "", True),
        ("**", "any/thing\nat all", True),
        ("x?z", "xyz", True),
        ("x?z", "x/z", False),
        ("x[ab]z", "xbz", True),
        ("x[!ab]z", "xbz", False),
        ("x[!ab]z", "x/z", False),
        ("[^x]", "^", True),
        ("[]]", "]", True),
        ("a[b", "a[b", True),
        ("a.c", "abc", False),
    ],
)
def test_patterns(pattern: str, path: str, matches: bool) -> None:
    assert (re.fullmatch(translate(pattern), path, re.DOTALL) is not None) is matches


@given(st.text(max_size=12), st.text(max_size=12))
def test_any_pattern_makes_an_expression_or_says_why_not(pattern: str, path: str) -> None:
    try:
        re.fullmatch(translate(pattern), path)
    except re.error:
        assert "[" in pattern  # a range that goes backwards


def treatment(rules: list[Rule], process: Process, path: str = "a/file") -> Treatment:
    return decide(Rules(rules).met_by(process), lambda: path)


def test_all_conditions_have_to_hold_and_one_of_several_values() -> None:
    rule = Rule(Do.BYPASS, command=("borg", "res*"), uid=(0, 7), path=("*/file",))
    assert treatment([rule], BACKUP).is_bypassing
    assert treatment([rule], PERSON) is ORDINARY
    assert treatment([rule], BACKUP, "other") is ORDINARY


@pytest.mark.parametrize("pattern", ["system.slice", "/system.slice/backup*.service", "backup.service", "**/backup*"])
def test_a_process_is_known_by_its_control_group(pattern: str) -> None:
    rule = Rule(Do.BYPASS, cgroup=(pattern,))
    assert treatment([rule], BACKUP).is_bypassing and treatment([rule], PERSON) is ORDINARY
    first_version = Process(("/", "/system.slice/backup.service"), 0, "sh")
    assert treatment([rule], first_version).is_bypassing


def test_a_long_command_is_known_by_what_the_kernel_keeps_of_it() -> None:
    rule = Rule(Do.BYPASS, command=("tracker-miner-fs-3",))
    assert treatment([rule], Process((), 0, "tracker-miner-f")).is_bypassing
    assert not treatment([rule], Process((), 0, "tracker-miner")).is_bypassing


def test_the_first_rule_that_matches_counts_and_immutable_is_no_such_rule() -> None:
    rules = [
        Rule(Do.IMMUTABLE, path=("a",)),
        Rule(Do.CACHE, command=("restic",), path=("a/kept",)),
        Rule(Do.BYPASS, command=("restic",)),
        Rule(Do.NO_PREFETCH, share=0.5),
    ]
    assert treatment(rules, BACKUP, "a/kept") == Treatment()
    assert treatment(rules, BACKUP, "a/other") == Treatment(is_bypassing=True, is_prefetched=False)
    assert treatment(rules, PERSON) == Treatment(is_prefetched=False, group=1)
    assert Rules(rules).is_immutable(lambda: "a/other") and not Rules(rules).is_immutable(lambda: "b")


def test_the_path_is_not_asked_for_where_no_rule_needs_it() -> None:
    def path() -> str:
        raise AssertionError("nobody asked for it")

    rules = Rules([Rule(Do.BYPASS, command=("restic",)), Rule(Do.NO_PREFETCH, command=("cp",), path=("x",))])
    assert decide(rules.met_by(BACKUP), path).is_bypassing
    assert decide(rules.met_by(PERSON), path) is ORDINARY
    assert not rules.is_immutable(path) and rules.by_path == ()


def test_the_rules_that_hold_for_a_path() -> None:
    rules = Rules(
        [
            Rule(Do.BYPASS, command=("restic",)),
            Rule(Do.CACHE, path=("other",)),
            Rule(Do.NO_PREFETCH, uid=(7,), path=("a/**",)),
            Rule(Do.CACHE, share=0.5, path=("a",)),
            Rule(Do.BYPASS, path=("a/file",)),  # too late
            Rule(Do.IMMUTABLE, path=("*/file",)),
        ]
    )
    assert [tally.number for tally in rules.about("a/file")] == [1, 3, 4, 6]
    assert [tally.number for tally in rules.about("b")] == [1]
    assert described(rules.about("a/file")[2]) == {"rule": 4, "do": "cache", "share": 0.5, "path": ("a",)}


def test_a_treatment_tells_which_rule_says_so() -> None:
    rules = [Rule(Do.IMMUTABLE, path=("a",)), Rule(Do.CACHE, path=("a/kept",)), Rule(Do.BYPASS, command=("restic",))]
    for path, number in (("a/kept", 2), ("a/other", 3)):
        tally = treatment(rules, BACKUP, path).tally
        assert tally is not None and tally.number == number
    assert treatment(rules, PERSON).tally is None


# --- processes and inodes


def inode(*names: bytes) -> Inode:
    blank = Attributes(0o40755, 1, 0, 0, 0, 0, 4096, 0, 0, 0, 0, 0, 1)
    there = Inode(1, None, blank)
    for number, name in enumerate(names, 2):
        there = Inode(number, (there, name), blank)
    return there


def test_an_inode_knows_its_path() -> None:
    assert path_below(inode()) == b"" and path_below(inode(b"a", b"b\xff")) == b"a/b\xff"
    assert shown_path(inode(b"a"), b"c") == "a/c" and shown_path(inode(), b"c") == "c"


def test_a_process_is_asked_about_once_in_a_while() -> None:
    now_s = 0.0
    asked: list[int] = []

    def process_of(stream: int) -> tuple[int, str]:
        asked.append(stream)
        return 1, "restic"

    treatments = Treatments([Rule(Do.BYPASS, command=("restic",))], process_of, lambda: now_s)
    for _ in range(3):
        assert treatments.of(5, 0, 0, str).is_bypassing
    assert asked == [5]
    now_s = BELIEVED_S
    assert treatments.of(5, 0, 0, str).is_bypassing and asked == [5, 5]
    treatments.take([])
    assert treatments.of(5, 0, 0, str) is ORDINARY and asked == [5, 5]


def test_an_inode_is_judged_by_its_path_and_again_by_other_rules() -> None:
    file = inode(b"data", b"x.iso")
    rules = [Rule(Do.BYPASS, uid=(0,)), Rule(Do.NO_PREFETCH, 0.1, path=("*.iso",)), Rule(Do.IMMUTABLE, path=("data",))]
    treatments = Treatments(rules, lambda stream: None)
    treatments.judge(file)
    assert not file.treatment.is_prefetched and not file.treatment.is_bypassing
    assert (file.treatment.group, file.is_immutable) == (1, True)
    treatments.take([])
    treatments.judge(file)
    assert (file.treatment, file.is_immutable) == (ORDINARY, False)


def test_control_groups_are_read_from_proc() -> None:
    shown = {line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines()}
    assert set(cgroups_of(os.getpid())) == shown
    assert cgroups_of(0) == () and cgroups_of(1 << 30) == ()


# --- shares


def keys() -> Iterator[bytes]:
    return (bytes([n]) for n in range(256))


def test_a_group_over_its_share_loses_what_it_used_least_recently() -> None:
    shares, key = Shares([0.5, 0.1]), keys()
    first, second, third, others = (next(key) for _ in range(4))
    for each in (first, second, third):
        shares.place(each, 2, 1)
    shares.place(others, 100, 0)
    shares.place(first, 2, 1)
    assert shares.over(10) == [second] and shares.over(10) == []
    assert shares.used_bytes(1) == 4 and shares.used_bytes(2) == 0


def test_a_block_goes_to_who_may_have_more_and_never_to_who_may_have_less() -> None:
    shares = Shares([0.1, 0.5])
    shares.place(b"k", 4, 1)
    shares.use(b"k", 5, 2)
    assert (shares.used_bytes(1), shares.used_bytes(2)) == (0, 5)
    shares.use(b"k", 5, 1)
    assert (shares.used_bytes(1), shares.used_bytes(2)) == (0, 5)
    shares.use(b"k", 5, 0)  # all of the cache
    shares.use(b"k", 5, 2)
    assert shares.used_bytes(2) == 0


def test_what_is_used_again_in_a_group_leaves_it_later() -> None:
    shares = Shares([0.5])
    for key in (b"a", b"b", b"c"):
        shares.place(key, 2, 1)
    shares.use(b"a", 2, 1)
    assert shares.over(8) == [b"b"]


def test_the_bytes_of_a_group_are_those_of_its_blocks() -> None:
    random, shares = Random(5), Shares([0.3, 0.2])
    held: dict[bytes, tuple[int, int]] = {}
    for _ in range(5000):
        key, size, group = bytes([random.randrange(60)]), random.randrange(1, 9), random.randrange(3)
        if random.random() < 0.3:
            shares.forget(key)
            held.pop(key, None)
        else:
            former = held[key][1] if key in held else None
            if former is None or random.random() < 0.3:
                shares.place(key, size, group)
                held[key] = (size, group)
            else:
                shares.use(key, size, group)
                held[key] = (size, min(former, group))  # 0 is everything, and group 2 has less than group 1
        for gone in shares.over(200):
            assert held.pop(gone)[1] > 0
        for group, bound in ((1, 60), (2, 40)):
            size = sum(size for size, its in held.values() if its == group)
            assert shares.used_bytes(group) == size <= bound


def test_programs_are_told_apart_by_process_group_where_that_is_wanted() -> None:
    treatments = Treatments([], lambda stream: None)
    ours = treatments.by_program(ORDINARY, os.getpid())
    assert ours.program == os.getpgid(0) and treatments.by_program(ORDINARY, os.getpid()) is ours
    assert treatments.by_program(ORDINARY, 0).program == 0  # of another PID namespace: nobody's
    assert treatments.by_program(ORDINARY, 2**22 + 1) is ORDINARY  # there is none of that number
    assert Treatments([], lambda stream: None, tells_programs=False).by_program(ORDINARY, os.getpid()) is ORDINARY
