"""The layout of sequences whose lengths each run of a program brings: its first instructions make the tables."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ..layout import Layout
from .advance import LENGTHS
from .chunks import Chunk
from .instructions import Instructions

__all__ = ["Varied"]


class Varied(Layout):
    """Up to `time` steps of `batch` sequences.

    A run brings the lengths and, after them, the steps from one sequence to the next in arrays of rows: how its own
    sequences are padded. The tables are in a `place` of memory; a program `beside` finds them
    there.
    """

    def __init__(self, program: Instructions, batch: int, time: int, place: int, beside: Varied | None = None):
        self._program = program
        if beside is None:
            self.given = program.array(LENGTHS, batch + 1, np.int64, rows=1)[0]
            own = [program.ints(n, place) for n in (*[batch] * 5, time, time + 1)]
            stride = program.loaded(self.given[batch:])
            program.own("ordered", self.given, batch, time, stride, *own, program.ints(time + 1))
            self.listed, self.total = program.ints(batch * time, place), program.ints(1, place)
            program.own("inside", self.given, batch, stride, self.listed, self.total)
            self.tables = own
        else:
            self.given, self.tables, self.listed, self.total = beside.given, beside.tables, beside.listed, beside.total
        order, finals, turns, self.forth, self.back, counts, offsets = self.tables
        lengths = self.given[:batch]
        super().__init__(lengths, order, counts, offsets, lengths, True)
        vars(self).update(finals=finals, turns=turns)
        self.many: dict[Chunk, np.ndarray] = {}  # where the number of chunks is
        self._starts: dict[Chunk, tuple[np.ndarray, int]] = {}

    @property
    def rows(self) -> int:
        """The most there can be."""
        return self.batch * self.time

    @property
    def stride(self) -> tuple[int, int]:
        """Where the steps from one sequence to the next are."""
        return self._program.loaded(self.given[self.batch :])

    @cached_property
    def mirrored(self) -> np.ndarray:
        """The rows that count, backward within each length."""
        listed = self._program.ints(self.rows)
        self._program.own("mirrored", self.given, self.batch, self.stride, listed)
        return listed

    def chunked(self, chunk: Chunk) -> tuple[np.ndarray, int]:
        """As of any layout: as many entries as there can be, and the most rows."""
        if chunk not in self._starts:
            program, most = self._program, chunk.rows(self.rows)
            entries = min(self.time, 2 * (self.rows // chunk.rows(0)) + 1)
            table, limit = program.ints(entries + 2), program.ints(1)
            self.many[chunk] = table[entries + 1 :]
            program.own("limited", program.loaded(self.total), chunk.fixed, chunk.each, max(chunk.width, 1),
                        chunk.least, chunk.most, limit)  # fmt: skip
            program.own("chunked", self.offsets, self.time, program.loaded(limit), table, self.many[chunk])
            self._starts[chunk] = table[: entries + 1], min(max(most, self.batch), self.rows)
        return self._starts[chunk]
