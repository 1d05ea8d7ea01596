"""How a loop's step carries a small change of its state on: Jacobians, their spectra, Lyapunov exponents."""

from __future__ import annotations

import numpy as np

from ..cpu.run import loop_forward, prepare
from ..dual import DualLayer
from ..layout import Rows, Sources, layout_of
from ..plan.tangent import dotted, tangent_of
from .record import Record

__all__ = ["Carrier"]

_STRETCH = 5  # steps before directions, which all turn to the fastest, are made orthonormal again


class Carrier:
    """One sequence's way through one loop: step k takes the state before it to the state after it.

    Parameters
    ----------
    record : Record
    sequence : int
        Its place in the batch.
    """

    def __init__(self, record: Record, sequence: int):
        self.record, self.sequence = record, sequence
        counts = record.course.counts
        self.count, first = int(counts[sequence]), int(counts[:sequence].sum())
        self.layer = DualLayer(tangent_of(record.layer.step, frozenset(), params=False))
        self.dtype = next(iter(record.before.values())).dtype
        self.prepared = prepare(self.layer, "infer", record.params, record.sizes, str(self.dtype))
        steps = slice(first, first + self.count)
        self.inputs = {n: a[steps] for n, a in record.inputs.items()}
        self.before = {s: a[steps] for s, a in record.before.items()}
        self.fresh = np.flatnonzero(record.course.fresh[steps])
        self.ends = np.cumsum([a.shape[1] for a in self.before.values()])

    @property
    def size(self) -> int:
        """Numbers in the whole state, all states of the loop side by side."""
        return int(self.ends[-1])

    def carried(self, steps: np.ndarray, directions: np.ndarray, many: int = 1) -> np.ndarray:
        """Each direction (n, size) carried through `many` steps from the one (n,) that goes with it: ... J_t v."""
        layout, rows = layout_of(np.full(len(steps), many), True), Rows(np.arange(len(steps)) * many, 1)
        taken = (steps[:, None] + np.arange(many)).ravel()
        state = {s: a[steps] for s, a in self.before.items()}
        parts = np.split(directions.astype(self.dtype), self.ends[:-1], 1)
        state |= {dotted(s): part for s, part in zip(self.before, parts)}
        xs = {n: np.ascontiguousarray(a[taken]) for n, a in self.inputs.items()}
        tokens = any(a.dtype.kind in "iu" for a in xs.values())
        final, _ = loop_forward(
            self.layer, self.record.sizes, self.prepared, layout, xs, rows, state, None, False, tokens,
            self._sources(len(steps)),
        )  # fmt: skip
        return np.concatenate([final[dotted(s)] for s in self.before], 1)

    def _sources(self, many: int) -> Sources | None:
        """What the sequence sees whole, as often."""
        seen = self.record.sources
        if seen is None:
            return None
        return Sources(seen.arrays, *(np.repeat(a[self.sequence], many) for a in (seen.base, seen.counts)))

    def jacobians(self, steps: np.ndarray) -> np.ndarray:
        """(steps, size, size): row i, column j is the derivative of the new state's number i by the old one's j."""
        n = self.size
        moved = self.carried(np.repeat(steps, n), np.tile(np.eye(n), (len(steps), 1)))
        return moved.reshape(len(steps), n, n).swapaxes(1, 2)

    def exponents(self, many: int) -> np.ndarray:
        """The `many` largest Lyapunov exponents per step, falling: mean logarithms of what Q R leaves in R.

        Benettin, Galgani, Giorgilli and Strelcyn, Meccanica 15, 1980: directions are carried along the trajectory
        and made orthonormal again every few steps. Where an episode starts they go on with its first step.
        """
        many = min(many, self.size)
        q = np.linalg.qr(np.random.default_rng(0).standard_normal((self.size, many)))[0]
        total = np.zeros(many)
        ends = np.append(self.fresh, self.count)
        for start, end in zip(ends[:-1], ends[1:]):
            for k in range(start, end, _STRETCH):
                q, r = np.linalg.qr(self.carried(np.full(many, k), q.T, min(_STRETCH, end - k)).T)
                with np.errstate(divide="ignore"):  # what is gone for good has the exponent -inf
                    total += np.log(np.abs(np.diag(r)))
        return np.sort(total / self.count)[::-1] if self.count else np.full(many, np.nan)
