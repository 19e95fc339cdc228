"""The path table: ids that mean one path for ever, and room made by forgetting."""

from hypothesis import given
from hypothesis import strategies as st

from predictor.events import ROOT, PathTable


def test_an_id_leads_to_its_path_and_back() -> None:
    table = PathTable()
    path = table.intern_path(b"a/b/c")
    assert table.path(path) == b"a/b/c" and table.path(ROOT) == b""
    assert table.intern_path(b"a/b/c") == path
    assert table.find(table.parent(path), b"c") == path and table.find(path, b"d") is None


def test_what_is_kept_keeps_its_id_and_its_directories() -> None:
    table = PathTable()
    kept, gone = table.intern_path(b"a/b/kept"), table.intern_path(b"x/gone")
    assert table.keep([kept]) == 2
    assert table.path(kept) == b"a/b/kept" and gone not in table
    assert table.find(ROOT, b"x") is None and table.find(ROOT, b"a") is not None


def test_an_id_is_never_given_twice() -> None:
    table = PathTable()
    before = table.intern_path(b"x")
    table.keep([])
    after = table.intern_path(b"x")
    assert after != before and before not in table
    assert table.keep([before]) == 1  # stale: keeps nothing


@given(st.lists(st.tuples(st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=4), st.booleans())))
def test_a_table_after_forgetting_is_the_table_of_what_was_kept(paths: list[tuple[list[bytes], bool]]) -> None:
    table, expected = PathTable(), set[bytes]()
    for parts, is_kept in paths:
        table.intern_path(b"/".join(parts))
        if is_kept:
            expected |= {b"/".join(parts[: n + 1]) for n in range(len(parts))}
    table.keep([table.intern_path(b"/".join(parts)) for parts, is_kept in paths if is_kept])
    assert {table.path(path) for path in table if path != ROOT} == expected
    for path in table:
        assert path == ROOT or table.find(table.parent(path), table.name(path)) == path
        assert table.parent(path) <= path
