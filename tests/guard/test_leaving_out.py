"""Replays, tables and adapters, on runs made up here."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.guard import leaving_out
from bench.guard.evaluation import Recorded, bare, ebpf, replay
from predictor.guard.decisions import Level
from predictor.guard.events import Event, Kind
from tests.guard.test_engine import event, in_place


def run(name: str, family: str, is_attack: bool, events: Iterator[Event]) -> Recorded:
    return Recorded(name, family, is_attack, tuple(events))


def attack(first: int) -> Iterator[Event]:
    return (each for number in range(first, first + 60) for each in in_place(number))


def work(first: int) -> Iterator[Event]:
    for number in range(first, first + 60):
        yield event(number, Kind.CREATE, name=b"__init__.py", directory=number)


def test_each_family_is_judged_by_what_has_not_seen_it(monkeypatch: pytest.MonkeyPatch) -> None:
    training = pytest.importorskip("predictor.guard.training")
    monkeypatch.setattr(training, "LSTM_STEPS", 5)
    monkeypatch.setattr(training, "CLASSIFIER_STEPS", 200)
    recorded = [run(f"a-{n}", f"family{n % 2}", True, attack(n)) for n in range(4)]
    recorded += [run(f"b-{n}", f"b-{n}", False, work(n)) for n in range(5)]
    judged = leaving_out.judge(recorded)
    assert [each.recorded.name for each in judged] == [each.name for each in recorded]
    assert all(each.outcomes["whole"].level is Level.DENIED for each in judged[:4])
    assert not any(each.outcomes["whole"].level > Level.ALERTED for each in judged[4:])
    assert any(line.startswith("| all | 4 | rules alone | 100.0% | 5 |") for line in leaving_out.table(judged))
    assert all(0 <= leaving_out.roc(judged, by)[2] <= 1 for by in leaving_out.SCORES)


def test_rate_of_what_was_not_seen_is_bounded_by_how_often_one_looked() -> None:
    assert leaving_out.rate_at_most(0, 3000) == pytest.approx(3 / 3000, rel=0.01)
    assert leaving_out.rate_at_most(2, 10) == pytest.approx(0.5069, abs=1e-4), "Clopper and Pearson's table"
    assert leaving_out.rate_at_most(5, 5) == leaving_out.rate_at_most(0, 0) == 1


def test_replay_counts_what_was_hurt_before_it_was_denied() -> None:
    outcome = replay(attack(0), None)
    assert (outcome.level, outcome.hurt, outcome.groups) == (Level.DENIED, 5, 1)


def test_bare_events_have_names_and_no_content() -> None:
    assert not list(bare(attack(0)))
    assert len(list(bare(work(0)))) == 60


def test_trace_of_names_is_read(tmp_path: Path) -> None:
    rows = ["TS,PID,TYPE,FLAG,PATTERN,OPEN,CREATE,DELETE,ENCRYPT,FILENAME"]
    rows += [f"{n},{100 + n % 5},1,1,0,0,1,0,1,/home/d{n}/NOTE.txt" for n in range(200)]
    rows += ["900,900,0,0,0,0,0,0,0,/etc/passwd", "901,900,3,0,0,0,0,0,0,x"]
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    events = list(ebpf(path))
    rows.append(f"902,900,1,1,0,0,1,0,1,/{'x' * 62}")  # cut
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    assert len(list(ebpf(path))) == len(events)
    assert len(events) == 201 and len({each.group for each in events}) == 2
    assert replay(events, None).level is Level.ALERTED
