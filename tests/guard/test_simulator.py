"""The simulator touches what was made for it, and nothing else."""

from pathlib import Path

import pytest

from bench.guard import simulator, trees


def test_directory_that_is_not_marked_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"x")
    with pytest.raises(ValueError, match="not touched"):
        simulator.attack(tmp_path, "in-place", 1)
    assert (tmp_path / "precious").read_bytes() == b"x"


@pytest.mark.parametrize("family", sorted(set(simulator.FAMILIES) - {"slow"}))
def test_family_leaves_no_original_as_it_was(tmp_path: Path, family: str) -> None:
    before = {path: path.read_bytes() for path in trees.make(tmp_path, 1, 6)}
    assert simulator.attack(tmp_path, family, 1) == (6, False)
    assert not [path for path, data in before.items() if path.exists() and path.read_bytes() == data]
