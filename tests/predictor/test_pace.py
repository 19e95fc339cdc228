"""How often candidates are ranked."""

from predictor.pace import REMEMBERED, STEPS, Pace
from predictor.plan import Outcome


def after(rankings: int, uses_each: float, outcome: Outcome = Outcome.IN_TIME) -> Pace:
    pace, owed = Pace(), 0.0
    for _ in range(rankings):
        pace.ranked()
        owed += uses_each
        while owed >= 1:
            owed -= 1
            pace.used(outcome)
    return pace


def test_it_begins_with_every_visit() -> None:
    assert Pace().visits == 1


def test_what_pays_goes_on() -> None:
    assert after(1000, 0.6).visits == 1


def test_what_does_not_pay_becomes_rare() -> None:
    assert after(1000, 0.3).visits == 2
    assert after(1000, 0.0).visits == 1 << STEPS
    assert after(1000, 5.0, Outcome.UNUSED).visits == 1 << STEPS


def test_what_came_late_counts_for_half() -> None:
    assert after(1000, 0.6, Outcome.LATE).visits == 2


def test_what_pays_again_is_back_soon() -> None:
    pace = after(1000, 0.0)
    for _ in range(REMEMBERED):
        pace.ranked()
        pace.used(Outcome.IN_TIME)
    assert pace.visits == 1
