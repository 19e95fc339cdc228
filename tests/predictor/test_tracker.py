"""Predictions and their outcomes."""

from predictor.tracker import HORIZONS, PER_PATH_MAX, Group, Prediction, Prior, Tracker


def test_a_use_within_a_horizon_counts_for_it_and_for_the_longer_ones() -> None:
    prior, tracker, group = Prior(), Tracker(), Group("c")
    cell = prior.cell("sibling", 0)
    tracker.expect(Prediction(7, group, [cell], None))
    for _ in range(HORIZONS[0] + 1):
        tracker.tick(group)
    assert tracker.use(7)
    assert cell == [1, 0, 1, 1]


def test_what_is_not_used_in_time_counts_as_a_try() -> None:
    prior, tracker, group = Prior(), Tracker(), Group("c")
    cell = prior.cell("sibling", 0)
    tracker.expect(Prediction(7, group, [cell], None))
    for _ in range(HORIZONS[-1] + 1):
        tracker.tick(group)
    assert cell == [1, 0, 0, 0]
    assert len(tracker) == 0


def test_a_pause_of_the_program_is_no_mistake() -> None:
    tracker, group, other = Tracker(), Group("c"), Group("d")
    distances: list[int | None] = []
    tracker.expect(Prediction(7, group, [], distances.append))
    for _ in range(10 * HORIZONS[-1]):
        tracker.tick(other)
    tracker.use(7)
    assert distances == [1]


def test_one_path_waits_for_a_few_predictions_and_all_that_are_logged() -> None:
    prior, tracker, group = Prior(), Tracker(), Group("c")
    cell = prior.cell("sibling", 0)
    distances: list[int | None] = []
    tracker.expect(Prediction(7, group, [], distances.append))
    for _ in range(PER_PATH_MAX + 3):
        tracker.expect(Prediction(7, group, [cell], None))
    assert len(tracker) == PER_PATH_MAX
    for _ in range(3):
        tracker.expect(Prediction(7, group, [], distances.append))
    assert len(tracker) == PER_PATH_MAX + 3
    tracker.use(7)
    assert distances == [1] * 4
    assert cell[0] == PER_PATH_MAX - 1  # the others were given up, and count neither way


def test_where_no_program_goes_on_nothing_more_comes_true() -> None:
    tracker, group = Tracker(), Group("c")
    distances: list[int | None] = []
    for path in (7, 8):
        tracker.expect(Prediction(path, group, [], distances.append))
    tracker.settle()
    assert distances == [None, None]
    assert len(tracker) == 0


def test_a_group_knows_how_often_lately_it_did_better_than_was_said() -> None:
    tracker, lucky, unlucky = Tracker(), Group("c"), Group("d")
    for path in range(50):
        for group in (lucky, unlucky):
            tracker.expect(Prediction(path * 2 + (group is lucky), group, [], None, 0.5))
            tracker.tick(group)
        tracker.use(path * 2 + 1)
    assert lucky.bias > 0.2 > -0.2 > unlucky.bias


def test_frequencies_begin_at_what_is_believed_and_follow_what_happens() -> None:
    prior = Prior()
    before = prior.probability("sibling", 0, 1)
    for _ in range(100):
        Prior.count(prior.cell("sibling", 0), 3)
    assert before < 0.5 < 0.9 < prior.probability("sibling", 0, 1)
    for _ in range(10_000):
        Prior.count(prior.cell("sibling", 0), None)
    assert prior.probability("sibling", 0, 1) < 0.1
