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
    for path in range(200):
        tracker.expect(Prediction(2 * path, lucky, [], None, 0.5))
        tracker.expect(Prediction(2 * path + 1, unlucky, [], None, 0.5))
        tracker.tick(lucky)
        tracker.tick(unlucky)
        tracker.use(2 * path)
    assert lucky.bias > 0.5
    assert unlucky.bias < -1


def predict(group: Group, tracker: Tracker, chance: float, corrected: float, is_used: bool, times: int = 300) -> None:
    """Predictions of which the prior says one thing and the network another."""
    for path in range(times):
        tracker.expect(Prediction(path, group, [], None, chance, corrected))
        tracker.tick(group)
        if is_used:
            tracker.use(path)
    for _ in range(HORIZONS[1]):
        tracker.tick(group)


def test_a_network_that_does_harm_falls_silent_and_is_heard_again_when_it_would_have_done_well() -> None:
    tracker, group = Tracker(), Group("c")
    at_first = group.trust
    assert 0.8 < at_first < 1
    predict(group, tracker, 0.5, 0.1, is_used=True)
    assert group.trust < 0.01
    predict(group, tracker, 0.5, 0.1, is_used=False, times=1200)
    assert group.trust > at_first


def test_a_network_is_judged_by_group() -> None:
    tracker, one, other = Tracker(), Group("c"), Group("d")
    predict(one, tracker, 0.5, 0.1, is_used=True)
    assert other.trust == Group("e").trust


def test_nothing_is_judged_before_its_horizon_has_passed() -> None:
    """What comes true is known early, what does not late: judged as known, the sanguine would always win."""
    tracker, group = Tracker(), Group("c")
    tracker.expect(Prediction(7, group, [], None, 0.5, 0.9))
    tracker.tick(group)
    tracker.use(7)
    assert group.lead == 0
    for _ in range(HORIZONS[1] - 1):
        tracker.tick(group)
    assert group.lead > 0


def test_what_was_given_up_is_not_judged() -> None:
    tracker, group = Tracker(), Group("c")
    for _ in range(PER_PATH_MAX + 1):
        tracker.expect(Prediction(7, group, [], None, 0.5, 0.9))
    tracker.use(7)
    for _ in range(HORIZONS[1]):
        tracker.tick(group)
    assert 0 < group.came_true <= PER_PATH_MAX


def test_frequencies_begin_at_what_is_believed_and_follow_what_happens() -> None:
    prior = Prior()
    before = prior.standing("sibling", 0).chances
    for _ in range(100):
        Prior.count(prior.cell("sibling", 0), 3)
    assert before[1] < 0.5 < 0.9 < prior.standing("sibling", 0).chances[1]
    for _ in range(10_000):
        Prior.count(prior.cell("sibling", 0), None)
    assert prior.standing("sibling", 0).chances[1] < 0.1
