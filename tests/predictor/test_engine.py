"""What the engine plans, and when."""

import random

import pytest

from predictor.candidates.directory import Directories
from predictor.engine import Engine
from predictor.events import Op
from predictor.limits import Limits
from predictor.plan import COUNTS, PlanItem, Want
from tests.predictor.workload import Mount, covered, run_program, start_of_a_program, wanted


def second_run(engine: Engine, accesses: int, hidden: float = 0.0, files: int = 300) -> list[PlanItem]:
    """A remount, and the first accesses of another run of the program, of which some are hidden by the kernel."""
    chance = random.Random(1)
    engine.begin_session()
    mount = Mount(start_s=2_000_000)
    items: list[PlanItem] = []
    for op, path, offset, length in list(start_of_a_program(files))[:accesses]:
        if chance.random() >= hidden:
            mount.add(op, path, offset, length, tgid=77)
            items += mount.send(engine)
    return items


def test_second_run_is_planned_from_its_first_accesses() -> None:
    engine = Engine()
    run_program(Mount(), engine, files=200)
    items = second_run(engine, accesses=20, files=200)
    assert covered(items, wanted(200)) > 0.8
    assert {item.model for item in items if item.generator == "history"} == {COUNTS}


def test_the_first_access_of_a_second_run_is_enough_to_begin() -> None:
    engine = Engine()
    run_program(Mount(), engine)
    assert len(second_run(engine, accesses=1)) >= 16


def test_second_run_is_planned_though_the_kernel_hides_half_of_it() -> None:
    engine = Engine()
    run_program(Mount(), engine)
    items = second_run(engine, accesses=1200, hidden=0.5)
    assert covered(items, wanted()) > 0.95


def test_what_a_run_hid_is_planned_in_the_run_after_it() -> None:
    engine = Engine()
    run_program(Mount(), engine)
    for _ in range(3):
        second_run(engine, accesses=1200, hidden=0.6)
    items = second_run(engine, accesses=1200)
    assert covered(items, wanted()) > 0.9


def test_a_burst_that_arrives_at_once_is_planned_like_single_accesses() -> None:
    engine = Engine()
    run_program(Mount(), engine)
    engine.begin_session()
    mount = Mount(start_s=2_000_000)
    for op, path, offset, length in list(start_of_a_program())[:40]:
        mount.add(op, path, offset, length)
    assert covered(mount.send(engine), wanted()) > 0.3


def test_only_the_ranges_that_were_read_are_planned() -> None:
    engine = Engine()
    run_program(Mount(), engine)
    big = {(i.offset, i.length) for i in second_run(engine, accesses=1200) if i.path == b"lib/big.so"}
    assert big
    assert all(offset + length <= 33 << 20 for offset, length in big)
    assert sum(length for _, length in big) < 4 << 20


def test_names_that_do_not_exist_are_planned_as_attributes() -> None:
    engine = Engine()
    run_program(Mount(), engine)
    items = {i.path: i for i in second_run(engine, accesses=40)}
    assert items[b"lib/package12/module12.so"].want is Want.ATTRIBUTES


def test_nothing_is_planned_twice_before_it_is_used_or_expired() -> None:
    engine = Engine()
    run_program(Mount(), engine)
    items = second_run(engine, accesses=400)
    names = [(item.want, item.path) for item in items if item.want is not Want.DATA]
    assert len(names) == len(set(names))


def test_interleaved_streams_are_followed_each_on_its_own() -> None:
    engine = Engine()
    mount = Mount()
    for program in ("one", "two"):
        for number in range(100):
            mount.read_file(f"{program}/{number * 37 % 100}", tgid=5 if program == "one" else 6)
            mount.send(engine)
    engine.begin_session()
    mount = Mount(start_s=2_000_000)
    items: list[PlanItem] = []
    for number in range(20):
        for tgid, program in ((15, "one"), (16, "two")):
            mount.read_file(f"{program}/{number * 37 % 100}", tgid=tgid)
            items += mount.send(engine)
    for program in ("one", "two"):
        needs = {(Want.DATA, f"{program}/{number * 37 % 100}") for number in range(20, 60)}
        assert covered(items, needs) > 0.9


def test_a_changed_program_is_followed_past_its_change() -> None:
    engine = Engine()
    run_program(Mount(), engine)
    engine.begin_session()
    mount = Mount(start_s=2_000_000)
    items: list[PlanItem] = []
    accesses = list(start_of_a_program())
    for index, (op, path, offset, length) in enumerate(accesses):
        if 300 <= index < 420:
            continue  # no longer done
        if index == 600:
            for number in range(30):
                mount.read_file(f"new/{number}")
        mount.add(op, path, offset, length)
        items += mount.send(engine)
    assert covered(items, wanted()) > 0.9


def test_numbered_files_are_planned_on_the_first_pass_without_a_listing() -> None:
    engine = Engine()
    mount = Mount()
    items: list[PlanItem] = []
    for number in range(40):
        mount.read_file(f"data/part{number:04d}.bin")
        items += mount.send(engine)
    assert covered(items, {(Want.DATA, f"data/part{number:04d}.bin") for number in range(20, 40)}) > 0.9


def test_the_unread_rest_of_a_shuffled_directory_is_planned_on_the_first_pass() -> None:
    engine = Engine()
    mount = Mount()
    names = [f"sample{number}.bin" for number in range(200)]
    mount.list_directory(engine, "data", names)
    order = names[:]
    random.Random(3).shuffle(order)
    planned: set[str] = set()
    ahead = 0
    for name in order:
        ahead += f"data/{name}" in planned
        mount.read_file(f"data/{name}")
        planned |= {item.path.decode() for item in mount.send(engine)}
    assert ahead > 120


def test_a_walk_in_listing_order_is_planned_ahead() -> None:
    engine = Engine()
    mount = Mount()
    names = [f"{word}{letter}" for word in ("zeta", "alpha", "mid") for letter in "qwertyuiopasdfghjkl"]
    mount.list_directory(engine, "src", names)
    items: list[PlanItem] = []
    for name in names[:40]:
        mount.read_file(f"src/{name}")
        items += mount.send(engine)
    assert covered(items, {(Want.DATA, f"src/{name}") for name in names[20:40]}) > 0.9


def test_random_reads_of_one_file_cause_no_data_plans() -> None:
    engine = Engine()
    mount = Mount()
    chance = random.Random(2)
    mount.add(Op.OPEN, "big", 1 << 34)
    items: list[PlanItem] = []
    for _ in range(500):
        mount.add(Op.READ, "big", chance.randrange(1 << 22) * 4096, 4096)
        items += mount.send(engine)
    assert sum(item.length for item in items) < 32 << 20


def test_records_whose_names_were_lost_are_counted_and_skipped() -> None:
    engine = Engine()
    mount = Mount()
    mount.read_file("a/b")
    _, streams, records = mount.take()
    engine.observe([], streams, records)
    assert engine.counters["unknown"] == len(records)
    assert engine.plan() == []


def test_every_table_stays_bounded() -> None:
    limits = Limits(
        paths=2048,
        paths_in_use=256,
        history=256,
        uses=512,
        contexts=512,
        names=256,
        streams=8,
        groups=4,
        outstanding=64,
    )
    engine = Engine(limits)
    mount = Mount(paths_in_use=200)
    for number in range(3000):
        mount.read_file(f"d{number % 50}/f{number}", tgid=number % 30, command=f"c{number % 9}")
        mount.send(engine)
    assert len(engine.reuse.uses) <= limits.uses
    assert len(engine.paths) <= limits.paths + 10
    assert len(engine.sizes) <= len(engine.paths)
    assert len(engine.tracker) <= 40_000
    assert engine.history.end - engine.history.first <= limits.history
    assert len(engine.scores()) <= 1024


FLOODED = Limits(
    paths=2000, paths_in_use=200, history=1024, uses=512, contexts=512, names=256, streams=8, groups=4, outstanding=64
)


def flood(engine: Engine, mount: Mount, first: int, files: int) -> None:
    """New files, each in use once; of every fiftieth directory the names are listed."""
    for number in range(first, first + files):
        if number % 500 == 0:
            mount.list_directory(engine, f"flood/d{number // 10}", [f"f{n}" for n in range(number, number + 10)])
        mount.read_file(f"flood/d{number // 10}/f{number}", tgid=2, command="find")
        if number % 20 == 0:
            mount.send(engine)
    mount.send(engine)


def test_a_working_set_is_planned_while_a_flood_of_other_files_passes() -> None:
    engine, mount = Engine(FLOODED), Mount(paths_in_use=150)
    for turn in range(12):
        items: list[PlanItem] = []
        for op, path, offset, length in start_of_a_program(40):
            mount.add(op, path, offset, length, tgid=100 + turn)
            items += mount.send(engine)
        if turn > 2:
            assert covered(items, wanted(40)) > 0.8
        flood(engine, mount, turn * 500, 500)
    assert len(engine.paths) < 1.2 * FLOODED.paths < 12 * 500
    assert engine.counters["unknown"] == 0


def test_every_planned_and_scored_path_is_one_that_was_seen_though_others_were_forgotten() -> None:
    engine, mount = Engine(FLOODED), Mount(paths_in_use=150)
    chance = random.Random(5)
    for turn in range(6000):
        number = chance.choice((turn, chance.randrange(turn + 1), chance.randrange(50)))
        if turn % 40 == 0:
            folder = number // 20
            mount.list_directory(engine, f"d{folder}", [f"f{n}.x" for n in range(folder * 20, folder * 20 + 20)])
        mount.read_file(f"d{number // 20}/f{number}.x", tgid=turn % 13, command=f"c{turn % 7}")
        found = {item.path for item in mount.send(engine)} | {path for path, _ in engine.scores()}
        for path in found:
            folder, _, name = path.decode().partition("/")
            assert not name or int(name[1:-2]) // 20 == int(folder[1:])
    assert engine.counters["unknown"] == 0
    assert mount.paths.next > len(engine.paths) + 1000


def test_files_of_a_directory_that_nobody_lists_are_remembered_through_an_epoch() -> None:
    engine, mount = Engine(FLOODED), Mount(paths_in_use=150)
    names = [f"data/sample{number}.bin" for number in range(60)]
    for epoch in range(3):
        random.Random(epoch).shuffle(names)
        for name in names[: 60 if epoch < 2 else 5]:  # the third epoch begins
            mount.read_file(name)
            mount.send(engine)
    flood(engine, mount, 3, 4000)
    for name in names[5:]:
        mount.read_file(name)
        mount.send(engine)
    assert engine.counters["unknown"] == 0


def test_every_path_that_a_directory_may_propose_is_kept() -> None:
    directories = Directories(names_max=1000)
    for child in (*range(10, 20), 10, 11):
        directories.used(1, child)
    state = directories.find(1)
    assert state is not None and state.epochs == 1 and 15 in state.unread
    assert {1, *state.unread, *state.read} <= set(directories.paths())
    assert state.size == len(state.unread) + len(state.read)


def test_scores_are_probabilities_and_favour_what_returns() -> None:
    engine = Engine()
    mount = Mount()
    for turn in range(200):
        for number in range(3):
            mount.read_file(f"hot/{number}", tgid=turn)
        mount.read_file(f"once/{turn}", tgid=turn)
    mount.send(engine)
    scores = dict(engine.scores())
    assert all(0 <= score <= 1 for score in scores.values())
    assert min(scores[b"hot/0"], scores[b"hot/1"]) > max(s for path, s in scores.items() if path.startswith(b"once"))


def test_the_same_accesses_give_the_same_plans() -> None:
    plans = []
    for _ in range(2):
        engine = Engine()
        run_program(Mount(), engine)
        plans.append(second_run(engine, accesses=100))
    assert plans[0] == plans[1]


@pytest.mark.parametrize("outcome", [1, 2, 3])
def test_outcomes_are_counted(outcome: int) -> None:
    engine = Engine()
    engine.outcomes([[b"a/b", "history", outcome]])
    assert sum(engine.counters[name] for name in ("in_time", "late", "unused")) == 1


def test_a_first_run_full_of_wrong_guesses_does_not_silence_the_second() -> None:
    engine = Engine()
    for cell_bucket in range(256):
        engine.prior.cell("cursor", cell_bucket)[:] = [1000.0, 10.0, 20.0, 50.0]
    run_program(Mount(), engine)
    assert covered(second_run(engine, accesses=30), wanted()) > 0.5


def test_what_is_planned_ahead_scores_high_until_it_is_past() -> None:
    engine = Engine()
    run_program(Mount(), engine)
    second_run(engine, accesses=60)
    scores = dict(engine.scores())
    assert scores[b"lib/package15/module49.py"] > 0.7  # 49 * 4 accesses into the run, not yet used
    assert max(score for path, score in scores.items() if path == b"lib/package1/module1.py") <= 1
    engine.begin_session()
    later = dict(engine.scores())
    assert later[b"lib/package15/module49.py"] < scores[b"lib/package15/module49.py"]


def test_what_was_fetched_in_vain_lowers_the_trust_in_who_planned_it() -> None:
    engine = Engine()
    run_program(Mount(), engine)
    items = second_run(engine, accesses=20)
    cells = {name: [list(c) for (n, _), c in engine.prior.cells.items() if n == name] for name in ("cursor",)}
    engine.outcomes([[item.path, item.generator, 3] for item in items if item.want is Want.DATA])
    after = [c for (n, _), c in engine.prior.cells.items() if n == "cursor"]
    assert sum(c[0] for c in after) > sum(c[0] for c in cells["cursor"])
    assert sum(c[3] for c in after) == sum(c[3] for c in cells["cursor"])
