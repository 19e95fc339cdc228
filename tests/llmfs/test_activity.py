"""What `llmfs top` is told of a mount's last seconds, without a mount."""

import numpy as np

from llmfs.activity import ROWS, activity
from llmfs.decisions import Decision, What
from predictor.events import ACCESS


def plan(at_s: float, want: str = "data") -> Decision:
    return Decision(at_s, What.PLANNED, "history", want, score=0.5)


def test_what_is_planned_again_is_expected_once() -> None:
    plans = [(b"a", plan(3.0)), (b"a", plan(2.0)), (b"a", plan(1.0, "attributes")), (b"b", plan(1.0))]
    plans += [(b"f%d" % number, plan(0.5)) for number in range(2 * ROWS)]
    told = activity(np.zeros(0, ACCESS), lambda path: b"", lambda stream: None, plans, 4.0)["expected"]
    assert len(told) == ROWS
    assert [(each["path"], each["want"], each["ago_s"]) for each in told[:4]] == [
        ("a", "data", 1.0),
        ("a", "attributes", 3.0),
        ("b", "data", 3.0),
        ("f0", "data", 3.5),
    ]
