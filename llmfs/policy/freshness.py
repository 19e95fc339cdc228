"""How long what we know of a file may be believed, and how a change shows.

Two rules make the whole of it.

*Time to live.* In close-to-open consistency, attributes and names are believed for a tenth of the file's age, at least
3 and at most 60 seconds, as network file systems do (acregmin and acregmax in nfs(5)). Strict believes nothing past the
request, immutable believes for ever.

*Generation.* A number made of all that stat tells about content: size, mtime, ctime and inode number. Cached blocks,
listings and absent names are kept under the generation they were read in; another number, and they are out of reach.

Invariant: a generation is only ever believed when a change would have shown in it. A file that was changed within
the granularity of its time stamps before we looked can change again without a trace ("racily clean" in git's
words), so such a look gets a generation of its own that no later look can repeat: what was read under it lives until
the time to live ends and is then fetched anew. Two seconds are the coarsest granularity in use (FAT).
"""

import struct

import xxhash

from llmfs.attributes import Attributes
from llmfs.config import Consistency

SECOND_NS = 1_000_000_000
SHORTEST_NS = 3 * SECOND_NS
LONGEST_NS = 60 * SECOND_NS
FOREVER_NS = 1 << 62
GRANULARITY_NS = 2 * SECOND_NS
DOUBTED_NS = 1
"""When something was seen that we may have changed since: long ago. Good enough while the source cannot be asked."""

_VALIDATORS = struct.Struct("<qqqQQ")


def time_to_live_ns(consistency: Consistency, attributes: Attributes, checked_ns: int) -> int:
    """How long attributes that were read at `checked_ns` may be believed from then on."""
    if consistency is Consistency.IMMUTABLE:
        return FOREVER_NS
    if consistency is Consistency.STRICT:
        return 0
    changed_ns = max(attributes.mtime_ns, attributes.ctime_ns)
    return min(max((checked_ns - changed_ns) // 10, SHORTEST_NS), LONGEST_NS)


def remaining_ns(consistency: Consistency, attributes: Attributes, checked_ns: int, now_ns: int) -> int:
    """How much longer attributes read at `checked_ns` may be believed at `now_ns` (both wall clock).

    A check that lies in the future (the clock was set back) is not believed.
    """
    if consistency is Consistency.IMMUTABLE:
        return FOREVER_NS if checked_ns > DOUBTED_NS else 0
    age_ns = now_ns - checked_ns
    return max(0, time_to_live_ns(consistency, attributes, checked_ns) - age_ns) if age_ns >= 0 else 0


def is_fresh(consistency: Consistency, attributes: Attributes, checked_ns: int, now_ns: int) -> bool:
    """Whether attributes read at `checked_ns` may be believed at `now_ns`."""
    return remaining_ns(consistency, attributes, checked_ns, now_ns) > 0


def generation_of(consistency: Consistency, attributes: Attributes, checked_ns: int, has_stable_inodes: bool) -> int:
    """The 64-bit generation of a file that looked like `attributes` at `checked_ns`. Never 0."""
    changed_ns = max(attributes.mtime_ns, attributes.ctime_ns)
    is_settled = consistency is Consistency.IMMUTABLE or checked_ns - changed_ns > GRANULARITY_NS
    packed = _VALIDATORS.pack(
        attributes.size,
        attributes.mtime_ns,
        attributes.ctime_ns,
        attributes.ino if has_stable_inodes else 0,
        0 if is_settled else checked_ns,
    )
    return xxhash.xxh3_64_intdigest(packed) or 1
