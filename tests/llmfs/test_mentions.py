"""What files name: words of texts and of compiled modules, what they stand for, and what it costs where they do not."""

import marshal
import random
import stat

import pytest

from llmfs.inodes import ListedName, Listing
from llmfs.policy import mentions
from llmfs.policy.mentions import Directory, Mentions, Scope, Text, kind_of, stem_of
from llmfs.policy.namesakes import Namesakes


def directory_of(*names: str) -> Directory:
    """Names that end in a slash are directories."""
    kinds = [(name.rstrip("/").encode(), stat.S_IFDIR if name.endswith("/") else stat.S_IFREG) for name in names]
    directory = Directory()
    assert directory.are_names(Listing([ListedName(name, kind, n) for n, (name, kind) in enumerate(kinds, 2)], 1))
    return directory


def wanted(directory: Directory, text: Text, scope: Scope = Scope.BESIDE, rule: Mentions | None = None) -> list[bytes]:
    return (rule or Mentions(Namesakes())).wanted(directory, text, scope)


@pytest.mark.parametrize(
    ("name", "stem", "kind"),
    [
        (b"x.py", b"x", b".py"),
        (b"x.cpython-311.pyc", b"x", b".cpython-311.pyc"),
        (b"Makefile", b"Makefile", b""),
        (b".profile", b".profile", b""),
        (b".a.b", b".a", b".b"),
    ],
)
def test_a_name_is_a_stem_and_a_kind(name: bytes, stem: bytes, kind: bytes) -> None:
    assert (stem_of(name), kind_of(name)) == (stem, kind)


def test_a_word_stands_for_a_file_of_the_same_kind() -> None:
    directory = directory_of("alpha.py", "beta.py", "beta.txt", "gamma.py")
    assert wanted(directory, Text(b"alpha.py", b"from . import beta\nimport gamma_ray\n")) == [b"beta.py"]


def test_a_whole_name_stands_for_a_file_of_any_kind() -> None:
    directory = directory_of("main.c", "cache.h", "cache.c", "other.h")
    assert wanted(directory, Text(b"main.c", b'#include "cache.h"\n')) == [b"cache.c", b"cache.h"]
    assert wanted(directory, Text(b"index.html", b'<script src="other.h">')) == [b"other.h"]


def test_what_is_named_comes_in_the_order_it_is_named_in() -> None:
    names = [f"module{n:02}" for n in range(12)]
    random.Random(1).shuffle(names)
    text = Text(b"__init__.py", "".join(f"from .{name} import *\n" for name in names).encode())
    assert wanted(directory_of(*(f"{name}.py" for name in names)), text) == [f"{name}.py".encode() for name in names]


def test_the_names_of_a_compiled_module_are_read_from_it() -> None:
    source = "import alpha\nfrom package.beta import thing\ndef late():\n    from . import gamma\n    return gamma\n"
    data = bytes(16) + marshal.dumps(compile(source, "x.py", "exec"))
    text = Text(b"x.cpython-311.pyc", data)
    assert {b"alpha", b"package", b"beta", b"gamma"} <= text.words


def test_a_word_in_a_binary_format_may_have_a_letter_behind_it() -> None:
    assert b"libfoo" in Text(b"x.bin", b"\0\0libfooN\0\0").words


def test_random_bytes_name_nothing() -> None:
    directory = directory_of(*(f"f{n:02}" for n in range(100)), *(f"img_{n:03}.jpg" for n in range(1000)))
    for seed in range(20):
        assert wanted(directory, Text(b"f00", random.Random(seed).randbytes(mentions.PIECE_BYTES))) == []


def test_short_words_and_directories_are_no_files() -> None:
    directory = directory_of("os.py", "nested/", "x.py")
    assert wanted(directory, Text(b"x.py", b"import os, nested")) == []
    assert Mentions(Namesakes()).folders(directory, Text(b"x.py", b"import os, nested")) == [b"nested"]


def test_a_directory_with_too_many_names_is_no_package() -> None:
    names = [ListedName(b"module%d.py" % n, stat.S_IFREG, n) for n in range(mentions.NAMES_MAX + 1)]
    assert not Directory().are_names(Listing(names, 1))


def test_a_directory_that_is_named_stands_for_what_is_read_all_over() -> None:
    namesakes = Namesakes()
    for directory in range(2):
        namesakes.began(directory, b"__init__.py", 100)
    rule, package = Mentions(namesakes), directory_of("__init__.py", "other.py")
    text = Text(b"main.py", b"import package")
    assert wanted(package, text, Scope.BESIDE, rule) == []
    assert wanted(package, text, Scope.BELOW, rule) == [b"__init__.py"]


def test_a_library_is_asked_once_some_of_it_was_read() -> None:
    rule, library = Mentions(Namesakes()), directory_of(*(f"module{n}.py" for n in range(20)))
    text = Text(b"main.py", b"import module19")
    assert wanted(library, text, Scope.LIBRARY, rule) == []
    for n in range(mentions.LIBRARY_READ):
        rule.began(library, b"module%d.py" % n)
    assert wanted(library, text, Scope.LIBRARY, rule) == [b"module19.py"]


def test_nothing_is_asked_for_twice_nor_once_it_was_read() -> None:
    rule, directory = Mentions(Namesakes()), directory_of("alpha.py", "beta.py", "gamma.py")
    text = Text(b"gamma.py", b"import alpha, beta")
    rule.began(directory, b"alpha.py")
    assert wanted(directory, text, rule=rule) == [b"beta.py"]
    assert wanted(directory, text, rule=rule) == []


def test_a_table_of_names_is_fetched_in_part_alone() -> None:
    names = [f"codec{n:03}.py" for n in range(300)]
    table = Text(b"aliases.py", " ".join(stem_of(name.encode()).decode() for name in names).encode())
    assert len(wanted(directory_of(*names), table)) == mentions.DIRECTORY_PROBE


def test_mentions_that_never_come_true_cost_little() -> None:
    rule, fetched = Mentions(Namesakes()), 0
    for n in range(400):
        directory = directory_of(*(f"chapter{n}.md" for n in range(8)), "index.md")
        rule.began(directory, b"index.md")
        fetched += len(wanted(directory, Text(b"index.md", b" ".join(b"chapter%d" % n for n in range(8))), rule=rule))
    assert mentions.GROUND_PROBE <= fetched <= max(mentions.GROUND_PROBE, mentions.POOR_SHARE * 400) + 1


def test_mentions_that_come_true_go_on() -> None:
    rule, fetched = Mentions(Namesakes()), 0
    for n in range(100):
        directory = directory_of(*(f"module{n}.py" for n in range(8)), "__init__.py")
        text = Text(b"__init__.py", b" ".join(b"module%d" % n for n in range(8)))
        rule.began(directory, b"__init__.py")
        for name in wanted(directory, text, rule=rule):
            fetched += 1
            rule.began(directory, name)
    assert fetched == 800


def test_what_was_expected_outlives_a_new_listing() -> None:
    rule, directory = Mentions(Namesakes()), directory_of("alpha.py", "beta.py")
    assert wanted(directory, Text(b"beta.py", b"import alpha"), rule=rule) == [b"alpha.py"]
    directory.are_names(Listing([ListedName(b"alpha.py", stat.S_IFREG, 2)], 2))
    rule.began(directory, b"alpha.py")
    assert rule._grounds[b".py", b".py", Scope.BESIDE] == [1, 1]


def test_kinds_that_foretell_nothing_are_left_alone() -> None:
    rule = Mentions(Namesakes())
    looked_into = sum(rule.is_worth_reading(b"%d.jpg" % n) for n in range(1000))
    assert looked_into <= mentions.KIND_PROBE + 1000 // mentions.TRY_EVERY + 1
    assert rule.is_worth_reading(b"x.py")


def test_memory_of_mentions_is_bounded() -> None:
    rule = Mentions(Namesakes())
    for n in range(4 * mentions.KINDS_MAX):
        name = b"name%d.kind%d" % (n, n)
        directory = directory_of(name.decode(), "other.py")
        rule.is_worth_reading(name)
        wanted(directory, Text(b"x.kind%d" % n, name + b" other.py"), rule=rule)
        rule.began(directory, name)
    assert max(len(rule._grounds), len(rule._begun), len(rule._looked_into)) <= mentions.KINDS_MAX
