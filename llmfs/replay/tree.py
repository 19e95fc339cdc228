"""The files of a replay: what of each is known and cached, and what the rules remember of it."""

from llmfs.blocks import BLOCK_PAGES, block_key
from llmfs.inodes import ListedName, Listing
from llmfs.policy.line import Request
from llmfs.policy.scanning import Scan
from llmfs.replay.source import Arrival
from predictor.events import FLAG_WRITE, ROOT, Op, PathTable
from predictor.recording import Recording

_ALL_PAGES = (1 << BLOCK_PAGES) - 1
_FOLDER, _FILE = 0o040000, 0o100000


class Node:
    """A path: a file, a directory, or a name that is absent."""

    __slots__ = (
        "ahead",
        "blocks",
        "checked_ns",
        "children",
        "exists",
        "flight",
        "flights",
        "generation",
        "id",
        "is_folder",
        "is_known",
        "is_made",
        "kernel",
        "keys",
        "listing",
        "listing_ahead",
        "listing_flight",
        "misses",
        "name",
        "name_ahead",
        "parent",
        "scan",
        "size",
        "touched_in_run",
    )

    def __init__(self, number: int, parent: "Node | None", name: bytes) -> None:
        self.id = number
        self.parent = parent
        self.name = name
        self.exists = True
        self.is_folder = False
        self.size = 0  # bytes
        self.is_known = False  # its attributes, or that it is absent
        self.name_ahead = False  # known ahead of demand, and not used yet
        self.flight: Arrival | None = None  # its name is being looked up
        self.listing: Listing | None = None
        self.listing_ahead: str | None = None  # who had it fetched ahead, until it is used
        self.listing_flight: Arrival | None = None
        self.children: list[Node] = []
        self.blocks: dict[int, int] = {}  # block -> bitmap of its pages that are cached
        self.ahead: dict[int, int] = {}  # block -> bitmap of those fetched ahead and not used yet
        self.is_made = False  # by a program, in this run: the kernel has all of it
        self.kernel: dict[int, int] = {}  # block -> pages that a program wrote: the kernel has them
        self.flights: list[Flight] = []
        self.generation = 0
        self.keys: dict[int, bytes] = {}
        self.scan: Scan | None = None
        self.misses = 0
        self.checked_ns = 1  # the rules ask whether it is a directory of the source's: all are
        self.touched_in_run = 0  # the number of the last run that used it; 0: none

    @property
    def place(self) -> "tuple[Node, bytes] | None":
        """The directory and the name in it; None for the root."""
        return (self.parent, self.name) if self.parent is not None else None

    def written(self, block: int) -> int:
        """The bitmap of the block's pages that the kernel has, for a program wrote them."""
        return _ALL_PAGES if self.is_made else self.kernel.get(block, 0)

    def held(self, block: int) -> int:
        """The bitmap of the block's pages that a program finds without the source."""
        return self.blocks.get(block, 0) | self.written(block)

    def key(self, block: int) -> bytes:
        """The cache's key of a block."""
        key = self.keys.get(block)
        if key is None:
            key = self.keys[block] = block_key(self.id, 0, block)
        return key


class Flight(Arrival):
    """Pages [first, stop) of a file under way, of the file as it was in `generation`."""

    __slots__ = ("first", "generation", "group", "node", "request", "stop", "was_joined")

    def __init__(self, node: Node, first: int, stop: int, generator: str | None, group: int = 0) -> None:
        super().__init__(generator)
        self.request: Request | None = None  # to the line, when it is its turn
        self.group = group  # of the programs that wait for it
        self.node = node
        self.generation = node.generation
        self.first = first
        self.stop = stop
        self.was_joined = False


class Tree:
    """All nodes of the path table that the runs of a replay share. It outlives a run, as the cache does."""

    def __init__(self) -> None:
        root = Node(ROOT, None, b"")
        root.is_known = root.is_folder = True
        self.paths = PathTable()
        self.nodes: dict[int, Node] = {ROOT: root}
        """By the ids of `paths`."""
        self._at: dict[bytes, Node] = {b"": root}
        self._typical_bytes = 1 << 16

    @property
    def root(self) -> Node:
        return self.nodes[ROOT]

    def take(self, recording: Recording) -> list[Node]:
        """The nodes of a recording's paths, by its path ids, with what the recording tells of them."""
        paths = recording.paths
        by_id = [self.root]
        for number in range(1, len(paths)):
            by_id.append(self.child(by_id[paths.parent(number)], paths.name(number)))
        sizes = sorted(size for size in recording.sizes.values() if size)
        if sizes:
            self._typical_bytes = sizes[len(sizes) // 2]
        made = _made(recording)
        for number, node in enumerate(by_id):
            node.exists = number not in made
            node.is_made = False
        for folder in recording.folders:
            by_id[folder].is_folder = True
        for number in range(1, len(paths)):
            by_id[paths.parent(number)].is_folder = True  # also where all that was asked of it was absent
        for folder, children in recording.children.items():
            by_id[folder].children = [by_id[child] for child in children]
        for number, node in enumerate(by_id):
            size = recording.sizes.get(paths.path(number))
            node.size = size if size is not None else self._typical_bytes
        return by_id

    def child(self, parent: Node, name: bytes) -> Node:
        """The node of a name, made if it is new: nobody has heard of it, so it is absent."""
        number = self.paths.intern(parent.id, name)
        node = self.nodes.get(number)
        if node is None:
            node = self.nodes[number] = Node(number, parent, name)
            node.exists = False
        return node

    def at(self, path: bytes) -> Node:
        """The node of a path relative to the root."""
        node = self._at.get(path)
        if node is None:
            above, _, name = path.rpartition(b"/")
            node = self._at[path] = self.child(self.at(above), name) if name else self.at(above)
        return node

    def path(self, node: Node) -> bytes:
        """The node's path relative to the root."""
        return self.paths.path(node.id)

    def forget_cached(self) -> None:
        """The cache was emptied."""
        for node in self.nodes.values():
            if node is self.root:
                continue
            node.is_known = node.name_ahead = False
            node.listing_ahead = None
            node.listing = None
            node.blocks.clear()
            node.kernel.clear()
            node.ahead.clear()

    def settle(self) -> None:
        """A run ended: nothing is under way, and the rules of the next one begin anew."""
        for node in self.nodes.values():
            node.flight = node.listing_flight = None
            node.flights.clear()
            node.scan = None
            node.misses = 0


def listing_of(node: Node) -> Listing:
    """What reading a directory answers: the names that are there, in the source's order."""
    names = [ListedName(c.name, _FOLDER if c.is_folder else _FILE, c.id) for c in node.children if c.exists]
    return Listing(names, 0)


def mask(first: int, stop: int) -> int:
    """The bitmap of the pages [first, stop) of a block."""
    return ((1 << (stop - first)) - 1) << first


def pieces(first_page: int, stop_page: int) -> list[tuple[int, int]]:
    """(block, bitmap of its pages) for the pages [first_page, stop_page) of a file."""
    first, last = first_page // BLOCK_PAGES, (stop_page - 1) // BLOCK_PAGES
    if first == last:
        base = first * BLOCK_PAGES
        return [(first, mask(first_page - base, stop_page - base))]
    found = [(first, mask(first_page - first * BLOCK_PAGES, BLOCK_PAGES))]
    found += [(block, (1 << BLOCK_PAGES) - 1) for block in range(first + 1, last)]
    found.append((last, mask(0, stop_page - last * BLOCK_PAGES)))
    return found


def runs(bitmap: int) -> list[tuple[int, int]]:
    """The runs [first, stop) of ones in a bitmap."""
    found = []
    while bitmap:
        first = (bitmap & -bitmap).bit_length() - 1
        length = (~(bitmap >> first) & -(~(bitmap >> first))).bit_length() - 1
        found.append((first, first + length))
        bitmap &= ~mask(first, first + length)
    return found


def _made(recording: Recording) -> set[int]:
    """The paths that are not there when the recording begins: absent, or made by it.

    A file that is opened for writing first was made then if it is written before anything is read of it.
    """
    made: set[int] = set()
    known: set[int] = set()
    opened: set[int] = set()
    for records in recording.batches:
        columns = (records[name].tolist() for name in ("path", "op", "flags", "length"))
        for path, op, flags, length in zip(*columns, strict=True):
            if path in known or (op in (Op.READ, Op.RELEASE) and not length):
                continue
            if op == Op.OPEN and flags & FLAG_WRITE:
                opened.add(path)
                continue
            known.add(path)
            if op in (Op.ABSENT, Op.CREATE, Op.MKDIR) or (op == Op.WRITE and path in opened):
                made.add(path)
    return made
