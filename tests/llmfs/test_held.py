"""The kernel is asked to forget the oldest files beyond a bound, and nothing that programs would miss."""

from llmfs.attributes import Attributes
from llmfs.held import HeldFiles
from llmfs.inodes import ROOT_ID, Entry, Inode, InodeTable, ListedName, Listing

FILE = Attributes(0o100644, 1, 0, 0, 0, 0, 4096, 0, 0, 0, 0, 0, 1)
DIRECTORY = Attributes(0o040755, 2, 0, 0, 0, 0, 4096, 0, 0, 0, 0, 0, 1)
LIMIT = 80


class Tree:
    """A table of which the kernel holds all, and what it was asked to forget."""

    def __init__(self) -> None:
        self.inodes = InodeTable(idle_limit=10)
        self.dropped: list[tuple[int, bytes]] = []
        self.counted = 0
        self.root = self.add(ROOT_ID, None, DIRECTORY)
        self.held = HeldFiles(
            self.inodes,
            LIMIT,
            lambda place, name: self.dropped.append((place, name)),
            lambda directory: setattr(directory, "listing", None),
            self._count,
        )

    def _count(self, count: int) -> None:
        self.counted += count

    def add(self, number: int, directory: Inode | None, attributes: Attributes = FILE) -> Inode:
        inode = Inode(number, None if directory is None else (directory, b"%d" % number), attributes)
        self.inodes.add(inode)
        self.inodes.reference(inode)
        if directory is not None and directory.children is not None:
            directory.children[b"%d" % number] = Entry(number, 0, 0)
        return inode

    def files(self, count: int) -> list[Inode]:
        return [self.add(number, self.root) for number in range(2, 2 + count)]

    def give_back(self) -> None:
        """The kernel forgets what it was asked to."""
        for _, name in self.dropped:
            self.inodes.dereference(int(name), 1)


def test_within_the_bound_nothing_is_asked() -> None:
    tree = Tree()
    tree.files(LIMIT - 1)
    tree.held.look()
    assert tree.dropped == [] and tree.counted == 0


def test_beyond_it_the_oldest_go_and_the_table_shrinks() -> None:
    tree = Tree()
    tree.files(LIMIT + 20)
    tree.held.look()
    assert tree.dropped[:2] == [(ROOT_ID, b"2"), (ROOT_ID, b"3")]
    assert tree.counted == len(tree.dropped) == LIMIT + 21 - LIMIT * 7 // 8
    tree.give_back()
    assert len(tree.inodes) <= LIMIT * 7 // 8 + 10


def test_open_files_directories_and_what_the_kernel_has_forgotten_stay() -> None:
    tree = Tree()
    files = tree.files(LIMIT + 20)
    files[0].handles = 1
    tree.inodes.dereference(files[1].id, 1)
    folder = tree.add(1000, tree.root, DIRECTORY)
    tree.held.look()
    names = {name for _, name in tree.dropped}
    assert not names & {b"2", b"3", b"1000"}
    assert b"4" in names and folder.lookups


def test_names_in_directories_are_bounded_and_those_of_open_ones_stay() -> None:
    tree = Tree()
    folders = [tree.add(number, tree.root, DIRECTORY) for number in range(2, 8)]
    for folder in folders:
        folder.children = {b"%d" % number: Entry(0, 0, 0) for number in range(20)}
        folder.listing = Listing([ListedName(b"x", 0, 1)] * 10, 0)
    folders[0].handles = 1
    tree.held.look()
    kept = [folder for folder in folders if folder.listing is not None]
    assert kept == [folders[0], *folders[-2:]]
    assert all(not folder.children for folder in folders if folder not in kept)
