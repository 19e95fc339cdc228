"""Prefetch by the pattern at every level of the tree: after IGTCache.

Wang et al., "Efficient unified caching for accelerating heterogeneous AI workloads" (arXiv 2506.12370). Accesses are
kept as a tree: directories, their files, the files' blocks. Each node has the last positions at which its children were
used, by whomever; they are classified as sequential, random or skewed (`patterns`), and each class is served its way:

- *sequential*: the next children, twice as many each time they were right. Where the children are directories,
  the first files of those that come next, too.
- *random*: an epoch over a data set that will be read whole. All of its children, a few with each access, if they fit
  into the cache; one that does not fit would only push itself out.
- *skewed*: nothing. What is popular is in the cache already, and the rest will not be asked for.

*Like* IGTCache, not it: eviction and space per pattern are the cache's business here, and programs walk directories in
listing order or by name, which are the same in an object store and two orders to test here. Numbers without a reason
beside them are ours.

O(depth of the path) a visit, with a classification (about 80 us) every RECLASSIFY of a node's accesses: the dearest of
the rules.
"""

from collections import deque
from collections.abc import Collection, Sequence

from predictor.baselines.file_rival import DirectoryRival
from predictor.baselines.patterns import Pattern, classify
from predictor.baselines.rival import BLOCK_BYTES, Access, Bounded, Wish
from predictor.candidates.directory import NAMES_MAX, natural
from predictor.events import ROOT, Op, PathTable
from predictor.plan import Want

WINDOW = 100
"""Positions of a node that are tested."""

RECLASSIFY = 16
RUN_MIN = 3
"""Steps of one in a row that begin a sequence without waiting for a test: three happen by chance in one of size^3."""

FILES_AHEAD = 16
BLOCKS_AHEAD = 64
"""How far a sequence runs ahead at most: 8 MiB within a file, as the readahead of the mount."""

SET_STEP = 8
"""Children of a random set that are wished for with each access: all at once would stand in their own way."""

FIRST = 4
"""Files of the next directory."""

NODES_MAX = 1 << 14
UNLIMITED_BYTES = 1 << 62


class Walk:
    """The walk over the children of one node, by position in one order. O(1) an access, but for classifications."""

    __slots__ = ("_ahead", "_cursor", "_depth", "_last", "_run", "_since", "_used", "_uses", "_window", "pattern")

    def __init__(self) -> None:
        self.pattern = Pattern.UNKNOWN
        self._window: deque[int] = deque(maxlen=WINDOW)
        self._last = -2  # so that nothing follows it
        self._run = 0
        self._since = 0  # accesses since the last test
        self._ahead = -1  # sequential: expected up to here
        self._depth = 1
        self._cursor = 0  # random: expected up to here
        self._used: set[int] = set()  # random: in this epoch
        self._uses = 0

    def observe(self, position: int, size: int) -> bool:
        """The child at `position` of `size` (0: unknown) was used: whether it is another one than before."""
        last = self._last
        if position == last:
            return False
        self._run = self._run + 1 if position == last + 1 else 0
        self._last = position
        self._window.append(position)
        self._since += 1
        if self._run >= RUN_MIN and self.pattern is not Pattern.SEQUENTIAL:
            self.pattern, self._since = Pattern.SEQUENTIAL, 0
        elif self._since >= RECLASSIFY:
            self.pattern, self._since = classify(list(self._window), size), 0
        return True

    def expect(self, size: int, depth_max: int) -> Sequence[int]:
        """The positions to have ready next, after another child was used.

        `depth_max`: how far a sequence may run ahead.
        """
        if self.pattern is Pattern.SEQUENTIAL:
            return self._sequence(self._last, size, depth_max)
        if self.pattern is Pattern.RANDOM:
            return self._set(self._last, size)
        return ()

    def _sequence(self, position: int, size: int, depth_max: int) -> Sequence[int]:
        if not position - depth_max <= self._ahead <= position + 2 * depth_max:
            self._ahead, self._depth = position, 1  # it goes on elsewhere, or from the beginning
        elif position <= self._ahead:
            self._depth = min(depth_max, 2 * self._depth)
        first = max(self._ahead, position) + 1
        end = position + self._depth + 1
        if size:
            end = min(end, size)
        if end <= first:
            return ()
        self._ahead = end - 1
        return range(first, end)

    def _set(self, position: int, size: int) -> Sequence[int]:
        if self._uses >= size:
            self._used.clear()  # the next epoch: what was pushed out since is wished for again
            self._cursor = self._uses = 0
        self._used.add(position)
        self._uses += 1
        found: list[int] = []
        while self._cursor < size and len(found) < SET_STEP:
            if self._cursor not in self._used:
                found.append(self._cursor)
            self._cursor += 1
        return found


class _Order:
    """The children of a directory in one order, and the walk over them."""

    __slots__ = ("children", "place", "walk")

    def __init__(self, children: Sequence[int]) -> None:
        self.children = children
        self.place = {child: index for index, child in enumerate(children)}
        self.walk = Walk()


class _Directory:
    __slots__ = ("below", "bytes", "fits", "last", "orders", "pattern", "sized")

    def __init__(self) -> None:
        self.orders: tuple[_Order, ...] = ()  # as listed; by name, where that is another order; none: not listed
        self.pattern = Pattern.UNKNOWN
        self.below = Pattern.UNKNOWN  # of the last child that was a directory with a pattern
        self.last = -1  # the child used last
        self.fits = True  # all files together into the cache
        self.sized = 0  # opens of files of known size, and their bytes
        self.bytes = 0

    def use(self, child: int) -> Sequence[int]:
        """A child of a listed directory was used: the children to have ready next."""
        chosen: _Order | None = None
        for order in self.orders:
            position = order.place.get(child)
            if position is None or not order.walk.observe(position, len(order.children)):
                return ()
            if chosen is None or order.walk.pattern is Pattern.SEQUENTIAL:
                chosen = order
        if chosen is None:
            return ()
        self.pattern = chosen.walk.pattern
        if self.pattern is Pattern.RANDOM and not self.fits:
            return ()
        return [chosen.children[place] for place in chosen.walk.expect(len(chosen.children), FILES_AHEAD)]


class IGTCacheLike(DirectoryRival):
    """Expects files and blocks by the patterns of the directories and files they are in."""

    name = "IGTCache-like"

    def __init__(self, paths: PathTable, capacity_bytes: int = UNLIMITED_BYTES) -> None:
        """`capacity_bytes`: what the cache holds, for random sets."""
        super().__init__(paths)
        self._capacity_bytes = capacity_bytes
        self._directories: Bounded[int, _Directory] = Bounded(NODES_MAX)
        self._files: Bounded[int, Walk] = Bounded(NODES_MAX)

    def access(self, access: Access) -> Sequence[Wish]:
        """An access happened: blocks of its file, files, and listings to have ready."""
        wishes = super().access(access)
        if access.op == Op.READ and access.length:
            return [*wishes, *self._read(access)]
        if access.op == Op.OPEN and access.size:
            node = self._directory(self._paths.parent(access.path))
            node.sized += 1
            node.bytes += access.size
            if node.orders:  # as large as those that were opened, on average
                node.fits = len(node.orders[0].children) * node.bytes <= self._capacity_bytes * node.sized
        return wishes

    def listing(self, directory: int, children: Sequence[int], folders: Collection[int]) -> None:
        """`directory` was listed."""
        super().listing(directory, children, folders)
        node = self._directory(directory)
        listed = list(children[:NAMES_MAX])
        if node.orders and node.orders[0].children == listed:
            return
        named = sorted(listed, key=lambda child: natural(self._paths.name(child)))
        node.orders = (_Order(listed), _Order(named)) if named != listed else (_Order(listed),)

    def visit(self, tgid: int, command: str, path: int) -> Sequence[int]:
        """A program came to `path`: the paths expected next, those beside it first."""
        found: list[int] = []
        pattern = Pattern.UNKNOWN
        while path != ROOT:
            parent = self._paths.parent(path)
            node = self._directory(parent)
            if pattern is not Pattern.UNKNOWN:
                node.below = pattern
            if not node.orders:
                self._use_unlisted(parent, path)
            elif node.last != path:
                node.last = path
                for child in node.use(path):
                    self._expect(child, node.below, found)
            pattern = node.pattern
            path = parent
        return found

    def _expect(self, child: int, below: Pattern, found: list[int]) -> None:
        """`child`, and what will be used in it if it is walked by the pattern `below`, as a directory before it was."""
        found.append(child)
        if below is Pattern.SEQUENTIAL or below is Pattern.RANDOM:
            inside = self._directories.get(child)
            if inside is not None and inside.orders and (below is Pattern.SEQUENTIAL or inside.fits):
                found += inside.orders[-1].children[: FIRST if below is Pattern.SEQUENTIAL else WINDOW]

    def _read(self, access: Access) -> list[Wish]:
        walk = self._files.get(access.path)
        if walk is None:
            walk = self._files[access.path] = Walk()
        else:
            self._files.move_to_end(access.path)
        size = -(-access.size // BLOCK_BYTES)
        fits = access.size <= self._capacity_bytes
        last = (access.offset + access.length - 1) // BLOCK_BYTES
        expected: list[int] = []
        for block in range(max(access.offset // BLOCK_BYTES, last - WINDOW), last + 1):
            if walk.observe(block, size) and (fits or walk.pattern is not Pattern.RANDOM):
                expected += walk.expect(size, BLOCKS_AHEAD)
        return [Wish(access.path, Want.DATA, block * BLOCK_BYTES, BLOCK_BYTES) for block in expected]

    def _directory(self, path: int) -> _Directory:
        node = self._directories.get(path)
        if node is None:
            node = self._directories[path] = _Directory()
        else:
            self._directories.move_to_end(path)
        return node
