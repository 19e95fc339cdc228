"""What the source no longer knows is opened anew, and nothing else is."""

import errno
import os
from pathlib import Path

import pytest

from llmfs.inodes import Inode
from llmfs.source import Source


@pytest.fixture
def source(tmp_path: Path) -> Source:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"data")
    return Source(tmp_path, 100, lambda *_: None)


@pytest.fixture
def directory(source: Source) -> Inode:
    return Inode(2, (source.root, b"d"), source.lookup(source.root, b"d"))


@pytest.fixture
def file(source: Source, directory: Inode) -> Inode:
    return Inode(3, (directory, b"f"), source.lookup(directory, b"f"))


def _fail(number: int) -> None:
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize(("number", "is_opened_anew"), [(errno.ESTALE, True), (errno.EIO, False)])
def test_reader_is_opened_anew_after_estale_alone(
    source: Source, file: Inode, monkeypatch: pytest.MonkeyPatch, number: int, is_opened_anew: bool
) -> None:
    assert source.read(file, 0, 10) == b"data"
    held = file.reader_fd
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", lambda *_: _fail(number))
        with pytest.raises(OSError) as caught:
            source.read(file, 0, 10)
    assert caught.value.errno == number
    assert source.read(file, 0, 10) == b"data"
    assert (file.reader_fd is not held) == is_opened_anew


def test_directory_is_opened_anew_after_estale(source: Source, directory: Inode, file: Inode) -> None:
    held = directory.path_fd
    assert held is not None
    with pytest.raises(OSError), source.descriptors.path(directory):
        _fail(errno.ESTALE)
    assert source.lookup(directory, b"f") == file.attributes
    assert directory.path_fd is not held


def test_what_cannot_be_opened_anew_is_kept(source: Source, file: Inode, tmp_path: Path) -> None:
    source.descriptors.keep_unlinked(file)
    (tmp_path / "d" / "f").unlink()
    file.is_unlinked = True
    for inode in (file, source.root):
        held = inode.path_fd
        with pytest.raises(OSError), source.descriptors.path(inode):
            _fail(errno.ESTALE)
        assert inode.path_fd is held
    assert source.read(file, 0, 10) == b"data"
