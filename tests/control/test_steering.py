"""The pure part: readings to rows, hysteresis, the safe arm, the rules and the rivals."""

from dataclasses import replace

import numpy as np
import pytest

from predictor.control.arms import ARMS, DEPTHS, SAFE, SCORES, arm_of
from predictor.control.reward import Spent, reward_s
from predictor.control.rivals import Aimd, DiscountedUcb, Fixed
from predictor.control.rules import CROWDED, PROBE, STEPS, Rules
from predictor.control.state import FEATURES, Floor, Observer, Reading, Row, Transfers
from predictor.control.steering import IDLE, Steering

MB = 1 << 20


class Wish:
    """Wants what it is told to want."""

    name = "wish"

    def __init__(self) -> None:
        self.wanted = SAFE

    def choose(self, row: Row, seen: Observer, arm: int) -> int:
        return self.wanted


class Mount:
    """Counters that go on by one second a call."""

    def __init__(self) -> None:
        self.reading = Reading(0.0, 0.0, 0, 0, 0, 0, 0, 0, (0, 0), (0.0, 0.0))

    def second(
        self,
        latency_s: float = 0.01,
        ahead: int = 8 * MB,
        used: int = 8 * MB,
        wasted: int = 0,
        reads: int = 100,
        crowding: float = 1.0,
    ) -> Reading:
        before = self.reading
        self.reading = replace(
            before,
            time_s=before.time_s + 1,
            stall_s=before.stall_s + 0.5,
            reads=before.reads + reads,
            hits=before.hits + reads // 2,
            ahead_bytes=before.ahead_bytes + ahead,
            demand_bytes=before.demand_bytes + 2 * MB,
            used_bytes=before.used_bytes + used,
            wasted_bytes=before.wasted_bytes + wasted,
            calls=(before.calls[0] + 10, before.calls[1] + 100),
            call_s=(before.call_s[0] + 10 * crowding * 0.002, before.call_s[1] + 100 * latency_s),
            name_floor_s=0.002,
        )
        return self.reading


def test_the_safe_arm_changes_nothing() -> None:
    safe = ARMS[SAFE]
    assert safe.min_score == 0 and safe.at_once > 512 and safe.ahead_bytes > 1 << 60
    assert len(ARMS) == DEPTHS * SCORES
    assert arm_of(99, -1) == arm_of(DEPTHS - 1, 0)


def test_the_first_reading_makes_no_row_and_the_second_a_whole_one() -> None:
    mount, observer = Mount(), Observer()
    assert observer.row(mount.second(), SAFE) is None
    row = observer.row(mount.second(), SAFE)
    assert row is not None and row.shape == (len(FEATURES),) and row.dtype == np.float32
    told = dict(zip(FEATURES, row.tolist(), strict=True))
    assert told["stall"] == pytest.approx(np.log1p(0.5))
    assert told["hits"] == pytest.approx(0.5)
    assert told["ahead"] == pytest.approx(0.8)
    assert told["slowdown"] == pytest.approx(0.0, abs=1e-6)
    assert observer.row(mount.reading, SAFE) is None, "no time has passed"


def test_slowdown_is_a_multiple_of_the_best_latency_that_was_seen() -> None:
    mount, observer = Mount(), Observer()
    for latency_s in (0.01, 0.01, 0.05):
        observer.row(mount.second(latency_s), SAFE)
    assert observer.slowdown == pytest.approx(5, rel=0.05)


def test_a_line_is_crowded_where_data_takes_many_times_as_long_as_alone() -> None:
    transfers, observer, mount = Transfers(), Observer(), Mount()
    for _ in range(Floor.WINDOW):
        transfers.add(128 << 10, 0.01)
        transfers.add(4 << 10, 0.002)  # small ones are fast anyway
    for is_crowded in (False, True):
        for _ in range(8):
            transfers.add(128 << 10, 0.08 if is_crowded else 0.01)
        told = transfers.took_s, transfers.alone_s
        observer.row(replace(mount.second(), transfers_s=told), SAFE)
        assert (observer.crowding > 6) is is_crowded


def test_a_change_takes_agreement_and_then_holds() -> None:
    mount, wish = Mount(), Wish()
    steering = Steering(wish, agreeing=2, dwell=3)
    steering.look(mount.second())
    wish.wanted = 4
    assert steering.look(mount.second()).arm == SAFE, "asked for once"
    assert steering.look(mount.second()).arm == 4
    wish.wanted = 8
    arms = [steering.look(mount.second()).arm for _ in range(4)]
    assert arms == [4, 4, 8, 8], "it holds for three looks"
    assert steering.changes == 2


def test_a_controller_that_flickers_changes_nothing() -> None:
    mount, wish = Mount(), Wish()
    steering = Steering(wish)
    for number in range(20):
        wish.wanted = number % 2 + 1
        assert steering.look(mount.second()).arm == SAFE


@pytest.mark.parametrize("reason", ["idle", "nonsense", "no such arm"])
def test_the_safe_arm_is_taken_at_once_where_there_is_nothing_to_go_by(reason: str) -> None:
    mount, wish = Mount(), Wish()
    steering = Steering(wish, agreeing=1, dwell=0)
    wish.wanted = 4
    steering.look(mount.second())
    assert steering.look(mount.second()).arm == 4
    if reason == "idle":
        for _ in range(IDLE):
            decision = steering.look(mount.second(reads=0))
    elif reason == "nonsense":
        decision = steering.look(replace(mount.second(), queue=float("nan")))  # type: ignore[arg-type]
    else:
        wish.wanted = len(ARMS)
        decision = steering.look(mount.second())
    assert decision.arm == SAFE and decision.was_changed


def _steered(latencies_s: list[float], used: int) -> list[int]:
    mount, steering = Mount(), Steering(Rules())
    for _ in range(3):
        steering.look(mount.second(0.01))
    return [steering.look(mount.second(latency_s, used=used)).arm for latency_s in latencies_s]


def test_rules_step_back_while_a_contended_source_fetches_what_nobody_uses() -> None:
    arms = _steered([0.1] * 20, used=MB)
    assert arms[-1] == STEPS[-1]
    assert sorted(arms, key=STEPS.index) == arms, "one step at a time, and none forward"


def test_rules_hold_nothing_back_that_is_used_however_slow_the_source() -> None:
    assert set(_steered([0.1] * 20, used=8 * MB)) == {SAFE}


def test_rules_hold_nothing_back_while_the_source_is_at_its_best() -> None:
    assert set(_steered([0.01] * 20, used=0)) == {SAFE}


def test_rules_return_when_the_source_is_calm() -> None:
    assert _steered([0.1] * 20 + [0.01] * 12, used=MB)[-1] == SAFE


def test_rules_run_fewer_at_a_time_where_the_source_is_crowded_however_well_they_are_used() -> None:
    mount, steering = Mount(), Steering(Rules())
    arms = [steering.look(mount.second(crowding=2 * CROWDED)).arm for _ in range(6)]
    assert arms[-1] == STEPS[1]
    calm = [steering.look(mount.second(crowding=1.0)).arm for _ in range(PROBE + 4)]
    assert calm[PROBE - 4] == STEPS[1], "four at a time do not show whether it is crowded still"
    assert calm[-1] == SAFE, "it is tried"


def test_rules_leave_others_crowd_alone() -> None:
    mount, steering = Mount(), Steering(Rules())
    assert {steering.look(mount.second(crowding=2 * CROWDED, ahead=0)).arm for _ in range(8)} == {SAFE}


def test_the_floor_is_what_a_call_takes_in_a_quiet_time_and_is_forgotten() -> None:
    floor, generator = Floor(), np.random.default_rng(1)
    for seconds in 0.01 * np.exp(0.3 * generator.normal(size=5000)):
        floor.add(float(seconds))
    assert 0.005 < floor.seconds < 0.01
    for number in range(2000):  # crowded; one in ten is answered from the client's memory
        floor.add(0.05 if number % 10 else 0.0002)
    assert 0.005 < floor.seconds < 0.02
    for _ in range(12_000):
        floor.add(0.04)
    assert floor.seconds > 0.03


def test_aimd_goes_by_latency_alone() -> None:
    mount, observer, aimd = Mount(), Observer(), Aimd()
    for _ in range(2):
        observer.row(mount.second(0.01), SAFE)
    arm = SAFE
    for _ in range(6):
        row = observer.row(mount.second(0.1), arm)
        assert row is not None
        arm = aimd.choose(row, observer, arm)
    assert arm == arm_of(DEPTHS - 1, 0)
    for _ in range(20):
        row = observer.row(mount.second(0.01), arm)
        assert row is not None
        arm = aimd.choose(row, observer, arm)
    assert arm == SAFE


def test_discounted_ucb_settles_on_what_stalls_least_and_forgets() -> None:
    ucb, observer = DiscountedUcb(discount=0.9, width=0.05), Observer()
    chosen: list[int] = []
    arm = SAFE
    for number in range(400):
        best = 2 if number < 200 else 7
        row = np.zeros(len(FEATURES), np.float32)
        row[FEATURES.index("stall")] = 0.0 if arm == best else 2.0
        arm = ucb.choose(row, observer, arm)
        chosen.append(arm)
    assert max(set(chosen[150:200]), key=chosen[150:200].count) == 2
    assert max(set(chosen[350:]), key=chosen[350:].count) == 7


def test_a_fixed_arm_is_fixed() -> None:
    assert Fixed(5).choose(np.zeros(len(FEATURES), np.float32), Observer(), 0) == 5


def test_reward_is_what_was_gained_on_the_ghost() -> None:
    ghost = Spent(10.0, 0, 100)
    assert reward_s(ghost, ghost) == 0
    assert reward_s(Spent(8.0, 0, 100), ghost) == pytest.approx(2.0)
    assert reward_s(Spent(10.0, 400_000_000, 100), ghost) == pytest.approx(-1.0)
