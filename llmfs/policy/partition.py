"""What part of the cache each program is to have, where several compete: by what it would gain from more.

For each group of programs a *curve* is kept: how many of its requests a cache of each size would have answered. It
is made of reuse distances, the bytes that the group used between two uses of a block, on keys that are drawn by their
hash, so that a hundredth of the keys, counted a hundredfold, says what all would (SHARDS, Waldspurger et al., FAST
2015). Such a curve is LRU's, which gains nothing from a loop until all of it fits. The rules of eviction keep a part of
the loop, and get near the curve's upper hull (Talus, Beckmann and Sanchez, HPCA 2015), so that is what counts. The
cache's units then go, one after the other, to whoever gains most from the next one (utility-based cache partitioning,
Qureshi and Patt, MICRO 2006).

What this promises:

- A share is a floor and no ceiling: it is kept for who would gain, and at the cost of those who hold more than they
  should. Within it, and where there is none, order decides as ever.
- Nothing changes unless it gains a margin over what the groups hold at present, several times in a row; and then half
  of the way is gone, for what is seen of a stream is noisy and the best of it lies at an end.
- Who is new is not judged: nothing is kept for it, nor taken from it.
- Cost and memory are bounded: `GROUPS_MAX` curves of `SAMPLE_BLOCKS` keys. A request that is not in the sample costs a
  look at its hash.

Pure. `eviction.py` keeps to the shares, softly.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Mapping
from itertools import pairwise

UNITS = 32
"""Into so many the cache is divided: shares are told apart by three hundredths."""

DEPTH = 8
"""Caches, that reuse distances are told apart up to. A loop of eight times the cache gains an eighth from all of it."""

SAMPLE_BLOCKS = 2048
"""Keys of a group in the sample, over all of the depth."""

GROUPS_MAX = 8
"""With a curve, of half a megabyte; who asked for something longest ago loses its own. Among more order decides."""

MARGIN = 0.02
"""Of all requests: what shares must gain to be taken up, or changed. A change costs misses until the blocks are others,
and the rules only come near the hull. With 0.04 half as much was gained, and nothing was lost where 0.02 loses 2%."""

AGREEING = 3
"""Looks in a row that must find such a gain."""

REQUESTS_LEAST = 200
"""Of a group, in the sample, for it to be judged: six of them are a unit's hits."""


class Curve:
    """What one group would gain from each size of the cache."""

    __slots__ = ("_bytes", "_known", "_times", "hits", "requests")

    def __init__(self) -> None:
        self.requests = 0.0
        self.hits = [0.0] * (DEPTH * UNITS)  # by the unit of the cache that their reuse distance is in
        self._known: OrderedDict[int, tuple[int, int]] = OrderedDict()  # by digest, oldest first: last use, bytes
        self._times: list[int] = []  # of these last uses, in order
        self._bytes = 0

    def see(self, digest: int, size_bytes: int, now: int, scale: int, capacity_bytes: int) -> None:
        """A request for a key of the sample, which is one of `scale` keys."""
        self.requests += scale
        known = self._known.pop(digest, None)
        if known is not None:
            at = bisect_left(self._times, known[0])
            between = (len(self._times) - 1 - at) * self._bytes / len(self._times)
            unit = int(UNITS * (scale * between + size_bytes) / (capacity_bytes + 1))
            if unit < len(self.hits):
                self.hits[unit] += scale
            del self._times[at]
            self._bytes -= known[1]
        self._known[digest] = (now, size_bytes)
        self._times.append(now)
        self._bytes += size_bytes
        while scale * self._bytes > DEPTH * capacity_bytes and len(self._times) > 1:
            _, (_, oldest_bytes) = self._known.popitem(last=False)  # its next use is a miss at any size
            del self._times[0]
            self._bytes -= oldest_bytes

    def __len__(self) -> int:
        return len(self._times)

    def thin(self, mask: int) -> None:
        """Fewer keys are in the sample."""
        self._known = OrderedDict((digest, known) for digest, known in self._known.items() if not digest & mask)
        self._times = [at for at, _ in self._known.values()]
        self._bytes = sum(size_bytes for _, size_bytes in self._known.values())

    def halve(self) -> None:
        self.requests /= 2
        self.hits = [each / 2 for each in self.hits]

    def gains(self) -> list[float]:
        """Requests answered by 0, 1... `UNITS` units of the cache: the upper hull."""
        points = [(0, 0.0)]
        total = 0.0
        for unit, hits in enumerate(self.hits, 1):
            total += hits
            while len(points) > 1 and _slope(points[-2], points[-1]) <= _slope(points[-1], (unit, total)):
                points.pop()
            points.append((unit, total))
        found = [0.0]
        for (first, low), (last, high) in pairwise(points):
            found += [low + (high - low) * step / (last - first) for step in range(1, last - first + 1)]
            if last >= UNITS:
                break
        return found[: UNITS + 1]


def _slope(one: tuple[int, float], other: tuple[int, float]) -> float:
    return (other[1] - one[1]) / (other[0] - one[0])


class Partition:
    """The curves of all groups, and the shares that follow. Groups are numbers above 0."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.shares: dict[int, float] = {}
        """Of what all that are judged hold together: what is kept for those that would gain, by group."""
        self.wanted: dict[int, float] = {}
        """How it would best be divided, by the last look, among all that are judged."""
        self.gain = 0.0
        """Of all requests: what that would have answered more than what they hold now."""
        self._curves: OrderedDict[int, Curve] = OrderedDict()  # who asked last at the end
        self._shift = 0
        self._now = 0
        self._agreed = 0

    def see(self, group: int, digest: int, size_bytes: int) -> None:
        """A program of a group asked for a block. `digest`: the key's hash."""
        self._now += 1
        if digest & ((1 << self._shift) - 1):
            return
        curve = self._curves.get(group)
        if curve is None:
            curve = self._curves[group] = Curve()
            if len(self._curves) > GROUPS_MAX:
                self._curves.popitem(last=False)
        else:
            self._curves.move_to_end(group)
        curve.see(digest, size_bytes, self._now, 1 << self._shift, self.capacity_bytes)
        if len(curve) > SAMPLE_BLOCKS:
            self._shift += 1
            for each in self._curves.values():
                each.thin((1 << self._shift) - 1)

    def end(self) -> None:
        """Nobody has a share any more."""
        self.shares, self.wanted, self.gain, self._agreed = {}, {}, 0.0, 0

    def age(self) -> None:
        """Counts lose half their weight. Where all programs need few keys, more of them are looked at from now on."""
        for group, curve in list(self._curves.items()):
            curve.halve()
            if curve.requests < 1:
                del self._curves[group]
        if self._shift and all(4 * len(curve) < SAMPLE_BLOCKS for curve in self._curves.values()):
            self._shift -= 1

    def curves(self) -> dict[int, list[float]]:
        """By group the share of its requests that none, a quarter... all of the cache would have answered."""
        return {
            group: [each / curve.requests for each in curve.gains()[:: UNITS // 4]]
            for group, curve in self._curves.items()
            if curve.requests
        }

    def look(self, held_bytes: Mapping[int, int]) -> bool:
        """Judge anew; whether the shares are others now. `held_bytes`: what each group holds at present."""
        judged = {
            group: curve.gains()
            for group, curve in self._curves.items()
            if curve.requests >= REQUESTS_LEAST << self._shift and held_bytes.get(group)
        }
        before = self.shares
        if len(judged) < 2:
            self.end()
            return bool(before)
        total_bytes = sum(held_bytes[group] for group in judged)
        at_stake = UNITS * total_bytes / self.capacity_bytes  # units
        present = {group: held_bytes[group] / total_bytes for group in judged}
        wanted = _shared_out(judged, max(len(judged), round(at_stake)))
        now, then = (
            sum(_at(gains, shares[group] * at_stake) for group, gains in judged.items()) for shares in (present, wanted)
        )
        self.wanted = wanted
        self.gain = (then - now) / sum(self._curves[group].requests for group in judged)
        self._agreed = self._agreed + 1 if self.gain >= MARGIN else 0
        kept = {group: min(share, wanted[group]) for group, share in before.items() if group in judged}
        if self._agreed >= AGREEING:
            self._agreed = 0
            more = {group: (present[group] + wanted[group]) / 2 for group in judged if wanted[group] > present[group]}
            kept = {group: max(kept.get(group, 0.0), more.get(group, 0.0)) for group in kept.keys() | more.keys()}
        self.shares = kept
        return kept != before

    def gives_way_to(self, group: int, held_bytes: Mapping[int, int]) -> int:
        """Who loses a block in place of this group, that has less than is kept for it; 0 for nobody."""
        share = self.shares.get(group)
        if share is None:
            return 0
        total_bytes = sum(held_bytes.get(each, 0) for each in self.wanted)
        if held_bytes.get(group, 0) >= share * total_bytes:
            return 0
        surplus = {
            each: held_bytes.get(each, 0) - wanted * total_bytes
            for each, wanted in self.wanted.items()
            if each != group
        }
        most = max(surplus, key=lambda each: surplus[each], default=0)
        return most if most and surplus[most] > 0 else 0


def _shared_out(judged: Mapping[int, list[float]], units: int) -> dict[int, float]:
    """So many units, one for each and the others to who gains most by the next; the share of each group.

    What nobody gains by is for all.
    """
    given = dict.fromkeys(judged, 1)
    for left in range(units - len(judged), 0, -1):
        gains = {
            group: curve[given[group] + 1] - curve[given[group]]
            for group, curve in judged.items()
            if given[group] < UNITS
        }
        best = max(gains, key=lambda group: gains[group], default=None)
        if best is None or gains[best] <= 0:
            even = left / len(given)
            return {group: (each + even) / units for group, each in given.items()}
        given[best] += 1
    return {group: each / units for group, each in given.items()}


def _at(gains: list[float], units: float) -> float:
    """The curve between its points."""
    below = min(int(units), UNITS)
    return gains[below] + (gains[min(below + 1, UNITS)] - gains[below]) * (units - below if below < UNITS else 0)
