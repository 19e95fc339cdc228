"""History and predictions of the live page, without a mount."""

import base64
import hashlib
from importlib import resources

import pytest

from llmfs.decisions import Decision, What
from llmfs.web.history import SAMPLES_MAX, Counters, History, quantile
from llmfs.web.predictions import stream
from llmfs.web.server import content_security_policy


def test_rates_are_differences_a_second() -> None:
    history = History((0.1, 1.0))
    history.add(10.0, Counters({"reads": 5.0}, [0, 0, 0]))
    assert history.columns() == {}
    history.add(12.0, Counters({"reads": 9.0}, [2, 2, 0]))
    history.add(14.0, Counters({"reads": 9.0}, [2, 2, 0]))
    columns = history.columns()
    assert columns["reads"] == [2.0, 0.0] and columns["at_s"] == [12.0, 14.0]
    assert columns["p50_s"] == [0.1, None]


def test_the_history_is_bounded_and_a_clock_set_back_is_passed_over() -> None:
    history = History(())
    for second in range(SAMPLES_MAX + 50):
        history.add(float(second), Counters({"reads": 0.0}, [0]))
    history.add(3.0, Counters({"reads": 0.0}, [0]))
    assert len(history.columns()["reads"]) == SAMPLES_MAX


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [([4, 0, 0], 0.5, 0.05), ([0, 2, 0], 0.5, 0.55), ([1, 1, 2], 0.99, 1.0), ([0, 0, 0], 0.5, None)],
)
def test_quantiles(counts: list[int], share: float, expected: float | None) -> None:
    assert quantile((0.1, 1.0), counts, share) == expected


def plan(at_s: float, want: str = "data", who: str = "cursor") -> Decision:
    return Decision(at_s, What.PLANNED, who, want, score=0.9)


@pytest.mark.parametrize(
    ("want", "done", "used_at_s", "outcome"),
    [
        ("data", [], 0.0, "expected"),
        ("data", [Decision(11.0, What.FETCHED, "cursor")], 0.0, "ready"),
        ("data", [Decision(11.0, What.FETCHED, "cursor"), Decision(12.0, What.USED, "cursor")], 12.0, "in time"),
        ("data", [Decision(12.0, What.LATE, "cursor")], 12.0, "late"),
        ("data", [Decision(12.0, What.EVICTED, "cursor")], 0.0, "unused"),
        ("data", [Decision(9.0, What.USED, "cursor")], 9.0, "expected"),
        ("data", [], 13.0, "came"),
        ("attributes", [Decision(12.0, What.FETCHED, "x")], 0.0, "expected"),
        ("attributes", [], 13.0, "came"),
    ],
)
def test_outcomes(want: str, done: list[Decision], used_at_s: float, outcome: str) -> None:
    (told,) = stream([(b"a\xff", plan(10.0, want))], lambda path: done, lambda path: used_at_s, 20.0)
    assert told["outcome"] == outcome and told["path"] == "a\\xff" and told["ago_s"] == 10.0


def test_a_path_is_told_once_a_kind() -> None:
    plans = [(b"a", plan(3.0)), (b"a", plan(2.0)), (b"a", plan(1.0, "attributes")), (b"b", plan(1.0))]
    told = stream(plans, lambda path: [], lambda path: 0.0, 4.0)
    assert [(each["path"], each["want"], each["ago_s"]) for each in told] == [
        ("a", "data", 1.0),
        ("a", "attributes", 3.0),
        ("b", "data", 3.0),
    ]


def test_the_page_is_self_contained_and_its_policy_names_what_it_has() -> None:
    html = resources.files("llmfs.web").joinpath("page.html").read_text()
    assert html.count("<script>") == html.count("<style>") == 1
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "") and "innerHTML" not in html
    assert " style=" not in html and " onclick" not in html
    script = html.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in content_security_policy(html)
