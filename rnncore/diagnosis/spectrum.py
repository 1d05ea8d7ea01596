"""How a loop's step carries a small change of its state on: Jacobians, their spectra, Lyapunov exponents."""

from __future__ import annotations

import numpy as np

from ..cpu.run import loop_forward, prepare
from ..dual import DualLayer
from ..layout import Rows, layout_of
from ..plan.tangent import dotted, tangent_of
from .watched import Record

__all__ = ["Carrier"]

_STRETCH = 5  # steps before directions, which all turn to the fastest, are made orthonormal again


class Carrier:
    """One sequence's way through one loop: step k takes the state before it to the state after it.

    Parameters
    ----------
    record : Record
    first, count : int
        Where the sequence begins in the record's arrays, and its steps.
    sequence : int
        Its place in the batch.
    """

    def __init__(self, record: Record, first: int, count: int, sequence: int):
        self.record, self.count = record, count
        self.layer = DualLayer(tangent_of(record.layer.step, frozenset(), params=False))
        self.dtype = next(iter(record.start.values())).dtype
        self.prepared = prepare(self.layer, "infer", record.params, record.sizes, str(self.dtype))
        steps = slice(first, first + count)
        self.inputs = {n: a[steps] for n, a in record.inputs.items()}
        self.before = {
            s: np.concatenate([record.start[s][sequence : sequence + 1], a[steps]])[:count]
            for s, a in record.states.items()
        }
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
            self.layer, self.record.sizes, self.prepared, layout, xs, rows, state, None, False, tokens
        )  # fmt: skip
        return np.concatenate([final[dotted(s)] for s in self.before], 1)

    def jacobians(self, steps: np.ndarray) -> np.ndarray:
        """(steps, size, size): row i, column j is the derivative of the new state's number i by the old one's j."""
        n = self.size
        moved = self.carried(np.repeat(steps, n), np.tile(np.eye(n), (len(steps), 1)))
        return moved.reshape(len(steps), n, n).swapaxes(1, 2)

    def exponents(self, many: int) -> np.ndarray:
        """The `many` largest Lyapunov exponents per step, falling: mean logarithms of what Q R leaves in R.

        Benettin, Galgani, Giorgilli and Strelcyn, Meccanica 15, 1980: directions are carried along the trajectory
        and made orthonormal again every few steps.
        """
        many = min(many, self.size)
        q = np.linalg.qr(np.random.default_rng(0).standard_normal((self.size, many)))[0]
        total = np.zeros(many)
        for k in range(0, self.count, _STRETCH):
            q, r = np.linalg.qr(self.carried(np.full(many, k), q.T, min(_STRETCH, self.count - k)).T)
            with np.errstate(divide="ignore"):  # what is gone for good has the exponent -inf
                total += np.log(np.abs(np.diag(r)))
        return np.sort(total / self.count)[::-1] if self.count else np.full(many, np.nan)
