"""How many rows a chunk of time has: what fits near a core going forward, enough to sum over going back."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Chunk", "backward_chunk", "forward_chunk"]

_FORWARD_BYTES = 2**17  # work of a chunk and thread that stays in a second-level cache
_MOST = 512  # rows over which one weight-gradient product sums
_BYTES = 2**19  # work of the reverse that is small whatever the tape
SHARE = 12  # else it may take this part of what the tape holds


class Chunk(NamedTuple):
    """The most rows of a chunk, as it follows from the rows of the batch: the same for any number of threads going
    back, since gradients are summed chunk by chunk."""

    width: int  # bytes of work of a row
    least: int  # bytes of work that are always there
    most: int  # rows
    fixed: int = 0  # bytes that the tape holds, whatever the rows
    each: int = 0  # and for each of them

    def rows(self, total: int) -> int:
        """Of a batch of `total` rows."""
        work = max(self.least, (self.fixed + self.each * total) // SHARE)
        return max(1, min(self.most, work // max(self.width, 1)))


def forward_chunk(width: int, threads: int) -> Chunk:
    """Going forward, with so many bytes of work of a row."""
    return Chunk(width, _FORWARD_BYTES * threads, 2**31)


def backward_chunk(width: int, fixed: int, each: int) -> Chunk:
    """Going back, where the tape holds `fixed` bytes and `each` of every row."""
    return Chunk(width, _BYTES, _MOST, fixed, each)
