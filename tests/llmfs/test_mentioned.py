"""What files name is fetched: beside them, in directories that they name, and once those were listed."""

import stat
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from llmfs.attributes import Attributes
from llmfs.inodes import Inode, ListedName, Listing
from llmfs.mentioned import MENTION, Mentioned
from llmfs.policy.mentions import FILE_BYTES_MAX, PIECE_BYTES
from llmfs.policy.namesakes import Namesakes


class World:
    """A tree of files with contents; notes what is wished for. Nothing is listed before `list`."""

    def __init__(self) -> None:
        self.files: list[tuple[bytes, bytes]] = []  # directory, name
        self.listings: list[bytes] = []
        self.faults = 0
        self.looked_at: list[tuple[int, int]] = []  # offset, length
        self._contents: dict[Inode, bytes] = {}
        self._children: dict[tuple[Inode, bytes], Inode] = {}
        self._calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self._ids = 1
        self.root = self._inode(None, True)
        self.mentioned = Mentioned(self, self, self, Namesakes(), self._later, self._fault)  # type: ignore[arg-type]

    def _inode(self, place: tuple[Inode, bytes] | None, is_folder: bool, size: int = 0) -> Inode:
        self._ids += 1
        mode = stat.S_IFDIR if is_folder else stat.S_IFREG
        inode = Inode(self._ids, place, Attributes(mode, 1, 0, 0, 0, size, 4096, 0, 0, 0, 0, 0, self._ids))
        if place is not None:
            self._children[place] = inode
        return inode

    def folder(self, above: Inode, name: bytes) -> Inode:
        return self._inode((above, name), True)

    def file(self, directory: Inode, name: bytes, data: bytes = b"") -> Inode:
        inode = self._inode((directory, name), False, len(data))
        self._contents[inode] = data
        return inode

    def list(self, *directories: Inode) -> None:
        for directory in directories:
            children = {name: child for (above, name), child in self._children.items() if above is directory}
            names = [ListedName(name, stat.S_IFMT(each.attributes.mode), 1) for name, each in children.items()]
            directory.listing = Listing(names, 1)
            self.mentioned.listed(directory)

    def read(self, inode: Inode) -> None:
        """A program reads the file, which comes from the source."""
        self.mentioned.began(inode)
        self.mentioned.came(inode, 0)
        while self._calls:
            call, arguments = self._calls.pop(0)
            call(*arguments)

    def _later(self, call: Callable[..., Any], *arguments: Any) -> None:
        self._calls.append((call, arguments))

    def _fault(self) -> None:
        self.faults += 1

    # What Mentioned asks of the mount's parts

    def known(self, directory: Inode, name: bytes) -> Inode | None:
        return self._children.get((directory, name))

    def at_hand(self, inode: Inode, offset: int, length: int) -> bytes | None:
        self.looked_at.append((offset, length))
        return self._contents[inode][offset : offset + length]

    def have_listings_ready(self, directory: Inode, names: Sequence[bytes], generator: str) -> None:
        self.listings += names

    def have_files_ready(self, directory: Inode, names: Sequence[bytes], length: int, generator: str) -> None:
        assert generator == MENTION
        self.files += [(directory.place[1] if directory.place else b"", name) for name in names]


def test_files_beside_the_one_that_names_them() -> None:
    world = World()
    source = world.file(world.root, b"main.c", b'#include "cache.h"')
    world.file(world.root, b"cache.h")
    world.list(world.root)
    world.read(source)
    assert world.files == [(b"", b"cache.h")]


def test_a_directory_that_is_named_is_listed_and_then_looked_into() -> None:
    world = World()
    lib = world.folder(world.root, b"lib")
    source = world.file(world.root, b"main.py", b"from lib import tools")
    world.file(lib, b"tools.py")
    world.file(lib, b"others.py")
    world.list(world.root)
    world.read(source)
    assert (world.listings, world.files) == ([b"lib"], [])
    world.list(lib)
    assert world.files == [(b"lib", b"tools.py")]


def test_compiled_modules_are_looked_for_in_the_same_place_of_the_other_package() -> None:
    world = World()
    package, sub = world.folder(world.root, b"package"), world.folder(world.root, b"helpers")
    ours, theirs = world.folder(package, b"__pycache__"), world.folder(sub, b"__pycache__")
    source = world.file(ours, b"main.cpython-311.pyc", b"\0\0\0\0\xda\x07helpers\xda\x05tools")
    world.file(theirs, b"tools.cpython-311.pyc")
    world.file(sub, b"tools.py")
    nested = world.folder(package, b"helpers")
    world.file(nested, b"tools.cpython-311.pyc")
    world.list(world.root, package, ours, nested)
    world.read(source)
    assert world.files == [(b"helpers", b"tools.cpython-311.pyc")]  # package/helpers has no __pycache__


def test_a_file_in_a_directory_that_is_not_listed_yet_is_remembered() -> None:
    world = World()
    lib = world.folder(world.root, b"lib")
    source = world.file(lib, b"main.py", b"import tools")
    world.file(lib, b"tools.py")
    world.read(source)
    assert world.files == []
    world.list(lib)
    assert world.files == [(b"lib", b"tools.py")]


def test_a_large_file_is_looked_into_piece_by_piece() -> None:
    world = World()
    source = world.file(world.root, b"main.py", b" " * (PIECE_BYTES + 1000) + b" tools")
    world.file(world.root, b"tools.py")
    world.list(world.root)
    world.read(source)
    assert world.looked_at == [(0, PIECE_BYTES), (PIECE_BYTES, PIECE_BYTES)]
    assert world.files == [(b"", b"tools.py")]


def test_a_data_file_is_not_looked_into() -> None:
    world = World()
    world.list(world.root)
    world.read(world.file(world.root, b"main.dat", bytes(FILE_BYTES_MAX + 1)))
    assert world.looked_at == []


def test_a_fault_of_ours_is_counted_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.list(world.root)
    monkeypatch.setattr(world, "at_hand", lambda *arguments: 1 / 0)
    world.read(world.file(world.root, b"main.py", b"import tools"))
    assert world.faults == 1
