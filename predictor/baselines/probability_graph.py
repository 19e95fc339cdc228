"""What was used soon after this file before, if it was often enough: the probability graph.

Griffioen and Appleton, "Reducing file system latency using a predictive approach" (USENIX Summer 1994): a node for each
file, an arc from A to B that counts how often B was used within a look-ahead window after A, and all B whose chance
after A is at least the minimum chance are fetched. The chance is the share of A's uses that B followed, as in
Padmanabhan and Mogul, "Using predictive prefetching to improve World Wide Web latency" (CCR 26(3), 1996), which does
not sink as the window grows; window and minimum chance are in the middle of what they try. Sequences are those of each
process. O(window) a visit.
"""

from collections import deque
from collections.abc import Sequence

from predictor.baselines.file_rival import STREAMS_MAX, FileRival
from predictor.baselines.rival import Bounded

NODES_MAX = 1 << 16

ARCS_MAX = 16
"""Arcs of a node; a newcomer wears down the weakest (Misra and Gries)."""


class _Node:
    __slots__ = ("arcs", "uses")

    def __init__(self) -> None:
        self.uses = 0
        self.arcs: dict[int, int] = {}  # path -> how often it followed


class ProbabilityGraph(FileRival):
    """Expects all paths that followed within `window` visits in at least `minimum_chance` of the cases."""

    name = "PG"

    def __init__(self, window: int = 4, minimum_chance: float = 0.25) -> None:
        super().__init__()
        self._window = window
        self._minimum_chance = minimum_chance
        self._nodes: Bounded[int, _Node] = Bounded(NODES_MAX)
        self._recent: Bounded[tuple[int, str], deque[int]] = Bounded(STREAMS_MAX)

    def visit(self, tgid: int, command: str, path: int) -> Sequence[int]:
        """A program came to `path`: the paths expected within the window, the likeliest first."""
        recent = self._recent.get((tgid, command))
        if recent is None:
            recent = self._recent[tgid, command] = deque(maxlen=self._window)
        for before in {*recent} - {path}:
            node = self._nodes.get(before)
            if node is not None:
                _count(node.arcs, path)
        recent.append(path)
        node = self._nodes.get(path)
        if node is None:
            node = self._nodes[path] = _Node()
        node.uses += 1
        enough = self._minimum_chance * max(1, node.uses - 1)  # this use has had no followers yet
        found = [other for other, times in node.arcs.items() if times >= enough]
        if len(found) > 1:
            found.sort(key=node.arcs.__getitem__, reverse=True)
        return found


def _count(arcs: dict[int, int], path: int) -> None:
    if path in arcs:
        arcs[path] += 1
    elif len(arcs) < ARCS_MAX:
        arcs[path] = 1
    else:
        weakest = min(arcs, key=arcs.__getitem__)
        arcs[weakest] -= 1
        if not arcs[weakest]:
            del arcs[weakest]
            arcs[path] = 1
