"""A map that forgets: what was set or asked for lately is there, whatever came in between."""

from hypothesis import given
from hypothesis import strategies as st

from predictor.recent import Recent


@given(st.integers(1, 8), st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=200))
def test_the_last_keys_are_there_and_memory_is_bounded(capacity: int, steps: list[tuple[bool, int]]) -> None:
    recent: Recent[int, int] = Recent(capacity)
    lately: dict[int, int] = {}  # the last one last
    for number, (is_set, key) in enumerate(steps):
        if is_set:
            recent[key] = number
            lately.pop(key, None)
            lately[key] = number
        else:
            value = recent.get(key)
            if key in list(lately)[-capacity:]:
                assert value == lately[key]
            assert value in (None, lately.get(key))
            if value is not None:
                lately[key] = lately.pop(key)
        assert len(recent) <= 2 * capacity


def test_what_is_asked_for_now_and_then_stays() -> None:
    recent: Recent[str, int] = Recent(10)
    recent["held"] = 1
    for number in range(1000):
        recent[str(number)] = number
        if number % 9 == 0:
            assert recent.get("held") == 1
    assert recent.get("1") is None
