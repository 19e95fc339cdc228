"""How the limit of a cache directory is shared among its parts. Each part holds to its own share, so all hold
together."""

from dataclasses import dataclass

_MIB = 1 << 20
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes on disk for each part of a cache directory; their sum is at most the limit."""

    blocks: int
    meta: int
    trace: int
    learned: int
    undo: int = 0

    @classmethod
    def of(cls, limit_bytes: int, keeps_undo: bool = False) -> "Budget":
        """The shares of a limit. 2 MiB at least are left for the log, the locks and rounding.

        `keeps_undo`: an eighth, 4 GiB at most, is the guard's for what programs overwrite.
        """
        meta = _clamp(limit_bytes // 16, 2 * _MIB, 1024 * _MIB)
        trace = _clamp(limit_bytes // 32, _MIB // 2, 256 * _MIB)
        learned = _clamp(limit_bytes // 32, 3 * _MIB // 2, 256 * _MIB)
        spare = _clamp(limit_bytes // 64, 2 * _MIB, 16 * _MIB)
        undo = min(limit_bytes // 8, 4096 * _MIB) if keeps_undo else 0
        blocks = limit_bytes - meta - trace - learned - spare - undo
        return cls(blocks // _PAGE * _PAGE, meta // _PAGE * _PAGE, trace, learned, undo)


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))
