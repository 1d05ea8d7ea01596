"""Races of a launch: two threads at the same bytes, one of them writes, and nothing that orders them.

Time of a block is counted in its barriers; every block knows up to which of its barriers it has been told of each other
one's past. A counter that is raised carries what the block of the thread knows up to its last barrier; who reads it
knows that from its block's next barrier on (PTX ISA, memory consistency model: causality order).
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Race", "Watch"]

_WORD, _SEVERAL = 2, -2


class Race(RuntimeError):
    """Two threads are at the same bytes, one of them writes, and nothing orders them."""


class Watch:
    """What blocks know of one another, and who was last at which word.

    Parameters
    ----------
    block : ndarray
        The blocks of all threads.
    threads : int
        Of a block.
    global_bytes, shared_bytes : int
        Of all memory, and of the shared memory of all blocks.
    """

    def __init__(self, block: np.ndarray, threads: int, global_bytes: int, shared_bytes: int):
        self._block, self._threads = block, threads
        many = int(block[-1]) + 1
        self._known = np.full((many, many), -1, np.int64)  # up to which barrier of another block
        self._known[np.diag_indices(many)] = 0
        self._told = self._known.copy()  # from its next barrier on
        self._counters: dict[int, np.ndarray] = {}
        sizes = {"global": global_bytes // _WORD, "shared": shared_bytes // _WORD}
        self._writer = {space: np.full(n, -1, np.int64) for space, n in sizes.items()}
        self._written = {space: np.full(n, -1, np.int64) for space, n in sizes.items()}
        self._reader = {space: np.full((many, n), -1, np.int64) for space, n in sizes.items()}
        self._read = {space: np.full((many, n), -1, np.int64) for space, n in sizes.items()}
        self._last: dict[tuple[str, int], Any] = {}  # instructions, of what was written

    def met(self, blocks: np.ndarray) -> None:
        """All threads of these blocks have met."""
        self._known[blocks] = np.maximum(self._known[blocks], self._told[blocks])
        self._known[blocks, blocks] += 1

    def released(self, places: np.ndarray, lanes: np.ndarray) -> None:
        """Threads have raised the counters at these bytes."""
        for at, block in zip(places.tolist(), self._block[lanes].tolist()):
            known = self._known[block].copy()
            known[block] -= 1  # what its threads have done since they met is not ordered
            before = self._counters.get(at)
            self._counters[at] = known if before is None else np.maximum(before, known)

    def acquired(self, places: np.ndarray, lanes: np.ndarray) -> None:
        """Threads have read the counters at these bytes."""
        for at, block in zip(places.tolist(), self._block[lanes].tolist()):
            if at in self._counters:
                known = self._counters[at].copy()
                known[block] = -1
                self._told[block] = np.maximum(self._told[block], known)

    def access(self, space: str, places: np.ndarray, size: int, lanes: np.ndarray, writes: bool, one: Any) -> None:
        """Threads read or write so many bytes each.

        Raises
        ------
        Race
            If nothing orders that after what others have done there.
        """
        words = -(-size // _WORD)
        at = (places[:, None] // _WORD + np.arange(words)).ravel()
        who = np.repeat(lanes, words)
        block = self._block[who]
        now = self._known[block, block]
        self._check(space, at, who, self._writer[space][at], self._written[space][at], "writes", one)
        if not writes:
            reader, read = self._reader[space], self._read[space]
            other = (read[block, at] == now) & (reader[block, at] != who)
            reader[block, at] = np.where(other, _SEVERAL, who)
            read[block, at] = now
            key = block * reader.shape[1] + at
            several = np.bincount(np.unique(key, return_inverse=True)[1])[np.unique(key, return_inverse=True)[1]] > 1
            reader[block[several], at[several]] = _SEVERAL
            return
        for of in range(len(self._known)):
            readers, times = self._reader[space][of, at], self._read[space][of, at]
            self._check(space, at, who, readers, times, "reads", one, of)
        order = np.argsort(at, kind="stable")
        same = np.flatnonzero((np.diff(at[order]) == 0) & (np.diff(who[order]) != 0))
        if len(same):
            self._race(space, at[order][same[0]], who[order][same[0]], who[order][same[0] + 1], "writes", one)
        self._writer[space][at], self._written[space][at] = who, now

    def _check(
        self, space: str, at: np.ndarray, who: np.ndarray, other: np.ndarray, time: np.ndarray, does: str, one: Any,
        of: int | None = None,
    ) -> None:  # fmt: skip
        """What another thread did at a time of its block is known, or done by the thread itself."""
        block = self._block[who]
        theirs = np.where(other >= 0, self._block[other], 0) if of is None else np.full(len(at), of)
        limit = np.where(theirs == block, self._known[block, block] - 1, self._known[block, theirs])
        wrong = (time >= 0) & (other != who) & (time > limit)
        if wrong.any():
            k = int(np.flatnonzero(wrong)[0])
            self._race(space, at[k], other[k] if other[k] >= 0 else None, who[k], does, one)

    def _race(self, space: str, at: int, first: int | None, second: int, does: str, one: Any) -> None:
        names = ["several threads" if k is None else f"block {k // self._threads} thread {k % self._threads}"
                 for k in (first, second)]  # fmt: skip
        raise Race(f"{space} word {at}: {names[0]} {does} it, {names[1]} is there too, unordered: {one}")
