"""Profiles: what is joined, what is left out, and that what is written is read again, whatever it is."""

import contextlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfs import profile
from llmfs.errors import LlmfsError, UsageError
from llmfs.profile import Profile, Used, taken
from llmfs.recording import is_below

PAGE = profile.PAGE_BYTES
PARTS = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 1 << 18)), max_size=20)
PATHS = st.binary(min_size=1, max_size=8).map(os.fsdecode)
PROFILES = st.builds(
    Profile,
    st.integers(0, 9),
    st.dictionaries(
        PATHS,
        st.builds(
            Used, st.integers(1, 9), st.booleans(), PARTS.map(lambda parts: [(a * PAGE, b * PAGE) for a, b in parts])
        ),
        max_size=6,
    ),
)


@given(PARTS)
def test_ranges_cover_what_was_read_and_no_page_more(parts: list[tuple[int, int]]) -> None:
    used = Used()
    for offset, length in parts:
        used.add(offset, length)
    used.tidy()
    pages = {page for offset, length in parts for page in range(offset // PAGE, -(-(offset + length) // PAGE))}
    covered = [page for offset, length in used.ranges for page in range(offset // PAGE, (offset + length) // PAGE)]
    assert covered == sorted(pages)
    assert all(sum(one) < other[0] for one, other in zip(used.ranges, used.ranges[1:], strict=False))


def test_a_file_that_is_read_from_its_beginning_is_one_range() -> None:
    used = Used()
    for offset in range(0, 1 << 20, 1 << 17):
        used.add(offset, 1 << 17)
    assert used.ranges == [(0, 1 << 20)]


def test_merged_profiles_hold_both_in_the_order_of_use() -> None:
    one = Profile(1, {"a": Used(1, False, [(0, PAGE)]), "d": Used(1, True)})
    other = Profile(2, {"b": Used(2), "a": Used(1, False, [(PAGE, PAGE), (9 * PAGE, PAGE)])})
    both = one.merged(other)
    assert (both.runs, list(both.files)) == (3, ["a", "d", "b"])
    assert both.files["a"] == Used(2, False, [(0, 2 * PAGE), (9 * PAGE, PAGE)])
    assert both.files["d"].is_listed and both.files["b"].runs == 2
    assert one.files["a"].ranges == [(0, PAGE)]


def test_what_most_runs_used_survives_a_trim_and_names_cost_nothing() -> None:
    whole = Profile(
        3,
        {
            "early": Used(1, False, [(0, 4 * PAGE)]),
            "always": Used(3, False, [(0, 4 * PAGE)]),
            "late": Used(1, False, [(0, 2 * PAGE)]),
            "name": Used(1),
        },
    )
    assert list(whole.trimmed(8 * PAGE).files) == ["early", "always", "name"]
    assert list(whole.trimmed(7 * PAGE).files) == ["always", "late", "name"]
    assert list(whole.trimmed(0).files) == ["name"]


@given(PROFILES)
def test_what_is_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, whole: Profile) -> None:
    path = tmp_path_factory.getbasetemp() / "profile" / "p.json"
    profile.save(whole, path)
    assert profile.load(path) == whole
    assert os.listdir(path.parent) == ["p.json"]


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", "7", '{"llmfs_profile": 1}', '{"llmfs_profile": 1, "runs": 1, "files": 7}',
        '{"llmfs_profile": 1, "runs": 1, "files": [{"path": 7}]}',
        '{"llmfs_profile": 1, "runs": 1, "files": [{"path": "a", "ranges": [[0]]}]}',
        '{"llmfs_profile": 1, "runs": 1, "files": [{"path": "a", "ranges": [[0, -1]]}]}',
        '{"llmfs_profile": 1, "runs": 1, "files": [{"path": "a", "runs": "x"}]}',
        '{"llmfs_profile": 1, "runs": 1, "files": [{"path": "\\ud800"}]}',
        '{"llmfs_profile": 2, "runs": 1, "files": []}', "\xe9", "[" * 100_000,
    ],
)  # fmt: skip
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(LlmfsError, match=r"is no profile|another version"):
        profile.load(path)


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda each: st.lists(each) | st.dictionaries(st.text(), each))
)
def test_any_json_is_a_profile_or_a_value_error(document: object) -> None:
    with contextlib.suppress(ValueError):
        taken(json.loads(json.dumps([document])))


def test_a_profile_is_found_by_its_name_or_its_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert profile.place("x") == tmp_path / "llmfs/profiles/x.json"
    assert profile.place("./x") == Path("x") and profile.place("/a/x.json") == Path("/a/x.json")
    for name in ("", ".", "..", "a\0b"):
        with pytest.raises(UsageError):
            profile.place(name)
    with pytest.raises(UsageError, match="there is no profile"):
        profile.load(tmp_path / "nothing")
    with pytest.raises(LlmfsError, match="cannot write"):
        (tmp_path / "file").write_text("")
        profile.save(Profile(), tmp_path / "file" / "x")


def test_descent_is_told_from_proc() -> None:
    assert is_below(os.getpid(), os.getppid()) and is_below(os.getpid(), 1)
    assert not is_below(os.getppid(), os.getpid()) and not is_below(os.getpid(), os.getpid())
    assert not is_below(1 << 30, 1)
