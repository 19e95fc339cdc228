"""What was planned is not planned again; what goes beyond it is."""

from predictor.outstanding import Outstanding
from predictor.plan import Want

WHOLE = ((0, 0),)
HEAD = ((0, 128 << 10),)


def outstanding() -> Outstanding:
    return Outstanding(entries_max=100, planned_again_ns=1000, used_again_ns=100, used_again_bytes=500)


def test_a_whole_file_is_more_than_its_head() -> None:
    planned = outstanding()
    assert planned.admit(1, Want.DATA, HEAD, 100, now_ns=0)
    assert not planned.admit(1, Want.DATA, HEAD, 100, now_ns=1)
    assert planned.admit(1, Want.DATA, WHOLE, 1000, now_ns=2)
    assert not planned.admit(1, Want.DATA, HEAD, 100, now_ns=3)
    assert not planned.admit(1, Want.DATA, WHOLE, 1000, now_ns=3)
    assert planned.is_planned(1, Want.DATA, WHOLE, now_ns=4)
    assert not planned.is_planned(1, Want.DATA, HEAD, now_ns=4)


def test_what_was_planned_long_ago_and_not_used_is_planned_again() -> None:
    planned = outstanding()
    assert planned.admit(1, Want.ATTRIBUTES, (), 0, now_ns=0)
    assert not planned.admit(1, Want.ATTRIBUTES, (), 0, now_ns=999)
    assert planned.admit(1, Want.ATTRIBUTES, (), 0, now_ns=1000)


def test_bytes_are_those_neither_used_nor_given_up() -> None:
    planned = outstanding()
    planned.admit(1, Want.DATA, HEAD, 100, now_ns=0)
    planned.admit(2, Want.DATA, WHOLE, 50, now_ns=1)
    assert planned.bytes == 150
    planned.used(1, now_ns=2)
    assert planned.bytes == 50
    planned.withdraw(2)
    assert planned.bytes == 0


def test_what_was_used_is_planned_again_when_it_may_have_made_room_for_others() -> None:
    planned = outstanding()
    planned.admit(1, Want.DATA, WHOLE, 50, now_ns=0)
    planned.used(1, now_ns=1)
    planned.read(499)
    assert not planned.admit(1, Want.DATA, WHOLE, 50, now_ns=2)
    planned.read(1)
    assert planned.admit(1, Want.DATA, WHOLE, 50, now_ns=3)
