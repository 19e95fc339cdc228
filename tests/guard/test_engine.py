"""Who is denied, and who is not, from events alone."""

import random
from collections.abc import Callable, Iterator

import pytest

from predictor.guard.copies import COPIES_MAX
from predictor.guard.decisions import Level
from predictor.guard.engine import Finding, GuardEngine, Scorer
from predictor.guard.events import Event, Kind
from predictor.guard.looks import look

CHANCE = random.Random(2)
CIPHERTEXT = look(CHANCE.randbytes(4096), is_head=True)
TEXT = look(b"what was there before it was encrypted, and is not any more; " * 80, is_head=True)


def event(number: int, kind: Kind, group: int = 1, **more: object) -> Event:
    """About a file of its own, in one of five directories; a second apart."""
    known: dict[str, object] = {"time_s": float(number), "size_bytes": 10_000, "cgroup": 7}
    known |= {"file": 100 + number, "directory": 1 + number % 5, "name": b"%d.txt" % number}
    return Event(kind=kind, group=group, **(known | more))  # type: ignore[arg-type]


def in_place(number: int, group: int = 1, **more: object) -> Iterator[Event]:
    yield event(number, Kind.WRITE, group, new=CIPHERTEXT, old=TEXT, **more)


def copied(number: int, group: int = 1, size_bytes: int = 10_100, remover: int = 0) -> Iterator[Event]:
    copy = {"file": 5000 + number, "name": b"%d.txt.locked" % number}
    yield event(number, Kind.CREATE, group, **copy)
    yield event(number, Kind.WRITE, group, new=CIPHERTEXT, **copy | {"size_bytes": size_bytes})
    yield event(number, Kind.UNLINK, remover or group, old=TEXT)


def replaced(number: int, group: int = 1) -> Iterator[Event]:
    other = {"file": 5000 + number, "name": b"~%d" % number}
    yield event(number, Kind.CREATE, group, **other)
    yield event(number, Kind.WRITE, group, new=CIPHERTEXT, **other)
    yield event(
        number, Kind.RENAME, group, **other, old=TEXT, new_directory=1 + number % 5, new_name=b"%d.txt" % number,
        victim=100 + number, victim_size_bytes=10_000,
    )  # fmt: skip


def findings(engine: GuardEngine, *runs: Iterator[Event]) -> list[Finding]:
    return [finding for run in runs for each in run for finding in engine.observe(each)]


@pytest.mark.parametrize("attack", [in_place, copied, replaced])
def test_files_that_become_ciphertext_have_their_group_denied(attack: Callable[[int], Iterator[Event]]) -> None:
    levels = [found.level for found in findings(GuardEngine(), *(attack(number) for number in range(6)))]
    assert levels == [Level.ALERTED, Level.THROTTLED, Level.DENIED]


def test_being_slow_does_not_help() -> None:
    engine = GuardEngine()
    hours = (in_place(number, time_s=number * 3600.0) for number in range(6))
    assert findings(engine, *hours)[-1].level is Level.DENIED


@pytest.mark.parametrize("files", [100, 3 * COPIES_MAX])
def test_copying_everything_before_anything_is_removed_does_not_help(files: int) -> None:
    """Each in a directory and by processes of its own, so that nothing but its name says whose copy it is."""
    runs = [list(copied(number, group=10 + 2 * number, remover=11 + 2 * number)) for number in range(files)]
    runs = [[each._replace(time_s=1.0, directory=each.file % 5000) for each in run] for run in runs]
    engine = GuardEngine()
    findings(engine, *(iter(run[:-1]) for run in runs))
    levels = {found.level for run in runs[: 8 if files < COPIES_MAX else 100] for found in engine.observe(run[-1])}
    assert Level.DENIED in levels


def test_few_files_or_one_place_are_not_enough() -> None:
    engine = GuardEngine()
    assert max(found.level for found in findings(engine, *(in_place(number) for number in range(4)))) < Level.DENIED
    engine = GuardEngine()
    narrow = (in_place(number, directory=1) for number in range(5))
    assert max(found.level for found in findings(engine, *narrow)) < Level.DENIED


def test_compressors_are_quiet() -> None:
    """What they make is smaller, or has a format."""
    assert not findings(GuardEngine(), *(copied(number, size_bytes=3000) for number in range(50)))


def test_new_ciphertext_beside_its_original_is_quiet() -> None:
    def backup(number: int) -> Iterator[Event]:
        return iter(list(copied(number))[:2])

    assert not findings(GuardEngine(), *(backup(number) for number in range(50)))


def test_copy_under_another_name_is_its_who_had_just_read_the_original() -> None:
    def elsewhere(number: int) -> Iterator[Event]:
        copy = {"file": 5000 + number, "name": b"%x" % number, "directory": 99}
        yield event(number, Kind.OPEN)
        yield event(number, Kind.CREATE, **copy)
        yield event(number, Kind.WRITE, new=CIPHERTEXT, **copy | {"size_bytes": 10_100})
        yield event(number, Kind.UNLINK, old=TEXT)

    assert findings(GuardEngine(), *(elsewhere(number) for number in range(6)))[-1].level is Level.DENIED


def test_backup_of_ciphertext_is_not_held_against_what_others_remove() -> None:
    """A program that reads everything and copies encrypted archives is not what encrypted the files of their sizes."""

    def backup(number: int) -> Iterator[Event]:
        copy = {"file": 5000 + number, "name": b".%d.aes.x" % number, "directory": 99}
        yield event(number, Kind.OPEN, group=2)
        yield event(number, Kind.OPEN, group=2, file=3000 + number)
        yield event(number, Kind.CREATE, group=2, **copy)
        yield event(number, Kind.WRITE, group=2, new=CIPHERTEXT, **copy | {"size_bytes": 10_100})

    removals = (iter([event(number, Kind.UNLINK, group=3 + number, old=TEXT)]) for number in range(50))
    assert not findings(GuardEngine(), *(backup(number) for number in range(50)), *removals)


def test_file_written_anew_beside_its_encrypted_copy_is_not_lost() -> None:
    engine = GuardEngine()
    findings(engine, *(iter(list(copied(number))[:2]) for number in range(20)))
    anew = ([event(n, Kind.TRUNCATE, 2, old=TEXT), event(n, Kind.WRITE, 2, new=TEXT)] for n in range(20))
    assert not findings(engine, *map(iter, anew))


def test_copy_that_was_kept_is_not_held_against_who_tidies_up_later() -> None:
    engine = GuardEngine()
    findings(engine, *(iter(list(copied(number))[:2]) for number in range(20)))
    late = (iter([event(n, Kind.UNLINK, 2, old=TEXT, time_s=3000.0 + n)]) for n in range(20))
    assert not findings(engine, *late)


def test_who_overwrites_and_removes_has_encrypted_nothing() -> None:
    """As shred does; who keeps a copy as ciphertext is another matter."""

    def shred(number: int) -> Iterator[Event]:
        yield from in_place(number)
        yield event(number, Kind.UNLINK, old=CIPHERTEXT)

    def wiped(number: int) -> Iterator[Event]:
        *made, removal = copied(number)
        yield from [*made, *in_place(number), removal]

    assert not findings(GuardEngine(), *(shred(number) for number in range(50)))
    assert findings(GuardEngine(), *(wiped(number) for number in range(6)))[-1].level is Level.DENIED


def test_own_files_may_become_anything() -> None:
    engine = GuardEngine()
    for number in range(50):
        made = [event(number, Kind.CREATE), event(number, Kind.WRITE, new=TEXT)]
        assert not findings(engine, iter(made), in_place(number))


@pytest.mark.parametrize("score", [0.95, 1.0])
def test_score_alone_never_does_more_than_alert(score: float) -> None:
    engine = GuardEngine(lambda row, sequence: score)

    def stir(number: int) -> Iterator[Event]:
        yield event(number, Kind.CREATE)
        yield event(number, Kind.WRITE, new=CIPHERTEXT)
        yield event(number, Kind.UNLINK, file=20_000 + number)

    found = findings(engine, *(stir(number) for number in range(300)))
    assert max((each.level for each in found), default=Level.QUIET) <= Level.ALERTED
    assert bool(found) == (score == 1.0)


def test_confident_score_needs_fewer_files() -> None:
    sure: Scorer = lambda row, sequence: 0.95  # noqa: E731
    assert findings(GuardEngine(sure), *(in_place(number) for number in range(3)))[-1].level is Level.DENIED


def test_groups_that_share_an_attack_have_their_cgroup_denied() -> None:
    engine = GuardEngine()
    found = findings(engine, *(copied(number, group=10 + 2 * number, remover=11 + 2 * number) for number in range(8)))
    assert [(each.is_cgroup, each.id, each.level) for each in found][-1] == (True, 7, Level.DENIED)


def test_score_says_nothing_of_a_cgroup() -> None:
    sure: Scorer = lambda row, sequence: 1.0  # noqa: E731
    runs = [copied(number, group=10 + 2 * number, remover=11 + 2 * number) for number in range(8)]
    levels = [each.level for each in findings(GuardEngine(sure), *runs[:7]) if each.is_cgroup]
    assert levels == [Level.ALERTED, Level.THROTTLED]


def test_group_that_is_denied_itself_does_not_have_its_cgroup_denied() -> None:
    found = findings(GuardEngine(), *(in_place(number) for number in range(30)))
    assert not any(each.is_cgroup for each in found)


def test_forgiven_group_is_quiet() -> None:
    engine = GuardEngine()
    findings(engine, *(in_place(number) for number in range(4)))
    engine.forgive(False, 1)
    assert not findings(engine, *(in_place(number) for number in range(4, 60)))


def test_what_a_person_has_settled_is_not_held_against_it_and_what_comes_is() -> None:
    engine = GuardEngine()
    findings(engine, *(in_place(number) for number in range(6)))
    engine.pardon(False, 1)
    again = [found.level for found in findings(engine, *(in_place(number) for number in range(6, 12)))]
    assert again == [Level.ALERTED, Level.THROTTLED, Level.DENIED]


def test_notes_in_other_people_s_directories_are_told_of() -> None:
    """Without a look at any content, as from a trace of names; directories of one's own are another matter."""

    def notes(number: int) -> Iterator[Event]:
        yield event(number, Kind.CREATE, name=b"RESTORE.txt", directory=100 + number)

    def package(number: int) -> Iterator[Event]:
        yield event(number, Kind.MKDIR, file=200 + number, directory=5)
        yield event(number, Kind.CREATE, file=9000 + number, name=b"__init__.py", directory=200 + number)

    (found,) = findings(GuardEngine(), *(notes(number) for number in range(60)))
    assert found.level is Level.ALERTED
    assert not findings(GuardEngine(), *(package(number) for number in range(60)))
