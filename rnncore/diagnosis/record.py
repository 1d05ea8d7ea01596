"""What one loop did, sequence by sequence in the order in which it ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..lang.cell import Stepped
from ..layout import Sources
from ..segments import Segments

__all__ = ["Course", "Record"]


@dataclass(frozen=True, eq=False)
class Course:
    """How a loop went through sequences: its own rows are those of `lengths`, one after another, as it ran.

    Of episodes cut from sequences, `cut` says which; a loop that reads `backward` in time begins with the last one.
    """

    lengths: np.ndarray
    length: int
    cut: Segments | None
    backward: bool

    @property
    def counts(self) -> np.ndarray:
        """(batch,) Steps of each sequence that the loop took."""
        return self.lengths if self.cut is None else self.cut.counts

    @property
    def time(self) -> int:
        return self.length if self.cut is None else self.cut.time

    @cached_property
    def _order(self) -> np.ndarray | slice:
        """The loop's rows in the order of its way through whole sequences."""
        if self.cut is None or not self.backward:
            return slice(None)
        ends, n = np.cumsum(self.lengths), len(self.lengths)
        turned = np.lexsort((-np.arange(n), self.cut.owner))
        return np.concatenate([np.arange(ends[k] - self.lengths[k], ends[k]) for k in turned] or [np.zeros(0, int)])

    @cached_property
    def fresh(self) -> np.ndarray:
        """(rows,) Whether the state before a step is that which an episode starts from."""
        marks = np.zeros(int(self.lengths.sum()), bool)
        marks[(np.cumsum(self.lengths) - self.lengths)[self.lengths > 0]] = True
        return marks[self._order]

    @cached_property
    def at(self) -> np.ndarray:
        """(rows,) Where each step stands in (batch, time), which a loop that reads backward enters from the end."""
        whole = self.lengths if self.cut is None else self.cut.whole
        inside = np.arange(self.time) < whole[:, None]
        if self.cut is not None:
            inside.reshape(-1)[:] = False
            inside.reshape(-1)[self.cut.steps] = True
        if self.backward:
            turned = whole[:, None] - 1 - np.arange(self.time)
            inside = np.take_along_axis(inside, np.maximum(turned, 0), 1) & (turned >= 0)
        return np.flatnonzero(inside)

    def ordered(self, rows: np.ndarray) -> np.ndarray:
        """The loop's rows in the order of its way through whole sequences."""
        return rows[self._order]

    def before(self, after: np.ndarray, start: np.ndarray) -> np.ndarray:
        """States before each step, from the loop's rows of those after it and those that it started from."""
        rows = np.zeros_like(after)
        rows[1:] = after[:-1]
        has = self.lengths > 0
        rows[(np.cumsum(self.lengths) - self.lengths)[has]] = start[has]
        return self.ordered(rows)


@dataclass(eq=False)
class Record:
    """What one loop did: rows of its inputs, its states before each step and their gradients after it, its gates."""

    layer: Stepped
    sizes: Mapping[Any, int]
    params: Mapping[str, np.ndarray]
    course: Course
    inputs: dict[str, np.ndarray]
    before: dict[str, np.ndarray]
    gates: dict[str, np.ndarray]
    sources: Sources | None
    gradients: dict[str, np.ndarray] = field(default_factory=dict)
